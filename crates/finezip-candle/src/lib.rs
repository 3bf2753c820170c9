//! FineZip engine on candle: stock `candle-transformers` models, driven in lockstep.
//!
//! Reads what [`finezip_models::Checkpoint`] reads (GGUF files and safetensors folders of the
//! Llama, Qwen2, Qwen3 and Gemma 3 families) and computes it with candle's own model code, so any
//! model candle knows is one file away. The stock models give the logits of the last position
//! only and their KV caches cannot be rolled back, so lanes are computed in groups of a fixed
//! size that step together; see `docs/engine-candle.md`.
//!
//! Its logits repeat on the same kind of machine only: see [`CandleModel`].
#![forbid(unsafe_code)]

mod group;
mod kind;
mod model;
mod network;
mod options;
mod session;
mod weights;
mod workers;

pub use model::CandleModel;
pub use options::{CandleOptions, Compute, WeightFormat};

/// The name of this engine in records and errors.
pub const ENGINE: &str = "candle";

/// The version of this engine's arithmetic in records: raised with a release of candle, or a
/// change here, that gives other logits. Version 1 is candle 0.11.1.
pub const ENGINE_VERSION: u32 = 1;

/// An error of this engine.
pub(crate) fn failure(message: impl ToString) -> finezip_core::Error {
    finezip_core::Error::engine(ENGINE, message)
}
