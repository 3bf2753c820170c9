//! Any bytes, through any layout, come back; and both directions meet in one archive.

mod support;

use std::io::{Cursor, Read, Write};

use finezip_core::{
    ArchiveIndex, Compressor, Decompressor, Error, Exactness, Limits, Method, read, write,
};
use proptest::prelude::*;
use support::{Chunks, TEXT, language};

fn compressor(exactness: Exactness, schedule: Chunks, frame_bytes: usize) -> Compressor {
    Compressor::builder()
        .language(language(exactness, schedule))
        .frame_bytes(frame_bytes)
        .build()
        .unwrap()
}

fn plain(frame_bytes: usize) -> Compressor {
    compressor(Exactness::Everywhere, Chunks { chunk: 5, lanes: 3, overlap: 0 }, frame_bytes)
}

fn decompressor(compressor: &Compressor) -> Decompressor {
    Decompressor::new(compressor.components().clone())
}

/// Mostly text that a model frame wins on, with anything in between.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[ -~]{0,200}".prop_map(String::into_bytes),
        "(the |and |<\\|end\\|>|\r\n|\u{e9}|\u{4e2d}){0,40}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_come_back(
        text in text(),
        chunk in 1_usize..40,
        lanes in 1_usize..6,
        overlap in 0_usize..4,
        frame_bytes in 1_usize..400,
        everywhere in any::<bool>(),
    ) {
        let exactness = if everywhere {
            Exactness::Everywhere
        } else {
            Exactness::SameMachineKind("test".into())
        };
        let compressor = compressor(exactness, Chunks { chunk, lanes, overlap }, frame_bytes);
        let archive = compressor.compress(&text).unwrap();
        prop_assert_eq!(decompressor(&compressor).decompress(&archive).unwrap(), text);
    }

    #[test]
    fn computing_steps_together_changes_no_byte(
        // Words of the model's among letters, so that it wins.
        text in "((the |and |of |ing )[A-Z0-9]){6,12}",
        chunk in 1_usize..40,
        lanes in 1_usize..6,
    ) {
        // A frame that is not the last need not earn the description.
        let text = text.as_bytes();
        let archive = |exactness| {
            compressor(exactness, Chunks { chunk, lanes, overlap: 0 }, text.len())
                .compress(&text.repeat(2))
                .unwrap()
        };
        let step_by_step = archive(Exactness::SameMachineKind(String::new()));
        let together = archive(Exactness::Everywhere);
        let payload = |archive: &[u8]| {
            let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap();
            let frame = index.frames[0];
            assert!(matches!(frame.header.method, Method::Model { .. }), "{:?}", frame.header);
            let end = (frame.offset + frame.block_bytes) as usize;
            archive[end - frame.header.payload_bytes as usize - 4..end - 4].to_vec()
        };
        prop_assert_eq!(payload(&step_by_step), payload(&together));
    }

    #[test]
    fn the_cut_of_writes_and_reads_changes_nothing(
        text in text(),
        write_bytes in 1_usize..50,
        read_bytes in 1_usize..50,
    ) {
        let compressor = plain(64);
        let archive = compressor.compress(&text).unwrap();
        let mut encoder = write::Encoder::new(Vec::new(), &compressor);
        for piece in text.chunks(write_bytes) {
            encoder.write_all(piece).unwrap();
        }
        let (written, summary) = encoder.finish().unwrap();
        prop_assert_eq!(&written, &archive);
        prop_assert_eq!(summary.text_bytes, text.len() as u64);
        prop_assert_eq!(summary.archive_bytes, archive.len() as u64);

        let mut from_reader = Vec::new();
        read::Encoder::new(&text[..], &compressor).read_to_end(&mut from_reader).unwrap();
        prop_assert_eq!(&from_reader, &archive);

        let decompressor = decompressor(&compressor);
        let mut decoder = write::Decoder::new(Vec::new(), &decompressor);
        for piece in archive.chunks(write_bytes) {
            decoder.write_all(piece).unwrap();
        }
        prop_assert_eq!(&decoder.finish().unwrap().0, &text);

        let mut decoder = read::Decoder::new(&archive[..], &decompressor);
        let mut back = Vec::new();
        let mut buffer = vec![0; read_bytes];
        loop {
            let count = decoder.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            back.extend_from_slice(&buffer[..count]);
        }
        prop_assert_eq!(back, text);
    }

    #[test]
    fn archives_concatenate_and_any_range_can_be_read(
        texts in prop::collection::vec(text(), 1..4),
        frame_bytes in 1_usize..100,
        range in (0_u64..500, 0_u64..500),
    ) {
        let compressor = plain(frame_bytes);
        let archive: Vec<u8> =
            texts.iter().flat_map(|text| compressor.compress(text).unwrap()).collect();
        let whole = texts.concat();
        let decompressor = decompressor(&compressor);
        prop_assert_eq!(&decompressor.decompress(&archive).unwrap(), &whole);

        let mut source = Cursor::new(&archive);
        let index = ArchiveIndex::read(&mut source, &Limits::default()).unwrap();
        prop_assert_eq!(index.members.len(), texts.len());
        prop_assert_eq!(index.text_bytes(), whole.len() as u64);
        let mut part = Vec::new();
        let written =
            index.extract(&mut source, range.0..range.1, &decompressor, &mut part).unwrap();
        let cut = |at: u64| (at as usize).min(whole.len());
        let expected = whole.get(cut(range.0)..cut(range.1)).unwrap_or_default();
        prop_assert_eq!(&part, expected);
        prop_assert_eq!(written, expected.len() as u64);
    }
}

#[test]
fn text_is_coded_by_the_model() {
    let compressor = plain(TEXT.len());
    let mut archive = Vec::new();
    let text = [TEXT, TEXT].concat();
    let summary = compressor.compress_stream(&mut &text[..], &mut archive, None).unwrap();
    assert_eq!((summary.model_frames, summary.other_frames), (2, 0));
    let index = ArchiveIndex::read(&mut Cursor::new(&archive), &Limits::default()).unwrap();
    let header = index.frames[0].header;
    assert!(matches!(header.method, Method::Model { lanes: 3, .. }), "{header:?}");
    assert_eq!(index.members[0].descriptor, Some(compressor.components().descriptor()));
}

#[test]
fn a_descriptor_is_not_written_for_less_than_it_takes() {
    let compressor = plain(1 << 20);
    let archive = compressor.compress(TEXT).unwrap();
    assert!(archive.len() <= TEXT.len() + 64, "{}", archive.len());
    assert_eq!(Decompressor::without_model().decompress(&archive).unwrap(), TEXT);
}

#[test]
fn what_cannot_be_made_smaller_grows_by_64_bytes_at_most() {
    let compressor = plain(1 << 20);
    let mut state = 1_u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1 << 20)
    .collect();
    for length in [0, 1, 2, 100, 5000, 1 << 20] {
        let archive = compressor.compress(&random[..length]).unwrap();
        assert!(archive.len() <= length + 64, "{length} bytes became {}", archive.len());
        assert_eq!(decompressor(&compressor).decompress(&archive).unwrap(), &random[..length]);
    }
}

#[test]
fn an_archive_with_model_frames_needs_that_model() {
    let compressor = plain(TEXT.len());
    let archive = compressor.compress(&[TEXT, TEXT].concat()).unwrap();
    let error = Decompressor::without_model().decompress(&archive).unwrap_err();
    assert!(matches!(&error, Error::ModelMissing { name, .. } if name == "hash"), "{error}");
    let other = compressor_with_other_schedule();
    let error = decompressor(&other).decompress(&archive).unwrap_err();
    assert!(matches!(error, Error::Mismatch { part: "schedule", .. }), "{error}");
}

fn compressor_with_other_schedule() -> Compressor {
    compressor(Exactness::Everywhere, Chunks { chunk: 6, lanes: 3, overlap: 0 }, 1 << 20)
}

#[test]
fn limits_hold_before_memory_is_taken() {
    let compressor = plain(TEXT.len());
    let archive = compressor.compress(&[TEXT, TEXT].concat()).unwrap();
    for limits in [
        Limits { frame_bytes: 10, ..Limits::default() },
        Limits { lanes: 2, ..Limits::default() },
        Limits { descriptor_bytes: 10, ..Limits::default() },
        Limits { session_bytes: 23, ..Limits::default() },
    ] {
        let decompressor = decompressor(&compressor).with_limits(limits);
        let error = decompressor.decompress(&archive).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}

/// A byte coder that says how much it was given, and makes of it so many hundredths.
struct Counting {
    percent: usize,
    given: std::sync::Mutex<Vec<usize>>,
}

impl finezip_core::ByteCoder for Counting {
    fn record(&self) -> finezip_core::Record {
        finezip_core::Record::new("counting", 1)
    }

    fn compress(&self, text: &[u8]) -> finezip_core::Result<Vec<u8>> {
        self.given.lock().unwrap().push(text.len());
        Ok(vec![0; text.len() * self.percent / 100])
    }

    fn decompress(&self, _payload: &[u8], text_bytes: usize) -> finezip_core::Result<Vec<u8>> {
        Ok(vec![0; text_bytes])
    }
}

/// Noise is not worth a byte coder's time, unless a sample of it says that it is.
#[test]
fn noise_is_sampled_before_it_is_coded() {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..100_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    for (percent, method, expected) in
        [(100, Method::Stored, &[16 << 10][..]), (50, Method::Bytes, &[16 << 10, 100_000])]
    {
        let coder = std::sync::Arc::new(Counting { percent, given: Default::default() });
        let compressor = Compressor::builder().byte_coder(coder.clone()).build().unwrap();
        let archive = compressor.compress(&noise).unwrap();
        let index = ArchiveIndex::read(&mut Cursor::new(&archive), &Limits::default()).unwrap();
        assert_eq!(index.frames[0].header.method, method);
        assert_eq!(*coder.given.lock().unwrap(), expected);
    }
}
