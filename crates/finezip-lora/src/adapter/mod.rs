//! Adapters: for each adapted linear two thin matrices whose product is added to its weight.
//!
//! LoRA (Hu et al. 2021, arXiv 2106.09685) replaces a weight `W [out, in]` by
//! `W + scale * B A` with `A [rank, in]` and `B [out, rank]`; `scale` is `alpha / rank`, or
//! `alpha / sqrt(rank)` with rank stabilisation (Kalajdzievski 2023, arXiv 2312.03732).
//!
//! On disk an adapter is a folder as Python's PEFT writes and reads it. Names and the order of
//! rows are those of [`Checkpoint`](finezip_models::Checkpoint), which are Hugging Face's, so
//! adapters go both ways without change.
//!
//! Nothing here needs tensors: an engine that merges adapters uses this module alone.

mod file;
mod merge;
mod peft;

use std::collections::BTreeMap;
use std::path::Path;

use finezip_core::Fingerprint;
use finezip_models::ModelConfig;

use crate::error::{Error, Result};
use crate::target::Linear;

pub use file::{CONFIG_FILE, WEIGHTS_FILE};
#[doc(hidden)]
pub use merge::SOURCE as MERGE_SOURCE;
#[cfg(feature = "train")]
pub(crate) use merge::scale;

/// Starts the hash of an adapter.
const HASH_CONTEXT: &[u8] = b"finezip adapter 1\0";

/// What an adapter was made with. Rank and alpha are those of modules that have none of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Rows of A.
    pub rank: usize,
    /// Strength; the scale follows from it and the rank.
    pub alpha: f32,
    /// Whether the scale is `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub use_rslora: bool,
    /// Share of inputs that were dropped in training; merging does not use it.
    pub dropout: f32,
    /// Name or path of the model it was trained on, for people.
    pub base_model: Option<String>,
    /// Fingerprint of the checkpoint it was trained on, where that is known.
    pub base_fingerprint: Option<String>,
}

/// The matrices of one adapted linear.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraMatrices {
    /// Rows of `a`, columns of `b`.
    pub rank: usize,
    /// Columns of `a`.
    pub in_features: usize,
    /// Rows of `b`.
    pub out_features: usize,
    /// Strength of this module.
    pub alpha: f32,
    /// `[rank, in_features]`, row-major.
    pub a: Vec<f32>,
    /// `[out_features, rank]`, row-major.
    pub b: Vec<f32>,
}

/// An adapter, whole in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    config: AdapterConfig,
    modules: BTreeMap<String, LoraMatrices>,
}

impl Adapter {
    /// Puts an adapter together. Keys are module paths: `model.layers.0.self_attn.q_proj`.
    ///
    /// # Errors
    /// [`Error::Misfit`] for matrices whose lengths are not their sizes, or an empty adapter.
    pub fn new(config: AdapterConfig, modules: BTreeMap<String, LoraMatrices>) -> Result<Self> {
        if modules.is_empty() {
            return Err(Error::misfit("modules", "at least one", "none"));
        }
        for (path, module) in &modules {
            let LoraMatrices { rank, in_features, out_features, .. } = *module;
            for (name, size) in [("rank", rank), ("in", in_features), ("out", out_features)] {
                if size == 0 {
                    return Err(Error::misfit(format!("{name} of {path}"), "at least 1", 0));
                }
            }
            for (name, length, rows, columns) in [
                ("A", module.a.len(), rank, in_features),
                ("B", module.b.len(), out_features, rank),
            ] {
                if rows.checked_mul(columns) != Some(length) {
                    let expected = format!("{rows} x {columns} values");
                    return Err(Error::misfit(format!("{name} of {path}"), expected, length));
                }
            }
        }
        Ok(Self { config, modules })
    }

    /// Reads a folder with `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Files that are missing or damaged, and what PEFT can store but merging as described here
    /// cannot honour (DoRA, trained biases or embeddings, methods other than LoRA).
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        file::open(folder.as_ref())
    }

    /// Writes the two files into a folder, which is made if it is not there. Each appears whole
    /// or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        file::save(self, folder.as_ref())
    }

    /// What it was made with.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Module paths and matrices, paths ascending.
    pub fn modules(&self) -> impl Iterator<Item = (&str, &LoraMatrices)> {
        self.modules.iter().map(|(path, module)| (path.as_str(), module))
    }

    /// The matrices of a module, given by its path without `.weight`.
    pub fn module(&self, path: &str) -> Option<&LoraMatrices> {
        self.modules.get(path)
    }

    /// Number of values in all matrices.
    pub fn parameters(&self) -> usize {
        self.modules.values().map(|module| module.a.len() + module.b.len()).sum()
    }

    /// Checks that every module is one of the model's linears, with its sizes.
    ///
    /// # Errors
    /// [`Error::Misfit`] naming the first that is not.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        let mut known = BTreeMap::new();
        for layer in 0..config.layers {
            for linear in Linear::ALL {
                known.insert(linear.path(layer), linear.shape(config));
            }
        }
        for (path, module) in &self.modules {
            let found = [module.out_features, module.in_features];
            match known.get(path) {
                None => {
                    let expected = format!("a linear of {} layers", config.layers);
                    return Err(Error::misfit("module", expected, path));
                }
                Some(expected) if *expected != found => {
                    let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
                    return Err(Error::misfit(format!("[out, in] of {path}"), expected, found));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The hash that names what merging computes with: BLAKE3 of the context string and, for each
    /// module in the order of their paths, the path's length and bytes, `out_features`,
    /// `in_features` and `rank` (all lengths `u64`), the scale, A and B (`f32`), everything
    /// little-endian. Dropout and names of models do not count.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(HASH_CONTEXT);
        for (path, module) in &self.modules {
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            for size in [module.out_features, module.in_features, module.rank] {
                hasher.update(&(size as u64).to_le_bytes());
            }
            hasher.update(&self.scale(module).to_le_bytes());
            for matrix in [&module.a, &module.b] {
                let bytes: Vec<u8> = matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
                hasher.update(&bytes);
            }
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests;
