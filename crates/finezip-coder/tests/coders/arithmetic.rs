//! The arithmetic coder against its definition, another range coder and the ideal length.

use crate::support::{Frame, Profile};
use constriction::stream::Encode;
use constriction::stream::model::ContiguousCategoricalEntropyModel;
use constriction::stream::queue::DefaultRangeEncoder;
use finezip_coder::{ArithmeticCoder, MAX_VOCAB_SIZE, Threads, ideal_bits};
use finezip_core::range::RangeEncoder;
use finezip_core::{
    Coder, Error, Feed, FrameShape, Logits, ReferenceCoder, Rows, StepEntry, softmax,
};
use proptest::prelude::*;

fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::Peaked), Just(Profile::Flat), Just(Profile::Hostile)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn writes_and_reads_the_bytes_of_the_definition(
        seed: u64, vocab_size in 1..=2000_usize, lanes in 1..5_usize, steps in 0..8_usize,
        profile in profiles(),
    ) {
        let frame = Frame::new(seed, vocab_size, lanes, steps, profile);
        let coder = ArithmeticCoder::default();
        let payload = frame.encode(&coder).unwrap();
        prop_assert_eq!(&payload, &frame.encode(&ReferenceCoder).unwrap());
        prop_assert_eq!(frame.decode(&coder, &payload).unwrap(), frame.tokens());
        prop_assert_eq!(frame.decode(&ReferenceCoder, &payload).unwrap(), frame.tokens());
    }

    #[test]
    fn garbage_decodes_as_the_definition_says(
        seed: u64, vocab_size in 1..=600_usize, profile in profiles(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let frame = Frame::new(seed, vocab_size, 3, 5, profile);
        let found = frame.decode(&ArithmeticCoder::default(), &payload);
        let expected = frame.decode(&ReferenceCoder, &payload);
        match (found, expected) {
            (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
            (found, expected) => prop_assert!(found.is_err() && expected.is_err()),
        }
    }

    #[test]
    fn a_damaged_payload_never_gives_the_tokens_back_unnoticed(
        seed: u64, cut in 1..20_usize, profile in profiles(),
    ) {
        let frame = Frame::new(seed, 700, 4, 10, profile);
        let coder = ArithmeticCoder::default();
        let payload = frame.encode(&coder).unwrap();
        // Payloads hold no byte that does not matter: without the last ones the tokens differ.
        let short = &payload[..payload.len().saturating_sub(cut)];
        if short.len() < payload.len() {
            prop_assert_ne!(frame.decode(&coder, short).ok(), Some(frame.tokens()));
        }
        // Bytes beyond the code are an error.
        let long = [payload.as_slice(), &[1; 9]].concat();
        prop_assert_ne!(frame.decode(&coder, &long).ok(), Some(frame.tokens()));
    }
}

#[test]
fn real_vocabularies_and_any_number_of_threads_give_the_same_bytes() {
    for (vocab_size, profile) in
        [(49_152, Profile::Peaked), (49_152, Profile::Hostile), (262_144, Profile::Flat)]
    {
        let frame = Frame::new(7, vocab_size, 9, 3, profile);
        let expected = frame.encode(&ReferenceCoder).unwrap();
        for count in 1..=4 {
            let coder = ArithmeticCoder::new(Threads::new(count).unwrap());
            assert_eq!(frame.encode(&coder).unwrap(), expected, "{count} threads");
            assert_eq!(frame.decode(&coder, &expected).unwrap(), frame.tokens());
        }
    }
}

#[test]
fn a_vocabulary_of_equal_logits_fills_the_largest_total() {
    let mut logits = Logits::new();
    logits.resize(1, MAX_VOCAB_SIZE).fill(1.0);
    let token = MAX_VOCAB_SIZE as u32 - 1;
    let frame = Frame { vocab_size: MAX_VOCAB_SIZE, lanes: 1, steps: vec![(logits, vec![token])] };
    let payload = frame.encode(&ArithmeticCoder::default()).unwrap();
    assert_eq!(payload.len(), 3);
    assert_eq!(frame.decode(&ArithmeticCoder::default(), &payload).unwrap(), [token]);
}

/// Bits the payload takes and the ideal length of the same tokens.
fn lengths(frame: &Frame) -> (f64, f64) {
    let payload = frame.encode(&ArithmeticCoder::default()).unwrap();
    (
        payload.len() as f64 * 8.0,
        frame.rows().map(|(row, token)| ideal_bits(row, token as usize)).sum(),
    )
}

#[test]
fn the_code_is_within_a_thousandth_of_the_ideal() {
    for (vocab_size, profile) in [
        (256, Profile::Peaked),
        (49_152, Profile::Peaked),
        (256, Profile::Flat),
        (49_152, Profile::Flat),
    ] {
        let (found, ideal) = lengths(&Frame::new(11, vocab_size, 8, 30, profile));
        assert!(found <= ideal * 1.001 + 8.0, "{vocab_size} {profile:?}: {found}, ideal {ideal}");
        assert!(found >= ideal * 0.9999 - 1.0, "{vocab_size} {profile:?}: {found}, ideal {ideal}");
    }
}

#[test]
fn certain_tokens_cost_next_to_nothing() {
    // One logit far above 49,151 others, 20,000 times: the ideal length is 0 bits.
    let mut logits = Logits::new();
    let row = logits.resize(1, 49_152);
    row.fill(-60.0);
    row[40_000] = 30.0;
    let coder = ArithmeticCoder::default();
    let shape = FrameShape { vocab_size: 49_152, lanes: 1, tokens: 20_000, bytes: 80_000 };
    let mut encoder = coder.encoder(shape).unwrap();
    let entries = [StepEntry { lane: 0, index: 0, feed: Feed::Continue }];
    for _ in 0..shape.tokens {
        encoder.encode(&entries, Rows::new(&logits, &[0]), &[40_000]).unwrap();
    }
    let bits = encoder.finish().unwrap().len() as f64 * 8.0;
    // 49,152 parts of 2^30 are 0.000066 bits a token.
    assert!(bits / shape.tokens as f64 <= 0.0005, "{bits} bits");
}

/// Parts of `2^24` for each token of a row, each at least 1.
fn quantised(row: &[f32]) -> Vec<u32> {
    let maximum = softmax::row_maximum(row).unwrap();
    let weights: Vec<u64> =
        row.iter().map(|&logit| u64::from(softmax::weight(logit - maximum))).collect();
    let total: u64 = weights.iter().sum();
    let free = (1 << 24) - row.len() as u64;
    let mut parts: Vec<u32> =
        weights.iter().map(|weight| 1 + (weight * free / total) as u32).collect();
    let left = (1 << 24) - parts.iter().sum::<u32>();
    *parts.iter_mut().max().unwrap() += left;
    parts
}

#[test]
fn constriction_needs_as_many_bytes_for_the_same_probabilities() {
    for profile in [Profile::Peaked, Profile::Flat] {
        let frame = Frame::new(3, 64, 1, 20_000, profile);
        let mut theirs = DefaultRangeEncoder::new();
        let mut ours = RangeEncoder::new();
        for (row, token) in frame.rows() {
            let parts = quantised(row);
            let before: u32 = parts[..token as usize].iter().sum();
            ours.encode(before.into(), parts[token as usize].into(), 1 << 24);
            let model = ContiguousCategoricalEntropyModel::<u32, Vec<u32>, 24>::
                from_nonzero_fixed_point_probabilities(&parts, false)
            .unwrap();
            theirs.encode_symbol(token as usize, model).unwrap();
        }
        let ours = ours.finish().len();
        let theirs = theirs.into_compressed().unwrap().len() * 4;
        assert!(ours.abs_diff(theirs) <= 5, "{profile:?}: {ours} and {theirs}");
        if profile == Profile::Flat {
            // No token is so rare here that 24 bits of precision would differ from ours.
            let ours = frame.encode(&ArithmeticCoder::default()).unwrap().len();
            assert!(ours.abs_diff(theirs) <= 5, "{profile:?}: {ours} and {theirs}");
        }
    }
}

#[test]
fn golden_bytes() {
    let mut frame = Frame::new(2026, 1000, 4, 6, Profile::Peaked);
    // Tokens drawn by the platform's exponential would make these bytes the platform's.
    for (step, (_, tokens)) in frame.steps.iter_mut().enumerate() {
        tokens.iter_mut().zip(0..).for_each(|(token, lane)| *token = step as u32 * 150 + lane);
    }
    let payload = frame.encode(&ArithmeticCoder::default()).unwrap();
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "00000000000102a2817bac9870a2a19b6815cb9fcb9cef73e8b6fe538356ed1516d881af15e8172b9ee1284c872fa4d9b81d8942cde8656aaa4a02078d166aaace792414236613cd29";

#[test]
fn what_cannot_be_coded_is_an_error() {
    let coder = ArithmeticCoder::default();
    for vocab_size in [0, MAX_VOCAB_SIZE + 1] {
        let shape = FrameShape { vocab_size, lanes: 1, tokens: 1, bytes: 1 };
        assert!(matches!(coder.encoder(shape), Err(Error::Settings(_))));
        assert!(matches!(coder.decoder(shape, &[]), Err(Error::Settings(_))));
    }

    let mut frame = Frame::new(1, 10, 2, 2, Profile::Flat);
    frame.steps[0].1[1] = 10;
    let message = frame.encode(&coder).unwrap_err().to_string();
    assert_eq!(message, "coder ac: token 10 in a vocabulary of 10");

    for maximum in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut frame = Frame::new(1, 10, 1, 1, Profile::Flat);
        frame.steps[0].0.resize(1, 10).fill(maximum);
        assert!(matches!(frame.encode(&coder), Err(Error::Payload { .. })));
        assert!(matches!(frame.decode(&coder, &[7]), Err(Error::Payload { .. })));
    }

    assert!(matches!(Threads::new(0), Err(Error::Settings(_))));
}

#[test]
fn a_step_that_does_not_fit_the_frame_is_an_error() {
    let coder = ArithmeticCoder::default();
    let shape = FrameShape { vocab_size: 10, lanes: 1, tokens: 1, bytes: 1 };
    let mut logits = Logits::new();
    logits.resize(1, 9);
    let entries = [StepEntry { lane: 0, index: 0, feed: Feed::Continue }];
    let rows = Rows::new(&logits, &[0]);
    assert!(coder.encoder(shape).unwrap().encode(&entries, rows, &[0]).is_err());
    logits.resize(1, 10);
    let rows = Rows::new(&logits, &[0]);
    assert!(coder.encoder(shape).unwrap().encode(&entries, rows, &[0, 0]).is_err());
    assert!(coder.decoder(shape, &[]).unwrap().decode(&[], rows, &mut [0]).is_err());
}
