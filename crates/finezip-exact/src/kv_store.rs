//! One layer's keys and values, and attention over them, in the form of the model's precision.

use finezip_models::ModelConfig;

use crate::blocks::Block;
use crate::error::Result;
use crate::kernels::{
    AttentionItem, Context, KvCache, KvLane, KvSlot, Queries, QueryPrecision, Segment, StridedRows,
    attention as attend_int8,
};
use crate::options::Precision;
use crate::plain_attention::{PlainCache, PlainLane, PlainQuery, attend};
use crate::ring::Ring;

/// Keys and values of one layer for all lanes.
#[derive(Debug)]
pub(crate) struct KvStore {
    ring: Ring,
    cache: Cache,
}

#[derive(Debug)]
enum Cache {
    Int8(KvCache),
    Plain(PlainCache),
}

/// What one lane holds in one layer.
#[derive(Clone, Debug)]
pub(crate) struct StoredLane {
    ring: Ring,
    cache: CopiedLane,
}

#[derive(Clone, Debug)]
enum CopiedLane {
    Int8(KvLane),
    Plain(PlainLane),
}

/// Queries, keys and values of a block's rows, `[rows][width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projections<'a> {
    /// Queries, keys and values of each row one after the other.
    pub(crate) qkv: &'a [f32],
    /// Width of a row of `qkv`.
    pub(crate) qkv_width: usize,
    /// Width of all queries of a row.
    pub(crate) query_width: usize,
    /// Queries for sinks beyond the window, `[rows][query_width]`; empty where no row sees any.
    pub(crate) sink_queries: &'a [f32],
}

impl<'a> Projections<'a> {
    fn part(&self, first: usize, width: usize) -> StridedRows<'a> {
        StridedRows::new(self.qkv, self.qkv_width, first, width)
    }

    fn key_width(&self) -> usize {
        (self.qkv_width - self.query_width) / 2
    }

    fn keys(&self) -> StridedRows<'a> {
        self.part(self.query_width, self.key_width())
    }

    fn values(&self) -> StridedRows<'a> {
        self.part(self.query_width + self.key_width(), self.key_width())
    }

    /// The same for one row.
    fn row(&self, row: usize) -> Self {
        let qkv = &self.qkv[row * self.qkv_width..(row + 1) * self.qkv_width];
        Self { qkv, sink_queries: &[], ..*self }
    }
}

impl KvStore {
    /// An empty store.
    pub(crate) fn new(
        precision: Precision,
        config: &ModelConfig,
        lanes: usize,
        ring: Ring,
    ) -> Result<Self> {
        let (heads, width) = (config.kv_heads, config.head_dim);
        let cache = match precision {
            Precision::F32 => Cache::Plain(PlainCache::new(lanes, heads, width, ring.slots())),
            _ => Cache::Int8(KvCache::new(lanes, heads, width, ring.slots())?),
        };
        Ok(Self { ring, cache })
    }

    /// Bytes of memory a lane takes.
    pub(crate) fn lane_bytes(precision: Precision, config: &ModelConfig, ring: Ring) -> u64 {
        let (heads, width) = (config.kv_heads, config.head_dim);
        match precision {
            Precision::F32 => PlainCache::lane_bytes(heads, width, ring.slots()),
            _ => KvCache::lane_bytes(heads, width, ring.slots()),
        }
    }

    /// A copy of what a lane that was fed `fed` tokens holds.
    pub(crate) fn copy_lane(&self, lane: usize, fed: u64) -> StoredLane {
        let slots = self.ring.slots_used(fed);
        let cache = match &self.cache {
            Cache::Int8(cache) => CopiedLane::Int8(cache.copy_lane(lane, slots)),
            Cache::Plain(cache) => CopiedLane::Plain(cache.copy_lane(lane, slots)),
        };
        StoredLane { ring: self.ring, cache }
    }

    /// Whether a lane can have what another held that was fed `fed` tokens: not where it was laid
    /// out for another window, and had outgrown that or would outgrow this.
    pub(crate) fn takes(&self, copy: &StoredLane, fed: u64) -> bool {
        self.ring.agrees_with(copy.ring, fed)
    }

    /// Gives a lane what another held, which it [takes](Self::takes); false, and nothing is
    /// written, where it has other heads.
    pub(crate) fn paste_lane(&mut self, lane: usize, copy: &StoredLane) -> bool {
        match (&mut self.cache, &copy.cache) {
            (Cache::Int8(cache), CopiedLane::Int8(copy)) => cache.paste_lane(lane, copy),
            (Cache::Plain(cache), CopiedLane::Plain(copy)) => cache.paste_lane(lane, copy),
            _ => false,
        }
    }

    /// The geometry of a lane.
    pub(crate) fn ring(&self) -> Ring {
        self.ring
    }

    /// Stores keys and values of a block's rows.
    pub(crate) fn store(&mut self, context: &Context, block: &Block, from: Projections<'_>) {
        match &mut self.cache {
            Cache::Plain(cache) => {
                let (keys, values) = (from.keys(), from.values());
                for (row, lane, position) in block.rows_with_lanes() {
                    let sink = self.ring.sink_slot(position);
                    for slot in sink.into_iter().chain([self.ring.slot(position)]) {
                        cache.store(lane, slot, keys.row(row), values.row(row));
                    }
                }
            }
            Cache::Int8(cache) => {
                let places: Vec<_> = block
                    .rows_with_lanes()
                    .map(|(_, lane, position)| KvSlot { lane, slot: self.ring.slot(position) })
                    .collect();
                cache.store(context, &places, from.keys(), from.values());
                for (row, lane, position) in block.rows_with_lanes() {
                    if let Some(slot) = self.ring.sink_slot(position) {
                        let from = from.row(row);
                        cache.store(context, &[KvSlot { lane, slot }], from.keys(), from.values());
                    }
                }
            }
        }
    }

    /// Writes the attention of a block's rows, `[rows][query_width]`.
    pub(crate) fn attend(
        &self,
        context: &Context,
        block: &Block,
        from: Projections<'_>,
        scale: f32,
        out: &mut [f32],
    ) {
        let width = from.query_width;
        match &self.cache {
            Cache::Plain(cache) => {
                let queries = from.part(0, width);
                let seen: Vec<_> = block
                    .rows_with_lanes()
                    .map(|(_, lane, position)| (lane, self.ring.visible(position)))
                    .collect();
                attend(context, cache, scale, out, width, |row| PlainQuery {
                    lane: seen[row].0,
                    visible: &seen[row].1,
                    query: queries.row(row),
                    sink_query: from
                        .sink_queries
                        .get(row * width..(row + 1) * width)
                        .unwrap_or(&[]),
                });
            }
            Cache::Int8(cache) => {
                let items: Vec<_> = block
                    .rows_with_lanes()
                    .map(|(_, lane, position)| {
                        let seen = self.ring.visible(position);
                        let segment = |range: std::ops::Range<usize>, sink| Segment {
                            start: range.start,
                            length: range.len(),
                            sink,
                        };
                        let segments = [
                            segment(seen.sinks, true),
                            segment(seen.first, false),
                            segment(seen.second, false),
                        ];
                        AttentionItem { lane, segments }
                    })
                    .collect();
                let sink_rows = (!from.sink_queries.is_empty())
                    .then(|| StridedRows::new(from.sink_queries, width, 0, width));
                let rows = from.part(0, width);
                // Rotated queries lose little more in 8 bits than the keys do, and 15 would cost 7 %
                // of a step (docs/arithmetic.md).
                let precision = QueryPrecision::Eight;
                let queries = Queries { rows, sink_rows, scale, precision };
                attend_int8(context, cache, &items, queries, out);
            }
        }
    }
}
