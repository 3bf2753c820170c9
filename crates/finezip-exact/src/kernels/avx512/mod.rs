//! AVX-512 with VNNI: `vpdpbusd` multiplies 64 pairs of bytes and adds them to 16 sums.
//!
//! Its first factor is unsigned and comes from a register: packed weights, keys and values, 64
//! bytes for sixteen columns. Its second is signed and is the same four bytes for all columns,
//! broadcast from memory: activations, queries and weights of attention.

mod attention;
mod gemm;
mod hadamard;
mod int4;
mod peak;

pub(super) use attention::{score_sums, scores, value_sums};
pub(super) use gemm::{STREAMED_ROWS, gemm_int8};
pub(super) use hadamard::hadamard_64;
pub(super) use int4::gemm_int4;
pub(super) use peak::multiply_adds;
