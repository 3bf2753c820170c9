//! Rows a second, both ways, at the vocabulary of SmolLM2 (49,152 logits a row) and at a small one,
//! and what a table of each row's cumulative distribution would take.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{Coder, Feed, FrameShape, Logits, Rows, StepEntry, TokenId, softmax};

const VOCAB_SIZE: usize = 49_152;
const VOCABULARIES: [usize; 2] = [VOCAB_SIZE, 4_096];
const LANES: usize = 32;

/// Logits spread like a language model's, from a linear congruential generator, and for each row
/// the token at a rank that repeats the pattern of text: mostly 0, seldom large.
fn step(vocab_size: usize) -> (Logits, Vec<TokenId>) {
    let mut state = 1_u64;
    let mut logits = Logits::new();
    for logit in logits.resize(LANES, vocab_size) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (state >> 40) as f32 / (1_u64 << 24) as f32;
        // The fourth power leaves few tokens near the top.
        *logit = 22.0 * unit * unit * unit * unit - 8.0;
    }
    let ranks = [0, 0, 1, 0, 5, 0, 0, 300, 0, 2, 0, 0, 17, 0, 0, 4000];
    let tokens = (0..LANES)
        .map(|row| {
            let mut ids: Vec<TokenId> = (0..vocab_size as TokenId).collect();
            let row_logits = logits.row(row);
            ids.sort_by(|&a, &b| row_logits[b as usize].total_cmp(&row_logits[a as usize]));
            ids[ranks[row % ranks.len()]]
        })
        .collect();
    (logits, tokens)
}

/// Every logit as the parts that come before it: a table that the coders do without. It is plain
/// code for the target of the build, whereas they have kernels for each instruction set.
fn softmax_to_cdf(criterion: &mut Criterion) {
    for vocab_size in VOCABULARIES {
        let (logits, _) = step(vocab_size);
        let mut table = vec![0_u64; vocab_size];
        let mut group = criterion.benchmark_group("softmax to CDF");
        group.throughput(Throughput::Elements(LANES as u64));
        group.bench_function(BenchmarkId::from_parameter(vocab_size), |bencher| {
            bencher.iter(|| {
                for lane in 0..LANES {
                    let row = black_box(logits.row(lane));
                    let maximum = softmax::row_maximum(row).expect("a finite maximum");
                    let mut sum = 0;
                    for (before, &logit) in table.iter_mut().zip(row) {
                        *before = sum;
                        sum += u64::from(softmax::weight(logit - maximum));
                    }
                    black_box(&table);
                }
            });
        });
    }
}

fn coders(criterion: &mut Criterion) {
    for vocab_size in VOCABULARIES {
        let (logits, tokens) = step(vocab_size);
        let order: Vec<usize> = (0..LANES).collect();
        let rows = Rows::new(&logits, &order);
        let entries: Vec<StepEntry> =
            (0..LANES).map(|lane| StepEntry { lane, index: lane, feed: Feed::Continue }).collect();
        let shape = FrameShape { vocab_size, lanes: LANES, tokens: LANES, bytes: 4 * LANES };

        for threads in [1, 2] {
            let threads = Threads::new(threads).expect("threads");
            let coders: [(&str, Box<dyn Coder>); 2] = [
                ("arithmetic", Box::new(ArithmeticCoder::new(threads.clone()))),
                ("rank", Box::new(RankCoder::new(Backend::Zlib, threads.clone()))),
            ];
            for (name, coder) in coders {
                let encode = |tokens: &[TokenId]| {
                    let mut encoder = coder.encoder(shape).expect("encoder");
                    encoder.encode(&entries, rows, tokens).expect("encode");
                    encoder.finish().expect("payload")
                };
                let decode = |payload: &[u8], found: &mut [TokenId]| {
                    let mut decoder = coder.decoder(shape, payload).expect("decoder");
                    decoder.decode(&entries, rows, found).expect("decode");
                };
                // Outside of what is measured, which a filter may leave out.
                let payload = encode(&tokens);
                let mut found = vec![0; LANES];
                decode(&payload, &mut found);
                assert_eq!(found, tokens);

                // SmolLM2's vocabulary has the coder's name alone.
                let name = match vocab_size {
                    VOCAB_SIZE => name.to_owned(),
                    other => format!("{name}, vocabulary of {other}"),
                };
                let mut group = criterion.benchmark_group(name);
                group.throughput(Throughput::Elements(LANES as u64));
                let id = |direction| BenchmarkId::new(direction, threads.count());
                group.bench_function(id("encode"), |bencher| {
                    bencher.iter(|| encode(black_box(&tokens)));
                });
                group.bench_function(id("decode"), |bencher| {
                    bencher.iter(|| decode(black_box(&payload), &mut found));
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = coders, softmax_to_cdf
}
criterion_main!(benches);
