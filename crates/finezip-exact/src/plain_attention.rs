//! Attention in `f32`, in one written order: the precision `f32` and the oracle of tests.
//!
//! # Arithmetic
//! Slots are taken in the order of their positions, sinks first. A score is the dot product of
//! query and key in sixteen parts (part `j` takes elements `j`, `j + 16`, ... ascending, then parts
//! eight apart are added, then four, two and one), times the model's scale. With the largest score
//! `m`, weights are `exp(score - m)`; their sum and the weighted sums of the values are taken in
//! the order of slots from 0; the sums of values are divided by the sum of weights.

use crate::kernels::{Context, dot, exp};
use crate::ring::Visible;

/// Keys and values of one layer as floats, `[lanes][kv_heads][slots][head_width]`.
#[derive(Debug)]
pub(crate) struct PlainCache {
    kv_heads: usize,
    head_width: usize,
    slots: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl PlainCache {
    /// An empty cache.
    pub(crate) fn new(lanes: usize, kv_heads: usize, head_width: usize, slots: usize) -> Self {
        let size = lanes * kv_heads * slots * head_width;
        let (keys, values) = (vec![0.0; size], vec![0.0; size]);
        Self { kv_heads, head_width, slots, keys, values }
    }

    /// Bytes of memory a lane takes.
    pub(crate) fn lane_bytes(kv_heads: usize, head_width: usize, slots: usize) -> u64 {
        let token = kv_heads as u64 * head_width as u64 * 2 * size_of::<f32>() as u64;
        token.saturating_mul(slots as u64)
    }

    /// Stores one token's keys and values, `[kv_heads * head_width]` each.
    pub(crate) fn store(&mut self, lane: usize, slot: usize, keys: &[f32], values: &[f32]) {
        for head in 0..self.kv_heads {
            let to = self.start(lane, head) + slot * self.head_width;
            let to = to..to + self.head_width;
            let from = head * self.head_width..(head + 1) * self.head_width;
            self.keys[to.clone()].copy_from_slice(&keys[from.clone()]);
            self.values[to].copy_from_slice(&values[from]);
        }
    }

    /// A copy of a lane's first slots.
    pub(crate) fn copy_lane(&self, lane: usize, slots: usize) -> PlainLane {
        let width = slots.min(self.slots) * self.head_width;
        let of = |floats: &[f32]| -> Vec<Vec<f32>> {
            let heads = (0..self.kv_heads).map(|head| self.start(lane, head));
            heads.map(|start| floats[start..start + width].to_vec()).collect()
        };
        PlainLane { width, keys: of(&self.keys), values: of(&self.values) }
    }

    /// Writes a copy to the first slots of a lane; false, and nothing is written, where it does
    /// not fit or has other heads.
    pub(crate) fn paste_lane(&mut self, lane: usize, copy: &PlainLane) -> bool {
        if copy.width > self.slots * self.head_width || copy.keys.len() != self.kv_heads {
            return false;
        }
        for (head, (keys, values)) in copy.keys.iter().zip(&copy.values).enumerate() {
            let start = self.start(lane, head);
            self.keys[start..start + copy.width].copy_from_slice(keys);
            self.values[start..start + copy.width].copy_from_slice(values);
        }
        true
    }

    fn start(&self, lane: usize, head: usize) -> usize {
        (lane * self.kv_heads + head) * self.slots * self.head_width
    }
}

/// A copy of a lane's first slots.
#[derive(Clone, Debug)]
pub(crate) struct PlainLane {
    /// Values of a head.
    width: usize,
    /// `[kv_heads][slots * head_width]`
    keys: Vec<Vec<f32>>,
    /// `[kv_heads][slots * head_width]`
    values: Vec<Vec<f32>>,
}

/// One token's queries and what they see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainQuery<'a> {
    /// The lane.
    pub(crate) lane: usize,
    /// The slots.
    pub(crate) visible: &'a Visible,
    /// For the window, `[heads * head_width]`.
    pub(crate) query: &'a [f32],
    /// For sinks beyond it, of the same size where there are any.
    pub(crate) sink_query: &'a [f32],
}

/// Writes row `i` of `out`, `[_][heads * head_width]`, for `query(i)`.
pub(crate) fn attend<'a>(
    context: &Context,
    cache: &PlainCache,
    scale: f32,
    out: &mut [f32],
    row_width: usize,
    query: impl Fn(usize) -> PlainQuery<'a> + Sync + Send,
) {
    let head_width = cache.head_width;
    let queries_a_key = row_width / head_width / cache.kv_heads;
    context.for_each_row(out, row_width, |row, out| {
        let token = query(row);
        let mut scores = Vec::new();
        for (head, out) in out.chunks_exact_mut(head_width).enumerate() {
            let start = cache.start(token.lane, head / queries_a_key);
            let columns = head * head_width..(head + 1) * head_width;
            let key = |slot: usize| &cache.keys[start + slot * head_width..][..head_width];
            let value = |slot: usize| &cache.values[start + slot * head_width..][..head_width];
            scores.clear();
            for slot in token.visible.sinks.clone() {
                scores.push(dot(&token.sink_query[columns.clone()], key(slot)) * scale);
            }
            for slot in token.visible.window() {
                scores.push(dot(&token.query[columns.clone()], key(slot)) * scale);
            }
            let maximum = scores.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
            let mut sum = 0.0f32;
            out.fill(0.0);
            for (score, slot) in scores.iter().zip(token.visible.slots()) {
                let weight = exp(score - maximum);
                sum += weight;
                for (out, value) in out.iter_mut().zip(value(slot)) {
                    *out += weight * value;
                }
            }
            for out in out {
                *out /= sum;
            }
        }
    });
}
