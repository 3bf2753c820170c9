//! Weights as the file has them to weights as the engine multiplies them.
//!
//! Folding is part of the arithmetic: every machine must make the same integers. It uses
//! additions, multiplications and divisions of `f32` in one written order (docs/arithmetic.md),
//! and threads only share out whole rows or columns.

mod columns;
mod hadamard;
mod int4;
mod int8;
mod plain;
pub(crate) mod rotation;
mod tensors;

pub(crate) use int8::{rotates_down, rotates_queries};
pub(crate) use tensors::has_post_norms;

use finezip_lora::Adapter;
use finezip_models::Checkpoint;

use crate::error::Result;
use crate::kernels::Context;
use crate::options::Precision;
use crate::weights::Weights;
use tensors::Tensors;

/// Makes the weights of a checkpoint in this precision, with the adapter merged before anything
/// else is done to them.
pub(crate) fn fold(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    precision: Precision,
    context: &Context,
) -> Result<Weights> {
    if let Some(adapter) = adapter {
        adapter.check(checkpoint.config())?;
    }
    let tensors = Tensors::new(checkpoint, adapter);
    match precision {
        Precision::Int8 => int8::fold(tensors, context),
        Precision::Int4 => int4::fold(&tensors),
        Precision::F32 => plain::fold(&tensors),
    }
}
