//! Linear layers in any precision: rows of activations rounded as the weights ask, then multiplied.

use crate::error::Result;
use crate::kernels::{
    Context, QuantizedBlocks, QuantizedRows, RowWithMaximum, add_assign, gemm_f32, gemm_int4,
    gemm_int4_add, gemm_int8, gemm_int8_add, gemm_int8_with_maxima,
};
use crate::weights::Linear;

/// The left side of products: rows in the form that the weights' precision multiplies. Memory is
/// kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Operand {
    quantized: QuantizedRows,
    blocks: QuantizedBlocks,
    plain: Vec<f32>,
    product: Vec<f32>,
}

impl Operand {
    /// Makes `rows` rows of the width that `weights` multiplies; `fill` writes them one by one.
    pub(crate) fn fill(
        &mut self,
        context: &Context,
        weights: &Linear,
        rows: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<()> {
        match weights {
            Linear::Int8(weights) => {
                self.quantized.fill(context, rows, weights.depth(), fill)?;
            }
            Linear::Int4(weights) => {
                self.blocks.fill(context, rows, weights.depth(), fill)?;
            }
            Linear::F32(weights) => {
                self.plain.resize(rows * weights.depth(), 0.0);
                context.for_each_row(&mut self.plain, weights.depth(), fill);
            }
        }
        Ok(())
    }

    /// `out = x W'`, `[rows][channels]`.
    pub(crate) fn multiply(&self, context: &Context, weights: &Linear, out: &mut [f32]) {
        match weights {
            Linear::Int8(weights) => gemm_int8(context, &self.quantized, weights, out),
            Linear::Int4(weights) => gemm_int4(context, &self.blocks, weights, out),
            Linear::F32(weights) => {
                gemm_f32(context, &self.plain, self.plain.len() / weights.depth(), weights, out)
            }
        }
    }

    /// `x W'`, each row to its place; leaves the row's maximum where the kernel has it at hand: rows
    /// of int8.
    pub(crate) fn multiply_with_maxima(
        &mut self,
        context: &Context,
        weights: &Linear,
        places: &mut [RowWithMaximum<'_>],
    ) {
        if let Linear::Int8(weights) = weights {
            gemm_int8_with_maxima(context, &self.quantized, weights, places);
            return;
        }
        let channels = weights.channels();
        let mut product = std::mem::take(&mut self.product);
        product.resize(places.len() * channels, 0.0);
        self.multiply(context, weights, &mut product);
        for (place, row) in places.iter_mut().zip(product.chunks_exact(channels)) {
            place.values.copy_from_slice(row);
        }
        self.product = product;
    }

    /// `out = out + x W'`, the product rounded first.
    pub(crate) fn multiply_add(&mut self, context: &Context, weights: &Linear, out: &mut [f32]) {
        match weights {
            Linear::Int8(weights) => {
                return gemm_int8_add(context, &self.quantized, weights, out);
            }
            Linear::Int4(weights) => return gemm_int4_add(context, &self.blocks, weights, out),
            Linear::F32(_) => {}
        }
        let mut product = std::mem::take(&mut self.product);
        product.resize(out.len(), 0.0);
        self.multiply(context, weights, &mut product);
        add_assign(context.isa(), out, &product);
        self.product = product;
    }
}
