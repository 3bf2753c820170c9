//! LoRA and QLoRA fine-tuning, and the adapters it makes.
//!
//! - [`Adapter`] reads, writes and names adapters in PEFT's format, and adds them to weights in a
//!   defined arithmetic; [`EmbeddedAdapter`] is its compact form in archives. Neither needs tensors.
//! - `data` turns texts into rows of tokens, `train` makes an adapter from them (feature `train`,
//!   on by default): a forward and backward pass of our own on candle's tensors, for every family
//!   that finezip-models reads, with the base model in `f32` or in the blocks of its file.
#![forbid(unsafe_code)]

pub mod adapter;
mod atomic;
#[cfg(feature = "train")]
pub mod data;
mod embedded;
pub mod error;
#[cfg(feature = "train")]
mod frozen;
#[cfg(feature = "train")]
mod network;
#[cfg(feature = "train")]
mod ops;
#[cfg(feature = "train")]
mod random;
pub mod target;
mod tensor_file;
#[cfg(feature = "train")]
pub mod train;

pub use adapter::{Adapter, AdapterConfig, LoraMatrices};
pub use atomic::write_atomically;
pub use embedded::{EmbeddedAdapter, EmbeddedPrecision};
pub use error::{Error, Result};
#[cfg(feature = "train")]
pub use network::{LoraSettings, adapted_logits};
pub use target::{Linear, Targets};
