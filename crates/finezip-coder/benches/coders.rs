//! Rows a second, both ways, at the vocabulary of SmolLM2: 49,152 logits a row.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{Coder, Feed, FrameShape, Logits, Rows, StepEntry, TokenId};

const VOCAB_SIZE: usize = 49_152;
const LANES: usize = 32;

/// Logits spread like a language model's, from a linear congruential generator, and for each row
/// the token at a rank that repeats the pattern of text: mostly 0, seldom large.
fn step() -> (Logits, Vec<TokenId>) {
    let mut state = 1_u64;
    let mut logits = Logits::new();
    for logit in logits.resize(LANES, VOCAB_SIZE) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (state >> 40) as f32 / (1_u64 << 24) as f32;
        // The fourth power leaves few tokens near the top.
        *logit = 22.0 * unit * unit * unit * unit - 8.0;
    }
    let ranks = [0, 0, 1, 0, 5, 0, 0, 300, 0, 2, 0, 0, 17, 0, 0, 4000];
    let tokens = (0..LANES)
        .map(|row| {
            let mut ids: Vec<TokenId> = (0..VOCAB_SIZE as TokenId).collect();
            let row_logits = logits.row(row);
            ids.sort_by(|&a, &b| row_logits[b as usize].total_cmp(&row_logits[a as usize]));
            ids[ranks[row % ranks.len()]]
        })
        .collect();
    (logits, tokens)
}

fn coders(criterion: &mut Criterion) {
    let (logits, tokens) = step();
    let order: Vec<usize> = (0..LANES).collect();
    let rows = Rows::new(&logits, &order);
    let entries: Vec<StepEntry> =
        (0..LANES).map(|lane| StepEntry { lane, index: lane, feed: Feed::Continue }).collect();
    let shape =
        FrameShape { vocab_size: VOCAB_SIZE, lanes: LANES, tokens: LANES, bytes: 4 * LANES };

    for threads in [1, 2] {
        let threads = Threads::new(threads).expect("threads");
        let coders: [(&str, Box<dyn Coder>); 2] = [
            ("arithmetic", Box::new(ArithmeticCoder::new(threads.clone()))),
            ("rank", Box::new(RankCoder::new(Backend::Zlib, threads.clone()))),
        ];
        for (name, coder) in coders {
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(LANES as u64));
            let id = |direction| BenchmarkId::new(direction, threads.count());
            group.bench_function(id("encode"), |bencher| {
                bencher.iter(|| {
                    let mut encoder = coder.encoder(shape).expect("encoder");
                    encoder.encode(&entries, rows, black_box(&tokens)).expect("encode");
                    encoder.finish().expect("payload")
                });
            });
            let mut encoder = coder.encoder(shape).expect("encoder");
            encoder.encode(&entries, rows, &tokens).expect("encode");
            let payload = encoder.finish().expect("payload");
            let mut found = vec![0; LANES];
            group.bench_function(id("decode"), |bencher| {
                bencher.iter(|| {
                    let mut decoder = coder.decoder(shape, black_box(&payload)).expect("decoder");
                    decoder.decode(&entries, rows, &mut found).expect("decode");
                });
            });
            assert_eq!(found, tokens);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = coders
}
criterion_main!(benches);
