//! Products with 4-bit weights in blocks of 32, as GGUF's Q4_0 and Q4_1 hold them: half the memory
//! of 8 bits, for a few lanes, where memory is the bound.
//!
//! # Arithmetic
//! A weight is `d * q + m` with `q` in 0..=15, and `d` and `m` as 16-bit floats, one pair a block
//! of 32 along the depth (Q4_0 has `m = -8 d`). Activations are 8-bit integers with one scale a
//! block ([`QuantizedBlocks`]). With `y = 0` at first, for each block ascending:
//! `y = y + (d * f32(sum of q * q_x) + m * f32(sum of q_x)) * s_x`; the sums are exact integers, the
//! operations on floats are rounded one by one, in this order.
//!
//! # Layout
//! Channels are cut into panels of 16, the last filled up with zeros. A panel is a record of 320
//! bytes a block: sixteen `d`, sixteen `m` (little-endian), then four lines of 64 bytes. Byte
//! `4 c + t` of line `j` holds the values of channel `c` at `4 j + t` (low half) and at
//! `16 + 4 j + t` of the block.

use std::ops::Range;

use rayon::prelude::*;

use super::aligned::{AlignedBytes, LINE};
use super::context::Context;
use super::error::{KernelError, expect_at_most, expect_length};
use super::int8::PANEL;
use super::isa::{Kind, per_isa};
use super::quantize::{MAX_DEPTH, quantize_body};
use super::scalar;
use super::shared::SharedMatrix;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Values a block.
pub(super) const BLOCK: usize = 32;

/// Bytes of a panel for one block: two factors of sixteen channels, then four lines.
pub(super) const RECORD: usize = 2 * 2 * PANEL + PANEL * BLOCK / 2;

/// Rows of 8-bit integers in blocks of 32, each with a scale and a sum; the left side of
/// [`gemm_int4`]. Memory is kept between calls.
#[derive(Debug, Default)]
pub struct QuantizedBlocks {
    values: AlignedBytes,
    /// `[rows][blocks]`: scale, sum of the integers.
    factors: Vec<[f32; 2]>,
    rows: usize,
    depth: usize,
}

impl QuantizedBlocks {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values a row, a multiple of 32.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The integers of a row, as bytes of `i8`.
    pub(super) fn values(&self, row: usize) -> &[u8] {
        &self.values[row * self.stride()..][..self.depth]
    }

    /// Scale and sum of each block of a row.
    pub(super) fn factors(&self, row: usize) -> &[[f32; 2]] {
        let blocks = self.depth / BLOCK;
        &self.factors[row * blocks..(row + 1) * blocks]
    }

    fn stride(&self) -> usize {
        self.depth.next_multiple_of(LINE) | LINE
    }

    /// Quantizes rows that `fill` writes one by one. Each block of 32 is rounded as a row of
    /// [`super::QuantizedRows`] is.
    ///
    /// # Errors
    /// If the depth is no multiple of 32 or over 2^17.
    pub fn fill(
        &mut self,
        context: &Context,
        rows: usize,
        depth: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<(), KernelError> {
        check_depth(depth)?;
        (self.rows, self.depth) = (rows, depth);
        let (stride, blocks) = (self.stride(), depth / BLOCK);
        self.values.resize(rows * stride);
        self.factors.resize(rows * blocks, [0.0; 2]);
        if rows == 0 || depth == 0 {
            return Ok(());
        }
        let run = |first: usize, values: &mut [u8], factors: &mut [[f32; 2]]| {
            let mut scratch = vec![0.0; depth];
            let rows = values.chunks_exact_mut(stride).zip(factors.chunks_exact_mut(blocks));
            for (index, (values, factors)) in rows.enumerate() {
                fill(first + index, &mut scratch);
                quantize_blocks(context.isa(), &scratch, &mut values[..depth], factors);
            }
        };
        match context.pool_for(rows * depth) {
            Some((pool, tasks)) => {
                let chunk = rows.div_ceil(tasks);
                pool.install(|| {
                    self.values
                        .par_chunks_mut(chunk * stride)
                        .zip(self.factors.par_chunks_mut(chunk * blocks))
                        .enumerate()
                        .for_each(|(i, (values, factors))| run(i * chunk, values, factors));
                });
            }
            None => run(0, &mut self.values, &mut self.factors),
        }
        Ok(())
    }

    /// Quantizes `x`, `[rows][depth]`.
    ///
    /// # Errors
    /// If the depth is no multiple of 32 or over 2^17.
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
        self.fill(context, rows, depth, |row, out| {
            out.copy_from_slice(&x[row * depth..(row + 1) * depth]);
        })
    }
}

per_isa! {
    fn quantize_blocks(x: &[f32], values: &mut [u8], factors: &mut [[f32; 2]]) {
        let blocks = x.chunks_exact(BLOCK).zip(values.chunks_exact_mut(BLOCK));
        for ((x, values), factors) in blocks.zip(factors) {
            let (scale, sum) = quantize_body(x, values);
            *factors = [scale, sum as f32];
        }
    }
}

fn check_depth(depth: usize) -> Result<(), KernelError> {
    expect_at_most("depth of 4-bit weights", MAX_DEPTH, depth)?;
    if depth.is_multiple_of(BLOCK) {
        Ok(())
    } else {
        Err(KernelError::Multiple { what: "depth of 4-bit weights", divisor: BLOCK, found: depth })
    }
}

/// The matrix `W` of a linear layer, `[channels][depth]`, in 4-bit blocks of 32, packed for
/// [`gemm_int4`].
#[derive(Clone, Debug)]
pub struct Int4Weights {
    channels: usize,
    depth: usize,
    packed: AlignedBytes,
}

impl Int4Weights {
    /// Packs `values`, `[channels][depth]`, one value (0 to 15) a byte, and the factors `d` and `m`
    /// of each block, `[channels][depth / 32]`, as bits of 16-bit floats.
    ///
    /// # Errors
    /// If the lengths do not fit, the depth is no multiple of 32 or over 2^17, or a value is over 15.
    pub fn pack(
        channels: usize,
        depth: usize,
        values: &[u8],
        scales: &[u16],
        minima: &[u16],
    ) -> Result<Self, KernelError> {
        check_depth(depth)?;
        let blocks = depth / BLOCK;
        expect_length("4-bit weights", channels.saturating_mul(depth), values.len())?;
        expect_length("scales of 4-bit weights", channels.saturating_mul(blocks), scales.len())?;
        expect_length("minima of 4-bit weights", channels.saturating_mul(blocks), minima.len())?;
        let largest = values.iter().copied().max().unwrap_or(0);
        expect_at_most("4-bit weight", 15, usize::from(largest))?;
        let mut packed = AlignedBytes::filled(Self::packed_bytes(channels, depth), 0);
        for (index, values) in values.chunks_exact(BLOCK).enumerate() {
            let (channel, block) = (index / blocks, index % blocks);
            let (panel, column) = (channel / PANEL, channel % PANEL);
            let record = &mut packed[(panel * blocks + block) * RECORD..][..RECORD];
            record[2 * column..][..2].copy_from_slice(&scales[index].to_le_bytes());
            record[2 * (PANEL + column)..][..2].copy_from_slice(&minima[index].to_le_bytes());
            for (i, &value) in values.iter().enumerate() {
                let (line, half) = (i % 16 / 4, i / 16);
                let byte = 4 * PANEL + line * LINE + 4 * column + i % 4;
                record[byte] |= value << (4 * half);
            }
        }
        Ok(Self { channels, depth, packed })
    }

    /// Takes what [`Int4Weights::packed`] gave.
    ///
    /// # Errors
    /// If the length does not fit, or the depth is no multiple of 32 or over 2^17.
    pub(crate) fn from_parts(
        channels: usize,
        depth: usize,
        packed: AlignedBytes,
    ) -> Result<Self, KernelError> {
        check_depth(depth)?;
        expect_at_most("channels of weights", usize::MAX - PANEL, channels)?;
        expect_length("packed weights", Self::packed_bytes(channels, depth), packed.len())?;
        Ok(Self { channels, depth, packed })
    }

    /// Moves the bytes of several matrices into one piece of memory, as
    /// [`super::Int8Weights::gather`] does.
    pub fn gather<'a>(weights: impl IntoIterator<Item = &'a mut Self>) {
        let mut buffers: Vec<_> = weights.into_iter().map(|weights| &mut weights.packed).collect();
        AlignedBytes::gather(&mut buffers);
    }

    /// Bytes that weights of this shape take when packed.
    pub fn packed_bytes(channels: usize, depth: usize) -> usize {
        channels.div_ceil(PANEL).saturating_mul(depth / BLOCK * RECORD)
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Values a channel, a multiple of 32.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The packed bytes, in the layout that the module describes.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Writes the values of one channel, `[depth]`: `(q * d + m) * scale`.
    ///
    /// # Panics
    /// If there is no such channel, or `out` does not have `depth` values.
    pub fn write_channel(&self, channel: usize, scale: f32, out: &mut [f32]) {
        assert!(channel < self.channels && out.len() == self.depth, "channel");
        let column = channel % PANEL;
        let records = self.panel(channel / PANEL).chunks_exact(RECORD);
        for (record, out) in records.zip(out.chunks_exact_mut(BLOCK)) {
            let (factors, lines) = record.split_at(4 * PANEL);
            let (factors, _) = factors.as_chunks::<2>();
            let half = |at: usize| half_to_f32(u16::from_le_bytes(factors[at]));
            let (d, m) = (half(column), half(PANEL + column));
            for (i, out) in out.iter_mut().enumerate() {
                let byte = lines[i % 16 / 4 * LINE + 4 * column + i % 4];
                let q = if i < 16 { byte & 15 } else { byte >> 4 };
                *out = (f32::from(q) * d + m) * scale;
            }
        }
    }

    /// The records of one panel.
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.depth / BLOCK * RECORD;
        &self.packed[panel * bytes..(panel + 1) * bytes]
    }

    fn panels(&self) -> usize {
        self.channels.div_ceil(PANEL)
    }
}

/// What a kernel does with the products.
pub(super) struct Int4Job<'a> {
    /// The left side.
    pub(super) x: &'a QuantizedBlocks,
    /// The right side.
    pub(super) weights: &'a Int4Weights,
    out: SharedMatrix<'a>,
    add: bool,
}

impl Int4Job<'_> {
    /// Stores a row's products of a panel.
    ///
    /// # Safety
    /// No other task may have this panel.
    pub(super) unsafe fn store(&self, row: usize, panel: usize, products: &[f32; PANEL]) {
        let channels = panel * PANEL..self.weights.channels.min((panel + 1) * PANEL);
        // SAFETY: the caller's promise; this is the only segment taken.
        let out = unsafe { self.out.segment(row, channels.start, channels.len()) };
        for (out, product) in out.iter_mut().zip(products) {
            *out = if self.add { *out + product } else { *product };
        }
    }
}

/// `out = x W'`, `[rows][channels]`, in the arithmetic that the module describes.
///
/// # Panics
/// If the depths differ or `out` does not have `rows * channels` values.
pub fn gemm_int4(context: &Context, x: &QuantizedBlocks, weights: &Int4Weights, out: &mut [f32]) {
    run(context, x, weights, out, false);
}

/// `out = out + x W'`, one more rounding.
///
/// # Panics
/// As [`gemm_int4`].
pub fn gemm_int4_add(
    context: &Context,
    x: &QuantizedBlocks,
    weights: &Int4Weights,
    out: &mut [f32],
) {
    run(context, x, weights, out, true);
}

fn run(context: &Context, x: &QuantizedBlocks, weights: &Int4Weights, out: &mut [f32], add: bool) {
    assert_eq!(x.depth, weights.depth, "depth of rows and of weights");
    assert_eq!(out.len(), x.rows * weights.channels, "output");
    if out.is_empty() {
        return;
    }
    let job = Int4Job { x, weights, out: SharedMatrix::new(out, weights.channels), add };
    context.for_each_range(weights.panels(), |panels: Range<usize>| match context.isa().kind() {
        Kind::Scalar => scalar::gemm_int4(&job, panels),
        // SAFETY: the kind proves the instructions; ranges are disjoint.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::gemm_int4(&job, panels) },
        // SAFETY: the kind proves the instructions; ranges are disjoint.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::gemm_int4(&job, panels) },
    });
}

/// The value of a 16-bit float, exact. (IEEE 754, binary16.)
pub(super) fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        // Below 2^-14 the step is 2^-24.
        0 => fraction as f32 * (1.0 / 16_777_216.0),
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::context::TEST_THREADS;
    use proptest::prelude::*;

    fn random(seed: usize) -> impl Fn(usize) -> usize {
        move |i| (i + seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
    }

    fn check(rows: usize, channels: usize, blocks: usize, seed: usize) {
        let random = random(seed);
        let depth = blocks * BLOCK;
        let x: Vec<f32> =
            (0..rows * depth).map(|i| (random(i) % 2001) as f32 / 100.0 - 10.0).collect();
        let values: Vec<u8> = (0..channels * depth).map(|i| (random(i + 5) % 16) as u8).collect();
        check_values([rows, channels, blocks], &x, &values, seed);
    }

    /// Holds every instruction set and thread count against the definition.
    fn check_values(shape: [usize; 3], x: &[f32], values: &[u8], seed: usize) {
        let ([rows, channels, blocks], random) = (shape, random(seed));
        let depth = blocks * BLOCK;
        // Exponents from the smallest (subnormal) to 2^0.
        let half = |i: usize| ((random(i) % 0x3c00) | (random(i + 9) % 2) << 15) as u16;
        let scales: Vec<u16> = (0..channels * blocks).map(|i| half(i + 7)).collect();
        let minima: Vec<u16> = (0..channels * blocks).map(|i| half(i + 11)).collect();
        let weights = Int4Weights::pack(channels, depth, values, &scales, &minima).unwrap();
        let packed = AlignedBytes::copy_of(weights.packed());
        let again = Int4Weights::from_parts(channels, depth, packed).unwrap();
        let before: Vec<f32> = (0..rows * channels).map(|i| random(i) as f32).collect();
        let mut written = vec![f32::NAN; depth];
        for channel in 0..channels {
            weights.write_channel(channel, 3.5, &mut written);
            for (i, written) in written.iter().enumerate() {
                let index = channel * blocks + i / BLOCK;
                let (d, m) = (half_to_f32(scales[index]), half_to_f32(minima[index]));
                let expected = (f32::from(values[channel * depth + i]) * d + m) * 3.5;
                assert_eq!(written.to_bits(), expected.to_bits(), "{channel} {i}");
            }
        }

        let scalar = Context::new(Isa::scalar(), 1).unwrap();
        let mut quantized = QuantizedBlocks::new();
        quantized.quantize(&scalar, x, rows, depth).unwrap();
        let mut expected = Vec::new();
        for row in 0..rows {
            for channel in 0..channels {
                let mut y = 0.0f32;
                for block in 0..blocks {
                    let at = channel * depth + block * BLOCK;
                    let (mut dot, mut sum) = (0, 0);
                    for i in 0..BLOCK {
                        let q = i32::from(quantized.values(row)[block * BLOCK + i] as i8);
                        dot += q * i32::from(values[at + i]);
                        sum += q;
                    }
                    let index = channel * blocks + block;
                    let d = half_to_f32(scales[index]);
                    let m = half_to_f32(minima[index]);
                    let scale = quantized.factors(row)[block][0];
                    y += (d * dot as f32 + m * sum as f32) * scale;
                }
                expected.push(y);
            }
        }
        for isa in Isa::available() {
            for &threads in TEST_THREADS {
                let context = Context::new(isa, threads).unwrap();
                let mut quantized = QuantizedBlocks::new();
                quantized.quantize(&context, x, rows, depth).unwrap();
                let mut out = vec![f32::NAN; rows * channels];
                gemm_int4(&context, &quantized, &again, &mut out);
                let same = |(a, b): (&f32, f32)| a.to_bits() == b.to_bits();
                assert!(out.iter().zip(expected.iter().copied()).all(same), "{isa} {threads}");
                out.copy_from_slice(&before);
                gemm_int4_add(&context, &quantized, &weights, &mut out);
                let sums = before.iter().zip(&expected).map(|(a, b)| a + b);
                assert!(out.iter().zip(sums).all(same), "{isa} {threads}");
            }
        }
    }

    #[test]
    fn products_are_as_defined_for_every_tile() {
        for rows in (0..=9).chain([16, 17, 33]) {
            for (channels, blocks) in [(1, 1), (16, 2), (37, 3), (5, 0)] {
                check(rows, channels, blocks, rows);
            }
        }
    }

    /// The largest magnitudes that activations and values have: no sum of them is cut on its way.
    #[test]
    fn extremes_are_exact() {
        let (channels, blocks) = (17, 3);
        for rows in 1..=4 {
            // All 127, all -127, and both by turns: from value to value, from half to half.
            for period in [0, 1, 16] {
                for sign in [1.0f32, -1.0] {
                    let turn =
                        |i: usize| if period > 0 && i / period % 2 == 1 { -sign } else { sign };
                    let x: Vec<f32> = (0..rows * blocks * BLOCK).map(|i| 3.7 * turn(i)).collect();
                    let mut quantized = QuantizedBlocks::new();
                    let context = Context::new(Isa::scalar(), 1).unwrap();
                    quantized.quantize(&context, &x, rows, blocks * BLOCK).unwrap();
                    let integers = quantized.values(rows - 1).iter().map(|&byte| byte as i8);
                    assert!(integers.zip(0..).all(|(q, i)| f32::from(q) == 127.0 * turn(i)));
                    let values = vec![15u8; channels * blocks * BLOCK];
                    check_values([rows, channels, blocks], &x, &values, rows);
                }
            }
        }
    }

    #[test]
    fn halves_have_their_values() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x7bff, 65_504.0),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7e00).is_nan());
        assert_eq!(half_to_f32(0x8000).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        assert!(Int4Weights::pack(1, 33, &[0; 33], &[0], &[0]).is_err());
        assert!(Int4Weights::pack(1, 32, &[16; 32], &[0], &[0]).is_err());
        assert!(Int4Weights::pack(1, 32, &[1; 32], &[0; 2], &[0]).is_err());
        let from_zeros =
            |channels, count| Int4Weights::from_parts(channels, 32, AlignedBytes::filled(count, 0));
        assert!(from_zeros(1, 320).is_ok() && from_zeros(1, 319).is_err());
        assert!(from_zeros(usize::MAX, 0).is_err());
        assert!(
            QuantizedBlocks::new()
                .quantize(&Context::new(Isa::scalar(), 1).unwrap(), &[0.0; 31], 1, 31)
                .is_err()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn products_are_as_defined(
            rows in 0usize..20, channels in 0usize..60, blocks in 0usize..6, seed: u32,
        ) {
            check(rows, channels, blocks, seed as usize);
        }
    }
}
