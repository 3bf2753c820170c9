//! The bit-exact CPU engine: logits are a function of weights and tokens alone.
//!
//! The same bits come out on any processor, with any number of threads, in any batch, token by
//! token or all at once. docs/arithmetic.md writes down how; [`kernels`] holds what must be fast.

mod arithmetic;
mod blocks;
mod cache;
mod call;
mod error;
mod fold;
mod forward;
pub mod kernels;
mod kv_store;
mod linear;
mod model;
mod options;
mod plain_attention;
mod ring;
mod session;
mod turns;
mod weights;

pub use cache::CacheUse;
pub use error::{Error, Result};
pub use kernels::{Isa, KernelError};
pub use model::{ARITHMETIC_VERSION, ExactModel};
pub use options::{ExactOptions, Precision, UnknownPrecision};
