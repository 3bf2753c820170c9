//! Bytes a second of a model's tokenizer, at growing lengths of text, and how long it takes to open.
//!
//! `FINEZIP_TEST_MODEL=model.gguf cargo bench -p finezip-models --bench tokenizers`; the engine
//! needs some 6 KB of text a second.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use finezip_core::Tokenizer;
use finezip_models::{Checkpoint, ModelTokenizer};

fn tokenizers(criterion: &mut Criterion) {
    let Ok(path) = std::env::var("FINEZIP_TEST_MODEL") else {
        println!("FINEZIP_TEST_MODEL names no model: no tokenizer measured");
        return;
    };
    let checkpoint = Checkpoint::open(path).expect("a checkpoint");
    let mut group = criterion.benchmark_group("tokenizer");
    group.sample_size(10);
    group.bench_function("open", |bencher| {
        bencher.iter(|| ModelTokenizer::from_checkpoint(&checkpoint).expect("a tokenizer"));
    });
    let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint).expect("a tokenizer");
    let text = include_bytes!("../../../docs/mixer.md");
    for length in [100, 1_000, text.len(), 20 * text.len()] {
        let text: Vec<u8> = text.iter().copied().cycle().take(length).collect();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("encode", length), |bencher| {
            bencher.iter(|| {
                let mut tokens = Vec::new();
                tokenizer.encode(black_box(&text), &mut tokens).expect("tokens");
                tokens
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tokenizers);
criterion_main!(benches);
