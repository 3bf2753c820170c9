//! The token mixer through the traits it is used by: any logits, any tokens, both directions.

use finezip_core::softmax::{row_maximum, weight};
use finezip_core::{Coder, Feed, FrameShape, Logits, Record, Rows, StepEntry, TokenId};
use finezip_mixer::tokens::{MixerCoder, NAME, SHORT_NAME, Settings};
use proptest::prelude::*;

/// A vocabulary with every byte, some words, equal strings and special tokens.
fn table() -> Vec<Vec<u8>> {
    let mut table: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for word in
        ["", "the", " the", " then", "", "ing", "ing", "\n\n", "==", " of", "tion", " (", "é"]
    {
        table.push(word.as_bytes().to_vec());
    }
    table
}

/// In which steps a frame's tokens are coded.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Each lane has one region, and starts anew with nothing after so many tokens.
    Regions { restart: usize },
    /// Each lane has one region, and starts anew at every token with so many of those before it.
    Windows { before: usize },
    /// Chunks of so many tokens that start with nothing, as many at a time as there are lanes.
    Waves { chunk: usize },
}

/// A frame: its lanes, its tokens and a row of logits for each.
struct Frame {
    vocab: usize,
    lanes: usize,
    tokens: Vec<TokenId>,
    rows: Vec<Vec<f32>>,
    plan: Plan,
}

impl Frame {
    fn shape(&self) -> FrameShape {
        let tokens = self.tokens.len();
        FrameShape { vocab_size: self.vocab, lanes: self.lanes, tokens, bytes: 4 * tokens }
    }

    fn steps(&self) -> Vec<Vec<StepEntry>> {
        let (count, lanes, plan) = (self.tokens.len(), self.lanes, self.plan);
        let part = match plan {
            Plan::Waves { chunk } => chunk,
            Plan::Regions { .. } | Plan::Windows { .. } => count.div_ceil(lanes).max(1),
        };
        let entry = |wave: usize, step: usize, lane: usize| {
            let first = (wave * lanes + lane) * part;
            let index = first + step;
            let feed = match plan {
                Plan::Regions { restart } if !step.is_multiple_of(restart) => Feed::Continue,
                Plan::Waves { .. } if step > 0 => Feed::Continue,
                Plan::Regions { .. } | Plan::Waves { .. } => Feed::Restart { from: index },
                Plan::Windows { before } => {
                    Feed::Restart { from: first.max(index.saturating_sub(before)) }
                }
            };
            StepEntry { lane, index, feed }
        };
        let mut steps = Vec::new();
        for wave in 0..count.div_ceil(part * lanes) {
            for step in 0..part {
                let entries = (0..lanes).map(|lane| entry(wave, step, lane));
                steps.push(entries.filter(|entry| entry.index < count).collect());
            }
        }
        steps
    }

    /// Calls `step` with the entries and rows of each step.
    fn drive(&self, mut step: impl FnMut(&[StepEntry], Rows<'_>)) {
        let mut logits = Logits::new();
        for entries in self.steps() {
            let block = logits.resize(entries.len(), self.vocab);
            for (row, entry) in block.chunks_exact_mut(self.vocab).zip(&entries) {
                row.copy_from_slice(&self.rows[entry.index]);
            }
            let order: Vec<usize> = (0..entries.len()).collect();
            step(&entries, Rows::new(&logits, &order));
        }
    }

    fn encode(&self, coder: &dyn Coder) -> Vec<u8> {
        let mut encoder = coder.encoder(self.shape()).unwrap();
        self.drive(|entries, rows| {
            let tokens: Vec<_> = entries.iter().map(|entry| self.tokens[entry.index]).collect();
            encoder.encode(entries, rows, &tokens).unwrap();
        });
        encoder.finish().unwrap()
    }

    fn decode(&self, coder: &dyn Coder, payload: &[u8]) -> (Vec<TokenId>, bool) {
        let mut decoder = coder.decoder(self.shape(), payload).unwrap();
        let mut found = vec![0; self.tokens.len()];
        self.drive(|entries, rows| {
            let mut tokens = vec![0; entries.len()];
            decoder.decode(entries, rows, &mut tokens).unwrap();
            for (entry, token) in entries.iter().zip(tokens) {
                found[entry.index] = token;
            }
        });
        (found, decoder.finish().is_ok())
    }

    /// Bits the tokens take if each is coded directly under the model's weights.
    fn direct_bits(&self) -> f64 {
        let bits = |(row, &token): (&Vec<f32>, &TokenId)| {
            let maximum = row_maximum(row).unwrap();
            let weight = |logit: f32| f64::from(weight(logit - maximum));
            let total: f64 = row.iter().map(|&logit| weight(logit)).sum();
            (total / weight(row[token as usize])).log2()
        };
        self.rows.iter().zip(&self.tokens).map(bits).sum()
    }
}

/// A frame from a seed: rows that are often right, tokens that repeat.
fn frame(seed: u32, tokens: usize, lanes: usize) -> Frame {
    let vocab = table().len();
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut coded: Vec<TokenId> = Vec::new();
    let mut rows = Vec::new();
    for index in 0..tokens {
        let again = index > 20 && !random().is_multiple_of(3);
        let token = if again { coded[index - 17] } else { random() % vocab as u32 };
        let mut row: Vec<f32> = (0..vocab).map(|_| (random() % 1000) as f32 * 0.004).collect();
        if random().is_multiple_of(2) {
            row[token as usize] += (random() % 30) as f32;
        }
        coded.push(token);
        rows.push(row);
    }
    Frame { vocab, lanes, tokens: coded, rows, plan: Plan::Regions { restart: 64 } }
}

fn coder(settings: Settings) -> MixerCoder {
    MixerCoder::new(table(), settings).unwrap()
}

fn extreme() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -30.0f32..30.0,
        2 => Just(0.0f32),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(-1e30f32),
        1 => Just(f32::NAN),
        1 => Just(1e30f32),
        1 => Just(f32::MIN_POSITIVE),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    prop_oneof![
        (1usize..40).prop_map(|restart| Plan::Regions { restart }),
        (0usize..40).prop_map(|before| Plan::Windows { before }),
        (1usize..40).prop_map(|chunk| Plan::Waves { chunk }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_logits_and_tokens_come_back(
        level in 1u32..=9,
        has_choice in any::<bool>(),
        lanes in 1usize..5,
        plan in plans(),
        cells in prop::collection::vec((0usize..269, extreme()), 1..200),
        tokens in prop::collection::vec(0u32..269, 0..120),
    ) {
        let vocab = table().len();
        let rows = (0..tokens.len())
            .map(|index| {
                let mut row = vec![0.0; vocab];
                for (at, value) in cells.iter().skip(index % cells.len()) {
                    row[*at] = *value;
                }
                row
            })
            .collect();
        let frame = Frame { vocab, lanes, tokens, rows, plan };
        let settings = Settings { table_bits: 14, ..Settings::level(level) };
        let coder = coder(if has_choice { settings } else { settings.without_choice() });
        let payload = frame.encode(&coder);
        prop_assert_eq!(frame.decode(&coder, &payload), (frame.tokens.clone(), true));
    }

    #[test]
    fn garbage_never_panics(payload in prop::collection::vec(any::<u8>(), 0..200), level in 1u32..=9) {
        let frame = frame(7, 60, 3);
        let (tokens, _) = frame.decode(&coder(Settings::level(level)), &payload);
        prop_assert!(tokens.iter().all(|&token| (token as usize) < frame.vocab));
    }
}

#[test]
fn unmixed_is_as_long_as_direct_coding() {
    let frame = frame(3, 800, 4);
    let payload = frame.encode(&coder(Settings::level(1)));
    let direct = frame.direct_bits() / 8.0;
    let found = payload.len() as f64;
    assert!(found >= direct - 1.0 && found <= direct + 2.0, "{found} bytes, direct {direct}");
}

/// Progress reports show it: all that may be missing is what the coder's registers still hold.
#[test]
fn coded_bytes_come_to_the_payload_s_length() {
    let frame = frame(3, 800, 4);
    let coder = coder(Settings::default());
    let mut encoder = coder.encoder(frame.shape()).unwrap();
    let mut coded = encoder.coded_bytes();
    assert_eq!(coded, 0);
    frame.drive(|entries, rows| {
        let tokens: Vec<_> = entries.iter().map(|entry| frame.tokens[entry.index]).collect();
        encoder.encode(entries, rows, &tokens).unwrap();
        assert!(encoder.coded_bytes() >= coded);
        coded = encoder.coded_bytes();
    });
    let length = encoder.finish().unwrap().len();
    assert!(coded > 9 && coded.abs_diff(length) <= 9, "{coded} bytes counted, {length} written");
}

#[test]
fn mixing_finds_what_repeats() {
    let frame = frame(3, 2000, 4);
    let plain = frame.encode(&coder(Settings::level(1))).len();
    let sizes: Vec<usize> =
        [2, 6, 9].map(|level| frame.encode(&coder(Settings::level(level))).len()).to_vec();
    assert!(sizes[1] * 10 < plain * 8, "{sizes:?} of {plain}");
    assert!(sizes[2] * 10 < plain * 8, "{sizes:?} of {plain}");
}

/// A frame of tokens drawn as the model says, which leaves nothing to learn.
fn as_foreseen(tokens: usize) -> Frame {
    let vocab = table().len();
    let mut state = 5u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    let mut rows = Vec::new();
    let mut coded = Vec::new();
    for _ in 0..tokens {
        let likely: Vec<usize> = (0..16).map(|_| random() % vocab).collect();
        let mut row = vec![-9.0; vocab];
        likely.iter().for_each(|&token| row[token] = 4.0);
        coded.push(likely[random() % likely.len()] as TokenId);
        rows.push(row);
    }
    Frame { vocab, lanes: 1, tokens: coded, rows, plan: Plan::Regions { restart: 64 } }
}

#[test]
fn a_frame_is_plain_where_that_is_shorter() {
    let mut plain_ones = 0;
    for frame in [as_foreseen(400), frame(3, 2000, 4), frame(5, 12, 1), frame(5, 0, 1)] {
        let plain = frame.encode(&coder(Settings::level(1))).len();
        for level in 2..=9 {
            let settings = Settings::level(level);
            let mixed = frame.encode(&coder(settings.without_choice()));
            let coder = coder(settings);
            let payload = frame.encode(&coder);
            let least = plain.min(mixed.len());
            // Half a byte, and where a code may end.
            assert!(payload.len() <= least + 2, "{} of {least}", payload.len());
            assert_eq!(frame.decode(&coder, &payload), (frame.tokens.clone(), true));
            // The first decision is the first bits: those of a plain frame are small.
            let is_plain = payload.first().is_none_or(|&byte| byte < 1 << 4);
            plain_ones += usize::from(is_plain && plain + 2 < mixed.len());
            assert!(!is_plain || plain <= mixed.len() + 2, "{plain} {}", mixed.len());
        }
    }
    assert!(plain_ones >= 4, "{plain_ones}");
}

#[test]
fn payloads_are_fixed() {
    let frame = frame(11, 1200, 3);
    let hash_of = |settings: Settings| {
        let coder = coder(settings);
        let payload = frame.encode(&coder);
        assert_eq!(frame.decode(&coder, &payload), (frame.tokens.clone(), true));
        let hash = payload.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        (payload.len(), hash)
    };
    let found = [1, 2, 6, 9].map(|level| hash_of(Settings::level(level).without_choice()));
    assert_eq!(found, GOLDEN, "found {found:#x?}");
    let found = [2, 6, 9].map(|level| hash_of(Settings::level(level)));
    assert_eq!(found, GOLDEN_OF_A_CHOICE, "found {found:#x?}");
}

const GOLDEN: [(usize, u64); 4] = [
    (748, 0x91f4_449f_6a34_50e4),
    (644, 0x647c_cdd8_188d_aec3),
    (541, 0xc2dd_16f4_0c85_704e),
    (468, 0xc4b7_5638_ea2c_8bcb),
];

const GOLDEN_OF_A_CHOICE: [(usize, u64); 3] =
    [(644, 0x1fc5_e6bc_93ee_357b), (541, 0x6c8d_1de6_3ead_b847), (468, 0x9cbc_abef_ac55_f22c)];

/// Lanes that jump over what others code, and lanes that start anew with some of their past.
#[test]
fn every_order_of_steps_comes_back() {
    for plan in [Plan::Waves { chunk: 50 }, Plan::Windows { before: 9 }] {
        let frame = Frame { plan, ..frame(13, 700, 2) };
        for level in [1, 2, 6, 9] {
            let coder = coder(Settings::level(level));
            let payload = frame.encode(&coder);
            assert_eq!(frame.decode(&coder, &payload), (frame.tokens.clone(), true), "{plan:?}");
        }
    }
}

/// The same steps: all that differs is how many tokens the engine has seen since a lane's start.
#[test]
fn what_a_lane_starts_anew_with_is_counted() {
    let payload = |before, level| {
        let frame = Frame { plan: Plan::Windows { before }, ..frame(13, 700, 2) };
        frame.encode(&coder(Settings::level(level)))
    };
    assert_eq!(payload(0, 1), payload(9, 1));
    assert_ne!(payload(0, 6), payload(9, 6));
}

#[test]
fn what_does_not_belong_is_an_error() {
    let coder = coder(Settings::default());
    let frame = frame(5, 10, 1);
    assert!(coder.encoder(FrameShape { vocab_size: 3, ..frame.shape() }).is_err());
    let mut encoder = coder.encoder(frame.shape()).unwrap();
    let mut logits = Logits::new();
    logits.resize(1, frame.vocab).fill(0.0);
    let rows = Rows::new(&logits, &[0]);
    let entry = |lane, index| StepEntry { lane, index, feed: Feed::Continue };
    assert!(encoder.encode(&[entry(0, 0)], rows, &[]).is_err());
    assert!(encoder.encode(&[entry(0, 0)], rows, &[9999]).is_err());
    assert!(encoder.encode(&[entry(0, 10)], rows, &[1]).is_err());
    assert!(encoder.encode(&[entry(1, 0)], rows, &[1]).is_err());
    let mut logits = Logits::new();
    logits.resize(1, frame.vocab).fill(f32::NEG_INFINITY);
    assert!(encoder.encode(&[entry(0, 0)], Rows::new(&logits, &[0]), &[1]).is_err());
    let mut payload = frame.encode(&coder);
    payload.extend_from_slice(&[1; 30]);
    assert!(!frame.decode(&coder, &payload).1);
}

#[test]
fn settings_survive_a_record() {
    for level in 1..=9 {
        let settings = Settings::level(level);
        assert_eq!(Settings::from_record(&settings.record()).unwrap(), settings);
        assert_eq!(coder(settings).record(), settings.record());
        let without_choice = settings.without_choice();
        let record = without_choice.record();
        assert_eq!(record, Record::new(NAME, 1).with("level", u64::from(level)));
        assert_eq!(Settings::from_record(&record).unwrap(), without_choice);
    }
    assert_eq!(Settings::default().record(), Record::new(SHORT_NAME, 1));
    for (name, version) in [(NAME, 0), (NAME, 2), (SHORT_NAME, 2), ("other", 1)] {
        let record = Record::new(name, version).with("level", 6);
        assert!(Settings::from_record(&record).is_err(), "{record}");
    }
    // Each settings have one record.
    for record in [
        Record::new(NAME, 1),
        Record::new(SHORT_NAME, 1).with("level", 1),
        Record::new(SHORT_NAME, 1).with("level", 6),
    ] {
        assert!(Settings::from_record(&record).is_err(), "{record}");
    }
    assert!(MixerCoder::new(table(), Settings { mix: false, ..Settings::level(6) }).is_err());
    let record = Settings::default().record();
    assert!(Settings::from_record(&record.clone().with("table_bits", 60)).is_err());
    assert!(Settings::from_record(&record.with("other", 1)).is_err());
}

/// Tables are bounded by what is declared before any is made.
#[test]
fn what_is_declared_grows_with_contexts_and_tokens_and_no_further_than_the_settings() {
    let of = |settings: Settings, tokens: usize| {
        let coder = MixerCoder::new(table(), settings).unwrap();
        coder.memory_bytes(FrameShape { vocab_size: 269, lanes: 1, tokens, bytes: tokens })
    };
    let forged = Settings { table_bits: 30, ..Settings::level(9) };
    assert!(of(forged, 64 << 20) > 16 << 30);
    assert!(of(forged, 1000) < 32 << 20);
    let honest = of(Settings::level(9), 64 << 20);
    assert!((256 << 20..2 << 30).contains(&honest), "{honest}");
    // At 2^20 tokens the places of matches are all there; from then on a token takes its own bytes.
    let plain = [1 << 20, 64 << 20].map(|tokens| of(Settings::level(2), tokens));
    assert!(plain[0] > (4 << 20) + (16 << 20));
    assert_eq!(plain[1] - plain[0], 4 * (63 << 20));
}
