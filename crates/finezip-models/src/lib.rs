//! Where FineZip's models come from.
//!
//! - [`Checkpoint`] reads weights and configuration from a GGUF file or a folder of safetensors,
//!   under one set of names and layouts (see its documentation for the conventions).
//! - [`gguf`] and [`dequantize`] are the layers below, [`seeded`] makes small models for tests.
//! - `ModelTokenizer` (feature `tokenizer`) turns any bytes into tokens and back without loss.
//! - `hub` (feature `hub`) names models, fetches them and checks their hashes.
//!
//! Everything read from a file is taken to be hostile: counts and lengths are checked against the
//! file's size before memory is set aside, and damage is an error with its offset.
#![forbid(unsafe_code)]

mod byte_alphabet;
pub mod checkpoint;
pub mod config;
pub mod dequantize;
pub mod error;
pub mod ggml_type;
pub mod gguf;
#[cfg(feature = "hub")]
pub mod hub;
mod names;
mod safetensors_folder;
pub mod seeded;
mod source;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;

/// The text of the files that decide which values a checkpoint's tensors have: caches of what was
/// made of them are for the code that made them.
pub const WEIGHT_SOURCES: [&str; 15] = [
    include_str!("checkpoint.rs"),
    include_str!("config/from_gguf.rs"),
    include_str!("config/from_json.rs"),
    include_str!("config/mod.rs"),
    include_str!("config/tensors.rs"),
    include_str!("dequantize/k_quants.rs"),
    include_str!("dequantize/legacy.rs"),
    include_str!("dequantize/mod.rs"),
    include_str!("dequantize/plain.rs"),
    include_str!("ggml_type.rs"),
    include_str!("gguf/mod.rs"),
    include_str!("gguf/value.rs"),
    include_str!("names.rs"),
    include_str!("safetensors_folder.rs"),
    include_str!("source.rs"),
];

pub use checkpoint::{Checkpoint, RawTensor};
pub use config::{Activation, Architecture, ModelConfig, RopeScaling, SlidingWindow};
pub use error::{Error, Result};
pub use ggml_type::GgmlType;
#[cfg(feature = "tokenizer")]
pub use tokenizer::ModelTokenizer;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Files that no value of a tensor goes through: what fetches models, what turns text into
    /// tokens, what writes files, tests, and texts of errors.
    const WITHOUT_VALUES: [&str; 10] = [
        "byte_alphabet.rs",
        "checkpoint/tests.rs",
        "dequantize/quantize.rs",
        "error.rs",
        "gguf/tests.rs",
        "gguf/writer.rs",
        "hub",
        "lib.rs",
        "seeded.rs",
        "tokenizer",
    ];

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
        entries.flat_map(below).collect()
    }

    /// A cache that outlives a repair of one of them holds weights that no other machine has.
    #[test]
    fn every_file_that_values_go_through_is_among_their_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in files(&folder) {
            let name = file.strip_prefix(&folder).unwrap();
            let expected = !WITHOUT_VALUES.iter().any(|other| name.starts_with(other));
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(WEIGHT_SOURCES.contains(&&*text), expected, "{}", name.display());
        }
    }
}
