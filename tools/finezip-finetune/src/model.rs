//! Models by name or path.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use finezip_models::Checkpoint;
use finezip_models::hub::{self, Presence, Store};

use crate::progress::Download;

/// Opens a model: a file or folder, else a name of the catalog, which is fetched if that is
/// needed and allowed.
pub(crate) fn open(model: &str, offline: bool) -> Result<Checkpoint> {
    let path = locate(model, offline)?;
    Checkpoint::open(&path).with_context(|| format!("model {model}"))
}

/// A short name for folders and tables.
pub(crate) fn short_name(model: &str) -> String {
    let name = Path::new(model).file_stem().map_or(model.into(), |name| name.to_string_lossy());
    name.into_owned()
}

fn locate(model: &str, offline: bool) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let Some(entry) = hub::find(model) else {
        let known: Vec<&str> = hub::catalog().iter().map(|entry| entry.name).collect();
        bail!(
            "no model {model}: it is no file or folder, and the names known are {}",
            known.join(", ")
        );
    };
    let store = Store::from_env()?;
    let mut progress = Download::default();
    if !offline {
        return Ok(store.fetch(entry, &mut progress)?);
    }
    match store.locate(entry, &mut progress)? {
        Presence::Here(path) => Ok(path),
        Presence::Absent => bail!(
            "model {model} is not on this machine; fetch it with `finezip-cli models fetch {model}`"
        ),
    }
}
