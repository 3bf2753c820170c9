//! Whole steps with full windows and all logits, as archives are written and read.
//!
//! `FINEZIP_TEST_MODEL=model.gguf cargo bench -p finezip-exact --bench steps` prints criterion's
//! figures and a table of tokens a second, each with its part of the limit: the peak of
//! `vpdpbusd` or, without AVX-512, of `vpmaddwd`, measured in the same run, over the multiply-adds
//! of a token. Decompression feeds a lane one token a step, compression several.
//! `FINEZIP_PRECISION`, `FINEZIP_WINDOW` and `FINEZIP_THREADS` choose the precision, the tokens of
//! a window (default 512) and the number of threads (default 1); with one thread its own time
//! counts, with several the clock's, and their sessions run side by side as in a decompression.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use finezip_core::{FeedLength, LaneFeed, LaneGroup, LanguageModel, Logits, SessionShape, Window};
use finezip_exact::kernels::{Isa, peak_multiply_adds};
use finezip_exact::{ExactModel, ExactOptions};
use finezip_models::{Checkpoint, ModelConfig};
use rustix::time::{ClockId, clock_gettime};

/// Lanes, and tokens of each a step.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (8, 1), (16, 1), (32, 1), (64, 1), (1, 128), (3, 42), (32, 4), (64, 2)];

/// A step's tokens are known only one by one.
const DECOMPRESSION: usize = 1;

fn steps(criterion: &mut Criterion) {
    let Ok(path) = std::env::var("FINEZIP_TEST_MODEL") else {
        println!("FINEZIP_TEST_MODEL names no model: no steps measured");
        return;
    };
    let checkpoint = Checkpoint::open(path).expect("a checkpoint");
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let options = ExactOptions {
        precision: setting("FINEZIP_PRECISION", "int8").parse().expect("a precision"),
        threads: setting("FINEZIP_THREADS", "1").parse().expect("a number of threads"),
        ..ExactOptions::default()
    };
    let window_tokens: usize = setting("FINEZIP_WINDOW", "512").parse().expect("a window");
    let model = ExactModel::open(&checkpoint, options).expect("a model");
    let text: Vec<u32> = (0..window_tokens as u32).map(|i| i * 97 % 40_000).collect();
    let text: Vec<u32> = text.iter().map(|id| id % model.vocab_size() as u32).collect();
    let mut rates = Vec::new();
    for (lanes, tokens) in SHAPES {
        let window = Window { tokens: window_tokens, sinks: 1, rolling: true };
        let feeds = if tokens == DECOMPRESSION { FeedLength::One } else { FeedLength::Several };
        let shape = SessionShape { lanes, window };
        let mut groups = model.open_sessions(shape, feeds).expect("sessions");
        side_by_side(&mut groups, model.threads(), &text, 0, 1);
        let mut best = f64::MAX;
        let mut group = criterion.benchmark_group("steps");
        group.throughput(Throughput::Elements((lanes * tokens) as u64)).sample_size(10);
        group.bench_function(format!("{lanes} lanes, {tokens} tokens each"), |bencher| {
            bencher.iter_custom(|iterations| {
                let text = &text[..tokens];
                let elapsed = side_by_side(&mut groups, model.threads(), text, tokens, iterations);
                best = best.min(elapsed.as_secs_f64() / iterations as f64);
                elapsed
            });
        });
        group.finish();
        rates.push((lanes, tokens, (lanes * tokens) as f64 / best));
    }
    let work = multiply_adds(checkpoint.config(), window_tokens);
    let limit = peak(model.isa()).map(|peak| peak * model.threads() as f64 / work);
    println!(
        "{} {} with {} threads, windows of {window_tokens}:",
        model.isa(),
        model.precision(),
        model.threads()
    );
    for (lanes, tokens, rate) in rates {
        let part =
            limit.map_or(String::new(), |limit| format!(", {:.2} of the limit", rate / limit));
        let kind = if tokens == DECOMPRESSION { "decompression" } else { "compression" };
        println!("{lanes:3} lanes, {tokens} tokens each ({kind}): {rate:7.1} tokens/s{part}");
    }
}

/// Feeds every lane of every session `tokens`, `rows` of which give logits, this many times; each
/// session in a thread of its own, unless there is only one.
fn side_by_side(
    groups: &mut [LaneGroup<'_>],
    threads: usize,
    tokens: &[u32],
    rows: usize,
    times: u64,
) -> Duration {
    let feed = |group: &mut LaneGroup<'_>| {
        let mut logits = Logits::new();
        let feeds: Vec<_> =
            (0..group.lanes.len()).map(|lane| LaneFeed { lane, tokens, rows }).collect();
        for _ in 0..times {
            group.session.feed(&feeds, &mut logits).expect("logits");
            black_box(logits.values());
        }
    };
    let (clock, start) = (Instant::now(), thread_time());
    if let [group] = groups {
        feed(group);
        return if threads == 1 { thread_time() - start } else { clock.elapsed() };
    }
    thread::scope(|scope| {
        groups.iter_mut().for_each(|group| {
            scope.spawn(|| feed(group));
        });
    });
    clock.elapsed()
}

/// Multiply-adds of one token with a full window: matrices, scores and weighted values.
fn multiply_adds(config: &ModelConfig, window_tokens: usize) -> f64 {
    let (hidden, heads) = (config.hidden_size, config.heads * config.head_dim);
    let keys = config.kv_heads * config.head_dim;
    let matrices = hidden * (2 * heads + 2 * keys) + 3 * hidden * config.feed_forward;
    let layer = matrices + 2 * heads * window_tokens;
    (config.layers * layer + config.vocab_size * hidden) as f64
}

/// Multiply-adds a second of one core, the best of several runs.
fn peak(isa: Isa) -> Option<f64> {
    let rates = (0..50).map(|_| {
        let start = thread_time();
        let work = black_box(peak_multiply_adds(isa, 200_000))?;
        Some(work as f64 / (thread_time() - start).as_secs_f64())
    });
    rates.flatten().reduce(f64::max)
}

/// Time this thread has run: other load on the machine does not count, as far as caches allow.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

criterion_group!(benches, steps);
criterion_main!(benches);
