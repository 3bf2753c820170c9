//! Multiply-adds a second of the kernels on each instruction set, those of AVX-512 beside the peak of
//! `vpdpbusd` and those of AVX2 beside that of `vpmaddwd`, measured in the same run.
//!
//! `cargo bench -p finezip-exact --bench kernels` prints criterion's figures and, at the end, a
//! table of the best of each with its part of the peak.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use finezip_exact::kernels::{
    AttentionItem, Context, Int4Weights, Int8Weights, Isa, KvCache, KvSlot, QuantizedBlocks,
    QuantizedRows, Queries, QueryPrecision, RowWithMaximum, Segment, StridedRows, attention,
    gemm_int4, gemm_int8, gemm_int8_with_maxima, hadamard_64, peak_multiply_adds, rms_norm,
    silu_gate,
};
use rustix::time::{ClockId, clock_gettime};

/// Best rates seen, in multiply-adds (or elements) a nanosecond.
#[derive(Default)]
struct Table(Vec<(String, f64)>);

impl Table {
    fn bench(&mut self, criterion: &mut Criterion, name: &str, work: u64, mut run: impl FnMut()) {
        let mut best = f64::MAX;
        let mut group = criterion.benchmark_group("kernels");
        group.throughput(Throughput::Elements(work));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let start = thread_time();
                    run();
                    let elapsed = thread_time() - start;
                    best = best.min(elapsed.as_secs_f64());
                    total += elapsed;
                }
                total
            });
        });
        group.finish();
        if best < f64::MAX {
            self.0.push((name.to_owned(), work as f64 / best / 1e9));
        }
    }
}

/// Time this thread has run: other load on the machine does not count, as far as caches allow.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + i / 97) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn weights(channels: usize, depth: usize) -> Int8Weights {
    let bytes: Vec<i8> = (0..channels * depth).map(|i| ((i * 31 + i / 53) % 255) as i8).collect();
    Int8Weights::pack(channels, depth, &bytes, &vec![1e-3; channels]).expect("a valid shape")
}

/// The matrices of SmolLM2-135M, stacked as the engine stacks them: name, channels, depth.
const SHAPES: [(&str, usize, usize); 5] = [
    ("qkv", 960, 576),
    ("o", 576, 576),
    ("gate_up", 3072, 576),
    ("down", 576, 1536),
    ("head", 49_152, 576),
];

fn kernels(criterion: &mut Criterion) {
    let mut table = Table::default();
    for isa in Isa::available() {
        let context = Context::new(isa, 1).expect("one thread");
        if let Some(work) = peak_multiply_adds(isa, 10_000) {
            table.bench(criterion, &format!("{isa}/peak"), work, || {
                black_box(peak_multiply_adds(isa, 10_000));
            });
        }
        gemms(criterion, &mut table, &context);
        four_bits(criterion, &mut table, &context);
        attentions(criterion, &mut table, &context);
        element_wise(criterion, &mut table, &context);
    }
    speed_up();
    let peak_of = |name: &str| {
        let isa = name.split('/').next()?;
        table.0.iter().find(|(name, _)| *name == format!("{isa}/peak")).map(|(_, rate)| *rate)
    };
    println!("\n| kernel | G/s | of the peak |\n|---|---|---|");
    for (name, rate) in &table.0 {
        let part = peak_of(name).map_or(String::new(), |peak| format!("{:.2}", rate / peak));
        println!("| {name} | {rate:.1} | {part} |");
    }
}

fn gemms(criterion: &mut Criterion, table: &mut Table, context: &Context) {
    let isa = context.isa();
    for rows in [1, 8, 64, 128, 512] {
        for (name, channels, depth) in SHAPES {
            if rows == 512 && name == "head" {
                continue;
            }
            let weights = weights(channels, depth);
            let mut x = QuantizedRows::new();
            x.quantize(context, &values(rows * depth), rows, depth).expect("a valid shape");
            let mut out = vec![0.0; rows * channels];
            let work = (rows * channels * depth) as u64;
            let name = format!("{isa}/int8 {name} rows={rows}");
            table.bench(criterion, &name, work, || gemm_int8(context, &x, &weights, &mut out));
        }
    }
    // All layers, so that weights come from memory as they do in a model.
    let mut layers: Vec<[Int8Weights; 4]> =
        (0..30).map(|_| std::array::from_fn(|i| weights(SHAPES[i].1, SHAPES[i].2))).collect();
    let mut head = weights(SHAPES[4].1, SHAPES[4].2);
    Int8Weights::gather(layers.iter_mut().flatten().chain([&mut head]));
    let work = 30 * SHAPES[..4].iter().map(|s| s.1 * s.2).sum::<usize>() + 49_152 * 576;
    for rows in [1, 2, 4, 8, 16, 64, 128] {
        let mut narrow = QuantizedRows::new();
        let mut wide = QuantizedRows::new();
        narrow.quantize(context, &values(rows * 576), rows, 576).expect("a valid shape");
        wide.quantize(context, &values(rows * 1536), rows, 1536).expect("a valid shape");
        let mut out = vec![0.0; rows * 49_152];
        let mut maxima = vec![0.0; rows];
        let name = format!("{isa}/int8 SmolLM2 streamed rows={rows}");
        table.bench(criterion, &name, (rows * work) as u64, || {
            for layer in &layers {
                for weights in layer {
                    let x = if weights.depth() == 576 { &narrow } else { &wide };
                    gemm_int8(context, x, weights, &mut out[..rows * weights.channels()]);
                }
            }
            let rows = out.chunks_exact_mut(head.channels()).zip(&mut maxima);
            let mut places: Vec<_> =
                rows.map(|(values, maximum)| RowWithMaximum { values, maximum }).collect();
            gemm_int8_with_maxima(context, &narrow, &head, &mut places);
        });
    }
}

/// SmolLM2 with 4-bit layers and a head of 8 bits, as the file has them.
fn four_bits(criterion: &mut Criterion, table: &mut Table, context: &Context) {
    let isa = context.isa();
    let mut layers: Vec<_> = (0..30)
        .flat_map(|_| &SHAPES[..4])
        .map(|&(_, channels, depth)| {
            let values: Vec<u8> = (0..channels * depth).map(|i| (i * 7 % 16) as u8).collect();
            let factors = vec![0x1c00; channels * depth / 32];
            Int4Weights::pack(channels, depth, &values, &factors, &factors).expect("a valid shape")
        })
        .collect();
    Int4Weights::gather(&mut layers);
    let head = weights(SHAPES[4].1, SHAPES[4].2);
    let work = 30 * SHAPES[..4].iter().map(|s| s.1 * s.2).sum::<usize>() + 49_152 * 576;
    for rows in [1, 2, 4, 8, 64] {
        let mut narrow = QuantizedBlocks::new();
        let mut wide = QuantizedBlocks::new();
        let mut last = QuantizedRows::new();
        narrow.quantize(context, &values(rows * 576), rows, 576).expect("a valid shape");
        wide.quantize(context, &values(rows * 1536), rows, 1536).expect("a valid shape");
        last.quantize(context, &values(rows * 576), rows, 576).expect("a valid shape");
        let mut out = vec![0.0; rows * 49_152];
        let name = format!("{isa}/int4 SmolLM2 streamed rows={rows}");
        table.bench(criterion, &name, (rows * work) as u64, || {
            for weights in &layers {
                let x = if weights.depth() == 576 { &narrow } else { &wide };
                gemm_int4(context, x, weights, &mut out[..rows * weights.channels()]);
            }
            gemm_int8(context, &last, &head, &mut out);
        });
    }
}

fn attentions(criterion: &mut Criterion, table: &mut Table, context: &Context) {
    for slots in [128, 512, 2048] {
        for (name, lanes, each) in [("64 lanes x 1", 64, 1), ("4 lanes x 16", 4, 16)] {
            attentions_over(criterion, table, context, slots, (name, lanes, each));
        }
    }
}

/// Attention over full windows of `slots`, of a name, so many lanes, and so many tokens of each.
fn attentions_over(
    criterion: &mut Criterion,
    table: &mut Table,
    context: &Context,
    slots: usize,
    (name, lanes, each): (&str, usize, usize),
) {
    let isa = context.isa();
    let (heads, kv_heads, width) = (9, 3, 64);
    // All layers, or as many as take the memory of all at 512.
    let depth = 30.min(30 * 512 / slots);
    let mut layers: Vec<_> = (0..depth)
        .map(|_| KvCache::new(lanes, kv_heads, width, slots).expect("a valid shape"))
        .collect();
    let places: Vec<_> =
        (0..lanes).flat_map(|lane| (0..slots).map(move |slot| KvSlot { lane, slot })).collect();
    let stored = values(places.len() * kv_heads * width);
    let rows = StridedRows::new(&stored, kv_heads * width, 0, kv_heads * width);
    for layer in &mut layers {
        layer.store(context, &places, rows, rows);
    }
    let all = Segment { start: 0, length: slots, sink: false };
    let items: Vec<_> = (0..lanes * each)
        .map(|i| AttentionItem {
            lane: i / each,
            segments: [all, Segment::default(), Segment::default()],
        })
        .collect();
    let queries = values(items.len() * heads * width);
    let queries = StridedRows::new(&queries, heads * width, 0, heads * width);
    let mut out = vec![0.0; items.len() * heads * width];
    // Multiply-adds by the definition: the two bytes of queries and weights count once.
    let work = (depth * items.len() * heads * slots * width * 2) as u64;
    for precision in [QueryPrecision::Eight, QueryPrecision::Fifteen] {
        let name = format!("{isa}/attention {slots}, {name}, {precision:?}");
        let queries = Queries { rows: queries, sink_rows: None, scale: 0.125, precision };
        table.bench(criterion, &name, work, || {
            for layer in &layers {
                attention(context, layer, &items, queries, &mut out);
            }
        });
    }
}

/// Wall-clock time of one layer's products and attention for 64 lanes on one and on two threads,
/// the best of many runs.
fn speed_up() {
    let isa = Isa::detect();
    let times = [1, 2].map(|threads| {
        let context = Context::new(isa, threads).expect("two threads");
        let weights = SHAPES.map(|(_, channels, depth)| weights(channels, depth));
        let mut narrow = QuantizedRows::new();
        let mut wide = QuantizedRows::new();
        narrow.quantize(&context, &values(64 * 576), 64, 576).expect("a valid shape");
        wide.quantize(&context, &values(64 * 1536), 64, 1536).expect("a valid shape");
        let cache = KvCache::new(64, 3, 64, 512).expect("a valid shape");
        let all = Segment { start: 0, length: 512, sink: false };
        let items: Vec<_> = (0..64)
            .map(|lane| AttentionItem {
                lane,
                segments: [all, Segment::default(), Segment::default()],
            })
            .collect();
        let x = values(64 * 576);
        let queries = Queries {
            rows: StridedRows::new(&x, 576, 0, 576),
            sink_rows: None,
            scale: 0.125,
            precision: QueryPrecision::Eight,
        };
        let mut out = vec![0.0; 64 * 3072];
        let mut best = Duration::MAX;
        for _ in 0..1000 {
            let start = Instant::now();
            context.run(|| {
                for weights in &weights[..4] {
                    let x = if weights.depth() == 576 { &narrow } else { &wide };
                    gemm_int8(&context, x, weights, &mut out[..64 * weights.channels()]);
                }
                attention(&context, &cache, &items, queries, &mut out[..64 * 576]);
            });
            best = best.min(start.elapsed());
        }
        best.as_secs_f64()
    });
    println!("\none layer, 64 lanes, two threads against one: {:.2}", times[0] / times[1]);
}

fn element_wise(criterion: &mut Criterion, table: &mut Table, context: &Context) {
    let isa = context.isa();
    let x = values(3072);
    let mut out = vec![0.0; 1536];
    table.bench(criterion, &format!("{isa}/norm and quantize 576"), 64 * 576, {
        let mut quantized = QuantizedRows::new();
        let x = &x;
        move || {
            let fill = |_: usize, out: &mut [f32]| rms_norm(isa, &x[..576], &[], 1e-5, out);
            quantized.fill(context, 64, 576, fill).expect("a valid shape");
        }
    });
    table.bench(criterion, &format!("{isa}/silu gate 1536"), 64 * 1536, || {
        for _ in 0..64 {
            silu_gate(isa, &x[..1536], &x[1536..], black_box(&mut out));
        }
    });
    table.bench(criterion, &format!("{isa}/hadamard 1536"), 64 * 1536, || {
        for _ in 0..64 {
            hadamard_64(isa, black_box(&mut out));
        }
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    targets = kernels
}
criterion_main!(benches);
