//! Every instruction set against the definition, value by value.

use super::steps::power;
use super::*;
use crate::kernels::context::TEST_THREADS;
use crate::kernels::quantize::SMALLEST_MAXIMUM;
use crate::kernels::{Isa, KvSlot, QuantizedRows};
use proptest::prelude::*;

/// Vectors of one position and head, quantized.
#[derive(Clone)]
struct Vector {
    integers: Vec<i64>,
    scale: f32,
}

fn quantized(x: &[f32]) -> Vector {
    let context = Context::new(Isa::scalar(), 1).unwrap();
    let mut rows = QuantizedRows::new();
    rows.quantize(&context, x, 1, x.len()).unwrap();
    Vector { integers: rows.row(0).map(i64::from).collect(), scale: rows.scales()[0] }
}

/// The definition for one head: `seen` holds query, key and value of each visible slot.
fn defined(
    seen: &[(&[f32], Vector, Vector)],
    scale: f32,
    precision: QueryPrecision,
    width: usize,
) -> Vec<f32> {
    if seen.is_empty() {
        return vec![0.0; width];
    }
    let scores: Vec<f32> = seen
        .iter()
        .map(|(q, key, _)| {
            let a = q.iter().fold(0.0f32, |a, q| a.max(q.abs()));
            if a == 0.0 {
                return 0.0;
            }
            let z = precision.largest();
            let inverse = z / a;
            let products = q.iter().zip(&key.integers);
            let sum: i64 = products.map(|(q, k)| (q * inverse).round_ties_even() as i64 * k).sum();
            let scale_q = (a / z) * (scale * std::f32::consts::LOG2_E);
            (i32::try_from(sum).unwrap() as f32 * scale_q) * key.scale
        })
        .collect();
    let maximum = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| power(score - maximum)).collect();
    let denominator: i64 = powers.iter().map(|p| (p * 1_048_576.0).round_ties_even() as i64).sum();
    let scaled: Vec<f32> = powers.iter().zip(seen).map(|(p, seen)| p * seen.2.scale).collect();
    let b = scaled.iter().copied().fold(0.0, f32::max);
    if b < SMALLEST_MAXIMUM {
        return vec![0.0; width];
    }
    let inverse = 32_639.0 / b;
    let factor = (b / 32_639.0) / (denominator as f32 * (1.0 / 1_048_576.0));
    let weights: Vec<i64> = scaled.iter().map(|u| (u * inverse).round_ties_even() as i64).collect();
    (0..width)
        .map(|column| {
            let (mut high_sum, mut low_sum) = (0i64, 0i64);
            for (weight, (_, _, value)) in weights.iter().zip(seen) {
                let low = (weight + 128).rem_euclid(256) - 128;
                high_sum += (weight - low) / 256 * value.integers[column];
                low_sum += low * value.integers[column];
            }
            (high_sum as f32 * 256.0 + low_sum as f32) * factor
        })
        .collect()
}

fn scattered(seed: usize, count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| {
            let mixed = (i + 977 * seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed >> 40) % 4001) as f32 / 500.0 - 4.0
        })
        .collect()
}

struct Case {
    kv_heads: usize,
    group: usize,
    width: usize,
    slots: usize,
    lanes: usize,
    items: Vec<AttentionItem>,
    precision: QueryPrecision,
    seed: usize,
}

fn check(case: &Case) {
    let Case { kv_heads, group, width, slots, lanes, ref items, precision, seed } = *case;
    let row = kv_heads * width;
    let places: Vec<_> =
        (0..lanes).flat_map(|lane| (0..slots).map(move |slot| KvSlot { lane, slot })).collect();
    let keys = scattered(seed, places.len() * row);
    let values = scattered(seed + 1, places.len() * row);
    let heads = kv_heads * group;
    let queries = scattered(seed + 2, items.len() * heads * width);
    let sinks = scattered(seed + 3, items.len() * heads * width);
    let mut expected = Vec::new();
    for (index, item) in items.iter().enumerate() {
        for head in 0..heads {
            let query = (index * heads + head) * width;
            let mut seen = Vec::new();
            for segment in item.segments {
                let source = if segment.sink { &sinks } else { &queries };
                for slot in segment.start..segment.start + segment.length {
                    let at = (item.lane * slots + slot) * row + head / group * width;
                    seen.push((
                        &source[query..query + width],
                        quantized(&keys[at..at + width]),
                        quantized(&values[at..at + width]),
                    ));
                }
            }
            // The order must not matter.
            let third = seen.len() / 3;
            seen.rotate_left(third);
            expected.extend(defined(&seen, 0.07, precision, width));
        }
    }
    for isa in Isa::available() {
        for &threads in TEST_THREADS {
            let context = Context::new(isa, threads).unwrap();
            let mut cache = KvCache::new(lanes, kv_heads, width, slots).unwrap();
            cache.store(
                &context,
                &places,
                StridedRows::new(&keys, row, 0, row),
                StridedRows::new(&values, row, 0, row),
            );
            let mut out = vec![f32::NAN; expected.len()];
            let stride = heads * width;
            let queries = Queries {
                rows: StridedRows::new(&queries, stride, 0, stride),
                sink_rows: Some(StridedRows::new(&sinks, stride, 0, stride)),
                scale: 0.07,
                precision,
            };
            attention(&context, &cache, items, queries, &mut out);
            for (found, expected) in out.iter().zip(&expected) {
                assert_eq!(found.to_bits(), expected.to_bits(), "{isa} {threads}");
            }
        }
    }
}

#[test]
fn attention_is_as_defined_for_every_shape() {
    let segment = |start, length, sink| Segment { start, length, sink };
    for (kv_heads, group, width) in [(3, 3, 64), (1, 1, 16), (2, 1, 48), (1, 4, 256), (1, 7, 80)] {
        for precision in [QueryPrecision::Eight, QueryPrecision::Fifteen] {
            let none = Segment::default();
            let items = [
                [segment(0, 1, false), none, none],
                [segment(5, 30, false), none, none],
                [segment(40, 35, false), segment(0, 11, false), segment(20, 2, true)],
                [segment(0, 80, false), none, none],
                [none, none, none],
                [none, segment(3, 1, true), none],
            ];
            let items = (0..12)
                .map(|i| AttentionItem { lane: i / 4 % 2, segments: items[i % items.len()] })
                .collect();
            let (slots, lanes, seed) = (80, 2, width);
            check(&Case { kv_heads, group, width, slots, lanes, items, precision, seed });
        }
    }
}

#[test]
fn many_slots_do_not_overflow() {
    let segments = [
        Segment { start: 0, length: MAX_SLOTS, sink: false },
        Segment::default(),
        Segment::default(),
    ];
    for isa in Isa::available() {
        let context = Context::new(isa, 1).unwrap();
        let mut cache = KvCache::new(1, 1, 16, MAX_SLOTS).unwrap();
        let places: Vec<_> = (0..MAX_SLOTS).map(|slot| KvSlot { lane: 0, slot }).collect();
        let row = vec![1.0; MAX_SLOTS * 16];
        let rows = StridedRows::new(&row, 16, 0, 16);
        cache.store(&context, &places, rows, rows);
        let queries =
            Queries { rows, sink_rows: None, scale: 1.0, precision: QueryPrecision::Fifteen };
        let mut out = vec![0.0; 16];
        let item = AttentionItem { lane: 0, segments };
        attention(&context, &cache, &[item], queries, &mut out);
        assert!(out.iter().all(|y| (y - 1.0).abs() < 1e-4), "{isa} {out:?}");
    }
}

/// Around the number of slots from which on whole weights may not be summed in 32 bits, and with sums
/// of low bytes that are no `f32` while the whole sum is one: rounded apart, they differ from it.
#[test]
fn sums_at_the_bounds_of_their_numbers_are_as_defined() {
    const WIDTH: usize = 16;
    type Case = (&'static str, fn(usize) -> f32, fn(usize) -> f32);
    // Equal scores make weights that go as the scales of values do, here in parts of the largest.
    let cases: [Case; 3] = [
        ("all largest", |_| 32_639.0, |_| 1.0),
        (
            "low bytes of -128 and -127",
            |slot| if slot == 0 { 32_639.0 } else { 128.0 + (slot % 2) as f32 },
            |_| 1.0,
        ),
        // High bytes sum to little, low ones to much.
        (
            "opposite values",
            |slot| if slot == 0 { 32_639.0 } else { 128.0 - (slot % 2) as f32 },
            |slot| if slot % 2 == 0 { 1.0 } else { -1.0 },
        ),
    ];
    for slots in [512, 513, 518, 519, 520, 1031, 1032, 1033, 1202, 2048] {
        for (what, weight, sign) in cases {
            let values: Vec<f32> = (0..slots * WIDTH)
                .map(|i| {
                    let magnitude = if i % WIDTH == 0 { 127 } else { 127 - (i * 7919 % 5) };
                    magnitude as f32 * sign(i / WIDTH)
                })
                .collect();
            let places: Vec<_> = (0..slots).map(|slot| KvSlot { lane: 0, slot }).collect();
            let rows = StridedRows::new(&values, WIDTH, 0, WIDTH);
            // The second head's scores differ.
            let query = [[0.0; WIDTH], [0.01; WIDTH]].concat();
            let queries = Queries {
                rows: StridedRows::new(&query, 2 * WIDTH, 0, 2 * WIDTH),
                sink_rows: None,
                scale: 1.0,
                precision: QueryPrecision::Eight,
            };
            let all = Segment { start: 0, length: slots, sink: false };
            let segments = [all, Segment::default(), Segment::default()];
            let item = AttentionItem { lane: 0, segments };
            let vectors: Vec<Vector> = values.chunks(WIDTH).map(quantized).collect();
            let mut expected = Vec::new();
            for query in query.chunks(WIDTH) {
                let seen = vectors.iter().enumerate().map(|(slot, key)| {
                    (query, key.clone(), Vector { scale: weight(slot), ..key.clone() })
                });
                let seen: Vec<_> = seen.collect();
                expected.extend(defined(&seen, 1.0, QueryPrecision::Eight, WIDTH));
            }
            for isa in Isa::available() {
                let context = Context::new(isa, 1).unwrap();
                let mut cache = KvCache::new(1, 1, WIDTH, slots).unwrap();
                cache.store(&context, &places, rows, rows);
                for (slot, scale) in cache.scales_mut(0, 0).1[..slots].iter_mut().enumerate() {
                    *scale = weight(slot);
                }
                let mut out = vec![0.0; 2 * WIDTH];
                attention(&context, &cache, &[item], queries, &mut out);
                for (found, expected) in out.iter().zip(&expected) {
                    let bits = (found.to_bits(), expected.to_bits());
                    assert_eq!(bits.0, bits.1, "{isa}, {what}, {slots} slots");
                }
            }
        }
    }
}

/// One position of four query heads and two heads of the cache, of which something may be broken.
struct Inputs {
    context: Context,
    cache: KvCache,
    keys: Vec<f32>,
    values: Vec<f32>,
    query: Vec<f32>,
    sink_query: Vec<f32>,
}

impl Inputs {
    /// Slots that hold something.
    const STORED: usize = 6;
    /// Slots that nobody sees: one that is stored, two of its block that are not, and one of a
    /// block of which nothing is seen.
    const UNSEEN: [usize; 4] = [3, 6, 15, 20];

    fn new(isa: Isa) -> Self {
        let mut inputs = Self {
            context: Context::new(isa, 1).unwrap(),
            cache: KvCache::new(1, 2, 16, 32).unwrap(),
            // Above zero, so that the signs of scores are those of queries.
            keys: scattered(1, Self::STORED * 32).iter().map(|key| key.abs() + 0.5).collect(),
            values: scattered(2, Self::STORED * 32),
            query: scattered(3, 64),
            sink_query: scattered(4, 64),
        };
        inputs.store();
        inputs
    }

    fn store(&mut self) {
        let places: Vec<_> = (0..Self::STORED).map(|slot| KvSlot { lane: 0, slot }).collect();
        let keys = StridedRows::new(&self.keys, 32, 0, 32);
        let values = StridedRows::new(&self.values, 32, 0, 32);
        self.cache.store(&self.context, &places, keys, values);
    }

    /// The four heads' outputs.
    fn attend(&self, precision: QueryPrecision) -> Vec<f32> {
        let queries = Queries {
            rows: StridedRows::new(&self.query, 64, 0, 64),
            sink_rows: Some(StridedRows::new(&self.sink_query, 64, 0, 64)),
            scale: 0.07,
            precision,
        };
        let segments = [
            Segment { start: 0, length: 3, sink: false },
            Segment { start: 4, length: 2, sink: true },
            Segment::default(),
        ];
        let mut out = vec![0.0; 64];
        let items = [AttentionItem { lane: 0, segments }];
        attention(&self.context, &self.cache, &items, queries, &mut out);
        out
    }
}

/// What is broken, how, and the query heads that it shows in.
type Broken = (&'static str, fn(&mut Inputs), &'static [usize]);

/// A NaN of either sign, for processors differ in the sign of the one that they make.
const BROKEN: [Broken; 15] = [
    ("nothing", |_| (), &[]),
    ("an infinite query", |inputs| inputs.query[3] = f32::INFINITY, &[0]),
    ("a query of NaN", |inputs| inputs.query[16] = f32::NAN, &[1]),
    ("a sink query", |inputs| inputs.sink_query[35] = f32::NEG_INFINITY, &[2]),
    ("scores of infinity", |inputs| inputs.query[48..].fill(3e38), &[3]),
    ("scores of infinity at sinks", |inputs| inputs.sink_query[..16].fill(3e38), &[0]),
    (
        "no score above minus infinity",
        |inputs| {
            inputs.query[..16].fill(-3e38);
            inputs.sink_query[..16].fill(-3e38);
        },
        &[0],
    ),
    (
        "an infinite key",
        |inputs| {
            inputs.keys[32] = f32::INFINITY;
            inputs.store();
        },
        &[0, 1],
    ),
    (
        "a value of NaN",
        |inputs| {
            inputs.values[4 * 32 + 31] = f32::NAN;
            inputs.store();
        },
        &[2, 3],
    ),
    ("a key's scale", |inputs| inputs.cache.scales_mut(0, 0).0[2] = f32::NAN, &[0, 1]),
    ("a key's scale, negative", |inputs| inputs.cache.scales_mut(0, 1).0[1] = -f32::NAN, &[2, 3]),
    ("a value's scale", |inputs| inputs.cache.scales_mut(0, 1).1[0] = f32::NAN, &[2, 3]),
    ("a value's scale, negative", |inputs| inputs.cache.scales_mut(0, 0).1[5] = -f32::NAN, &[0, 1]),
    (
        "a value's infinite scale",
        |inputs| inputs.cache.scales_mut(0, 0).1[1] = f32::INFINITY,
        &[0, 1],
    ),
    (
        "slots that nobody sees",
        |inputs| {
            for slot in Inputs::UNSEEN {
                inputs.cache.scales_mut(0, 0).0[slot] = f32::NAN;
                inputs.cache.scales_mut(0, 0).1[slot] = f32::INFINITY;
                inputs.cache.scales_mut(0, 1).0[slot] = -f32::NAN;
                inputs.cache.scales_mut(0, 1).1[slot] = -f32::NAN;
            }
        },
        &[],
    ),
];

#[test]
fn what_is_not_finite_shows_in_its_heads_and_leaves_the_others_their_bits() {
    for isa in Isa::available() {
        for precision in [QueryPrecision::Eight, QueryPrecision::Fifteen] {
            let whole = Inputs::new(isa).attend(precision);
            assert!(whole.iter().all(|y| y.is_finite()), "{isa} {precision:?}");
            for (what, damage, broken) in BROKEN {
                let mut inputs = Inputs::new(isa);
                damage(&mut inputs);
                let found = inputs.attend(precision);
                for (head, (found, whole)) in found.chunks(16).zip(whole.chunks(16)).enumerate() {
                    let expected = match broken.contains(&head) {
                        true => found.iter().all(|y| y.is_nan()),
                        false => found.iter().zip(whole).all(|(a, b)| a.to_bits() == b.to_bits()),
                    };
                    assert!(expected, "{isa} {precision:?}, {what}: head {head} is {found:?}");
                }
            }
        }
    }
}

#[test]
fn powers_are_close() {
    for i in 0..=125_000 {
        let t = i as f32 / -1000.0;
        let exact = f64::from(t).exp2();
        assert!((f64::from(power(t)) / exact - 1.0).abs() < 3.0e-6, "{t}");
    }
    assert_eq!(power(f32::NEG_INFINITY), power(-125.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn attention_is_as_defined(
        kv_heads in 1usize..3, group in 1usize..6, width in 1usize..6, slots in 1usize..5,
        cuts in proptest::collection::vec((0usize..2, 0usize..1000, 0usize..1000), 0..6),
        fine: bool, seed in 0usize..1000,
    ) {
        let slots = slots * 16;
        let items = cuts.into_iter().map(|(lane, start, length)| {
            let start = start % slots;
            let length = length % (slots - start + 1);
            let rest = start - start / 2;
            let segments = [
                Segment { start, length, sink: false },
                Segment { start: 0, length: start / 2, sink: true },
                Segment { start: start / 2, length: rest.min(3), sink: false },
            ];
            AttentionItem { lane, segments }
        }).collect();
        let precision = if fine { QueryPrecision::Fifteen } else { QueryPrecision::Eight };
        check(&Case { kv_heads, group, width: 16 * width, slots, lanes: 2, items, precision, seed });
    }
}
