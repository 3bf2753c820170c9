//! Learning while coding through the traits it is used by: both directions over each coder, what
//! it is worth where the model is wrong in a learnable way, misuse.

use std::sync::Arc;

use finezip_core::{
    Coder, Feed, FrameShape, Logits, Record, ReferenceCoder, Rows, StepEntry, TokenId, WritableRows,
};
use finezip_mixer::learn::{LearningCoder, Settings, from_record};
use finezip_mixer::tokens;
use proptest::prelude::*;

const VOCAB: usize = 90;
const WIDTH: usize = 20;

/// Logits, features and the token of each place in the frame.
struct Frame {
    lanes: usize,
    rows: Vec<[f32; VOCAB]>,
    features: Vec<[f32; WIDTH]>,
    tokens: Vec<TokenId>,
}

/// A frame whose tokens follow from the features, of which the logits know nothing.
fn frame(seed: u32, tokens: usize, lanes: usize) -> Frame {
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut frame = Frame { lanes, rows: Vec::new(), features: Vec::new(), tokens: Vec::new() };
    for _ in 0..tokens {
        let kind = random() as usize % 5;
        frame.features.push(std::array::from_fn(|i| {
            let noise = (random() % 100) as f32 * 0.01;
            if i == kind { 7.0 } else { noise }
        }));
        frame.rows.push(std::array::from_fn(|_| (random() % 100) as f32 * 0.05));
        let expected = 17 * kind as TokenId + 3;
        let surprising = random().is_multiple_of(10);
        frame.tokens.push(if surprising { random() % VOCAB as TokenId } else { expected });
    }
    frame
}

impl Frame {
    fn shape(&self) -> FrameShape {
        let tokens = self.tokens.len();
        FrameShape { vocab_size: VOCAB, lanes: self.lanes, tokens, bytes: tokens }
    }

    /// Calls `part` with the entries and rows of each step, cut into parts of at most `most`.
    fn drive(&self, most: usize, mut part: impl FnMut(&[StepEntry], Rows<'_>)) {
        let lane_tokens = self.tokens.len().div_ceil(self.lanes).max(1);
        let mut logits = Logits::with_features();
        for step in 0..lane_tokens {
            let entries: Vec<StepEntry> = (0..self.lanes)
                .map(|lane| (lane, lane * lane_tokens + step))
                .filter(|&(lane, index)| index < self.tokens.len().min((lane + 1) * lane_tokens))
                .map(|(lane, index)| {
                    let feed =
                        if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
                    StepEntry { lane, index, feed }
                })
                .collect();
            for entries in entries.chunks(most) {
                // Rows stand in another order than they are coded in.
                let WritableRows { logits: rows, features, .. } =
                    logits.resize_all(entries.len(), VOCAB, WIDTH);
                for (i, entry) in entries.iter().rev().enumerate() {
                    rows[i * VOCAB..][..VOCAB].copy_from_slice(&self.rows[entry.index]);
                    features[i * WIDTH..][..WIDTH].copy_from_slice(&self.features[entry.index]);
                }
                let order: Vec<usize> = (0..entries.len()).rev().collect();
                part(entries, Rows::new(&logits, &order));
            }
        }
    }

    fn encode(&self, coder: &dyn Coder, most: usize) -> Vec<u8> {
        let mut encoder = coder.encoder(self.shape()).unwrap();
        self.drive(most, |entries, rows| {
            let tokens: Vec<_> = entries.iter().map(|entry| self.tokens[entry.index]).collect();
            encoder.encode(entries, rows, &tokens).unwrap();
        });
        encoder.finish().unwrap()
    }

    fn decode(&self, coder: &dyn Coder, payload: &[u8]) -> Option<Vec<TokenId>> {
        let mut decoder = coder.decoder(self.shape(), payload).ok()?;
        let mut found = vec![0; self.tokens.len()];
        let mut decodes = true;
        self.drive(self.lanes, |entries, rows| {
            let mut tokens = vec![0; entries.len()];
            decodes &= decoder.decode(entries, rows, &mut tokens).is_ok();
            for (entry, token) in entries.iter().zip(tokens) {
                found[entry.index] = token;
            }
        });
        (decodes && decoder.finish().is_ok()).then_some(found)
    }
}

fn mixer(level: u32) -> Arc<dyn Coder> {
    let table = (0..VOCAB as u8).map(|token| vec![b'!' + token]).collect();
    Arc::new(tokens::MixerCoder::new(table, tokens::Settings::level(level)).unwrap())
}

fn learning(coder: Arc<dyn Coder>, settings: Settings) -> LearningCoder {
    LearningCoder::new(coder, settings).unwrap()
}

#[test]
fn what_features_tell_is_learned() {
    let frame = frame(7, 3000, 6);
    for coder in [Arc::new(ReferenceCoder) as Arc<dyn Coder>, mixer(6)] {
        let plain = frame.encode(coder.as_ref(), 6).len();
        let learned = frame.encode(&learning(coder, Settings::default()), 6).len();
        // The features tell nine tokens of ten, the logits and their frequencies none.
        assert!(3 * learned < 2 * plain, "{plain} bytes, {learned} with learning");
    }
}

/// Progress reports show it; all that may be missing is what the coder's registers still hold.
#[test]
fn coded_bytes_are_those_of_the_coder_underneath() {
    let frame = frame(7, 800, 4);
    for coder in [Arc::new(ReferenceCoder) as Arc<dyn Coder>, mixer(6)] {
        let coder = learning(coder, Settings::default());
        let mut encoder = coder.encoder(frame.shape()).unwrap();
        let mut coded = encoder.coded_bytes();
        assert_eq!(coded, 0);
        frame.drive(frame.lanes, |entries, rows| {
            let tokens: Vec<_> = entries.iter().map(|entry| frame.tokens[entry.index]).collect();
            encoder.encode(entries, rows, &tokens).unwrap();
            assert!(encoder.coded_bytes() >= coded);
            coded = encoder.coded_bytes();
        });
        let length = encoder.finish().unwrap().len();
        assert!(coded > 9 && coded.abs_diff(length) <= 9, "{coded} counted, {length} written");
    }
}

#[test]
fn rates_of_zero_change_nothing_but_the_record() {
    let frame = frame(3, 400, 2);
    let still = Settings { rate: 0, bias_rate: 0, ..Settings::default() };
    let plain = frame.encode(&ReferenceCoder, 2);
    assert_eq!(frame.encode(&learning(Arc::new(ReferenceCoder), still), 2), plain);
    assert_ne!(learning(Arc::new(ReferenceCoder), still).record(), ReferenceCoder.record());
}

#[test]
fn a_learner_s_memory_is_bounded_by_its_rows() {
    let frame = frame(5, 600, 3);
    let few = |rows| learning(mixer(2), Settings { rows, ..Settings::default() });
    let sizes = [1, 20, 90].map(|rows| {
        let payload = frame.encode(&few(rows), 3);
        assert_eq!(frame.decode(&few(rows), &payload).as_ref(), Some(&frame.tokens));
        payload.len()
    });
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
}

#[test]
fn coders_come_back_from_their_records() {
    let coder = learning(mixer(4), Settings::default());
    assert!(coder.needs_features());
    assert_eq!(coder.record().to_string(), "learn-cm/1 learn=1 level=4");
    let (settings, inner) = from_record(&coder.record()).unwrap().unwrap();
    assert_eq!((settings, inner), (Settings::default(), Record::new("cm", 1).with("level", 4)));
    assert!(LearningCoder::new(Arc::new(coder), Settings::default()).is_err());
    let wrong = Settings { candidates: 0, ..Settings::default() };
    assert!(LearningCoder::new(mixer(4), wrong).is_err());
}

#[test]
fn rows_without_features_or_of_another_width_are_refused() {
    let coder = learning(Arc::new(ReferenceCoder), Settings::default());
    let frame = frame(1, 1, 1);
    let entries = [StepEntry { lane: 0, index: 0, feed: Feed::Restart { from: 0 } }];
    let mut encoder = coder.encoder(frame.shape()).unwrap();
    let mut logits = Logits::new();
    logits.resize(1, VOCAB).fill(0.0);
    assert!(encoder.encode(&entries, Rows::new(&logits, &[0]), &[5]).is_err());
    let mut block = |vocab, width| {
        let written = logits.resize_all(1, vocab, width);
        written.logits.fill(0.0);
        written.features.fill(1.0);
        encoder.encode(&entries, Rows::new(&logits, &[0]), &[5])
    };
    assert!(block(VOCAB, WIDTH).is_ok());
    assert!(block(VOCAB, WIDTH - 1).is_err());
    assert!(block(VOCAB - 1, WIDTH).is_err());
    assert!(block(VOCAB, WIDTH).is_ok());
    logits.resize_all(1, VOCAB, WIDTH);
    let rows = Rows::new(&logits, &[0]);
    assert!(encoder.encode(&entries, rows, &[VOCAB as TokenId]).is_err());
    assert!(encoder.encode(&entries, rows, &[1, 2]).is_err());
}

/// Readers reckon with so many a row before they open a decoder.
#[test]
fn more_features_than_memory_is_reckoned_for_are_refused() {
    let coder = learning(Arc::new(ReferenceCoder), Settings::default());
    let frame = frame(1, 1, 1);
    let entries = [StepEntry { lane: 0, index: 0, feed: Feed::Restart { from: 0 } }];
    for (width, taken) in [(8192, true), (8193, false)] {
        let mut encoder = coder.encoder(frame.shape()).unwrap();
        let mut logits = Logits::with_features();
        let written = logits.resize_all(1, VOCAB, width);
        written.logits.fill(0.0);
        written.features.fill(1.0);
        let coded = encoder.encode(&entries, Rows::new(&logits, &[0]), &[5]);
        assert_eq!(coded.is_ok(), taken, "{width} features");
    }
}

/// Features of any kind: what is not a number teaches nothing and breaks nothing.
fn features() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -10.0f32..10.0,
        1 => Just(0.0),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::MAX, 1e-40, -1e30]),
    ]
}

fn logits() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -20.0f32..20.0,
        1 => prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, f32::MIN, 1e30]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_and_tokens_come_back(
        rows in prop::collection::vec(
            (prop::collection::vec(logits(), VOCAB - 1), prop::collection::vec(features(), WIDTH), 0..VOCAB as TokenId),
            1..60,
        ),
        lanes in 1usize..5,
        most in 1usize..5,
        candidates in 1u64..100,
        reach in 1u64..=60,
        rate in 0u64..=4096,
        level in 1u32..8,
    ) {
        let frame = Frame {
            lanes: lanes.min(rows.len()),
            // One logit is a number.
            rows: rows.iter().map(|(row, ..)| std::array::from_fn(|i| row.get(i).copied().unwrap_or(0.0))).collect(),
            features: rows.iter().map(|(_, features, _)| std::array::from_fn(|i| features[i])).collect(),
            tokens: rows.iter().map(|&(.., token)| token).collect(),
        };
        let settings = Settings { candidates, reach, rate, bias_rate: rate / 2, ..Settings::default() };
        let coder = learning(mixer(level), settings);
        let payload = frame.encode(&coder, frame.lanes);
        let found = frame.decode(&coder, &payload);
        prop_assert_eq!(found.as_ref(), Some(&frame.tokens));
        // Steps may be handed over in parts.
        prop_assert_eq!(frame.encode(&coder, most), payload);
    }

    #[test]
    fn any_payload_decodes_to_tokens_or_an_error(
        payload in prop::collection::vec(any::<u8>(), 0..80),
        seed in any::<u32>(),
        level in 1u32..8,
    ) {
        let frame = frame(seed, 50, 3);
        if let Some(tokens) = frame.decode(&learning(mixer(level), Settings::default()), &payload) {
            prop_assert!(tokens.iter().all(|&token| (token as usize) < VOCAB));
        }
    }
}

#[test]
fn memory_grows_with_the_frame_up_to_all_rows() {
    let settings = Settings { candidates: 9, rows: 1 << 20, ..Settings::default() };
    let coder = learning(Arc::new(ReferenceCoder), settings);
    let rows = |vocab_size: usize, tokens: usize| {
        let shape = FrameShape { vocab_size, lanes: 1, tokens, bytes: tokens };
        coder.memory_bytes(shape) / (4 * 8192)
    };
    assert_eq!(rows(1 << 24, 0), 0);
    assert_eq!(rows(1 << 24, 30), 300);
    assert_eq!(rows(200, 30), 200);
    assert_eq!(rows(1 << 24, usize::MAX), 1 << 20);
}
