//! The Hugging Face hub, through `hf-hub`, into its standard cache.
//!
//! `hf-hub` locks files against other processes and honours `HF_HOME`, `HF_ENDPOINT` and the
//! user's token. It waits for ever on a network that swallows packets, so that it works on a
//! thread of its own, which is given up when nothing comes from it for a while. What it leaves
//! when it is interrupted it goes on with the next time; a rest that it would stumble over is
//! removed before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::web::{self, length};
use super::{CatalogEntry, HubSource, Progress};

/// Tries of a download that may fail one after another without bringing anything new.
const TRIES: u32 = 3;

/// Where models of the hub are kept, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    pub(super) cache: Cache,
    /// Its address, if not the usual one.
    pub(super) endpoint: Option<String>,
    pub(super) token: Option<String>,
    /// How long it may take to say that a file exists.
    pub(super) answer_patience: Duration,
    /// How long no byte may arrive.
    pub(super) stall_patience: Duration,
}

/// The seconds that a variable says, else `default`.
pub(super) fn seconds(variable: &str, default: u64) -> Duration {
    let seconds = std::env::var(variable).ok().and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.filter(|seconds| *seconds > 0).unwrap_or(default))
}

/// Whether `hf-hub` knows where its cache is: it panics where it does not, as for a user whom no
/// variable gives a home and no list of users names (in a container, say).
fn has_standard_cache() -> bool {
    let has_home = || std::env::home_dir().is_some_and(|home| !home.as_os_str().is_empty());
    std::env::var("HF_HOME").is_ok() || has_home()
}

impl Hub {
    /// As the variables say that Hugging Face's own tools go by. Where nothing says where their
    /// cache is, not even the user's home, it is at `otherwise`.
    pub(super) fn from_env(otherwise: PathBuf) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match std::env::var_os("HF_HUB_CACHE").filter(|path| !path.is_empty()) {
            Some(path) => Cache::new(PathBuf::from(path)),
            None if has_standard_cache() => Cache::from_env(),
            None => Cache::new(otherwise),
        };
        Self {
            token: set("HF_TOKEN").or_else(|| cache.token()),
            cache,
            endpoint: set("HF_ENDPOINT"),
            answer_patience: seconds("HF_HUB_ETAG_TIMEOUT", 10),
            stall_patience: seconds("HF_HUB_DOWNLOAD_TIMEOUT", 30),
        }
    }

    /// The file in the standard cache, if it is there.
    pub(super) fn cached(&self, entry: &CatalogEntry) -> Option<PathBuf> {
        let source = entry.hub?;
        let repository = self.cache.repo(repository(&source));
        // A pinned revision lies in a folder of its name, whatever branch led to it.
        let pinned = repository.pointer_path(source.revision).join(entry.file);
        if pinned.is_file() { Some(pinned) } else { repository.get(entry.file) }
    }

    /// Downloads the file; the error is for people.
    pub(super) fn fetch(
        &self,
        entry: &CatalogEntry,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, String> {
        let source = entry.hub.ok_or("the catalog names no repository")?;
        progress.stage(&format!("asking the hub for {}", source.repository));
        let mut builder = ApiBuilder::from_cache(self.cache.clone())
            .with_progress(false)
            .with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().map_err(|error| error.to_string())?;
        let (etag, bytes) = self.reach(&api, api.repo(repository(&source)).url(entry.file))?;
        let partial = self.cache.repo(repository(&source)).blob_path(&etag).with_extension("part");
        progress.stage(&format!("downloading {} from {}", entry.file, source.repository));
        let (mut furthest, mut tries) = (length(&partial), 0);
        loop {
            // From a rest that is already whole `hf-hub` never gets to the end.
            if length(&partial) >= bytes {
                web::remove(&partial).map_err(|error| error.to_string())?;
            }
            let files = api.repo(repository(&source));
            match self.download(files, entry.file, progress) {
                Ok(path) => return Ok(path),
                Err(why) => {
                    let reached = length(&partial);
                    tries = if reached > furthest { 1 } else { tries + 1 };
                    furthest = furthest.max(reached);
                    if why.stalled || tries >= TRIES {
                        let kept = format!("{reached} bytes are kept for the next time");
                        return Err(format!("{} ({kept})", why.text));
                    }
                }
            }
        }
    }

    /// Name of the content, and its size, if the hub answers for this file in time.
    fn reach(&self, api: &Api, url: String) -> Result<(String, u64), String> {
        let (answer, answers) = mpsc::channel();
        let api = api.clone();
        thread::spawn(move || {
            let reached = api.metadata(&url).map_err(|error| error.to_string());
            let reached = reached.map(|found| (found.etag().to_owned(), found.size() as u64));
            // Nobody listens any more if it took too long.
            let _ = answer.send(reached);
        });
        let late = |_| format!("no answer within {:?}", self.answer_patience);
        answers.recv_timeout(self.answer_patience).map_err(late)?
    }

    /// One try of `hf-hub`'s download, on a thread that is left alone if it stalls.
    fn download(
        &self,
        files: ApiRepo,
        file: &'static str,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Why> {
        let (sender, events) = mpsc::channel();
        let reporter = Reporter(sender.clone());
        thread::spawn(move || {
            let ended = files.download_with_progress(file, reporter);
            let _ = sender.send(Event::Ended(ended));
        });
        let (mut done, mut total) = (0, 0);
        loop {
            match events.recv_timeout(self.stall_patience) {
                Ok(Event::Size(bytes)) => (done, total) = (0, bytes),
                Ok(Event::More(bytes)) => {
                    done += bytes;
                    progress.bytes(done, Some(total));
                }
                Ok(Event::Ended(ended)) => {
                    return ended.map_err(|error| Why { text: error.to_string(), stalled: false });
                }
                Err(RecvTimeoutError::Timeout) => {
                    let text = format!("nothing arrived for {:?}", self.stall_patience);
                    return Err(Why { text, stalled: true });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the download ended without a word".to_owned();
                    return Err(Why { text, stalled: true });
                }
            }
        }
    }

    /// Removes a file of the cache that is not the one expected, so that it is fetched anew, and
    /// gives what it is. None if it stays: what has the content that its name says is no damage but
    /// another version, and a model that is not `pinned` may have many.
    pub(super) fn discard(
        &self,
        path: &Path,
        found: &str,
        pinned: bool,
    ) -> std::io::Result<Option<&'static str>> {
        if named_hash(path).is_some_and(|name| name == found) {
            if !pinned {
                return Ok(None);
            }
            // Its content may be somebody else's, under another revision; only the link is wrong.
            web::remove(path)?;
            return Ok(Some("another version"));
        }
        let content = fs::canonicalize(path)?;
        let cache = fs::canonicalize(self.cache.path())?;
        // A link of the user's own leads elsewhere; only the link is removed then.
        if content.starts_with(cache) {
            web::remove(&content)?;
        }
        web::remove(path)?;
        Ok(Some("damaged"))
    }
}

fn repository(source: &HubSource) -> Repo {
    Repo::with_revision(source.repository.to_owned(), RepoType::Model, source.revision.to_owned())
}

/// The SHA-256 that the hub gave a file of its cache: contents of large files are named by it.
pub(super) fn named_hash(path: &Path) -> Option<String> {
    let content = fs::canonicalize(path).ok()?;
    let folder = content.parent()?.file_name()?;
    let name = content.file_name()?.to_str()?;
    let digits = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (folder == "blobs" && name.len() == 64 && digits).then(|| name.to_owned())
}

/// Why a try ended.
struct Why {
    text: String,
    /// Its thread may still hold the lock on the file, so that another try is pointless.
    stalled: bool,
}

enum Event {
    Size(u64),
    More(u64),
    Ended(Result<PathBuf, ApiError>),
}

/// Tells the waiting thread of what `hf-hub` does. It may be gone.
struct Reporter(mpsc::Sender<Event>);

impl hf_hub::api::Progress for Reporter {
    fn init(&mut self, size: usize, _filename: &str) {
        let _ = self.0.send(Event::Size(size as u64));
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Event::More(size as u64));
    }

    fn finish(&mut self) {}
}
