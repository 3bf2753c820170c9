//! Rows of activations as 8-bit integers with one scale a row.
//!
//! # Arithmetic
//! For a row `x` with `a = max |x|`: if `2^-100 <= a < infinity`, `inverse = 127 / a`,
//! `q = round(x * inverse)` (half to even, within -127..=127) and `scale = a / 127`, each operation
//! rounded to `f32`. A row with a smaller maximum has scale 0 and zeros; a row with an infinite or
//! undefined value has the scale `f32::NAN` and zeros, so that a broken model shows.

use rayon::prelude::*;

use super::aligned::{AlignedBytes, LINE};
use super::context::Context;
use super::error::{KernelError, expect_at_most};
use super::isa::per_isa;

/// The longest row for which a product of 8-bit rows cannot leave `i32`: 127 * 128 * 2^17 < 2^31.
pub(super) const MAX_DEPTH: usize = 1 << 17;

/// Smallest row maximum that is not taken for zero: 2^-100.
pub(super) const SMALLEST_MAXIMUM: f32 = 7.888_609e-31;

/// 1.5 * 2^23: adding and taking it away rounds an `f32` below 2^22 to an integer, half to even.
pub(crate) const ROUNDING: f32 = 12_582_912.0;

/// Rows of 8-bit integers `[rows][depth]`, a scale and a sum a row; the left side of
/// [`super::gemm_int8`]. Memory is kept between calls.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    values: AlignedBytes,
    scales: Vec<f32>,
    sums: Vec<i32>,
    depth: usize,
    stride: usize,
}

impl QuantizedRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Values a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// One scale a row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The sum of each row's integers.
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// The integers of a row, `[depth]`.
    pub fn row(&self, row: usize) -> impl Iterator<Item = i8> + '_ {
        self.values[row * self.stride..][..self.depth].iter().map(|&byte| byte as i8)
    }

    /// All rows as bytes of `i8`, `[rows][stride]`; past `depth` they are zero.
    pub(super) fn padded(&self) -> &[u8] {
        &self.values
    }

    /// Bytes from one row to the next: an odd number of cache lines, so that rows do not fall on
    /// the same lines of a cache.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Quantizes `x`, `[rows][depth]`.
    ///
    /// # Errors
    /// If `depth` is over 2^17.
    ///
    /// # Panics
    /// If the length of `x` is not `rows * depth`.
    pub fn quantize(
        &mut self,
        context: &Context,
        x: &[f32],
        rows: usize,
        depth: usize,
    ) -> Result<(), KernelError> {
        assert_eq!(x.len(), rows * depth, "activations");
        self.shape(rows, depth)?;
        self.write(context, |index, _, quantized, scale, sum| {
            let row = &x[index * depth..(index + 1) * depth];
            (*scale, *sum) = quantize_row(context.isa(), row, quantized);
        });
        Ok(())
    }

    /// Quantizes rows that `fill` writes one by one: what comes before a product (a norm, an
    /// activation, a rotation) then stays in the first cache.
    ///
    /// # Errors
    /// If `depth` is over 2^17.
    pub fn fill(
        &mut self,
        context: &Context,
        rows: usize,
        depth: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<(), KernelError> {
        self.shape(rows, depth)?;
        self.write(context, |index, scratch, quantized, scale, sum| {
            scratch.resize(depth, 0.0);
            fill(index, scratch);
            (*scale, *sum) = quantize_row(context.isa(), scratch, quantized);
        });
        Ok(())
    }

    fn shape(&mut self, rows: usize, depth: usize) -> Result<(), KernelError> {
        expect_at_most("depth of a row", MAX_DEPTH, depth)?;
        let stride = depth.next_multiple_of(LINE) | LINE;
        if (depth, stride) != (self.depth, self.stride) {
            // What was a value may now be padding, which must be zero.
            self.values.resize(0);
        }
        self.values.resize(rows * stride);
        self.scales.resize(rows, 0.0);
        self.sums.resize(rows, 0);
        (self.depth, self.stride) = (depth, stride);
        Ok(())
    }

    fn write(
        &mut self,
        context: &Context,
        row: impl Fn(usize, &mut Vec<f32>, &mut [u8], &mut f32, &mut i32) + Sync + Send,
    ) {
        let (depth, stride) = (self.depth, self.stride);
        if self.scales.is_empty() {
            return;
        }
        let run = |index: usize, values: &mut [u8], scales: &mut [f32], sums: &mut [i32]| {
            let mut scratch = Vec::new();
            let rows = values.chunks_exact_mut(stride).zip(scales).zip(sums);
            for (inner, ((values, scale), sum)) in rows.enumerate() {
                row(index + inner, &mut scratch, &mut values[..depth], scale, sum);
            }
        };
        let (values, scales, sums) = (&mut *self.values, &mut *self.scales, &mut *self.sums);
        match context.pool_for(scales.len() * depth) {
            Some((pool, tasks)) => {
                let chunk = scales.len().div_ceil(tasks);
                pool.install(|| {
                    values
                        .par_chunks_mut(chunk * stride)
                        .zip(scales.par_chunks_mut(chunk))
                        .zip(sums.par_chunks_mut(chunk))
                        .enumerate()
                        .for_each(|(i, ((values, scales), sums))| {
                            run(i * chunk, values, scales, sums);
                        });
                });
            }
            None => run(0, values, scales, sums),
        }
    }
}

per_isa! {
    /// Writes the integers of a row and returns its scale and the sum of its integers.
    fn quantize_row(x: &[f32], quantized: &mut [u8]) -> (f32, i32) {
        quantize_body(x, quantized)
    }
}

/// Writes the integers of a row and returns its scale and the sum of its integers.
#[inline(always)]
pub(super) fn quantize_body(x: &[f32], quantized: &mut [u8]) -> (f32, i32) {
    let Some(maximum) = largest_magnitude(x) else {
        quantized.fill(0);
        return (f32::NAN, 0);
    };
    if maximum < SMALLEST_MAXIMUM {
        quantized.fill(0);
        return (0.0, 0);
    }
    let inverse = 127.0 / maximum;
    let mut sum = 0;
    for (quantized, v) in quantized.iter_mut().zip(x) {
        let integer = rounded(v * inverse);
        *quantized = integer as u8;
        sum += integer;
    }
    (maximum / 127.0, sum)
}

/// The largest absolute value of a row, 0 for an empty one, none if a value is not finite.
#[inline(always)]
pub(crate) fn largest_magnitude(x: &[f32]) -> Option<f32> {
    // Absolute values of floats order as their bits do.
    let bits = x.iter().fold(0, |maximum: u32, v| maximum.max(v.to_bits() & 0x7fff_ffff));
    Some(f32::from_bits(bits)).filter(|maximum| maximum.is_finite())
}

/// A value below 2^22 rounded to an integer, half to even.
#[inline(always)]
pub(super) fn rounded(value: f32) -> i32 {
    (value + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::context::TEST_THREADS;
    use proptest::prelude::*;

    #[test]
    fn rows_without_a_scale_are_defined() {
        let context = Context::new(Isa::scalar(), 1).unwrap();
        let mut rows = QuantizedRows::new();
        let tiny = 1e-40;
        let x = [0.0, -0.0, tiny, -tiny, 1.0, f32::INFINITY, f32::NAN, 1.0, 2.0, -4.0];
        rows.quantize(&context, &x, 5, 2).unwrap();
        assert_eq!(rows.scales()[..2], [0.0, 0.0]);
        assert!(rows.scales()[2].is_nan() && rows.scales()[3].is_nan());
        assert_eq!(rows.scales()[4], 4.0 / 127.0);
        assert_eq!(rows.row(4).collect::<Vec<_>>(), [64, -127]);
        assert_eq!(rows.sums(), [0, 0, 0, 0, -63]);
        assert!((0..4).all(|row| rows.row(row).all(|q| q == 0)));
    }

    #[test]
    fn halves_round_to_even() {
        let context = Context::new(Isa::detect(), 1).unwrap();
        let mut rows = QuantizedRows::new();
        rows.quantize(&context, &[127.0, 0.5, 1.5, 2.5, -0.5, -1.5], 1, 6).unwrap();
        assert_eq!(rows.row(0).collect::<Vec<_>>(), [127, 0, 2, 2, 0, -2]);
    }

    #[test]
    fn rows_that_are_too_long_are_refused() {
        let context = Context::new(Isa::scalar(), 1).unwrap();
        let result = QuantizedRows::new().fill(&context, 1, MAX_DEPTH + 1, |_, _| ());
        assert!(matches!(result, Err(KernelError::Limit { .. })));
    }

    proptest! {
        #[test]
        fn every_instruction_set_and_thread_count_gives_the_same(
            rows in 0usize..70, depth in 0usize..300, seed: u32,
        ) {
            let x: Vec<f32> = (0..rows * depth)
                .map(|i| (i as u32).wrapping_mul(seed | 1) as i32 as f32 * 1e-9)
                .collect();
            let mut kept = QuantizedRows::new();
            for isa in Isa::available() {
                for &threads in TEST_THREADS {
                    let context = Context::new(isa, threads).unwrap();
                    // Memory of another shape must leave no trace.
                    kept.quantize(&context, &[1.0; 400], 1, 400).unwrap();
                    kept.quantize(&context, &x, rows, depth).unwrap();
                    prop_assert_eq!((kept.rows(), kept.depth()), (rows, depth));
                    for row in 0..rows {
                        let x = &x[row * depth..(row + 1) * depth];
                        let maximum = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                        let expected: Vec<i8> = x
                            .iter()
                            .map(|v| (v * (127.0 / maximum)).round_ties_even() as i8)
                            .collect();
                        prop_assert!(kept.row(row).eq(expected.iter().copied()));
                        prop_assert_eq!(kept.scales()[row], maximum / 127.0);
                        prop_assert_eq!(kept.sums()[row], expected.iter().map(|&q| i32::from(q)).sum::<i32>());
                        let padding = &kept.padded()[row * kept.stride()..][depth..kept.stride()];
                        prop_assert!(padding.iter().all(|&byte| byte == 0));
                    }
                }
            }
        }
    }
}
