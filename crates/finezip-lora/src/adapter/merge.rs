//! What an adapter adds to a weight, operation by operation.
//!
//! Engines whose results are the same bits on every machine merge adapters, so this is part of
//! their arithmetic (docs/arithmetic.md): `f32` products and sums in one written order, each rounded
//! by itself.

use super::{Adapter, LoraMatrices};
use crate::error::{Error, Result};

/// The text of this file: caches of merged weights are for the code that made them.
pub const SOURCE: &str = include_str!("merge.rs");

impl Adapter {
    /// What a module's products are multiplied with, in `f32`: one division, after one square
    /// root with rank stabilisation.
    pub fn scale(&self, module: &LoraMatrices) -> f32 {
        scale(module.alpha, module.rank, self.config.use_rslora)
    }

    /// What is added to a module's weight, `[out, in]` row-major; none where the adapter leaves
    /// the module alone.
    ///
    /// Each value is `scale * (((b0 * a0 + b1 * a1) + b2 * a2) + ...)` over the rank ascending,
    /// each operation rounded to `f32`, so that every machine gets the same bits.
    pub fn delta(&self, path: &str) -> Option<Vec<f32>> {
        let module = self.modules.get(path)?;
        let scale = self.scale(module);
        let mut delta = vec![0.0; module.out_features * module.in_features];
        let rows = delta.chunks_exact_mut(module.in_features);
        for (row, factors) in rows.zip(module.b.chunks_exact(module.rank)) {
            for (factor, a) in factors.iter().zip(module.a.chunks_exact(module.in_features)) {
                for (value, a) in row.iter_mut().zip(a) {
                    *value += factor * a;
                }
            }
            row.iter_mut().for_each(|value| *value *= scale);
        }
        Some(delta)
    }

    /// Adds what the adapter adds to the weight of a module, `[out, in]` row-major: one `f32` sum
    /// a value. A module that the adapter leaves alone stays as it is, bit for bit.
    ///
    /// # Errors
    /// [`Error::Misfit`] for a weight of another size.
    pub fn merge(&self, path: &str, weight: &mut [f32]) -> Result<()> {
        let Some(delta) = self.delta(path) else { return Ok(()) };
        if delta.len() != weight.len() {
            let (expected, found) = (weight.len(), delta.len());
            return Err(Error::misfit(format!("values of {path}"), expected, found));
        }
        weight.iter_mut().zip(delta).for_each(|(value, change)| *value += change);
        Ok(())
    }
}

/// `alpha / rank`, or `alpha / sqrt(rank)`.
pub(crate) fn scale(alpha: f32, rank: usize, use_rslora: bool) -> f32 {
    let rank = rank as f32;
    alpha / if use_rslora { rank.sqrt() } else { rank }
}
