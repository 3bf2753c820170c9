//! Adapters: the one that was chosen, or the one that an archive names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use finezip_core::{Error, Fingerprint, Result};
use finezip_lora::{Adapter, EmbeddedAdapter};
use finezip_models::Checkpoint;

use crate::exit::{Code, Failure, Outcome};
use crate::report::Report;
use crate::settings::AdapterSettings;

/// An adapter to merge into a model.
#[derive(Clone)]
pub(crate) struct Merged {
    /// The adapter.
    pub(crate) adapter: Arc<Adapter>,
    /// Its stored form, where it travels in the archive.
    pub(crate) stored: Option<Arc<[u8]>>,
}

impl Merged {
    /// An adapter that travels in the archive.
    pub(crate) fn embedded(embedded: EmbeddedAdapter) -> Self {
        let (adapter, bytes) = embedded.into_parts();
        Self { adapter: Arc::new(adapter), stored: Some(bytes.into()) }
    }
}

/// The adapter that was chosen for compressing with `checkpoint`.
pub(crate) fn chosen(
    settings: &AdapterSettings,
    checkpoint: &Checkpoint,
    report: &Report,
) -> Outcome<Merged> {
    let adapter = Adapter::open(&settings.folder).map_err(|error| {
        Failure::new(
            Code::Model,
            format!(
                "{error}; --adapter takes a folder with adapter_config.json and \
                 adapter_model.safetensors"
            ),
        )
    })?;
    let about = |error| failure(error).about(settings.folder.display());
    adapter.check(checkpoint.config()).map_err(about)?;
    let here = checkpoint.fingerprint().map_err(crate::store::failure)?;
    if let Some(trained_on) = &adapter.config().base_fingerprint
        && *trained_on != here.to_hex()
    {
        report.warning(format_args!(
            "{} was trained on the model with BLAKE3 {trained_on}, not on {} (BLAKE3 {here}): it \
             fits, but may do harm",
            settings.folder.display(),
            checkpoint.name(),
        ));
    }
    let Some(precision) = settings.embed else {
        return Ok(Merged { adapter: Arc::new(adapter), stored: None });
    };
    let embedded = EmbeddedAdapter::new(&adapter, precision, checkpoint.config());
    Ok(Merged::embedded(embedded.map_err(about)?))
}

/// Failures of finezip-lora in the tool's words.
pub(crate) fn failure(error: finezip_lora::Error) -> Failure {
    let code = match error {
        finezip_lora::Error::Io { .. } => Code::File,
        _ => Code::Model,
    };
    Failure::new(code, error.to_string())
}

/// Where the adapter that an archive names can come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Its stored form, if it travels in the archive.
    pub(crate) stored: Option<&'a [u8]>,
    /// Folders the user gave.
    pub(crate) folders: &'a [PathBuf],
}

impl Source<'_> {
    /// The adapter with this fingerprint, for `checkpoint`.
    pub(crate) fn find(&self, needed: Fingerprint, checkpoint: &Checkpoint) -> Result<Merged> {
        let missing = |message: String| Error::AdapterMissing { fingerprint: needed, message };
        let mismatch = |found: String| Error::Mismatch {
            part: "adapter",
            expected: format!("BLAKE3 {needed}"),
            found,
        };
        if let Some(stored) = self.stored {
            let adapter = EmbeddedAdapter::read(stored, checkpoint.config())
                .map_err(|error| missing(error.to_string()))?;
            let found = adapter.fingerprint();
            if found != needed {
                return Err(mismatch(format!("the one in the archive, with BLAKE3 {found}")));
            }
            return Ok(Merged { adapter: Arc::new(adapter), stored: Some(stored.into()) });
        }
        let (mut others, mut unreadable) = (Vec::new(), Vec::new());
        for folder in self.folders {
            let adapter = match Adapter::open(folder) {
                Ok(adapter) => adapter,
                // Another folder may be the one.
                Err(error) => {
                    unreadable.push(error.to_string());
                    continue;
                }
            };
            let found = adapter.fingerprint();
            if found == needed {
                adapter.check(checkpoint.config()).map_err(|error| missing(error.to_string()))?;
                return Ok(Merged { adapter: Arc::new(adapter), stored: None });
            }
            others.push(described(folder, found));
        }
        if others.is_empty() {
            return Err(missing(match unreadable.is_empty() {
                true => "it is not in the archive; give its folder with --adapter FOLDER".into(),
                false => unreadable.join("; "),
            }));
        }
        others.append(&mut unreadable);
        Err(mismatch(others.join(", ")))
    }
}

fn described(folder: &Path, fingerprint: Fingerprint) -> String {
    format!("{} (BLAKE3 {fingerprint})", folder.display())
}
