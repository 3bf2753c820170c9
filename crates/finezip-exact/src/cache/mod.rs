//! Folded and packed weights on disk, so that a model is folded once a machine.
//!
//! A file's name is the BLAKE3 hash of everything its content depends on: the fingerprints of the
//! checkpoint and of the adapter merged into it, the version of the arithmetic, the precision, the
//! version of the layout, and the sources that read, merge and fold: weights folded by other code,
//! say by a build under development, are never taken for this build's. `format` describes the
//! content, `folder` which files there are and for how long.

mod folder;
mod format;

use finezip_core::Fingerprint;

pub(crate) use self::folder::CacheFile;
use crate::model::ARITHMETIC_VERSION;
use crate::options::Precision;

/// The code that decides what folded weights are, beside [`finezip_models::WEIGHT_SOURCES`].
const SOURCES: [&str; 11] = [
    finezip_lora::adapter::MERGE_SOURCE,
    include_str!("../fold/columns.rs"),
    include_str!("../fold/hadamard.rs"),
    include_str!("../fold/int4.rs"),
    include_str!("../fold/int8.rs"),
    include_str!("../fold/mod.rs"),
    include_str!("../fold/rotation.rs"),
    include_str!("../fold/tensors.rs"),
    include_str!("../kernels/int4.rs"),
    include_str!("../kernels/int8.rs"),
    include_str!("../kernels/quantize.rs"),
];

/// What became of the weights' cache when a model was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheUse {
    /// No folder was given, or the precision has nothing to fold.
    None,
    /// The weights came from it.
    Read,
    /// The weights were folded and written to it.
    Written,
    /// The weights were folded but could not be written; the reason.
    NotWritten(String),
}

/// What the content of a file depends on, beside the code.
#[derive(Debug)]
pub(crate) struct CacheKey {
    /// Of the checkpoint.
    pub(crate) fingerprint: Fingerprint,
    /// Of the adapter that is merged, if one is.
    pub(crate) adapter: Option<Fingerprint>,
    /// How the weights are rounded.
    pub(crate) precision: Precision,
}

impl CacheKey {
    /// The hash of all of it, and of the code.
    fn hash(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"finezip exact weights\0");
        hasher.update(&self.fingerprint.0);
        // A hash of zeros stands for no adapter; no adapter has it.
        hasher.update(&self.adapter.map_or([0; 32], |adapter| adapter.0));
        hasher.update(&ARITHMETIC_VERSION.to_le_bytes());
        hasher.update(&self.precision.parameter().to_le_bytes());
        hasher.update(&format::LAYOUT_VERSION.to_le_bytes());
        for source in SOURCES.iter().chain(&finezip_models::WEIGHT_SOURCES) {
            hasher.update(blake3::hash(source.as_bytes()).as_bytes());
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
        entries.flat_map(below).collect()
    }

    /// A file of folding that is left out would let a build take weights that another one folded.
    #[test]
    fn every_file_that_folds_is_among_the_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fold");
        let files = files(&folder);
        assert!(files.len() > 5, "{files:?}");
        for file in files {
            // Weights of the precision `f32` are not kept.
            let expected = !file.ends_with("plain.rs");
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(SOURCES.contains(&&*text), expected, "{}", file.display());
        }
    }
}
