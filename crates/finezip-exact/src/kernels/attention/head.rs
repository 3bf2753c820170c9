//! Steps 1 to 4 of attention for one query and the group of heads that share keys and values.

use std::ops::Range;

use super::super::int8::{OFFSET, PANEL};
use super::super::isa::{Isa, Kind};
use super::super::kv_cache::KvHead;
use super::super::order::from_order_key;
use super::super::prefetch::{Ahead, Lines};
use super::super::scalar;
#[cfg(target_arch = "x86_64")]
use super::super::{avx2, avx512};
use super::outputs::{Outputs, Softmax};
use super::steps::{largest_key, powers, score_span_8, score_span_15, split_query};
use super::{QueryPrecision, Segment};

/// Queries of one group as bytes, and what goes with them.
#[derive(Default)]
struct QueryBytes {
    /// `[group][planes][head_width]`: the bytes of each query head, high ones first.
    bytes: Vec<u8>,
    /// `scale_q` of each query head.
    scales: Vec<f32>,
    /// 128 * sum of Q of each query head.
    surplus: Vec<i32>,
}

impl QueryBytes {
    fn fill(&mut self, call: &Call<'_>, queries: &[f32]) {
        let planes = call.precision.planes();
        let largest = call.precision.largest();
        self.bytes.resize(planes * queries.len(), 0);
        self.scales.clear();
        self.surplus.clear();
        let rows = queries.chunks_exact(call.head_width);
        for (query, bytes) in rows.zip(self.bytes.chunks_exact_mut(planes * call.head_width)) {
            let (high, low) = bytes.split_at_mut((planes - 1) * call.head_width);
            let (maximum, sum) = split_query(call.isa, query, largest, high, low);
            self.scales.push(maximum / largest * call.scale);
            self.surplus.push(OFFSET.wrapping_mul(sum));
        }
    }
}

/// Buffers kept between the queries of a task.
#[derive(Default)]
pub(super) struct Scratch {
    main: QueryBytes,
    sink: QueryBytes,
    spans: Vec<Span>,
    /// Value scales by position, zero where nothing is seen.
    value_scales: Vec<f32>,
    /// `[group][planes][positions]`
    dots: Vec<i32>,
    /// `[group][positions]`: scores, then what weights are cut from.
    scores: Vec<f32>,
    /// Each query head's.
    softmax: Vec<Softmax>,
    outputs: Outputs,
}

/// One head of the cache and the group of query heads that read it.
pub(super) struct Call<'a> {
    pub(super) isa: Isa,
    pub(super) cached: KvHead<'a>,
    pub(super) head_width: usize,
    pub(super) group: usize,
    /// The scale of scores times log2 e.
    pub(super) scale: f32,
    pub(super) precision: QueryPrecision,
    /// What the next call will read, asked for while this one computes: bounds on memory are then
    /// met all the time instead of at the start of each call.
    pub(super) next: KvHead<'a>,
    /// The next call's queries and those for sinks.
    pub(super) next_queries: [&'a [f32]; 2],
}

/// A segment in whole blocks: `first_block..end_block` of the cache stand at `position..` of the
/// scratch, and `skip` positions there come before the segment.
pub(super) struct Span {
    first_block: usize,
    blocks: usize,
    pub(super) position: usize,
    skip: usize,
    length: usize,
    sink: bool,
}

impl Span {
    fn positions(&self) -> Range<usize> {
        self.position..self.position + self.blocks * PANEL
    }

    /// Positions of what is seen.
    fn seen(&self) -> Range<usize> {
        self.position + self.skip..self.position + self.skip + self.length
    }

    /// Slots of what is seen.
    fn slots(&self) -> Range<usize> {
        let start = self.first_block * PANEL + self.skip;
        start..start + self.length
    }

    /// Slots of the whole blocks.
    fn block_slots(&self) -> Range<usize> {
        self.first_block * PANEL..(self.first_block + self.blocks) * PANEL
    }
}

impl Call<'_> {
    /// Runs all steps; `out` is `[group * head_width]`.
    pub(super) fn run(
        &self,
        segments: &[Segment],
        queries: &[f32],
        sinks: Option<&[f32]>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Scratch { main, sink, spans, value_scales, dots, scores, softmax, outputs } = scratch;
        let mut positions = 0;
        spans.clear();
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
        let planes = self.precision.planes();
        main.fill(self, queries);
        if let Some(sinks) = sinks.filter(|_| spans.iter().any(|span| span.sink)) {
            sink.fill(self, sinks);
        }
        value_scales.resize(positions, 0.0);
        dots.resize(planes * self.group * positions, 0);
        scores.resize(self.group * positions, 0.0);

        for span in &*spans {
            let queries = if span.sink { &*sink } else { &*main };
            let at = span.position;
            self.scores(span, queries, positions, &mut dots[at..], &mut scores[at..]);
            let skipped = span.position..span.position + span.skip;
            value_scales[skipped].fill(0.0);
            value_scales[span.seen()].copy_from_slice(&self.cached.value_scales[span.slots()]);
            value_scales[span.seen().end..span.positions().end].fill(0.0);
        }
        let mut ahead = self.scores_ahead(spans);
        softmax.clear();
        for scores in scores.chunks_exact_mut(positions) {
            for span in &*spans {
                let unseen = [
                    span.positions().start..span.seen().start,
                    span.seen().end..span.positions().end,
                ];
                unseen.into_iter().for_each(|unseen| scores[unseen].fill(f32::NEG_INFINITY));
            }
            let maximum = from_order_key(largest_key(self.isa, scores));
            let lines = ahead.take(2 * positions / PANEL);
            let (denominator, largest) = powers(self.isa, scores, maximum, value_scales, lines);
            softmax.push(Softmax { maximum, denominator, largest });
        }
        outputs.write(self, spans, scores, softmax, &mut ahead, out);
    }

    /// Scores of a span's blocks, `[group][stride]`.
    fn scores(
        &self,
        span: &Span,
        queries: &QueryBytes,
        stride: usize,
        dots: &mut [i32],
        scores: &mut [f32],
    ) {
        let planes = self.precision.planes();
        let bytes = self.bytes_of(span);
        // Half of the next keys are asked for here.
        let ahead = self.next.keys[bytes.start / 2..].as_ptr();
        let keys = &self.cached.keys[bytes];
        let key_scales = &self.cached.key_scales[span.block_slots()];
        let shape = [planes * self.group, self.head_width, stride];
        #[cfg(target_arch = "x86_64")]
        if let (Kind::Avx512Vnni, QueryPrecision::Eight) = (self.isa.kind(), self.precision) {
            let rows = (&queries.scales[..], &queries.surplus[..]);
            // SAFETY: the kind proves the instructions.
            unsafe {
                avx512::scores(&queries.bytes, rows, keys, key_scales, ahead, shape, scores);
            }
            return;
        }
        score_sums(self.isa, &queries.bytes, keys, ahead, shape, dots);
        let length = key_scales.len();
        let heads = dots.chunks(planes * stride).zip(scores.chunks_mut(stride)).enumerate();
        for (head, (dots, scores)) in heads {
            let query = (queries.scales[head], queries.surplus[head]);
            let scores = &mut scores[..length];
            match self.precision {
                QueryPrecision::Eight => {
                    score_span_8(self.isa, &dots[..length], query, key_scales, scores);
                }
                QueryPrecision::Fifteen => {
                    let (high, low) = (&dots[..length], &dots[stride..][..length]);
                    score_span_15(self.isa, high, low, query, key_scales, scores);
                }
            }
        }
    }

    /// What the next call reads and neither the sums of scores nor those of values ask for: queries,
    /// scales, and the other half of the keys.
    fn scores_ahead(&self, spans: &[Span]) -> Ahead {
        let start = spans.iter().map(|span| span.first_block).min().unwrap_or(0);
        let end = spans.iter().map(|span| span.first_block + span.blocks).max().unwrap_or(0);
        let block = PANEL * self.head_width;
        let slots = start * PANEL..end * PANEL;
        Ahead::new([
            Lines::of(&self.next.keys[end * block / 2..end * block]),
            Lines::of(self.next_queries[0]),
            Lines::of(self.next_queries[1]),
            Lines::of(&self.next.key_scales[slots.clone()]),
            Lines::of(&self.next.value_scales[slots]),
        ])
    }

    /// Where the bytes of a span's blocks are among a head's.
    pub(super) fn bytes_of(&self, span: &Span) -> Range<usize> {
        let block = PANEL * self.head_width;
        span.first_block * block..(span.first_block + span.blocks) * block
    }
}

/// Sums of query bytes `[rows][head_width]` times keys, `[rows][positions]`, for the positions of
/// `keys`; `shape` is rows, head width and the distance from row to row of `dots`.
fn score_sums(
    isa: Isa,
    queries: &[u8],
    keys: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    dots: &mut [i32],
) {
    let _ = ahead;
    match isa.kind() {
        Kind::Scalar => scalar::score_sums(queries, keys, shape, dots),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::score_sums(queries, keys, ahead, shape, dots) },
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::score_sums(queries, keys, ahead, shape, dots) },
    }
}
