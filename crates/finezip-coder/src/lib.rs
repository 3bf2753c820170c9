//! Coders of FineZip.
//!
//! - [`ArithmeticCoder`]: the code is as long as the model's distribution allows, within a
//!   thousandth. The one to use.
//! - [`RankCoder`]: FineZip's method, the ranks of tokens through a byte compressor. Longer codes.
//!
//! Both work on all lanes of a step at once and may share a step's rows over [`Threads`]; neither
//! threads nor instruction sets change a byte. `docs/coder.md` in the repository defines the
//! payloads exactly. [`from_record`] makes the coder again that an archive names, and
//! [`ideal_bits`] is what payloads are measured against.
#![forbid(unsafe_code)]

mod arithmetic;
mod distribution;
mod ideal;
mod rank;
mod registry;
mod simd;
mod step;
mod threads;

pub use arithmetic::{ArithmeticCoder, MAX_VOCAB_SIZE};
pub use ideal::ideal_bits;
pub use rank::{Backend, RankCoder, rank_of};
pub use registry::from_record;
pub use threads::Threads;
