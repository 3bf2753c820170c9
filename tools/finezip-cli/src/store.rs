//! Models by name: where they lie on this machine, and how they come here.

use std::path::PathBuf;

use finezip_core::{Error, Fingerprint, Result};
use finezip_models::hub::{self, CatalogEntry, Progress, Store};

use crate::exit::{Code, Failure, Outcome};
use crate::progress::Meter;
use crate::report::Report;

/// The caches and sources that the environment names.
pub(crate) fn store() -> Outcome<Store> {
    Store::from_env().map_err(failure)
}

/// The folder in which the exact engine keeps weights that it has prepared; none where there is
/// no cache, which costs time at every start and nothing else.
pub(crate) fn prepared_weights() -> Option<PathBuf> {
    Some(Store::from_env().ok()?.folder().join("exact"))
}

/// Where a named model lies, after fetching it if that is needed and not forbidden.
pub(crate) fn path_of(entry: &CatalogEntry, offline: bool, report: &Report) -> Outcome<PathBuf> {
    let mut store = store()?;
    if offline {
        store = store.offline(true);
    }
    store.fetch(entry, &mut Download::new(report)).map_err(failure)
}

/// Where the model lies that an archive names.
pub(crate) fn find(name: &str, fingerprint: Fingerprint) -> Result<PathBuf> {
    let missing =
        |message: String| Error::ModelMissing { name: name.to_owned(), fingerprint, message };
    // A name without a pinned fingerprint may be it; whoever opens it compares the hash.
    let by_name = || hub::find(name).filter(|entry| entry.blake3.is_none());
    let Some(entry) = hub::find_by_fingerprint(fingerprint).or_else(by_name) else {
        return Err(missing(
            "it is none of `finezip-cli models list`; give its file with --model PATH".into(),
        ));
    };
    let store = Store::from_env().map_err(|error| missing(error.to_string()))?;
    match store.locate(entry, &mut ()) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(missing(format!(
            "it is not on this machine; {}, or give its file with --model PATH",
            how_to_fetch(entry)
        ))),
        // It says itself what replaces a damaged file.
        Err(error @ finezip_models::Error::Hash { .. }) => Err(missing(error.to_string())),
        Err(error) => Err(missing(format!("{error}; {}", how_to_fetch(entry)))),
    }
}

fn how_to_fetch(entry: &CatalogEntry) -> String {
    format!("fetch it with `finezip-cli models fetch {}`", entry.name)
}

/// The failures of finezip-models in the tool's words.
pub(crate) fn failure(error: finezip_models::Error) -> Failure {
    let code = match error {
        finezip_models::Error::Io { .. } | finezip_models::Error::NoCacheFolder => Code::File,
        finezip_models::Error::UnknownModel { .. } => Code::Usage,
        _ => Code::Model,
    };
    Failure::new(code, error.to_string())
}

/// Draws a bar for each thing that is downloaded or checked.
pub(crate) struct Download<'r> {
    report: &'r Report,
    stage: String,
    meter: Option<Meter>,
}

impl<'r> Download<'r> {
    /// No bar yet.
    pub(crate) fn new(report: &'r Report) -> Self {
        Self { report, stage: String::new(), meter: None }
    }
}

impl Progress for Download<'_> {
    fn stage(&mut self, what: &str) {
        self.meter = None;
        self.stage = what.to_owned();
        self.report.detail(format_args!("  {what}"));
    }

    fn bytes(&mut self, done: u64, total: Option<u64>) {
        let meter = self.meter.get_or_insert_with(|| Meter::start(self.report, &self.stage, total));
        meter.set(done);
    }

    fn note(&mut self, what: &str) {
        self.meter = None;
        self.report.warning(what);
    }
}
