//! Attention over 8-bit keys and values with grouped query heads (Ainslie et al. 2023).
//!
//! # Arithmetic
//! The result depends on the set of visible slots (their keys, values and scales), not on their
//! order or place: every sum over slots runs in integers. For one head of one query, `q`, and the
//! visible slots `s`:
//! 1. The query as 15-bit integers: `a = max |q|`, `Q = round(q * (32639 / a))` and
//!    `scale_q = (a / 32639) * scale`, with the caller's `scale` (`1 / sqrt(head_width)`). A
//!    maximum below 2^-100 gives zeros and scale 0, one that is not finite gives NaN.
//! 2. `score[s] = (f32(sum of Q * K[s]) * scale_q) * key_scale[s]`; the sum is an exact `i32`.
//! 3. `p[s] = exp(score[s] - max of scores)` with [`super::exp`].
//! 4. The denominator: `D = sum of round(p[s] * 2^20)`, an exact integer.
//! 5. The weights as 15-bit integers: `u[s] = p[s] * value_scale[s]`, `b = max u`,
//!    `U[s] = round(u[s] * (32639 / b))`. If `b` is below 2^-100 the result is zero.
//! 6. `U = 256 * high + low` with `low` in -128..=127; `H = sum of high * V[s]` and
//!    `L = sum of low * V[s]`, exact `i32`.
//! 7. `out = (f32(H) * 256 + f32(L)) * ((b / 32639) / (f32(D) * 2^-20))`.
//!
//! All roundings are half to even, all operations `f32`. Fifteen bits for queries and weights keep
//! what they add below the rounding of 8-bit keys and values by a factor of a hundred; they cost two
//! multiply-adds of bytes for each product.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::context::Context;
use super::elementwise::exp;
use super::int8::{OFFSET, PANEL, from_order_key, order_key};
use super::isa::{Isa, Kind, per_isa};
use super::kv_cache::{KvCache, KvHead, MAX_SLOTS};
use super::quantize::{SMALLEST_MAXIMUM, largest_magnitude, rounded};
use super::rows::StridedRows;
use super::scalar;
use super::shared::SharedMatrix;

/// The largest 15-bit integer whose two bytes are both in -127..=127: 127 * 256 + 127.
const LARGEST_INTEGER: f32 = 32_639.0;

/// 2^20
const DENOMINATOR_SCALE: f32 = 1_048_576.0;

/// Queries that one task takes: enough to find keys and values in the cache that the one before
/// has read, and few enough to share out.
const QUERIES_PER_TASK: usize = 8;

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

/// Attention for a batch of query positions, in the arithmetic that the module describes.
///
/// Row `i` of `queries` is `[heads * head_width]` for `items[i]`; so is row `i` of `out`. Query
/// head `h` reads head `h / (heads / kv_heads)` of the cache. `sink_queries` are the same queries
/// rotated to another position, for the segments that ask for them.
///
/// Give positions of one lane one after the other: they then share what they read.
///
/// # Panics
/// If the shapes do not fit, a segment is outside the cache, a query sees more than 32,768 slots,
/// or a segment asks for `sink_queries` that are not given.
pub fn attention(
    context: &Context,
    cache: &KvCache,
    items: &[AttentionItem],
    queries: StridedRows<'_>,
    sink_queries: Option<StridedRows<'_>>,
    scale: f32,
    out: &mut [f32],
) {
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
        for (index, item) in items.iter().enumerate().skip(start).take(chunk) {
            let queries = &queries.row(index)[columns.clone()];
            let sinks = sink_queries.map(|sinks| &sinks.row(index)[columns.clone()]);
            // SAFETY: each pair of item and head is in one task, which takes one segment at a
            // time.
            let out = unsafe { out.segment(index, columns.start, columns.len()) };
            let cached = cache.head(item.lane, head);
            let call = Call { isa: context.isa(), cached, head_width, group, scale };
            call.run(&item.segments, queries, sinks, &mut scratch, out);
        }
    });
}

/// Queries of one group as bytes, and what goes with them.
#[derive(Default)]
struct QueryBytes {
    /// `[group][2][head_width]`: high and low bytes of each query head.
    bytes: Vec<u8>,
    /// `scale_q` of each query head.
    scales: Vec<f32>,
    /// 128 * sum of Q of each query head.
    surplus: Vec<i32>,
}

impl QueryBytes {
    fn fill(&mut self, isa: Isa, queries: &[f32], head_width: usize, scale: f32) {
        self.bytes.resize(2 * queries.len(), 0);
        self.scales.clear();
        self.surplus.clear();
        let rows = queries.chunks_exact(head_width);
        for (query, bytes) in rows.zip(self.bytes.chunks_exact_mut(2 * head_width)) {
            let (high, low) = bytes.split_at_mut(head_width);
            let (maximum, sum) = split_query(isa, query, high, low);
            self.scales.push(maximum / LARGEST_INTEGER * scale);
            self.surplus.push(OFFSET.wrapping_mul(sum));
        }
    }
}

/// Buffers kept between the queries of a task.
#[derive(Default)]
struct Scratch {
    main: QueryBytes,
    sink: QueryBytes,
    /// `[group][2][positions]`
    dots: Vec<i32>,
    /// `[group][positions]`: scores, then weights.
    scores: Vec<f32>,
    /// `[group][2][positions]`
    weights: Vec<u8>,
    /// What step 7 multiplies each query head's output with.
    factors: Vec<f32>,
    /// `[group][2][head_width]`
    sums: Vec<i32>,
}

/// One head of the cache and the group of query heads that read it.
struct Call<'a> {
    isa: Isa,
    cached: KvHead<'a>,
    head_width: usize,
    group: usize,
    scale: f32,
}

/// A segment in whole blocks: `first_block..end_block` of the cache stand at `position..` of the
/// scratch, and `skip` positions there come before the segment.
struct Span {
    first_block: usize,
    blocks: usize,
    position: usize,
    skip: usize,
    length: usize,
    sink: bool,
}

impl Span {
    fn positions(&self) -> std::ops::Range<usize> {
        self.position..self.position + self.blocks * PANEL
    }

    fn slots(&self) -> std::ops::Range<usize> {
        self.first_block * PANEL..(self.first_block + self.blocks) * PANEL
    }
}

impl Call<'_> {
    fn run(
        &self,
        segments: &[Segment],
        queries: &[f32],
        sinks: Option<&[f32]>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let mut spans = Vec::with_capacity(segments.len());
        let mut positions = 0;
        for segment in segments.iter().filter(|segment| segment.length > 0) {
            let first_block = segment.start / PANEL;
            let blocks = (segment.start + segment.length).div_ceil(PANEL) - first_block;
            let skip = segment.start % PANEL;
            let (position, length, sink) = (positions, segment.length, segment.sink);
            spans.push(Span { first_block, blocks, position, skip, length, sink });
            positions += blocks * PANEL;
        }
        if spans.is_empty() {
            out.fill(0.0);
            return;
        }
        let Scratch { main, sink, dots, scores, weights, factors, sums } = scratch;
        factors.clear();
        main.fill(self.isa, queries, self.head_width, self.scale);
        if let Some(sinks) = sinks.filter(|_| spans.iter().any(|span| span.sink)) {
            sink.fill(self.isa, sinks, self.head_width, self.scale);
        }
        dots.resize(2 * self.group * positions, 0);
        scores.resize(self.group * positions, 0.0);
        weights.resize(2 * self.group * positions, 0);
        sums.clear();
        sums.resize(2 * self.group * self.head_width, 0);

        for span in &spans {
            let bytes = self.bytes_of(span);
            let queries = if span.sink { &*sink } else { &*main };
            let keys = &self.cached.keys[bytes];
            let shape = [2 * self.group, self.head_width, positions];
            score_sums(self.isa, &queries.bytes, keys, shape, &mut dots[span.position..]);
        }
        for head in 0..self.group {
            let (high, low) = dots[2 * head * positions..][..2 * positions].split_at(positions);
            let scores = &mut scores[head * positions..][..positions];
            let mut maximum = order_key(f32::NEG_INFINITY);
            for span in &spans {
                let queries = if span.sink { &*sink } else { &*main };
                let at = span.positions();
                let key_scales = &self.cached.key_scales[span.slots()];
                let scores = &mut scores[at.clone()];
                let query = (queries.scales[head], queries.surplus[head]);
                score_span(self.isa, &high[at.clone()], &low[at], query, key_scales, scores);
                scores[..span.skip].fill(f32::NEG_INFINITY);
                scores[span.skip + span.length..].fill(f32::NEG_INFINITY);
                maximum = maximum.max(largest_key(self.isa, scores));
            }
            let maximum = from_order_key(maximum);
            let (mut denominator, mut largest) = (0, 0);
            for span in &spans {
                let value_scales = &self.cached.value_scales[span.slots()];
                let scores = &mut scores[span.positions()];
                let (sum, weight) = exponentials(self.isa, scores, maximum, value_scales);
                denominator += sum;
                largest = largest.max(weight);
            }
            let (high, low) =
                weights[2 * head * positions..][..2 * positions].split_at_mut(positions);
            let largest = f32::from_bits(largest);
            let scaled = split_weights(self.isa, scores, largest, high, low);
            let factor = scaled / (denominator as f32 * (1.0 / DENOMINATOR_SCALE));
            factors.push(if scaled == 0.0 { 0.0 } else { factor });
        }
        for span in &spans {
            let values = &self.cached.values[self.bytes_of(span)];
            let shape = [2 * self.group, self.head_width, positions];
            value_sums(self.isa, &weights[span.position..], values, shape, sums);
        }
        let rows = out.chunks_exact_mut(self.head_width).zip(&*factors).enumerate();
        for (head, (out, &factor)) in rows {
            let (high, low) =
                sums[2 * head * self.head_width..][..2 * self.head_width].split_at(self.head_width);
            let weights = &weights[2 * head * positions..][..2 * positions];
            finish(self.isa, high, low, weights, factor, out);
        }
    }

    fn bytes_of(&self, span: &Span) -> std::ops::Range<usize> {
        let block = PANEL * self.head_width;
        span.first_block * block..(span.first_block + span.blocks) * block
    }
}

per_isa! {
    /// Step 1: writes the high and low bytes of a query's integers; gives `a` and their sum.
    fn split_query(query: &[f32], high: &mut [u8], low: &mut [u8]) -> (f32, i32) {
        let maximum = largest_magnitude(query).unwrap_or(f32::NAN);
        if maximum.is_nan() || maximum < SMALLEST_MAXIMUM {
            high.fill(0);
            low.fill(0);
            return (if maximum.is_nan() { f32::NAN } else { 0.0 }, 0);
        }
        let inverse = LARGEST_INTEGER / maximum;
        let mut sum = 0;
        for ((q, high), low) in query.iter().zip(high).zip(low) {
            let integer = rounded(q * inverse);
            (*high, *low) = split(integer);
            sum += integer;
        }
        (maximum, sum)
    }
}

/// The bytes of 256 * high + low with low in -128..=127.
#[inline(always)]
fn split(integer: i32) -> (u8, u8) {
    (((integer + 128) >> 8) as u8, integer as u8)
}

per_isa! {
    /// Step 2 for whole blocks: scores from the sums of high and low bytes.
    fn score_span(
        high: &[i32],
        low: &[i32],
        query: (f32, i32),
        key_scales: &[f32],
        scores: &mut [f32],
    ) {
        let (scale, surplus) = query;
        let sums = high.iter().zip(low);
        for ((score, (high, low)), key_scale) in scores.iter_mut().zip(sums).zip(key_scales) {
            let sum = high.wrapping_mul(256).wrapping_add(*low).wrapping_sub(surplus);
            *score = (sum as f32 * scale) * key_scale;
        }
    }
}

per_isa! {
    /// The largest score, as an order key.
    fn largest_key(scores: &[f32]) -> i32 {
        scores.iter().fold(i32::MIN, |maximum, &score| maximum.max(order_key(score)))
    }
}

per_isa! {
    /// Steps 3 to 5 for whole blocks: turns scores into `u`; gives their part of `D` and the bits
    /// of their part of `b`, which order as the values do and put NaN on top.
    fn exponentials(scores: &mut [f32], maximum: f32, value_scales: &[f32]) -> (u64, u32) {
        let mut sums = [0u32; PANEL];
        let mut largest = [0u32; PANEL];
        let blocks = scores.chunks_exact_mut(PANEL).zip(value_scales.chunks_exact(PANEL));
        for (scores, value_scales) in blocks {
            for lane in 0..PANEL {
                let p = exp(scores[lane] - maximum);
                // What is not seen may hold anything.
                let u = if p == 0.0 { 0.0 } else { p * value_scales[lane] };
                sums[lane] = sums[lane].wrapping_add(rounded(p * DENOMINATOR_SCALE) as u32);
                largest[lane] = largest[lane].max(u.to_bits());
                scores[lane] = u;
            }
        }
        let largest = largest.into_iter().fold(0, u32::max);
        (sums.into_iter().map(u64::from).sum(), largest)
    }
}

per_isa! {
    /// Steps 5 and 6: writes the high and low bytes of the weights; gives `b / 32639`, or 0.
    fn split_weights(weights: &[f32], largest: f32, high: &mut [u8], low: &mut [u8]) -> f32 {
        if !(SMALLEST_MAXIMUM..=f32::MAX).contains(&largest) {
            high.fill(0);
            low.fill(0);
            return if largest < SMALLEST_MAXIMUM { 0.0 } else { f32::NAN };
        }
        let inverse = LARGEST_INTEGER / largest;
        for ((u, high), low) in weights.iter().zip(high).zip(low) {
            (*high, *low) = split(rounded(u * inverse));
        }
        largest / LARGEST_INTEGER
    }
}

per_isa! {
    /// Step 7; `weights` are the high and low bytes that the surplus of 128 a value comes from.
    fn finish(high: &[i32], low: &[i32], weights: &[u8], factor: f32, out: &mut [f32]) {
        let (high_weights, low_weights) = weights.split_at(weights.len() / 2);
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| i32::from(byte as i8)).sum::<i32>();
        let high_surplus = OFFSET.wrapping_mul(sum(high_weights));
        let low_surplus = OFFSET.wrapping_mul(sum(low_weights));
        for ((out, high), low) in out.iter_mut().zip(high).zip(low) {
            let high = high.wrapping_sub(high_surplus) as f32;
            let low = low.wrapping_sub(low_surplus) as f32;
            *out = (high * 256.0 + low) * factor;
        }
    }
}

/// Sums of query bytes `[rows][head_width]` times keys, `[rows][positions]`, for the positions of
/// `keys`; `shape` is rows, head width and the distance from row to row of `dots`.
fn score_sums(isa: Isa, queries: &[u8], keys: &[u8], shape: [usize; 3], dots: &mut [i32]) {
    match isa.kind() {
        Kind::Scalar => scalar::score_sums(queries, keys, shape, dots),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => scalar::score_sums(queries, keys, shape, dots),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::score_sums(queries, keys, shape, dots) },
    }
}

/// Adds to `sums`, `[rows][head_width]`, weight bytes `[rows][positions]` times values, for the
/// positions of `values`; `shape` is rows, head width and the distance from row to row of
/// `weights`.
fn value_sums(isa: Isa, weights: &[u8], values: &[u8], shape: [usize; 3], sums: &mut [i32]) {
    match isa.kind() {
        Kind::Scalar => scalar::value_sums(weights, values, shape, sums),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => scalar::value_sums(weights, values, shape, sums),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::value_sums(weights, values, shape, sums) },
    }
}
