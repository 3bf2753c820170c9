//! What mixing costs: tokens a second of the token mixer at four levels and two vocabularies, and
//! bytes a second of the byte mixer at growing lengths, both ways.
//!
//! Level 1 codes the same decisions without mixing anything, so that the difference to it is the
//! mixer's own. The distributions are synthetic: speed depends on how many decisions a token takes
//! and how many contexts are known, not on how good the model is.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use finezip_core::{ByteCoder, Coder, Feed, FrameShape, Logits, Rows, StepEntry, TokenId};
use finezip_mixer::{bytes, tokens};

const LANES: usize = 16;
/// Tokens a lane: enough that what opening a mixer costs shows little.
const STEPS: usize = 64;
const LEVELS: [u32; 4] = [1, 2, 6, 9];
const VOCABULARIES: [usize; 2] = [4_096, 49_152];

/// Numbers that repeat, from a linear congruential generator.
fn generator() -> impl FnMut(u64) -> u64 {
    let mut state = 1_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    }
}

/// Byte strings of 1 to 8 letters, all different. Ids are in no order of the strings, as in a
/// vocabulary of merges: where neighbours were a fixed distance apart, summing a row would be read
/// ahead.
fn vocabulary(size: usize) -> Vec<Vec<u8>> {
    let mut random = generator();
    let mut words: Vec<Vec<u8>> = (0..size)
        .map(|id| {
            let mut rest = id;
            let mut bytes = vec![b'a' + (rest % 26) as u8];
            while rest >= 26 {
                rest = rest / 26 - 1;
                bytes.push(b'a' + (rest % 26) as u8);
            }
            bytes
        })
        .collect();
    for last in (1..size).rev() {
        words.swap(last, random(last as u64 + 1) as usize);
    }
    words
}

/// A frame whose tokens repeat as those of text do, and rows whose likeliest token is as often as
/// not the one that comes.
struct Frame {
    shape: FrameShape,
    logits: Vec<Logits>,
    tokens: Vec<Vec<TokenId>>,
    entries: Vec<Vec<StepEntry>>,
}

impl Frame {
    fn new(vocab_size: usize) -> Self {
        let mut random = generator();
        let words: Vec<TokenId> = (0..64).map(|_| random(vocab_size as u64) as TokenId).collect();
        let (mut logits, mut tokens, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for step in 0..STEPS {
            let came: Vec<TokenId> =
                (0..LANES).map(|_| words[(random(8) * random(9)) as usize]).collect();
            let mut rows = Logits::new();
            let values = rows.resize(LANES, vocab_size);
            for (row, &token) in values.chunks_exact_mut(vocab_size).zip(&came) {
                row.fill_with(|| random(1 << 12) as f32 / 512.0);
                let favourite = if random(2) == 0 { token as usize } else { words[0] as usize };
                row[favourite] = 18.0;
            }
            let feed = if step == 0 { Feed::Restart { from: 0 } } else { Feed::Continue };
            let entry = |lane| StepEntry { lane, index: lane * STEPS + step, feed };
            entries.push((0..LANES).map(entry).collect());
            logits.push(rows);
            tokens.push(came);
        }
        let count = LANES * STEPS;
        let shape = FrameShape { vocab_size, lanes: LANES, tokens: count, bytes: 4 * count };
        Self { shape, logits, tokens, entries }
    }

    fn encode(&self, coder: &dyn Coder, order: &[usize]) -> Vec<u8> {
        let mut encoder = coder.encoder(self.shape).expect("an encoder");
        for ((entries, logits), tokens) in self.entries.iter().zip(&self.logits).zip(&self.tokens) {
            encoder.encode(entries, Rows::new(logits, order), tokens).expect("a coded step");
        }
        encoder.finish().expect("a payload")
    }

    fn decode(&self, coder: &dyn Coder, order: &[usize], payload: &[u8]) -> Vec<Vec<TokenId>> {
        let mut decoder = coder.decoder(self.shape, payload).expect("a decoder");
        let step = |(entries, logits): (&Vec<StepEntry>, &Logits)| {
            let mut tokens = vec![0; LANES];
            decoder.decode(entries, Rows::new(logits, order), &mut tokens).expect("a step");
            tokens
        };
        self.entries.iter().zip(&self.logits).map(step).collect()
    }
}

fn token_mixer(criterion: &mut Criterion) {
    let order: Vec<usize> = (0..LANES).collect();
    for vocab_size in VOCABULARIES {
        let frame = Frame::new(vocab_size);
        let mut group = criterion.benchmark_group(format!("token mixer, {vocab_size} tokens"));
        group.throughput(Throughput::Elements((LANES * STEPS) as u64));
        for level in LEVELS {
            let settings = tokens::Settings::level(level);
            let coder = tokens::MixerCoder::new(vocabulary(vocab_size), settings).expect("a coder");
            let payload = frame.encode(&coder, &order);
            assert_eq!(frame.decode(&coder, &order, &payload), frame.tokens);
            group.bench_function(BenchmarkId::new("encode, level", level), |bencher| {
                bencher.iter(|| black_box(frame.encode(&coder, &order)));
            });
            group.bench_function(BenchmarkId::new("decode, level", level), |bencher| {
                bencher.iter(|| black_box(frame.decode(&coder, &order, &payload)));
            });
        }
        group.finish();
    }
}

/// Real text that is always at hand: this project's own specifications.
fn text() -> Vec<u8> {
    [
        &include_bytes!("../../../docs/format.md")[..],
        include_bytes!("../../../docs/coder.md"),
        include_bytes!("../../../docs/mixer.md"),
        include_bytes!("../../../docs/arithmetic.md"),
    ]
    .concat()
}

fn byte_mixer(criterion: &mut Criterion) {
    let mixer = bytes::ByteMixer::default();
    let text = text();
    let mut group = criterion.benchmark_group("byte mixer");
    for length in [1_000, 8_000, text.len()] {
        let text = &text[..length.min(text.len())];
        let payload = mixer.compress(text).expect("a payload");
        assert_eq!(mixer.decompress(&payload, text.len()).expect("the text"), text);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("compress", text.len()), |bencher| {
            bencher.iter(|| mixer.compress(black_box(text)));
        });
        group.bench_function(BenchmarkId::new("decompress", text.len()), |bencher| {
            bencher.iter(|| mixer.decompress(black_box(&payload), text.len()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = token_mixer, byte_mixer
}
criterion_main!(benches);
