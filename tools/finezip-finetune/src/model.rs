//! Models by name or path.

use std::path::Path;

use anyhow::{Context, Result};
use finezip_models::Checkpoint;
use finezip_models::hub::{ModelChoice, Store};

use crate::progress::Download;

/// Opens a model: files at a path, or a name of the catalog, whose model is fetched if that is
/// needed and allowed.
pub(crate) fn open(model: &str, offline: bool) -> Result<Checkpoint> {
    let path = match ModelChoice::new(model)? {
        ModelChoice::At(path) => path,
        ModelChoice::Named(entry) => {
            let mut store = Store::from_env()?;
            if offline {
                store = store.offline(true);
            }
            store.fetch(entry, &mut Download::default())?
        }
    };
    Checkpoint::open(&path).with_context(|| format!("model {model}"))
}

/// A short name for folders and tables.
pub(crate) fn short_name(model: &str) -> String {
    let name = Path::new(model).file_stem().map_or(model.into(), |name| name.to_string_lossy());
    name.into_owned()
}
