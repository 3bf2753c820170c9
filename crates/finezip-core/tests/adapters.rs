//! Adapters that travel in archives: where they stand, who is given them, what is refused.

mod support;

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use finezip_core::{
    ArchiveIndex, Components, Compressor, Decompressor, Descriptor, Error, Exactness, Fingerprint,
    Limits, Lost, Resolver, Result,
};
use proptest::prelude::*;
use support::{Chunks, HashModel, TEXT, language, language_of};

const ADAPTER: Fingerprint = Fingerprint([9; 32]);

fn chunks() -> Chunks {
    Chunks { chunk: 5, lanes: 3, overlap: 0 }
}

fn builder(frame_bytes: usize) -> finezip_core::CompressorBuilder {
    Compressor::builder()
        .language(language_of(HashModel::adapted(ADAPTER), chunks()))
        .frame_bytes(frame_bytes)
}

fn embedding(adapter: &[u8], frame_bytes: usize) -> Compressor {
    builder(frame_bytes).embedded_adapter(adapter.into()).build().unwrap()
}

/// Keeps what it is given, and answers with parts that have the adapter.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

impl Resolver for Listener {
    fn resolve(&self, descriptor: &Descriptor) -> Result<Components> {
        self.0.lock().unwrap().push(None);
        builder(1).build()?.components().resolve(descriptor)
    }

    fn resolve_with_adapter(&self, descriptor: &Descriptor, adapter: &[u8]) -> Result<Components> {
        self.0.lock().unwrap().push(Some(adapter.to_vec()));
        builder(1).build()?.components().resolve(descriptor)
    }
}

fn heard(archive: &[u8]) -> (Vec<u8>, Vec<Option<Vec<u8>>>) {
    let listener = Listener::default();
    let text = Decompressor::new(listener.clone()).decompress(archive).unwrap();
    let heard = listener.0.lock().unwrap().clone();
    (text, heard)
}

/// The text by way of the index.
fn extract(archive: &[u8]) -> Result<Vec<u8>> {
    let mut source = Cursor::new(archive);
    let index = ArchiveIndex::read(&mut source, &Limits::default())?;
    let mut text = Vec::new();
    let decompressor = Decompressor::new(Listener::default());
    index.extract(&mut source, 0..u64::MAX, &decompressor, &mut text)?;
    Ok(text)
}

/// Frames with the model before and after ones without it.
fn text() -> Vec<u8> {
    [&[b'a'; 90][..], TEXT, TEXT, &[0x80, 0xFF, 0x00, 0xC1], TEXT].concat()
}

proptest! {
    #[test]
    fn an_adapter_travels_and_is_given_to_the_resolver(
        adapter in prop::collection::vec(any::<u8>(), 0..400),
        frame_bytes in 20_usize..200,
    ) {
        let compressor = embedding(&adapter, frame_bytes);
        let archive = compressor.compress(&text()).unwrap();
        let index = ArchiveIndex::read(&mut Cursor::new(&archive[..]), &Limits::default()).unwrap();
        let expected = index.members[0].adapter.map(|_| Some(adapter.clone()));
        let (found, heard) = heard(&archive);
        prop_assert_eq!(found, text());
        prop_assert_eq!(heard, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(extract(&archive).unwrap(), text());
        // Two members, each with its own.
        let twice = [&archive[..], &archive[..]].concat();
        prop_assert_eq!(extract(&twice).unwrap(), text().repeat(2));
        if let Some(info) = index.members[0].adapter {
            let block = &archive[info.offset as usize..][..info.block_bytes as usize];
            prop_assert_eq!(block[0], b'A');
            prop_assert!(block.windows(adapter.len().max(1)).any(|bytes| bytes.starts_with(&adapter)));
        }
    }
}

#[test]
fn bytes_of_the_adapter_are_counted_and_the_rest_is_as_without_it() {
    let with = embedding(&[5; 300], 45);
    let without = builder(45).build().unwrap();
    let mut archive = Vec::new();
    let summary = with.compress_stream(&mut &text()[..], &mut archive, None).unwrap();
    assert_eq!(summary.archive_bytes, archive.len() as u64);
    assert_eq!(summary.adapter_bytes, 300 + 1 + 2 + 4);
    let plain = without.compress(&text()).unwrap();
    // Beside the block itself, its length in the index.
    assert_eq!(archive.len() as u64 - summary.adapter_bytes - 2, plain.len() as u64);
    let mut back = Vec::new();
    let decoded = Decompressor::new(Listener::default())
        .decompress_stream(&mut &archive[..], &mut back, None)
        .unwrap();
    assert_eq!(decoded.adapter_bytes, summary.adapter_bytes);
    assert_eq!(back, text());
}

#[test]
fn a_single_frame_must_earn_its_adapter() {
    let archive = embedding(&[5; 300], 1000).compress(TEXT).unwrap();
    let index = ArchiveIndex::read(&mut Cursor::new(&archive[..]), &Limits::default()).unwrap();
    assert!(index.members[0].adapter.is_none() && index.members[0].descriptor.is_none());
    assert!(archive.len() < TEXT.len() + 60);
}

#[test]
fn parts_given_beforehand_must_have_the_adapter() {
    let archive = embedding(&[5; 3], 45).compress(&text()).unwrap();
    let adapted = Decompressor::new(builder(1).build().unwrap().components().clone());
    assert_eq!(adapted.decompress(&archive).unwrap(), text());
    for components in [
        Components { language: Some(language(Exactness::Everywhere, chunks())), byte_coder: None },
        Components {
            language: Some(language_of(HashModel::adapted(Fingerprint([1; 32])), chunks())),
            byte_coder: None,
        },
    ] {
        let error = Decompressor::new(components).decompress(&archive).unwrap_err();
        assert!(matches!(error, Error::Mismatch { part: "adapter", .. }), "{error}");
        assert!(error.to_string().contains(&ADAPTER.to_hex()), "{error}");
    }
}

#[test]
fn an_adapter_without_a_model_that_has_it_is_refused() {
    let plain = Compressor::builder().language(language(Exactness::Everywhere, chunks()));
    for builder in [plain, Compressor::builder()] {
        let error = builder.embedded_adapter([1, 2][..].into()).build().err().unwrap();
        assert!(matches!(error, Error::Settings(_)), "{error}");
    }
}

#[test]
fn more_than_the_limit_is_refused_on_both_ways() {
    let archive = embedding(&[5; 300], 45).compress(&text()).unwrap();
    let limits = |adapter_bytes| Limits { adapter_bytes, ..Limits::default() };
    let decode = |adapter_bytes| {
        let decompressor =
            Decompressor::new(Listener::default()).with_limits(limits(adapter_bytes));
        let mut source = Cursor::new(&archive[..]);
        let index = ArchiveIndex::read(&mut source, &limits(adapter_bytes)).unwrap();
        let mut text = Vec::new();
        let extracted = index.extract(&mut source, 0..u64::MAX, &decompressor, &mut text);
        (decompressor.decompress(&archive), extracted.map(|_| text))
    };
    let (streamed, extracted) = decode(300);
    assert_eq!((streamed.unwrap(), extracted.unwrap()), (text(), text()));
    let (streamed, extracted) = decode(200);
    for error in [streamed.unwrap_err(), extracted.unwrap_err()] {
        assert!(matches!(error, Error::Limit { what: "bytes of adapter", .. }), "{error}");
    }
}

#[test]
fn damage_anywhere_is_found_on_both_ways() {
    let archive = embedding(&[5; 40], 45).compress(&text()).unwrap();
    let index = ArchiveIndex::read(&mut Cursor::new(&archive[..]), &Limits::default()).unwrap();
    assert!(index.members[0].adapter.is_some());
    let decode = |archive: &[u8]| Decompressor::new(Listener::default()).decompress(archive);
    for length in 0..archive.len() {
        assert!(decode(&archive[..length]).is_err(), "{length} bytes");
        assert!(extract(&archive[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..archive.len() * 8 {
        let mut damaged = archive.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit}");
        if let Ok(found) = extract(&damaged) {
            assert_eq!(found, text(), "bit {bit}");
        }
    }
}

/// Where the adapter block and the descriptor block stand.
fn head(archive: &[u8]) -> [(usize, usize); 2] {
    let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap();
    let adapter = index.members[0].adapter.unwrap();
    let start = adapter.offset as usize;
    let middle = start + adapter.block_bytes as usize;
    let end = index.frames.iter().map(|frame| frame.offset as usize).find(|at| *at >= middle);
    [(start, middle), (middle, end.unwrap())]
}

#[test]
fn an_adapter_stands_once_and_directly_before_its_descriptor() {
    let archive = embedding(&[5; 40], 45).compress(&text()).unwrap();
    let decode = |archive: &[u8]| Decompressor::new(Listener::default()).decompress(archive);
    let [adapter, descriptor] = head(&archive).map(|(start, end)| start..end);
    let before = &archive[..adapter.start];
    let after = &archive[descriptor.end..];
    let (a, d) = (&archive[adapter.clone()], &archive[descriptor.clone()]);
    for (what, parts) in [
        ("no adapter", [before, d, after].concat()),
        ("no descriptor", [before, a, after].concat()),
        ("twice", [before, a, a, d, after].concat()),
        ("after the descriptor", [before, d, a, after].concat()),
    ] {
        let error = decode(&parts).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
        assert!(extract(&parts).is_err(), "{what}");
    }
}

/// Has no adapter but the one that travels.
struct Strict(Vec<u8>);

impl Resolver for Strict {
    fn resolve(&self, _: &Descriptor) -> Result<Components> {
        Err(Error::Settings("no adapter is here".into()))
    }

    fn resolve_with_adapter(&self, descriptor: &Descriptor, adapter: &[u8]) -> Result<Components> {
        assert_eq!(adapter, self.0);
        builder(1).build()?.components().resolve(descriptor)
    }
}

#[test]
fn recovery_gives_frames_their_adapter_and_says_when_it_is_lost() {
    // Bytes that look like the tags of blocks.
    let adapter = b"ADFE".repeat(50);
    let archive = embedding(&adapter, 45).compress(&text()).unwrap();
    let index = ArchiveIndex::read(&mut Cursor::new(&archive[..]), &Limits::default()).unwrap();
    let info = index.members[0].adapter.unwrap();
    let adapter_block = info.offset as usize..(info.offset + info.block_bytes) as usize;
    let text_of = |keeps: &dyn Fn(usize) -> bool| -> Vec<u8> {
        let kept = index.frames.iter().enumerate().filter(|(number, _)| keeps(*number));
        kept.flat_map(|(_, frame)| {
            let from = frame.text_offset as usize;
            text()[from..from + frame.header.original_bytes as usize].to_vec()
        })
        .collect()
    };
    let recover = |archive: &[u8]| {
        let mut found = Vec::new();
        let decompressor = Decompressor::new(Strict(adapter.clone()));
        let recovery = decompressor.recover(&mut Cursor::new(archive), &mut found).unwrap();
        (found, recovery)
    };
    let (found, recovery) = recover(&archive);
    assert_eq!((found, recovery.losses), (text(), vec![]));
    let twice = [&archive[..], &archive].concat();
    assert_eq!(recover(&twice).0, text().repeat(2));
    for at in 0..archive.len() {
        let mut damaged = archive.clone();
        damaged[at] ^= 0x55;
        let (found, recovery) = recover(&damaged);
        let losses = &recovery.losses;
        assert!(!losses.is_empty(), "byte {at}");
        let lost = index.frames.iter().position(|frame| {
            (frame.offset..frame.offset + frame.block_bytes).contains(&(at as u64))
        });
        let needs = |frame: usize| index.frames[frame].header.method.needs_descriptor();
        if let Some(lost) = lost {
            assert_eq!(found, text_of(&|frame| frame != lost), "byte {at}: {losses:?}");
        } else if adapter_block.contains(&at) {
            assert_eq!(found, text_of(&|frame| !needs(frame)), "byte {at}: {losses:?}");
            assert!(losses.iter().any(|loss| loss.what == Lost::Adapter), "byte {at}: {losses:?}");
        }
        // Without its index as well.
        let (found, _) = recover(&damaged[..damaged.len() - 8]);
        match lost {
            Some(lost) => assert_eq!(found, text_of(&|frame| frame != lost), "byte {at}"),
            None if adapter_block.contains(&at) => {
                assert_eq!(found, text_of(&|frame| !needs(frame)), "byte {at}");
            }
            None => {}
        }
    }
}
