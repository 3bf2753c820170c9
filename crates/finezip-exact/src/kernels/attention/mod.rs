//! Attention over 8-bit keys and values with grouped query heads (Ainslie et al. 2023).
//!
//! # Arithmetic
//! The result depends on the set of visible slots (their keys, values and scales), not on their
//! order or place: every sum over slots runs in integers. For one head of one query, `q`, and the
//! visible slots `s`:
//! 1. The query as integers of [`QueryPrecision`], up to `Z` = 127 or 32,639: `a = max |q|`,
//!    `Q = round(q * (Z / a))` and `scale_q = (a / Z) * (scale * log2 e)`, with the caller's `scale`
//!    (`1 / sqrt(head_width)`). A maximum below 2^-100 gives zeros and scale 0.
//! 2. `score[s] = (f32(sum of Q * K[s]) * scale_q) * key_scale[s]`; the sum is an exact `i32`.
//! 3. `p[s] = 2^t` with `t = max(score[s] - max of scores, -125)`: `n = round(t)`, then a polynomial
//!    of degree four in `t - n` (Horner's form, relative error 2.6e-6), `n` added to its exponent.
//! 4. The denominator: `D = sum of round(p[s] * 2^20)`, an exact integer.
//! 5. The weights as 15-bit integers: `u[s] = p[s] * value_scale[s]`, `b = max u`,
//!    `U[s] = round(u[s] * (32639 / b))`. If `b` is below 2^-100 the result is zero.
//! 6. `U = 256 * high + low` with `low` in -128..=127; `H = sum of high * V[s]` and
//!    `L = sum of low * V[s]`, exact `i32`.
//! 7. `out = (f32(H) * 256 + f32(L)) * ((b / 32639) / (f32(D) * 2^-20))`.
//!
//! All roundings are half to even, all operations `f32`. If a query, a scale, the largest score or
//! `b` is not finite, the whole head's output is NaN; a score that is NaN counts as the largest.
//! Fifteen bits for the weights keep what they add far below the rounding of 8-bit values; they
//! cost two multiply-adds of bytes for each product.
//!
//! `head` runs steps 1 to 4 for a group of heads and `outputs` the rest; `steps` holds their
//! element-wise loops.

mod head;
mod outputs;
mod steps;
#[cfg(test)]
mod tests;

use self::head::{Call, Scratch};
use super::context::Context;
use super::kv_cache::{KvCache, MAX_SLOTS};
use super::rows::StridedRows;
use super::shared::SharedMatrix;

/// The largest 15-bit integer whose two bytes are both in -127..=127: 127 * 256 + 127.
const LARGEST_WEIGHT: f32 = 32_639.0;

/// Queries that one task takes: enough to find keys and values in the cache that the one before
/// has read, and few enough to share out.
const QUERIES_PER_TASK: usize = 8;

/// How finely queries are cut before their products with 8-bit keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryPrecision {
    /// 8 bits, as the keys: half the multiply-adds of scores.
    #[default]
    Eight,
    /// 15 bits in two bytes, a hundred times finer than the keys. The engine does not ask for it:
    /// benches and tests hold the cost of the finer scores against [`QueryPrecision::Eight`]'s.
    Fifteen,
}

impl QueryPrecision {
    /// Bytes an integer.
    fn planes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Fifteen => 2,
        }
    }

    /// The largest integer.
    fn largest(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Fifteen => LARGEST_WEIGHT,
        }
    }
}

/// Slots that a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Segment {
    /// First slot.
    pub start: usize,
    /// Number of slots; a segment without any is skipped.
    pub length: usize,
    /// Whether the scores of this segment come from the queries rotated for attention sinks.
    pub sink: bool,
}

/// One query position: its lane and what it sees of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttentionItem {
    /// The lane.
    pub lane: usize,
    /// Visible slots: the two parts of a ring, and sinks. No slot may be in two of them.
    pub segments: [Segment; 3],
}

/// The queries of a batch and how scores come from them.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// One row a query position, `[heads * head_width]`.
    pub rows: StridedRows<'a>,
    /// The same queries rotated to another position, for the segments that ask for them.
    pub sink_rows: Option<StridedRows<'a>>,
    /// What scores are multiplied with before the softmax, as a rule `1 / sqrt(head_width)`.
    pub scale: f32,
    /// How finely queries are cut.
    pub precision: QueryPrecision,
}

/// Attention for a batch of query positions, in the arithmetic that the module describes.
///
/// Row `i` of the queries and of `out`, `[heads * head_width]`, is of `items[i]`. Query head `h` reads
/// head `h / (heads / kv_heads)` of the cache.
///
/// Give positions of one lane one after the other: they then share what they read.
///
/// # Panics
/// If the shapes do not fit, a segment is outside the cache, a query sees more than 32,768 slots,
/// or a segment asks for `sink_rows` that are not given.
pub fn attention(
    context: &Context,
    cache: &KvCache,
    items: &[AttentionItem],
    queries: Queries<'_>,
    out: &mut [f32],
) {
    let Queries { rows: queries, sink_rows: sink_queries, scale, precision } = queries;
    let width = queries.width();
    let (kv_heads, head_width) = (cache.kv_heads(), cache.head_width());
    assert!(width.is_multiple_of(kv_heads * head_width), "width of queries");
    assert_eq!(out.len(), items.len() * width, "output");
    assert!(queries.rows() >= items.len(), "queries");
    if let Some(sinks) = sink_queries {
        assert!(sinks.rows() >= items.len() && sinks.width() == width, "sink queries");
    }
    for item in items {
        assert!(item.lane < cache.lanes(), "lane");
        let mut visible = 0;
        for segment in item.segments {
            assert!(segment.length <= cache.slots(), "segment");
            assert!(segment.start <= cache.slots() - segment.length, "segment");
            assert!(segment.length == 0 || !segment.sink || sink_queries.is_some(), "sink queries");
            visible += segment.length;
        }
        assert!(visible <= MAX_SLOTS, "visible slots");
    }
    if out.is_empty() {
        return;
    }
    let group = width / (kv_heads * head_width);
    let out = SharedMatrix::new(out, width);
    let chunk = QUERIES_PER_TASK.min(items.len().div_ceil(context.threads()));
    let chunks = items.len().div_ceil(chunk);
    context.for_each_task(chunks * kv_heads, |task| {
        let head = task % kv_heads;
        let columns = head * group * head_width..(head + 1) * group * head_width;
        let start = task / kv_heads * chunk;
        let mut scratch = Scratch::default();
        let end = items.len().min(start + chunk);
        let queries_of = |index: usize, head: usize| {
            let columns = head * group * head_width..(head + 1) * group * head_width;
            let sinks = sink_queries.map(|sinks| &sinks.row(index)[columns.clone()]);
            (&queries.row(index)[columns], sinks)
        };
        for (index, item) in items.iter().enumerate().take(end).skip(start) {
            let (queries, sinks) = queries_of(index, head);
            // SAFETY: each pair of item and head is in one task, which takes one segment at a
            // time.
            let out = unsafe { out.segment(index, columns.start, columns.len()) };
            let cached = cache.head(item.lane, head);
            // The next item, or the first of the next head, or of the next task.
            let (next_index, next_head) = match (index + 1 < end, head + 1 < kv_heads) {
                (true, _) => (index + 1, head),
                (false, true) => (start, head + 1),
                (false, false) => ((index + 1).min(items.len() - 1), 0),
            };
            let next = cache.head(items[next_index].lane, next_head);
            let next_queries = queries_of(next_index, next_head);
            let call = Call {
                isa: context.isa(),
                cached,
                head_width,
                group,
                scale: scale * std::f32::consts::LOG2_E,
                precision,
                next,
                next_queries: [next_queries.0, next_queries.1.unwrap_or(&[])],
            };
            call.run(&item.segments, queries, sinks, &mut scratch, out);
        }
    });
}
