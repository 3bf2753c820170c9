//! A checkpoint's tensors in the form candle's model code takes them: a `VarBuilder` in `f32`, an
//! adapter's changes added.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use finezip_core::Result;
use finezip_lora::Adapter;
use finezip_models::{Architecture, Checkpoint};

use crate::failure;

/// Reads all tensors, dequantised to `f32` and with the adapter merged, onto the device.
///
/// # Errors
/// What reading the checkpoint or placing the tensors gives, and an adapter of another model.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    device: &Device,
) -> Result<VarBuilder<'static>> {
    if let Some(adapter) = adapter {
        adapter.check(checkpoint.config()).map_err(failure)?;
    }

    let gemma = checkpoint.config().architecture == Architecture::Gemma3;
    let mut tensors = HashMap::new();
    for name in checkpoint.tensor_names() {
        let (mut values, shape) = checkpoint.tensor_f32(name).map_err(failure)?;
        if gemma && name.ends_with("norm.weight") {
            // candle's Gemma 3 adds one to every gain itself, as the published weights ask for.
            values.iter_mut().for_each(|gain| *gain -= 1.0);
        }
        if let (Some(adapter), Some(module)) = (adapter, name.strip_suffix(".weight")) {
            adapter.merge(module, &mut values).map_err(failure)?;
        }
        let tensor = Tensor::from_vec(values, shape, device).map_err(failure)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(VarBuilder::from_tensors(tensors, DType::F32, device))
}
