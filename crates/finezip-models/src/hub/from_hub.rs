//! The Hugging Face hub, through `hf-hub`, into its standard cache.
//!
//! `hf-hub` resumes a download that broke off, locks files against other processes and honours
//! `HF_HOME`, `HF_ENDPOINT` and the user's token. It waits for ever on a network that swallows
//! packets, so that the first request is made on a thread that is given up after a while.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::{CatalogEntry, HubSource, Progress};

/// How long the hub may take to say that a file exists.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries of one download; each goes on where the one before broke off.
const RETRIES: usize = 3;

fn repository(source: &HubSource) -> Repo {
    Repo::with_revision(source.repository.to_owned(), RepoType::Model, source.revision.to_owned())
}

/// The standard cache: `HF_HUB_CACHE`, else what `hf-hub` makes of `HF_HOME`.
fn cache() -> Cache {
    match std::env::var_os("HF_HUB_CACHE").filter(|path| !path.is_empty()) {
        Some(path) => Cache::new(PathBuf::from(path)),
        None => Cache::from_env(),
    }
}

/// The file in the standard cache, if it is there.
pub(super) fn cached(entry: &CatalogEntry) -> Option<PathBuf> {
    let source = entry.hub?;
    let repository = cache().repo(repository(&source));
    // A pinned revision lies in a folder of its name, whatever branch led to it.
    let pinned = repository.pointer_path(source.revision).join(entry.file);
    if pinned.is_file() { Some(pinned) } else { repository.get(entry.file) }
}

/// Downloads the file; the error is for people.
pub(super) fn fetch(entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<PathBuf, String> {
    let source = entry.hub.ok_or("the catalog names no repository")?;
    progress.stage(&format!("asking the hub for {}", source.repository));
    let cache = cache();
    let mut builder = ApiBuilder::from_cache(cache).with_progress(false).with_retries(RETRIES);
    if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
        builder = builder.with_token(Some(token));
    }
    let api = builder.build().map_err(|error| error.to_string())?;
    let files = api.repo(repository(&source));
    reach(&api, &files, entry)?;
    progress.stage(&format!("downloading {} from {}", entry.file, source.repository));
    files
        .download_with_progress(entry.file, Downloading { progress, done: 0, total: 0 })
        .map_err(|error| error.to_string())
}

/// Whether the hub answers for this file in time.
fn reach(api: &Api, files: &ApiRepo, entry: &CatalogEntry) -> Result<(), String> {
    let (answer, answers) = mpsc::channel();
    let (api, url) = (api.clone(), files.url(entry.file));
    thread::spawn(move || {
        let reached = api.metadata(&url).map(drop).map_err(|error| error.to_string());
        // Nobody listens any more if it took too long.
        let _ = answer.send(reached);
    });
    answers
        .recv_timeout(PATIENCE)
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
}

struct Downloading<'a> {
    progress: &'a mut dyn Progress,
    done: u64,
    total: u64,
}

impl hf_hub::api::Progress for Downloading<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.progress.bytes(self.done, Some(self.total));
    }

    fn finish(&mut self) {}
}
