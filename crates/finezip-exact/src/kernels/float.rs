//! Products in `f32`, in one written order: the exact, slow reference that the integer engines
//! are measured against.
//!
//! # Arithmetic
//! `y = 0`, then `y = y + x[k] * w[k]` for `k` ascending, each product and each sum rounded. The
//! order is the same for every output, so the work runs over sixteen channels at once.

use super::aligned::AlignedBytes;
use super::context::Context;
use super::error::{KernelError, expect_length};
use super::int8::PANEL;
use super::isa::per_isa;
use super::shared::SharedMatrix;

/// Rows a tile.
const TILE: usize = 4;

/// The matrix `W` of a linear layer, `[channels][depth]`, in `f32`, packed in panels of sixteen
/// channels, `[depth][16]` each.
#[derive(Clone, Debug)]
pub struct F32Weights {
    channels: usize,
    depth: usize,
    packed: AlignedBytes,
}

impl F32Weights {
    /// Packs `values`, `[channels][depth]`.
    ///
    /// # Errors
    /// If the length does not fit.
    pub fn pack(channels: usize, depth: usize, values: &[f32]) -> Result<Self, KernelError> {
        expect_length("weights", channels.saturating_mul(depth), values.len())?;
        let panels = channels.div_ceil(PANEL);
        let mut packed = AlignedBytes::filled(panels * PANEL * depth * size_of::<f32>(), 0);
        let panel_length = PANEL * depth;
        let floats = packed.as_floats_mut();
        for (channel, row) in values.chunks_exact(depth.max(1)).enumerate() {
            let panel = &mut floats[channel / PANEL * panel_length..][..panel_length];
            for (packed, &value) in panel.chunks_exact_mut(PANEL).zip(row) {
                packed[channel % PANEL] = value;
            }
        }
        Ok(Self { channels, depth, packed })
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Values a channel.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

/// `out = x W'`: `x` is `[rows][depth]`, `out` is `[rows][channels]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn gemm_f32(context: &Context, x: &[f32], rows: usize, weights: &F32Weights, out: &mut [f32]) {
    let (channels, depth) = (weights.channels, weights.depth);
    assert_eq!(x.len(), rows * depth, "activations");
    assert_eq!(out.len(), rows * channels, "output");
    if out.is_empty() {
        return;
    }
    let out = SharedMatrix::new(out, channels);
    let packed = weights.packed.as_floats();
    context.for_each_range(channels.div_ceil(PANEL), |panels| {
        for panel in panels {
            let columns = panel * PANEL..channels.min((panel + 1) * PANEL);
            let weights = &packed[panel * PANEL * depth..][..PANEL * depth];
            for first in (0..rows).step_by(TILE) {
                let tile = first..rows.min(first + TILE);
                // Rows past the last are computed twice and stored once.
                let x = std::array::from_fn(|i| &x[(first + i).min(rows - 1) * depth..][..depth]);
                let sums = tile_product(context.isa(), x, weights);
                for (row, sums) in tile.zip(sums) {
                    // SAFETY: each panel is in one task, which takes one segment at a time.
                    let out = unsafe { out.segment(row, columns.start, columns.len()) };
                    out.copy_from_slice(&sums[..columns.len()]);
                }
            }
        }
    });
}

per_isa! {
    /// Four rows times a panel.
    fn tile_product(x: [&[f32]; TILE], weights: &[f32]) -> [[f32; PANEL]; TILE] {
        let mut sums = [[0.0; PANEL]; TILE];
        for (k, weights) in weights.chunks_exact(PANEL).enumerate() {
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = x[k];
                for (sum, w) in sums.iter_mut().zip(weights) {
                    *sum += x * w;
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::context::TEST_THREADS;

    #[test]
    fn every_instruction_set_and_thread_count_sums_in_order() {
        for (rows, channels, depth) in [(1, 1, 1), (3, 17, 5), (4, 16, 64), (9, 50, 33), (5, 3, 0)]
        {
            let value = |i: usize| ((i * 2_654_435_761) % 2003) as f32 / 1000.3 - 1.0;
            let x: Vec<f32> = (0..rows * depth).map(value).collect();
            let w: Vec<f32> = (0..channels * depth).map(|i| value(i + 77)).collect();
            let weights = F32Weights::pack(channels, depth, &w).unwrap();
            let mut expected = Vec::new();
            for row in 0..rows {
                for channel in 0..channels {
                    let mut sum = 0.0f32;
                    for k in 0..depth {
                        sum += x[row * depth + k] * w[channel * depth + k];
                    }
                    expected.push(sum.to_bits());
                }
            }
            for isa in Isa::available() {
                for &threads in TEST_THREADS {
                    let context = Context::new(isa, threads).unwrap();
                    let mut out = vec![f32::NAN; rows * channels];
                    gemm_f32(&context, &x, rows, &weights, &mut out);
                    assert!(out.iter().map(|y| y.to_bits()).eq(expected.iter().copied()));
                }
            }
        }
    }
}
