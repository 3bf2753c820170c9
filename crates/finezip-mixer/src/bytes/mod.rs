//! A compressor of its own: context mixing over bytes, without a language model.

mod coder;
mod contexts;
mod matches;
mod model;
mod settings;

pub use coder::ByteMixer;
pub use settings::{NAME, Settings, VERSION};

use crate::binary::{BinaryDecoder, BinaryEncoder};
use finezip_core::{Error, Result};
use matches::MatchModel;
use model::Predictor;

/// Codes `text` into a payload that [`decompress`] reads with the same settings.
pub(crate) fn compress(text: &[u8], settings: &Settings) -> Vec<u8> {
    let mut encoder = BinaryEncoder::new();
    let mut predictor = Predictor::new(settings, text.len());
    for &byte in text {
        for place in (0..8).rev() {
            let bit = byte >> place & 1 == 1;
            encoder.encode(bit, predictor.one());
            predictor.learn(bit);
        }
    }
    encoder.finish()
}

/// The most bytes that coding a text of `length` bytes takes besides the text: the table of
/// bit histories, and match models by the text's length.
pub(crate) fn memory_bytes(length: usize, settings: &Settings) -> u64 {
    let table = 64_u64 << model::line_bits(settings, length);
    table + MatchModel::memory_bytes(length) * 3 + (32 << 20)
}

/// Decodes `length` bytes of text.
pub(crate) fn decompress(payload: &[u8], length: usize, settings: &Settings) -> Result<Vec<u8>> {
    let mut decoder = BinaryDecoder::new(payload);
    let mut predictor = Predictor::new(settings, length);
    for _ in 0..length {
        for _ in 0..8 {
            let bit = decoder.decode(predictor.one());
            predictor.learn(bit);
        }
    }
    match decoder.unread() {
        0 => Ok(predictor.into_text()),
        unread => Err(Error::payload(
            NAME,
            format!("the payload goes on for {unread} bytes after its {length} bytes of text"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Settings = Settings { table_bits: 16 };

    #[test]
    fn what_is_declared_bounds_the_table_by_the_settings_and_by_the_text() {
        let of = |table_bits, length| memory_bytes(length, &Settings { table_bits });
        assert!(of(30, 64 << 20) > 1 << 30 && of(30, 64 << 20) < (1 << 30) + (256 << 20));
        assert!(of(30, 100) < 48 << 20);
        assert!(of(28, 64 << 20) < 512 << 20);
    }

    fn sample() -> Vec<u8> {
        let mut state = 1u32;
        let mut text = Vec::new();
        while text.len() < 20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 29 {
                0 => text.extend_from_slice(b"the quick brown fox "),
                1 => text.extend_from_slice(b"[[Link|shown]] and so on.\n"),
                2 => text.extend_from_slice(&state.to_le_bytes()),
                3 => text.extend_from_slice(format!("{},", state >> 20).as_bytes()),
                4 => text.extend_from_slice("d\u{e9}j\u{e0} vu; ".as_bytes()),
                _ => text.push((state >> 24) as u8 & 0x7f),
            }
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_bytes_come_back(
            text in prop::collection::vec(prop_oneof![any::<u8>(), 97u8..100], 0..3000),
            table_bits in 16u32..20,
        ) {
            let settings = Settings { table_bits };
            let payload = compress(&text, &settings);
            prop_assert!(payload.len() <= text.len() + text.len() / 50 + 16);
            prop_assert_eq!(decompress(&payload, text.len(), &settings).unwrap(), text);
        }

        #[test]
        fn garbage_is_an_error_or_text(payload in prop::collection::vec(any::<u8>(), 0..300), length in 0usize..500) {
            if let Ok(text) = decompress(&payload, length, &SMALL) {
                prop_assert_eq!(text.len(), length);
            }
        }
    }

    #[test]
    fn text_becomes_small_and_comes_back() {
        let text = b"All work and no play makes Jack a dull boy. ".repeat(100);
        let payload = compress(&text, &SMALL);
        assert!(payload.len() < 100, "{}", payload.len());
        assert_eq!(decompress(&payload, text.len(), &SMALL).unwrap(), text);
    }

    #[test]
    fn payload_bytes_are_fixed() {
        let payload = compress(&sample(), &SMALL);
        assert_eq!(decompress(&payload, sample().len(), &SMALL).unwrap(), sample());
        let hash = payload.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!((payload.len(), hash), GOLDEN, "found ({}, {hash:#018x})", payload.len());
    }

    const GOLDEN: (usize, u64) = (3749, 0xaa1e_1f69_fd15_5621);

    #[test]
    fn bytes_left_over_are_noticed() {
        let mut payload = compress(b"some text", &SMALL);
        payload.extend_from_slice(&[7; 20]);
        assert!(decompress(&payload, 9, &SMALL).is_err());
    }

    #[test]
    fn settings_survive_a_record() {
        let settings = Settings { table_bits: 24 };
        assert_eq!(Settings::from_record(&settings.record()).unwrap(), settings);
        assert!(Settings::from_record(&settings.record().with("more", 1)).is_err());
        assert!(Settings::from_record(&settings.record().with("table_bits", 60)).is_err());
    }

    /// What no reader takes is not written either.
    #[test]
    fn settings_out_of_range_make_no_coder() {
        for table_bits in [0, 15, 31, 40, u32::MAX] {
            let settings = Settings { table_bits };
            assert!(ByteMixer::new(settings).is_err(), "{table_bits}");
            assert!(Settings::from_record(&settings.record()).is_err(), "{table_bits}");
        }
        for table_bits in [16, 30] {
            let settings = Settings { table_bits };
            assert!(ByteMixer::new(settings).is_ok(), "{table_bits}");
            assert_eq!(Settings::from_record(&settings.record()).unwrap(), settings);
        }
    }
}
