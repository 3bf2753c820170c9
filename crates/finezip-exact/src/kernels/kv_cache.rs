//! Keys and values of one layer as 8-bit integers, in the order that attention reads them.
//!
//! # Arithmetic
//! Each vector of a head has one scale, `max / 127`, and integers `round(x * (127 / max))`, half
//! to even, as in [`super::QuantizedRows`].
//!
//! # Layout
//! Slots are cut into blocks of 16. A block of keys is `[head_width / 4][16 slots][4]` bytes: the
//! panel of [`super::Int8Weights`] with slots for channels, as scores are sums over the head's
//! width. A block of values is `[4][head_width][4 slots]` bytes, as outputs are sums over slots.
//! Bytes hold the integer plus 128.

use rayon::prelude::*;

use super::aligned::{AlignedBytes, LINE};
use super::context::Context;
use super::error::{KernelError, expect_at_most};
use super::int8::{OFFSET, PANEL};
use super::isa::per_isa;
use super::prefetch::Lines;
use super::quantize::quantize_body;
use super::rows::StridedRows;

/// The widest head: 32,639 * 127 * 512 < 2^31 bounds a score.
const MAX_HEAD_WIDTH: usize = 512;

/// How many heads ahead of writing a slot is asked for.
const ASKED_AHEAD: usize = 3;

/// The most slots a lane: 127 * 255 * 2^15 < 2^31 bounds an output.
pub(crate) const MAX_SLOTS: usize = 1 << 15;

/// One layer's keys and values for several lanes, each lane with the same number of slots.
///
/// A slot holds one position's key (after rotary embedding) and value for every head. Which
/// position stands in which slot is the caller's choice and does not change any result.
#[derive(Debug)]
pub struct KvCache {
    lanes: usize,
    kv_heads: usize,
    head_width: usize,
    slots: usize,
    keys: AlignedBytes,
    values: AlignedBytes,
    key_scales: AlignedBytes,
    value_scales: AlignedBytes,
}

/// The place of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvSlot {
    /// The lane.
    pub lane: usize,
    /// The slot of the lane.
    pub slot: usize,
}

impl KvCache {
    /// An empty cache; slots are rounded up to a multiple of 16.
    ///
    /// # Errors
    /// If the head width is no multiple of 16 or over 512, or there are more than 32,768 slots.
    pub fn new(
        lanes: usize,
        kv_heads: usize,
        head_width: usize,
        slots: usize,
    ) -> Result<Self, KernelError> {
        if !head_width.is_multiple_of(PANEL) {
            return Err(KernelError::Multiple {
                what: "head width",
                divisor: PANEL,
                found: head_width,
            });
        }
        expect_at_most("head width", MAX_HEAD_WIDTH, head_width)?;
        expect_at_most("slots of a lane", MAX_SLOTS, slots)?;
        let slots = slots.next_multiple_of(PANEL);
        let vectors = lanes.saturating_mul(kv_heads).saturating_mul(slots);
        expect_at_most("vectors of a cache", usize::MAX >> 12, vectors)?;
        let bytes = vectors * head_width;
        Ok(Self {
            lanes,
            kv_heads,
            head_width,
            slots,
            keys: AlignedBytes::filled(bytes, OFFSET as u8),
            values: AlignedBytes::filled(bytes, OFFSET as u8),
            key_scales: AlignedBytes::filled(vectors * size_of::<f32>(), 0),
            value_scales: AlignedBytes::filled(vectors * size_of::<f32>(), 0),
        })
    }

    /// Bytes of memory a lane takes in a cache of this shape.
    pub fn lane_bytes(kv_heads: usize, head_width: usize, slots: usize) -> u64 {
        let slots = (slots as u64).checked_next_multiple_of(PANEL as u64).unwrap_or(u64::MAX);
        let vectors = slots.saturating_mul(kv_heads as u64);
        vectors.saturating_mul(2 * (head_width as u64 + size_of::<f32>() as u64))
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Values a head.
    pub fn head_width(&self) -> usize {
        self.head_width
    }

    /// Slots a lane, a multiple of 16.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Stores row `i` of `keys` and `values`, `[kv_heads * head_width]`, at `places[i]`.
    ///
    /// # Panics
    /// If a place is outside the cache, or the rows are fewer or of another width.
    pub fn store(
        &mut self,
        context: &Context,
        places: &[KvSlot],
        keys: StridedRows<'_>,
        values: StridedRows<'_>,
    ) {
        let width = self.kv_heads * self.head_width;
        assert!(keys.width() == width && values.width() == width, "width of keys and values");
        assert!(places.iter().all(|place| place.lane < self.lanes && place.slot < self.slots));
        let mut rows: Vec<usize> = (0..places.len()).collect();
        rows.sort_by_key(|&row| places[row].lane);
        let rows_of = |lane: usize| {
            let start = rows.partition_point(|&row| places[row].lane < lane);
            let end = rows.partition_point(|&row| places[row].lane <= lane);
            &rows[start..end]
        };
        let (isa, head_width, kv_heads) = (context.isa(), self.head_width, self.kv_heads);
        let (bytes, slots) = (self.slots * head_width, self.slots);
        let (all_keys, all_values) = (Lines::of(&self.keys), Lines::of(&self.values));
        // The slots of a step are far apart and not in any cache: they are asked for a little
        // before they are written.
        let ask = |index: usize| {
            for &row in rows_of(index / kv_heads).iter().take(1) {
                let slot = places[row].slot;
                let block = index * bytes + slot / PANEL * PANEL * head_width;
                (0..head_width / 4).for_each(|line| all_keys.ask_at(block + line * LINE));
                let quad = index * bytes + slot / 4 * 4 * head_width;
                (0..head_width / 16).for_each(|line| all_values.ask_at(quad + line * LINE));
            }
        };
        let write = |index: usize, head: (Stored<'_>, Stored<'_>)| {
            let ((head_keys, key_scales), (head_values, value_scales)) = head;
            ask(index + ASKED_AHEAD);
            let (lane, head) = (index / kv_heads, index % kv_heads);
            let columns = head * head_width..(head + 1) * head_width;
            for &row in rows_of(lane) {
                let slot = places[row].slot;
                let (key, value) =
                    (&keys.row(row)[columns.clone()], &values.row(row)[columns.clone()]);
                key_scales[slot] = store_key(isa, key, slot, head_keys);
                value_scales[slot] = store_value(isa, value, slot, head_values);
            }
        };
        if bytes == 0 {
            return;
        }
        match context.pool_for(2 * places.len() * width) {
            Some((pool, _)) => pool.install(|| {
                let keys = self.keys.par_chunks_mut(bytes);
                let values = self.values.par_chunks_mut(bytes);
                keys.zip(self.key_scales.as_floats_mut().par_chunks_mut(slots))
                    .zip(values.zip(self.value_scales.as_floats_mut().par_chunks_mut(slots)))
                    .enumerate()
                    .for_each(|(index, head)| write(index, head));
            }),
            None => {
                let keys = self.keys.chunks_mut(bytes);
                let values = self.values.chunks_mut(bytes);
                keys.zip(self.key_scales.as_floats_mut().chunks_mut(slots))
                    .zip(values.zip(self.value_scales.as_floats_mut().chunks_mut(slots)))
                    .enumerate()
                    .for_each(|(index, head)| write(index, head));
            }
        }
    }

    /// A copy of a lane's slots from the first to the last block of 16 that has one of the first
    /// `slots`.
    ///
    /// # Panics
    /// If the lane is outside the cache.
    pub fn copy_lane(&self, lane: usize, slots: usize) -> KvLane {
        assert!(lane < self.lanes, "lane");
        let slots = slots.next_multiple_of(PANEL).min(self.slots);
        let heads = (0..self.kv_heads).map(|head| {
            let held = self.head(lane, head);
            KvLaneHead {
                keys: held.keys[..slots * self.head_width].to_vec(),
                values: held.values[..slots * self.head_width].to_vec(),
                key_scales: held.key_scales[..slots].to_vec(),
                value_scales: held.value_scales[..slots].to_vec(),
            }
        });
        KvLane { slots, head_width: self.head_width, heads: heads.collect() }
    }

    /// Writes a copy to the first slots of a lane; false, and nothing is written, where it does
    /// not fit or has other heads.
    pub fn paste_lane(&mut self, lane: usize, copy: &KvLane) -> bool {
        let (slots, width) = (copy.slots, self.head_width);
        let fits = lane < self.lanes
            && slots <= self.slots
            && copy.head_width == width
            && copy.heads.len() == self.kv_heads;
        if !fits {
            return false;
        }
        for (head, from) in copy.heads.iter().enumerate() {
            let start = (lane * self.kv_heads + head) * self.slots;
            let bytes = start * width..(start + slots) * width;
            self.keys[bytes.clone()].copy_from_slice(&from.keys);
            self.values[bytes].copy_from_slice(&from.values);
            let places = start..start + slots;
            self.key_scales.as_floats_mut()[places.clone()].copy_from_slice(&from.key_scales);
            self.value_scales.as_floats_mut()[places].copy_from_slice(&from.value_scales);
        }
        true
    }

    /// The scales of a head's keys and values, for tests of what no row can be rounded to.
    #[cfg(test)]
    pub(super) fn scales_mut(&mut self, lane: usize, head: usize) -> (&mut [f32], &mut [f32]) {
        let start = (lane * self.kv_heads + head) * self.slots;
        let slots = start..start + self.slots;
        (
            &mut self.key_scales.as_floats_mut()[slots.clone()],
            &mut self.value_scales.as_floats_mut()[slots],
        )
    }

    /// What one head of one lane holds.
    pub(super) fn head(&self, lane: usize, head: usize) -> KvHead<'_> {
        let start = (lane * self.kv_heads + head) * self.slots;
        let bytes = start * self.head_width..(start + self.slots) * self.head_width;
        KvHead {
            keys: &self.keys[bytes.clone()],
            values: &self.values[bytes],
            key_scales: &self.key_scales.as_floats()[start..start + self.slots],
            value_scales: &self.value_scales.as_floats()[start..start + self.slots],
        }
    }
}

/// A copy of a lane's first slots: [`KvCache::copy_lane`].
#[derive(Clone, Debug)]
pub struct KvLane {
    slots: usize,
    head_width: usize,
    heads: Vec<KvLaneHead>,
}

/// One head of a [`KvLane`], in the layout of the module.
#[derive(Clone, Debug)]
struct KvLaneHead {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
}

/// The bytes of a head's keys or values, and their scales.
type Stored<'a> = (&'a mut [u8], &'a mut [f32]);

/// One head of one lane: blocks of 16 slots in the layout that the module describes.
#[derive(Clone, Copy)]
pub(super) struct KvHead<'a> {
    /// `[blocks][head_width / 4][16][4]`
    pub(super) keys: &'a [u8],
    /// `[blocks][4][head_width][4]`
    pub(super) values: &'a [u8],
    /// `[slots]`
    pub(super) key_scales: &'a [f32],
    /// `[slots]`
    pub(super) value_scales: &'a [f32],
}

per_isa! {
    /// Quantizes a key into its slot and returns its scale.
    fn store_key(key: &[f32], slot: usize, keys: &mut [u8]) -> f32 {
        let mut quantized = [0; MAX_HEAD_WIDTH];
        let quantized = &mut quantized[..key.len()];
        let (scale, _) = quantize_body(key, quantized);
        let block = &mut keys[slot / PANEL * PANEL * key.len()..][..PANEL * key.len()];
        let within = slot % PANEL * 4;
        for (bytes, key) in block.chunks_exact_mut(4 * PANEL).zip(quantized.chunks_exact(4)) {
            for (byte, key) in bytes[within..within + 4].iter_mut().zip(key) {
                *byte = key ^ OFFSET as u8;
            }
        }
        scale
    }
}

per_isa! {
    /// Quantizes a value into its slot and returns its scale.
    fn store_value(value: &[f32], slot: usize, values: &mut [u8]) -> f32 {
        let mut quantized = [0; MAX_HEAD_WIDTH];
        let quantized = &mut quantized[..value.len()];
        let (scale, _) = quantize_body(value, quantized);
        let quad = &mut values[slot / 4 * 4 * value.len()..][..4 * value.len()];
        for (bytes, value) in quad.chunks_exact_mut(4).zip(quantized) {
            bytes[slot % 4] = *value ^ OFFSET as u8;
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::context::TEST_THREADS;
    use crate::kernels::{Isa, QuantizedRows};

    #[test]
    fn vectors_stand_where_the_layout_says() {
        let (lanes, kv_heads, width, slots) = (3, 2, 32, 40);
        for isa in Isa::available() {
            for &threads in TEST_THREADS {
                let context = Context::new(isa, threads).unwrap();
                let mut cache = KvCache::new(lanes, kv_heads, width, slots).unwrap();
                assert_eq!(cache.slots(), 48);
                let places: Vec<_> = (0..lanes * slots)
                    .map(|i| KvSlot { lane: i * 7 % lanes, slot: i / lanes })
                    .collect();
                let x: Vec<f32> = (0..places.len() * kv_heads * width * 2)
                    .map(|i| ((i * 7919) % 1013) as f32 - 500.0)
                    .collect();
                let stride = kv_heads * width * 2;
                let keys = StridedRows::new(&x, stride, 0, stride / 2);
                let values = StridedRows::new(&x, stride, stride / 2, stride / 2);
                cache.store(&context, &places, keys, values);
                let mut rows = QuantizedRows::new();
                for (row, place) in places.iter().enumerate() {
                    for head in 0..kv_heads {
                        let found = cache.head(place.lane, head);
                        let columns = head * width..(head + 1) * width;
                        rows.quantize(&context, &keys.row(row)[columns.clone()], 1, width).unwrap();
                        assert_eq!(found.key_scales[place.slot], rows.scales()[0]);
                        for (i, expected) in rows.row(0).enumerate() {
                            let byte = found.keys[(place.slot / 16 * width / 4 + i / 4) * 64
                                + place.slot % 16 * 4
                                + i % 4];
                            assert_eq!(i32::from(byte) - 128, i32::from(expected));
                        }
                        rows.quantize(&context, &values.row(row)[columns], 1, width).unwrap();
                        assert_eq!(found.value_scales[place.slot], rows.scales()[0]);
                        for (i, expected) in rows.row(0).enumerate() {
                            let byte =
                                found.values[(place.slot / 4 * width + i) * 4 + place.slot % 4];
                            assert_eq!(i32::from(byte) - 128, i32::from(expected));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(matches!(KvCache::new(1, 1, 20, 8), Err(KernelError::Multiple { .. })));
        assert!(matches!(KvCache::new(1, 1, 528, 8), Err(KernelError::Limit { .. })));
        assert!(matches!(KvCache::new(1, 1, 64, 40_000), Err(KernelError::Limit { .. })));
    }
}
