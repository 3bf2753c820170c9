//! Records: the text comes back byte for byte, and each record alone.

mod support;

use std::io::Cursor;
use std::ops::Range;

use finezip_core::{
    ArchiveIndex, Compressor, Decompressor, Error, Exactness, Limits, Method, RecordRule,
};
use proptest::prelude::*;
use support::{Chunks, language};

/// Words of the model's among letters that do not repeat, so that the model codes some records.
const TEXT: &[u8] = b"the Jand 7of Qing Zthe xand Kof 4ing Wthe band\n\
\n\
Rof ying Vthe 3and mof Ging (\r\n\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
\x80\xFF\x00\xC1\n\
the cand Aof ping Hthe Sand dof Ling i!";

fn compressor(rule: RecordRule, frame_bytes: usize, exactness: Exactness) -> Compressor {
    Compressor::builder()
        .language(language(exactness, Chunks { chunk: 50, lanes: 4, overlap: 0 }))
        .records(rule)
        .frame_bytes(frame_bytes)
        .build()
        .unwrap()
}

fn lines(frame_bytes: usize) -> Compressor {
    compressor(RecordRule::LINES, frame_bytes, Exactness::Everywhere)
}

fn decompressor() -> Decompressor {
    Decompressor::new(lines(100).components().clone())
}

fn extract(archive: &[u8], wanted: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut source = Cursor::new(archive);
    let index = ArchiveIndex::read(&mut source, &Limits::default())?;
    let mut text = Vec::new();
    index.extract_records(&mut source, wanted, &decompressor(), &mut text)?;
    Ok(text)
}

fn records(archive: &[u8]) -> u64 {
    ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap().records()
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "([a-z ]{0,20}\r?\n){0,20}[a-z ]{0,9}".prop_map(String::into_bytes),
        "(the |and |of |\n|\0|\u{e9}){0,80}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_comes_back_whole_and_record_by_record(
        text in texts(),
        rule in prop_oneof![
            Just(RecordRule::LINES),
            Just(RecordRule::Delimiter(0)),
            (1_usize..30).prop_map(RecordRule::Bytes),
        ],
        frame_bytes in 1_usize..200,
        everywhere in any::<bool>(),
    ) {
        let exactness = if everywhere {
            Exactness::Everywhere
        } else {
            Exactness::SameMachineKind("test".into())
        };
        let compressor = compressor(rule, frame_bytes, exactness);
        let archive = compressor.compress(&text).unwrap();
        let decompressor = Decompressor::new(compressor.components().clone());
        prop_assert_eq!(&decompressor.decompress(&archive).unwrap(), &text);
        let expected: Vec<&[u8]> = match rule {
            RecordRule::Delimiter(byte) => text.split_inclusive(|&b| b == byte).collect(),
            RecordRule::Bytes(bytes) => text.chunks(bytes).collect(),
        };
        prop_assert_eq!(records(&archive), expected.len() as u64);
        let mut source = Cursor::new(&archive[..]);
        let index = ArchiveIndex::read(&mut source, &Limits::default()).unwrap();
        for (number, record) in (0..).zip(&expected) {
            let mut found = Vec::new();
            let wanted = number..number + 1;
            index.extract_records(&mut source, wanted, &decompressor, &mut found).unwrap();
            prop_assert_eq!(&found, record);
        }
    }
}

/// As many records as earn the model its description.
fn long_text() -> Vec<u8> {
    TEXT.split_inclusive(|&b| b == b'\n').cycle().take(45).flatten().copied().collect()
}

#[test]
fn every_form_of_a_record_occurs_and_comes_back() {
    let text = long_text();
    let archive = lines(100_000).compress(&text).unwrap();
    let index = ArchiveIndex::read(&mut Cursor::new(&archive), &Limits::default()).unwrap();
    let [frame] = index.frames[..] else { panic!("{} frames", index.frames.len()) };
    let all: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let count = all.len() as u64;
    assert!(
        matches!(frame.header.method, Method::Records { records, tokens: 1.. } if records == count)
    );
    for from in 0..=count {
        for to in [from, from + 1, from + 5, count, count + 1] {
            let expected = all[from as usize..to.min(count) as usize].concat();
            assert_eq!(extract(&archive, from..to).unwrap(), expected, "{from}..{to}");
        }
    }
    assert_eq!(extract(&archive, 3..u64::MAX).unwrap(), all[3..].concat());
}

/// A frame that is alone is coded with the model only if that earns the model's description.
#[test]
fn a_few_records_do_not_take_the_model_along() {
    let archive = lines(1000).compress(TEXT).unwrap();
    let index = ArchiveIndex::read(&mut Cursor::new(&archive), &Limits::default()).unwrap();
    assert!(index.members[0].descriptor.as_ref().is_none_or(|found| found.language.is_none()));
    assert_eq!(Decompressor::without_model().decompress(&archive).unwrap(), TEXT);
    assert!(archive.len() < lines(100_000).compress(&long_text()).unwrap().len());
}

#[test]
fn damage_anywhere_is_found_and_hinders_only_its_neighbours() {
    // Three groups of records, and one frame.
    let text = long_text();
    let archive = lines(100_000).compress(&text).unwrap();
    let all: Vec<&[u8]> = text.split_inclusive(|&b| b == b'\n').collect();
    let mut readable = vec![0; all.len()];
    for place in 0..archive.len() {
        let mut damaged = archive.clone();
        damaged[place] ^= 0x55;
        assert!(decompressor().decompress(&damaged).is_err(), "byte {place}");
        for (number, record) in all.iter().enumerate() {
            if let Ok(found) = extract(&damaged, number as u64..number as u64 + 1) {
                assert_eq!(found, *record, "byte {place}, record {number}");
                readable[number] += 1;
            }
        }
    }
    for length in 0..archive.len() {
        assert!(decompressor().decompress(&archive[..length]).is_err(), "cut to {length}");
        assert!(extract(&archive[..length], 0..9).is_err(), "cut to {length}");
    }
    // Besides header and index, bytes belong to one of three groups: a record survives damage to
    // the two others.
    assert!(readable.iter().all(|&count| count > archive.len() / 3), "{readable:?}");
}

#[test]
fn records_are_coded_as_messages_are() {
    let coder = finezip_core::MessageCoder::new(lines(100).components().clone()).unwrap();
    let text = long_text();
    let archive = lines(100_000).compress(&text).unwrap();
    for line in [0, 5] {
        let text: &[u8] = text.split(|&byte| byte == b'\n').nth(line).unwrap();
        let message = coder.compress(text).unwrap();
        let payload = finezip_core::Message::parse(&message).unwrap().payload;
        assert!(archive.windows(payload.len()).any(|window| window == payload), "line {line}");
    }
}

#[test]
fn archives_without_records_and_records_too_long_are_named() {
    let components = lines(100).components().clone();
    let plain = Compressor::builder().language(components.language.unwrap()).build().unwrap();
    let archive = plain.compress(TEXT).unwrap();
    assert!(matches!(extract(&archive, 0..1), Err(Error::NoRecords { frame: 0 })));
    assert_eq!(records(&archive), 0);
    // Behind records it hinders nobody who does not ask for it.
    let both = [lines(100).compress(b"first\nsecond\n").unwrap(), archive].concat();
    assert_eq!(extract(&both, 0..2).unwrap(), b"first\nsecond\n");
    assert!(matches!(extract(&both, 0..3), Err(Error::NoRecords { frame: 0 })));
    let long = vec![b'a'; 5 << 20];
    assert!(matches!(lines(1000).compress(&long), Err(Error::Settings(_))));
    let none = Compressor::builder().records(RecordRule::Bytes(0)).build();
    assert!(matches!(none, Err(Error::Settings(_))));
    assert_eq!(records(&lines(100).compress(b"").unwrap()), 0);
}

#[test]
fn archives_of_records_concatenate() {
    let one = lines(100).compress(b"first\nsecond\n").unwrap();
    let other = lines(100).compress(b"third\nfourth").unwrap();
    let both = [one, other].concat();
    assert_eq!(records(&both), 4);
    assert_eq!(extract(&both, 1..3).unwrap(), b"second\nthird\n");
    assert_eq!(decompressor().decompress(&both).unwrap(), b"first\nsecond\nthird\nfourth");
}
