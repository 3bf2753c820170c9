//! Coders of FineZip.
//!
//! - [`ArithmeticCoder`]: the code is as long as the model's distribution allows, within a
//!   thousandth. The one to use.
//!
//! Both work on all lanes of a step at once and may share a step's rows over [`Threads`]; neither
//! threads nor instruction sets change a byte. `docs/coder.md` in the repository defines the
//! payloads exactly.
#![forbid(unsafe_code)]

mod arithmetic;
mod distribution;
mod ideal;
mod registry;
mod simd;
mod step;
mod threads;

pub use arithmetic::{ArithmeticCoder, MAX_VOCAB_SIZE};
pub use ideal::ideal_bits;
pub use registry::from_record;
pub use threads::Threads;
