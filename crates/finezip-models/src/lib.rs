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

pub use checkpoint::{Checkpoint, RawTensor};
pub use config::{Activation, Architecture, ModelConfig, RopeScaling, SlidingWindow};
pub use error::{Error, Result};
pub use ggml_type::GgmlType;
#[cfg(feature = "tokenizer")]
pub use tokenizer::ModelTokenizer;
