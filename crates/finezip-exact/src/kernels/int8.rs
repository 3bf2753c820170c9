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

use std::ops::Range;
use std::sync::atomic::{AtomicI32, Ordering};

use super::aligned::AlignedBytes;
use super::context::Context;
use super::error::{KernelError, expect_at_most, expect_length};
use super::isa::Kind;
use super::quantize::{MAX_DEPTH, QuantizedRows};
use super::scalar;
use super::shared::SharedMatrix;

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
    pub fn from_parts(
        channels: usize,
        depth: usize,
        packed: &[u8],
        scales: &[f32],
    ) -> Result<Self, KernelError> {
        expect_at_most("depth of weights", MAX_DEPTH, depth)?;
        expect_at_most("channels of weights", usize::MAX / (4 * MAX_DEPTH), channels)?;
        expect_length("packed weights", Self::packed_bytes(channels, depth), packed.len())?;
        expect_length("scales of weights", channels, scales.len())?;
        let packed = AlignedBytes::copy_of(packed);
        Ok(Self { channels, depth, scales: scales.to_vec(), packed })
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
    run(context, x, weights, out, false, None);
}

/// `out = out + x W'`, one more rounding: a layer's output added to the residual stream.
///
/// # Panics
/// As [`gemm_int8`].
pub fn gemm_int8_add(context: &Context, x: &QuantizedRows, weights: &Int8Weights, out: &mut [f32]) {
    run(context, x, weights, out, true, None);
}

/// As [`gemm_int8`], and gives each row's maximum, taken while the tile is in the first cache:
/// what a softmax over the vocabulary needs first. `maxima` is `[rows]`.
///
/// The maximum is that of IEEE 754's total order: -0 comes before 0. Without channels it is
/// minus infinity.
///
/// # Panics
/// As [`gemm_int8`], and if `maxima` does not have one value a row.
pub fn gemm_int8_with_maxima(
    context: &Context,
    x: &QuantizedRows,
    weights: &Int8Weights,
    out: &mut [f32],
    maxima: &mut [f32],
) {
    assert_eq!(maxima.len(), x.rows(), "maxima");
    let keys: Vec<_> =
        maxima.iter().map(|_| AtomicI32::new(order_key(f32::NEG_INFINITY))).collect();
    run(context, x, weights, out, false, Some(&keys));
    for (maximum, key) in maxima.iter_mut().zip(&keys) {
        *maximum = from_order_key(key.load(Ordering::Relaxed));
    }
}

/// An integer that orders as the float does, in IEEE 754's total order.
#[inline(always)]
pub(super) fn order_key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) & 0x7fff_ffff)
}

/// The float of an [`order_key`].
#[inline(always)]
pub(super) fn from_order_key(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & 0x7fff_ffff)) as u32)
}

fn run(
    context: &Context,
    x: &QuantizedRows,
    weights: &Int8Weights,
    out: &mut [f32],
    add: bool,
    maxima: Option<&[AtomicI32]>,
) {
    assert_eq!(x.depth(), weights.depth(), "depth of rows and of weights");
    assert_eq!(out.len(), x.rows() * weights.channels(), "output");
    if out.is_empty() {
        return;
    }
    let out = SharedMatrix::new(out, weights.channels());
    let job = Int8Job { x, weights, out, add, maxima };
    let step = panels_together(x.rows());
    let steps = weights.panels().div_ceil(step);
    context.for_each_range(steps, |range| {
        let panels = range.start * step..(range.end * step).min(weights.panels());
        match context.isa().kind() {
            Kind::Scalar => scalar::gemm_int8(&job, panels),
            #[cfg(target_arch = "x86_64")]
            _ => scalar::gemm_int8(&job, panels),
        }
    });
}

/// How many panels a kernel takes at a time, so that tasks are cut at its tiles: three where tiles
/// have up to eight rows, four where they have up to six.
pub(super) fn panels_together(rows: usize) -> usize {
    let tiles = rows.div_ceil(8).max(1);
    if rows.div_ceil(tiles) > 6 { 3 } else { 4 }
}
