//! The rank coder: round trips, threads, and payloads from anyone.

use crate::support::{Frame, Profile, Random};
use finezip_coder::{Backend, RankCoder, Threads};
use finezip_core::{Coder, Error, FrameShape};
use proptest::prelude::*;

fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::Peaked), Just(Profile::Flat), Just(Profile::Hostile)]
}

fn backends() -> impl Strategy<Value = Backend> {
    prop::sample::select(Backend::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn frames_come_back(
        seed: u64, vocab_size in 1..=2000_usize, lanes in 1..5_usize, steps in 1..8_usize,
        profile in profiles(), backend in backends(),
    ) {
        let frame = Frame::new(seed, vocab_size, lanes, steps, profile);
        let coder = RankCoder::new(backend, Threads::Inline);
        let payload = frame.encode(&coder).unwrap();
        prop_assert_eq!(frame.decode(&coder, &payload).unwrap(), frame.tokens());
    }

    #[test]
    fn damage_is_an_error_or_other_tokens(
        seed: u64, backend in backends(), place: prop::sample::Index, bit in 0..8_u32,
        cut: prop::sample::Index,
    ) {
        let frame = Frame::new(seed, 700, 4, 10, Profile::Peaked);
        let coder = RankCoder::new(backend, Threads::Inline);
        let payload = frame.encode(&coder).unwrap();
        let mut flipped = payload.clone();
        flipped[place.index(payload.len())] ^= 1 << bit;
        if let Ok(tokens) = frame.decode(&coder, &flipped) {
            prop_assert_eq!(tokens.len(), frame.tokens().len());
        }
        prop_assert!(frame.decode(&coder, &payload[..cut.index(payload.len())]).is_err());
    }
}

#[test]
fn real_vocabularies_and_any_number_of_threads_give_the_same_bytes() {
    for profile in [Profile::Peaked, Profile::Hostile, Profile::Flat] {
        let frame = Frame::new(7, 49_152, 9, 3, profile);
        let expected = frame.encode(&RankCoder::default()).unwrap();
        for count in 1..=4 {
            let coder = RankCoder::new(Backend::Zlib, Threads::new(count).unwrap());
            assert_eq!(frame.encode(&coder).unwrap(), expected, "{count} threads");
            assert_eq!(frame.decode(&coder, &expected).unwrap(), frame.tokens());
        }
    }
}

/// Ranks spread like those of text under a language model: 0 three times in five, then falling
/// with a power of the rank.
fn ranks(count: usize) -> Vec<u32> {
    let mut random = Random(17);
    (0..count)
        .map(|_| {
            let unit = random.unit();
            if unit < 0.6 { 0 } else { (0.9 / (1.0 - unit + 1e-4) - 1.25).min(40_000.0) as u32 }
        })
        .collect()
}

#[test]
fn ranks_take_little_more_than_their_entropy() {
    let ranks = ranks(50_000);
    let mut counts = std::collections::HashMap::new();
    for rank in &ranks {
        *counts.entry(rank).or_insert(0_u32) += 1;
    }
    let bits: f64 = counts
        .values()
        .map(|&count| f64::from(count) * (ranks.len() as f64 / f64::from(count)).log2())
        .sum();
    for (backend, most) in [
        (Backend::Zlib, 1.15),
        (Backend::Zstd, 1.15),
        (Backend::Brotli, 1.10),
        (Backend::Bzip2, 1.40),
    ] {
        let coder = RankCoder::new(backend, Threads::Inline);
        let payload = coder.pack(&ranks).unwrap();
        assert_eq!(coder.unpack(&payload, ranks.len(), 49_152).unwrap(), ranks);
        let share = payload.len() as f64 * 8.0 / bits;
        assert!(share <= most, "{}: {share} of the entropy", backend.name());
    }
}

#[test]
fn a_payload_of_other_ranks_is_an_error() {
    for backend in Backend::ALL {
        let coder = RankCoder::new(backend, Threads::Inline);
        let payload = coder.pack(&[0, 1, 99]).unwrap();
        assert_eq!(coder.unpack(&payload, 3, 100).unwrap(), [0, 1, 99]);
        for (tokens, vocab_size) in [(2, 100), (4, 100), (3, 99), (0, 100), (usize::MAX, 100)] {
            let found = coder.unpack(&payload, tokens, vocab_size);
            assert!(matches!(found, Err(Error::Payload { .. })), "{tokens} {vocab_size}");
        }
        assert!(coder.unpack(&coder.pack(&[]).unwrap(), 0, 1).unwrap().is_empty());
    }
}

#[test]
fn what_cannot_be_coded_is_an_error() {
    let coder = RankCoder::default();
    let shape = FrameShape { vocab_size: 0, lanes: 1, tokens: 1, bytes: 1 };
    assert!(matches!(coder.encoder(shape), Err(Error::Settings(_))));
    assert!(matches!(RankCoder::default().with_level(10), Err(Error::Settings(_))));

    let mut frame = Frame::new(1, 10, 2, 2, Profile::Flat);
    frame.steps[0].1[1] = 10;
    let message = frame.encode(&coder).unwrap_err().to_string();
    assert_eq!(message, "coder rank: token 10 in a vocabulary of 10");

    let encoder = coder.encoder(FrameShape { vocab_size: 4, lanes: 1, tokens: 1, bytes: 1 });
    let message = encoder.unwrap().finish().unwrap_err().to_string();
    assert_eq!(message, "coder rank: token 0 of the frame was not coded");
}
