//! The kernels: every loop of the engine that has to be fast, behind one safe door.
//!
//! # What is promised
//! Each function here has one result, bit for bit, whatever the instruction set ([`Isa`]), the
//! number of threads ([`Context`]), the number of rows in the call or the place of a vector in
//! memory. Two means give that:
//! * sums over many terms run in integers, which are exact in any order ([`gemm_int8`],
//!   [`attention()`]), or in `f32` in one written order ([`gemm_f32`], [`gemm_int4`], [`rms_norm`]);
//! * everything else is `+ - * /` and `sqrt` of IEEE 754 on single values, never contracted, and
//!   functions built of these ([`exp`]).
//!
//! # How it is laid out
//! The functions that take whole batches stand in the files of this folder and are written once.
//! What they call in the innermost loops exists once an instruction set: `scalar`, the reference
//! and the portable path, `avx2` and `avx512`. The element-wise functions are written once in
//! plain Rust and compiled once an instruction set, which the compiler vectorises; Rust never
//! reorders or contracts floating point, so the results stay what the source says.
//!
//! All `unsafe` of the workspace stands in this folder. An [`Isa`] value exists only where the CPU
//! has the instructions, so that a safe function may call the code compiled for them.
//!
//! Functions panic where slices do not have the lengths their documentation gives: that is an
//! error of the calling code. What comes from files goes through constructors that return
//! [`KernelError`].
#![allow(unsafe_code)]

mod aligned;
pub mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod context;
mod elementwise;
mod error;
pub mod float;
mod hadamard;
pub mod int4;
pub mod int8;
mod isa;
pub mod kv_cache;
mod order;
mod peak;
mod prefetch;
pub mod quantize;
mod rows;
mod scalar;
mod shared;

pub(crate) use aligned::AlignedBytes;
pub use attention::{AttentionItem, Queries, QueryPrecision, Segment, attention};
pub use context::Context;
pub(crate) use elementwise::dot;
pub use elementwise::{RopeLayout, add_assign, exp, gelu_tanh_gate, rms_norm, rope, silu_gate};
pub use error::KernelError;
pub use float::{F32Weights, gemm_f32};
pub use hadamard::hadamard_64;
pub use int4::{Int4Weights, QuantizedBlocks, gemm_int4, gemm_int4_add};
pub use int8::{Int8Weights, RowWithMaximum, gemm_int8, gemm_int8_add, gemm_int8_with_maxima};
pub use isa::Isa;
pub use kv_cache::{KvCache, KvLane, KvSlot};
pub use peak::peak_multiply_adds;
pub use quantize::QuantizedRows;
pub use rows::StridedRows;
