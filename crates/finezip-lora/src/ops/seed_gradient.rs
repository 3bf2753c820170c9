//! Where a backward pass begins when the gradient of a result is known already.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::for_dtype;

/// Turns any tensor into a scalar 0 whose backward pass gives the tensor this gradient.
///
/// With it one block of the network is differentiated at a time, which is what recomputing
/// activations needs: the gradient that comes from above is a plain tensor without a history.
pub(crate) struct SeedGradient(pub(crate) Tensor);

impl CustomOp1 for SeedGradient {
    fn name(&self) -> &'static str {
        "seed-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_dtype!(candle_core::backend::BackendStorage::dtype(storage), T => {
            let zero: T = T::default();
            Ok((candle_core::WithDType::to_cpu_storage(&[zero]), Shape::from(())))
        })
    }

    fn bwd(&self, _arg: &Tensor, _res: &Tensor, _grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
