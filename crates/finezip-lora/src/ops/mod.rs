//! Differentiable operations on candle tensors: each with a backward pass of its own.
//!
//! candle's fused norms, softmax and rotations drop gradients silently, its matrix product
//! computes the gradient of frozen weights as well, and compositions of its basic operations walk
//! memory many times. The operations here are custom operations of candle's with both passes
//! written out, in `f32` and `f64`; the tests hold each against finite differences and against a
//! composition of candle's basic operations.

mod attention;
mod gated;
mod head_loss;
mod heads;
mod linear;
mod norm;
mod product;
mod real;
mod seed_gradient;
mod simd;

pub(crate) use attention::Attention;
pub(crate) use gated::Gated;
pub(crate) use head_loss::{HeadLoss, IGNORED, cross_entropy, logits, values_at_once};
pub(crate) use heads::{HeadSizes, PackHeads, Rotation, UnpackHeads};
pub(crate) use linear::{Dropout, FrozenLinear, LinearWeight, LoraLinear};
pub(crate) use norm::RmsNorm;
pub(crate) use product::{Matrix, product};
pub(crate) use real::{
    Real, Stored, check_dtype, for_dtype, like, unknown_dtype, values, with_storage, with_values,
};
pub(crate) use seed_gradient::SeedGradient;

/// Rows that one task works on, where rows are independent.
const TASK_ROWS: usize = 32;

#[cfg(test)]
mod tests;
