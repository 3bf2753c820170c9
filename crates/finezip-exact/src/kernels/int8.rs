//! Products of 8-bit rows with 8-bit weights: `y = W x` with one scale a row and one a channel.
//!
//! # Arithmetic
//! `sum` is the exact integer sum of `q_x * q_w` over the depth; it stays below 2^31 because the
//! depth is at most 2^17. Then `y = (f32(sum) * s_x) * s_w`, three roundings in this order.
//!
//! # Layout
//! One layout serves every instruction set, so that packed weights can be kept on disk. Channels
//! are cut into panels of 16 (the last filled up with zeros) and the depth into groups of 4: a
//! panel is `[depth / 4][16][4]` bytes, so that 64 bytes hold four consecutive values of each of
//! sixteen channels, as the multiply-add of four bytes (`vpdpbusd`) wants them. A byte holds the
//! value plus 128, for that instruction multiplies unsigned by signed bytes; the surplus,
//! `128 * sum(q_x)`, is taken back once a row.
//!
//! # Why not a library
//! `rten-gemm` 0.27 multiplies the same bytes exactly. On one core of an AMD EPYC (Zen 4) that other
//! work kept busy, by the thread's own time, in G multiply-adds a second, peak of `vpdpbusd` 235:
//!
//! | weights of SmolLM2-135M | rows | `rten-gemm` (sums alone) | here (scaled) |
//! |---|---|---|---|
//! | q, k, v (576 to 960) | 1 / 8 / 64 / 512 | 26 / 203 / 210 / 169 | 72 / 207 / 214 / 200 |
//! | gate, up (576 to 3072) | 1 / 8 / 64 / 512 | 26 / 204 / 207 / 127 | 72 / 207 / 213 / 169 |
//! | down (1536 to 576) | 1 / 8 / 64 / 512 | 26 / 197 / 202 / 154 | 80 / 220 / 226 / 203 |
//! | head (576 to 49,152) | 1 / 8 / 64 | 17 / 123 / 149 | 41 / 194 / 176 |
//!
//! It wants another pass over `i32` sums for the scales, packs activations at each call, and has
//! no 4-bit blocks with a minimum; so the kernels are our own.

use std::ops::Range;
use std::sync::atomic::{AtomicI32, Ordering};

use super::aligned::AlignedBytes;
use super::context::Context;
use super::error::{KernelError, expect_at_most, expect_length};
use super::isa::Kind;
use super::order::{from_order_key, order_key};
use super::quantize::{MAX_DEPTH, QuantizedRows};
use super::scalar;
use super::shared::SharedMatrix;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Channels a panel.
pub(super) const PANEL: usize = 16;

/// What is added to a weight to make its byte.
pub(super) const OFFSET: i32 = 128;

/// The matrix `W` of a linear layer, `[channels][depth]`, as 8-bit integers with one scale a
/// channel, packed for [`gemm_int8`].
#[derive(Clone, Debug)]
pub struct Int8Weights {
    channels: usize,
    depth: usize,
    scales: Vec<f32>,
    packed: AlignedBytes,
}

impl Int8Weights {
    /// Packs `values`, `[channels][depth]`, with one scale a channel.
    ///
    /// # Errors
    /// If the lengths do not fit, or the depth is over 2^17.
    pub fn pack(
        channels: usize,
        depth: usize,
        values: &[i8],
        scales: &[f32],
    ) -> Result<Self, KernelError> {
        expect_at_most("depth of weights", MAX_DEPTH, depth)?;
        expect_length("weights", channels.saturating_mul(depth), values.len())?;
        expect_length("scales of weights", channels, scales.len())?;
        let length = Self::packed_bytes(channels, depth);
        let mut packed = AlignedBytes::filled(length, OFFSET as u8);
        let panel_bytes = PANEL * depth.next_multiple_of(4);
        for channel in 0..channels {
            let row = &values[channel * depth..(channel + 1) * depth];
            let panel = &mut packed[channel / PANEL * panel_bytes..][..panel_bytes];
            for (group, values) in row.chunks(4).enumerate() {
                let bytes = &mut panel[(group * PANEL + channel % PANEL) * 4..][..values.len()];
                for (byte, &value) in bytes.iter_mut().zip(values) {
                    *byte = (i32::from(value) + OFFSET) as u8;
                }
            }
        }
        Ok(Self { channels, depth, scales: scales.to_vec(), packed })
    }

    /// Takes what [`Int8Weights::packed`] and [`Int8Weights::scales`] gave.
    ///
    /// # Errors
    /// If the lengths do not fit, or the depth is over 2^17.
    pub(crate) fn from_parts(
        channels: usize,
        depth: usize,
        packed: AlignedBytes,
        scales: Vec<f32>,
    ) -> Result<Self, KernelError> {
        expect_at_most("depth of weights", MAX_DEPTH, depth)?;
        expect_at_most("channels of weights", usize::MAX - PANEL, channels)?;
        expect_length("packed weights", Self::packed_bytes(channels, depth), packed.len())?;
        expect_length("scales of weights", channels, scales.len())?;
        Ok(Self { channels, depth, scales, packed })
    }

    /// Moves the bytes of several matrices into one piece of memory, in the order in which they
    /// will be read: the system can then back them with huge pages, which makes a step of one row
    /// faster. Nothing else changes.
    pub fn gather<'a>(weights: impl IntoIterator<Item = &'a mut Self>) {
        let mut buffers: Vec<_> = weights.into_iter().map(|weights| &mut weights.packed).collect();
        AlignedBytes::gather(&mut buffers);
    }

    /// Bytes that weights of this shape take when packed.
    pub fn packed_bytes(channels: usize, depth: usize) -> usize {
        channels.next_multiple_of(PANEL).saturating_mul(depth.next_multiple_of(4))
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Values a channel.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// One scale a channel.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The packed bytes, in the layout that the module describes.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The integer of a channel at a depth.
    ///
    /// # Panics
    /// If there is none.
    pub fn value(&self, channel: usize, index: usize) -> i8 {
        assert!(channel < self.channels && index < self.depth);
        let panel_bytes = PANEL * self.depth.next_multiple_of(4);
        let panel = &self.packed[channel / PANEL * panel_bytes..][..panel_bytes];
        let byte = panel[(index / 4 * PANEL + channel % PANEL) * 4 + index % 4];
        (i32::from(byte) - OFFSET) as i8
    }

    /// Groups of four along the depth.
    pub(super) fn groups(&self) -> usize {
        self.depth.div_ceil(4)
    }

    /// Number of panels.
    pub(super) fn panels(&self) -> usize {
        self.channels.div_ceil(PANEL)
    }

    /// The bytes of one panel, `[groups][16][4]`.
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let bytes = PANEL * 4 * self.groups();
        &self.packed[panel * bytes..(panel + 1) * bytes]
    }

    /// The channels of a panel that are no filling.
    pub(super) fn panel_channels(&self, panel: usize) -> Range<usize> {
        panel * PANEL..self.channels.min((panel + 1) * PANEL)
    }
}

/// What a kernel does with the products.
pub(super) struct Int8Job<'a> {
    /// The left side.
    pub(super) x: &'a QuantizedRows,
    /// The right side.
    pub(super) weights: &'a Int8Weights,
    /// `[rows][channels]`.
    pub(super) out: SharedMatrix<'a>,
    /// Whether products are added to `out` or stored.
    pub(super) add: bool,
    /// Where to raise the rows' maxima, as [`order_key`]s.
    pub(super) maxima: Option<&'a [AtomicI32]>,
}

/// `out = x W'`, `[rows][channels]`, in the arithmetic that the module describes.
///
/// # Panics
/// If the depths differ or `out` does not have `rows * channels` values.
pub fn gemm_int8(context: &Context, x: &QuantizedRows, weights: &Int8Weights, out: &mut [f32]) {
    let out = whole(x, weights, out);
    run(context, x, weights, out, false, None);
}

/// `out = out + x W'`, one more rounding: a layer's output added to the residual stream.
///
/// # Panics
/// As [`gemm_int8`].
pub fn gemm_int8_add(context: &Context, x: &QuantizedRows, weights: &Int8Weights, out: &mut [f32]) {
    let out = whole(x, weights, out);
    run(context, x, weights, out, true, None);
}

/// A row of a product and its maximum.
#[derive(Debug)]
pub struct RowWithMaximum<'a> {
    /// `[channels]`.
    pub values: &'a mut [f32],
    /// The largest of them in IEEE 754's total order: -0 comes before 0. Without channels it is
    /// minus infinity.
    pub maximum: &'a mut f32,
}

/// `x W'`, each row to a place of its own, with the row's maximum, taken while the tile is in the
/// first cache: what a softmax over the vocabulary needs first.
///
/// # Panics
/// If the depths differ, or `out` does not have one place of `channels` values for each row.
pub fn gemm_int8_with_maxima(
    context: &Context,
    x: &QuantizedRows,
    weights: &Int8Weights,
    out: &mut [RowWithMaximum<'_>],
) {
    assert_eq!(out.len(), x.rows(), "places of rows");
    let keys: Vec<_> = out.iter().map(|_| AtomicI32::new(order_key(f32::NEG_INFINITY))).collect();
    let rows = out.iter_mut().map(|row| &mut *row.values);
    run(context, x, weights, SharedMatrix::of_rows(rows, weights.channels()), false, Some(&keys));
    for (row, key) in out.iter_mut().zip(&keys) {
        *row.maximum = from_order_key(key.load(Ordering::Relaxed));
    }
}

/// The matrix of a product, all of which is written.
fn whole<'a>(x: &QuantizedRows, weights: &Int8Weights, out: &'a mut [f32]) -> SharedMatrix<'a> {
    assert_eq!(out.len(), x.rows() * weights.channels(), "output");
    SharedMatrix::new(out, weights.channels())
}

fn run(
    context: &Context,
    x: &QuantizedRows,
    weights: &Int8Weights,
    out: SharedMatrix<'_>,
    add: bool,
    maxima: Option<&[AtomicI32]>,
) {
    assert_eq!(x.depth(), weights.depth(), "depth of rows and of weights");
    if x.rows() == 0 || weights.channels() == 0 {
        return;
    }
    let job = Int8Job { x, weights, out, add, maxima };
    #[cfg(target_arch = "x86_64")]
    let pairs = match context.isa().kind() {
        // SAFETY: the kind proves the instructions.
        Kind::Avx2 => unsafe { avx2::widened(x) },
        _ => Vec::new(),
    };
    let step = panels_a_step(context, x.rows());
    let steps = weights.panels().div_ceil(step);
    context.for_each_range(steps, |range| {
        let panels = range.start * step..(range.end * step).min(weights.panels());
        match context.isa().kind() {
            Kind::Scalar => scalar::gemm_int8(&job, panels),
            // SAFETY: the kind proves the instructions; ranges are disjoint.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::gemm_int8(&job, &pairs, panels) },
            // SAFETY: the kind proves the instructions; ranges are disjoint.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => unsafe { avx512::gemm_int8(&job, panels) },
        }
    });
}

/// Where tasks may be cut: between any two panels where the kernel takes them one at a time, for a
/// matrix of few panels does not divide evenly among threads otherwise.
fn panels_a_step(context: &Context, rows: usize) -> usize {
    let _ = rows;
    match context.isa().kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni if rows > avx512::STREAMED_ROWS => panels_together(rows),
        _ => 1,
    }
}

/// How many panels AVX-512's kernel takes at a time, so that tasks are cut at its tiles: three
/// where tiles have up to eight rows, four where they have up to six.
#[cfg(target_arch = "x86_64")]
pub(super) fn panels_together(rows: usize) -> usize {
    let tiles = rows.div_ceil(8).max(1);
    if rows.div_ceil(tiles) > 6 { 3 } else { 4 }
}

/// Cuts rows into the fewest tiles of at most so many, as even as can be.
#[cfg(target_arch = "x86_64")]
pub(super) fn tile_rows(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = rows.div_ceil(most);
    (0..tiles).map(move |tile| tile * rows / tiles..(tile + 1) * rows / tiles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::context::TEST_THREADS;
    use proptest::prelude::*;

    /// The definition, value by value.
    fn defined(x: &QuantizedRows, weights: &Int8Weights, before: Option<&[f32]>) -> Vec<u32> {
        let mut out = Vec::new();
        for row in 0..x.rows() {
            for channel in 0..weights.channels() {
                let products = x.row(row).enumerate();
                let sum: i64 = products
                    .map(|(k, q)| i64::from(q) * i64::from(weights.value(channel, k)))
                    .sum();
                let sum = i32::try_from(sum).unwrap();
                let product = (sum as f32 * x.scales()[row]) * weights.scales()[channel];
                out.push(before.map_or(product, |before| before[out.len()] + product).to_bits());
            }
        }
        out
    }

    /// Each row's maximum in the total order, value by value.
    fn maxima_of(out: &[f32], rows: usize, channels: usize) -> Vec<f32> {
        let row = |row: usize| out[row * channels..(row + 1) * channels].iter().copied();
        let maximum = |index| row(index).max_by(f32::total_cmp).unwrap_or(f32::NEG_INFINITY);
        (0..rows).map(maximum).collect()
    }

    /// Rows one after the other and their maxima.
    fn rows_of<'a>(
        out: &'a mut [f32],
        maxima: &'a mut [f32],
    ) -> impl Iterator<Item = RowWithMaximum<'a>> {
        let rows = maxima.len();
        let channels = out.len().checked_div(rows).unwrap_or(0);
        let (mut rest, mut maxima) = (out, maxima.iter_mut());
        std::iter::from_fn(move || {
            let maximum = maxima.next()?;
            let (values, after) = std::mem::take(&mut rest).split_at_mut(channels);
            rest = after;
            Some(RowWithMaximum { values, maximum })
        })
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Holds every instruction set and thread count against the definition.
    fn check(rows: usize, channels: usize, depth: usize, value: impl Fn(usize) -> i32) {
        let x: Vec<f32> = (0..rows * depth).map(|i| value(i).clamp(-127, 127) as f32).collect();
        let w: Vec<i8> = (0..channels * depth).map(|i| value(i * 31 + 7) as i8).collect();
        let scales: Vec<f32> = (0..channels).map(|i| value(i) as f32 * 0.37e-3).collect();
        let weights = Int8Weights::pack(channels, depth, &w, &scales).unwrap();
        for (i, &w) in w.iter().enumerate() {
            assert_eq!(weights.value(i / depth, i % depth), w);
        }
        let before: Vec<f32> = (0..rows * channels).map(|i| value(i + 3) as f32).collect();
        let mut expected = None;
        for isa in Isa::available() {
            for &threads in TEST_THREADS {
                let context = Context::new(isa, threads).unwrap();
                let mut quantized = QuantizedRows::new();
                quantized.quantize(&context, &x, rows, depth).unwrap();
                let (stored, added) = expected.get_or_insert_with(|| {
                    let stored = defined(&quantized, &weights, None);
                    (stored, defined(&quantized, &weights, Some(&before)))
                });
                let mut out = vec![f32::NAN; rows * channels];
                let mut maxima = vec![f32::NAN; rows];
                gemm_int8(&context, &quantized, &weights, &mut out);
                assert_eq!(&bits(&out), stored, "{isa} {threads} {rows} {channels} {depth}");
                out.fill(f32::NAN);
                let x = &quantized;
                let mut places: Vec<_> = rows_of(&mut out, &mut maxima).collect();
                gemm_int8_with_maxima(&context, x, &weights, &mut places);
                assert_eq!(&bits(&out), stored, "{isa} {threads} {rows} {channels} {depth}");
                assert_eq!(bits(&maxima), bits(&maxima_of(&out, rows, channels)));
                // In another order, with room between the rows, which stays as it is.
                let mut apart = vec![7.0; 2 * rows * channels];
                let mut maxima = vec![7.0; 2 * rows];
                let mut places: Vec<_> = rows_of(&mut apart, &mut maxima).step_by(2).collect();
                places.reverse();
                gemm_int8_with_maxima(&context, x, &weights, &mut places);
                for place in 0..2 * rows {
                    let found = &apart[place * channels..(place + 1) * channels];
                    match (place % 2 == 0).then(|| rows - 1 - place / 2) {
                        Some(row) => {
                            assert_eq!(bits(found), bits(&out[row * channels..][..channels]));
                            let expected = maxima_of(found, 1, channels);
                            assert_eq!(maxima[place].to_bits(), expected[0].to_bits());
                        }
                        None => {
                            assert!(found.iter().all(|&value| value == 7.0));
                            assert_eq!(maxima[place], 7.0);
                        }
                    }
                }
                out.copy_from_slice(&before);
                gemm_int8_add(&context, &quantized, &weights, &mut out);
                assert_eq!(&bits(&out), added, "{isa} {threads} {rows} {channels} {depth}");
            }
        }
    }

    fn scattered(seed: usize) -> impl Fn(usize) -> i32 {
        move |i| {
            let mixed = (i + seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed >> 33) % 256) as i32 - 128
        }
    }

    #[test]
    fn products_are_as_defined_for_every_tile() {
        for rows in (1..=9).chain([16, 17, 23, 25, 63, 64, 65]) {
            for (channels, depth) in [(1, 1), (16, 4), (48, 64), (67, 37), (130, 100)] {
                check(rows, channels, depth, scattered(rows));
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        for extreme in [-128, 127, 0] {
            check(3, 17, 5000, |_| extreme);
            check(9, 5, 64, |i| if i % 3 == 0 { extreme } else { 127 });
        }
        check(2, 2, MAX_DEPTH, |_| -128);
        check(1, 3, MAX_DEPTH, |i| if i % 2 == 0 { 127 } else { -127 });
    }

    #[test]
    fn empty_products_are_empty() {
        check(0, 5, 3, scattered(0));
        check(5, 0, 3, scattered(0));
        check(3, 20, 0, scattered(0));
    }

    /// The order of a NaN is its sign's, in whole panels and in one that is in part filling.
    #[test]
    fn maxima_are_of_the_total_order() {
        let channels = 3 * PANEL + 5;
        for isa in Isa::available() {
            let context = Context::new(isa, 1).unwrap();
            let mut x = QuantizedRows::new();
            x.quantize(&context, &[1.0, 2.0, -1.0, -2.0], 2, 2).unwrap();
            for (channel, odd) in [(0, f32::NAN), (20, -f32::NAN), (50, f32::NAN), (52, -0.0)] {
                let mut scales = vec![0.5; channels];
                scales[channel] = odd;
                let weights = Int8Weights::pack(channels, 2, &vec![3; 2 * channels], &scales);
                let weights = weights.unwrap();
                let (mut out, mut maxima) = (vec![0.0; 2 * channels], [0.0; 2]);
                let mut places: Vec<_> = rows_of(&mut out, &mut maxima).collect();
                gemm_int8_with_maxima(&context, &x, &weights, &mut places);
                let expected = maxima_of(&out, 2, channels);
                assert_eq!(bits(&maxima), bits(&expected), "{isa} {channel} {odd}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "columns of a row")]
    fn rows_of_another_width_are_refused() {
        let context = Context::new(Isa::scalar(), 1).unwrap();
        let mut x = QuantizedRows::new();
        x.quantize(&context, &[1.0], 1, 1).unwrap();
        let weights = Int8Weights::pack(2, 1, &[1, 1], &[1.0, 1.0]).unwrap();
        let mut place = RowWithMaximum { values: &mut [0.0; 1], maximum: &mut 0.0 };
        gemm_int8_with_maxima(&context, &x, &weights, std::slice::from_mut(&mut place));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let weights = Int8Weights::pack(5, 6, &[1; 30], &[1.0; 5]).unwrap();
        let from_parts = |channels, depth, packed: &[u8], scales: &[f32]| {
            let packed = AlignedBytes::copy_of(packed);
            Int8Weights::from_parts(channels, depth, packed, scales.to_vec())
        };
        let again = from_parts(5, 6, weights.packed(), weights.scales()).unwrap();
        assert_eq!(again.packed(), weights.packed());
        assert!(from_parts(5, 6, &weights.packed()[1..], weights.scales()).is_err());
        assert!(from_parts(5, 6, weights.packed(), &[1.0; 4]).is_err());
        assert!(from_parts(usize::MAX, 8, &[], &[]).is_err());
        assert!(Int8Weights::pack(5, 6, &[1; 29], &[1.0; 5]).is_err());
        assert!(Int8Weights::pack(0, MAX_DEPTH + 1, &[], &[]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn products_are_as_defined(
            rows in 0usize..40, channels in 0usize..90, depth in 0usize..140, seed: u32,
        ) {
            check(rows, channels, depth, scattered(seed as usize));
        }
    }
}
