//! What a decoder must have: the parts that frames take, and not all that a description names.

mod support;

use std::io::{Cursor, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use finezip_core::{
    ArchiveIndex, ByteCoder, Components, Compressor, CompressorBuilder, Decompressor, Descriptor,
    Error, Exactness, Fingerprint, Limits, Method, Record, RecordRule, Resolver, Result, write,
};
use support::{Chunks, HashModel, TEXT, language, language_of};

const ADAPTER: Fingerprint = Fingerprint([9; 32]);

/// Two bytes in one where all are below 16; others it makes longer.
struct Halves;

impl ByteCoder for Halves {
    fn record(&self) -> Record {
        Record::new("halves", 1)
    }

    fn compress(&self, text: &[u8]) -> Result<Vec<u8>> {
        if text.iter().any(|&byte| byte >= 16) {
            return Ok([&[0], text].concat());
        }
        let pair = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |high| high << 4);
        Ok(std::iter::once(1).chain(text.chunks(2).map(pair)).collect())
    }

    fn decompress(&self, payload: &[u8], text_bytes: usize) -> Result<Vec<u8>> {
        let Some((form, bytes)) = payload.split_first() else { return Ok(Vec::new()) };
        if *form == 0 {
            return Ok(bytes.to_vec());
        }
        Ok(bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(text_bytes).collect())
    }
}

const FRAME_BYTES: usize = TEXT.len();

/// Noise, the same for the same `seed`.
fn noise(mut seed: u64) -> impl Iterator<Item = u8> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
}

/// A frame that the byte coder makes smaller than all others do.
fn halves(seed: u64) -> Vec<u8> {
    noise(seed).map(|byte| byte & 15).take(FRAME_BYTES).collect()
}

fn chunks(chunk: usize) -> Chunks {
    Chunks { chunk, lanes: 3, overlap: 0 }
}

fn builder() -> CompressorBuilder {
    Compressor::builder()
        .language(language(Exactness::Everywhere, chunks(5)))
        .byte_coder(Arc::new(Halves))
        .frame_bytes(FRAME_BYTES)
}

fn compress(builder: CompressorBuilder, text: &[u8]) -> Vec<u8> {
    builder.build().unwrap().compress(text).unwrap()
}

/// Has the byte coder, and no model.
fn without_model() -> Decompressor {
    Decompressor::new(Components { language: None, byte_coder: Some(Arc::new(Halves)) })
}

fn with_model(chunk: usize) -> Decompressor {
    let language = Some(language(Exactness::Everywhere, chunks(chunk)));
    Decompressor::new(Components { language, byte_coder: Some(Arc::new(Halves)) })
}

fn index(archive: &[u8]) -> ArchiveIndex {
    ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap()
}

fn methods(archive: &[u8]) -> Vec<&'static str> {
    index(archive).frames.iter().map(|frame| frame.header.method.name()).collect()
}

/// Whether the archive's first member names a model.
fn names_a_model(archive: &[u8]) -> bool {
    index(archive).members[0].descriptor.as_ref().is_some_and(|found| found.language.is_some())
}

/// What is written of an archive that comes in pieces, and how that ends.
fn stream(archive: &[u8], decompressor: &Decompressor) -> (Vec<u8>, Result<()>) {
    let mut text = Vec::new();
    let mut decoder = write::Decoder::new(&mut text, decompressor);
    let written = archive.chunks(7).try_for_each(|piece| decoder.write_all(piece));
    let ended = written.map_err(Error::from_io).and_then(|()| decoder.finish().map(|_| ()));
    (text, ended)
}

fn extract(archive: &[u8], range: Range<u64>, decompressor: &Decompressor) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    index(archive).extract(&mut Cursor::new(archive), range, decompressor, &mut text)?;
    Ok(text)
}

/// The text that is read past damage, of which there is none.
fn recover(archive: &[u8], decompressor: &Decompressor) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let recovery = decompressor.recover(&mut Cursor::new(archive), &mut text)?;
    assert!(recovery.is_whole(), "{:?}", recovery.losses);
    Ok(text)
}

#[test]
fn frames_of_the_byte_coder_do_not_need_the_model() {
    let text: Vec<u8> = (1..5).flat_map(halves).collect();
    let archive = compress(builder(), &text);
    assert_eq!(methods(&archive), ["bytes"; 4]);
    assert!(names_a_model(&archive));
    let twice = [&archive[..], &archive].concat();
    for (archive, text) in [(archive, text.clone()), (twice, text.repeat(2))] {
        let decompressor = without_model();
        assert_eq!(decompressor.decompress(&archive).unwrap(), text);
        let (streamed, ended) = stream(&archive, &decompressor);
        ended.unwrap();
        assert_eq!(streamed, text);
        assert_eq!(extract(&archive, 0..u64::MAX, &decompressor).unwrap(), text);
        assert_eq!(extract(&archive, 30..50, &decompressor).unwrap(), &text[30..50]);
        assert_eq!(recover(&archive, &decompressor).unwrap(), text);
    }
}

#[test]
fn records_that_the_model_did_not_code_do_not_need_it() {
    let noise: Vec<u8> = noise(1).map(|byte| byte | 0x80).take(12 * 12).collect();
    let text: Vec<u8> = noise.chunks(12).flat_map(|line| [line, b"\n"].concat()).collect();
    let archive = compress(builder().records(RecordRule::LINES), &text);
    let index = index(&archive);
    let without = |method| matches!(method, Method::Records { tokens: 0, .. });
    assert!(index.frames.len() > 2 && index.frames.iter().all(|one| without(one.header.method)));
    assert!(names_a_model(&archive));
    let decompressor = without_model();
    assert_eq!(decompressor.decompress(&archive).unwrap(), text);
    let mut found = Vec::new();
    index.extract_records(&mut Cursor::new(&archive), 3..8, &decompressor, &mut found).unwrap();
    assert_eq!(found, &text[3 * 13..8 * 13]);
}

/// A frame of the model between others.
fn mixed() -> Vec<u8> {
    [&halves(1)[..], &halves(2), TEXT, &halves(3)].concat()
}

#[test]
fn the_first_frame_of_the_model_needs_it() {
    let (archive, text) = (compress(builder(), &mixed()), mixed());
    assert_eq!(methods(&archive), ["bytes", "bytes", "model", "bytes"]);
    for (decompressor, is_missing) in [(without_model(), true), (with_model(6), false)] {
        let is_it = |error: &Error| match is_missing {
            true => matches!(error, Error::ModelMissing { .. }),
            false => matches!(error, Error::Mismatch { part: "schedule", .. }),
        };
        let error = decompressor.decompress(&archive).unwrap_err();
        assert!(is_it(&error), "{error}");
        let (streamed, ended) = stream(&archive, &decompressor);
        assert!(ended.is_err_and(|error| is_it(&error)));
        assert_eq!(streamed, &text[..2 * FRAME_BYTES]);
        let (two, three) = (2 * FRAME_BYTES as u64, 3 * FRAME_BYTES as u64);
        for range in [0..two, 10..11, three..u64::MAX] {
            let end = text.len().min(range.end as usize);
            let expected = &text[range.start as usize..end];
            assert_eq!(extract(&archive, range, &decompressor).unwrap(), expected);
        }
        let error = extract(&archive, two - 1..two + 1, &decompressor).unwrap_err();
        assert!(is_it(&error), "{error}");
        let error = recover(&archive, &decompressor).unwrap_err();
        assert!(is_it(&error), "{error}");
    }
    assert_eq!(with_model(5).decompress(&archive).unwrap(), text);
    assert_eq!(extract(&archive, 0..u64::MAX, &with_model(5)).unwrap(), text);
    assert_eq!(recover(&archive, &with_model(5)).unwrap(), text);
}

#[test]
fn parts_that_are_not_named_are_not_given() {
    let held = builder().build().unwrap().components().clone();
    let named = held.descriptor();
    for needed in [
        Descriptor::default(),
        Descriptor { language: None, ..named.clone() },
        Descriptor { byte_coder: None, ..named.clone() },
        named,
    ] {
        assert_eq!(held.resolve(&needed).unwrap().descriptor(), needed);
    }
}

/// Whether a language was asked for, and the adapter that came with it.
type Question = (bool, Option<Vec<u8>>);

/// Keeps what it is asked.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Question>>>);

impl Asked {
    fn answer(&self, descriptor: &Descriptor, adapter: Option<&[u8]>) -> Result<Components> {
        let asked = (descriptor.language.is_some(), adapter.map(<[u8]>::to_vec));
        self.0.lock().unwrap().push(asked);
        adapted().build()?.components().resolve(descriptor)
    }

    fn heard(&self) -> Vec<Question> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Resolver for Asked {
    fn resolve(&self, descriptor: &Descriptor) -> Result<Components> {
        self.answer(descriptor, None)
    }

    fn resolve_with_adapter(&self, descriptor: &Descriptor, adapter: &[u8]) -> Result<Components> {
        self.answer(descriptor, Some(adapter))
    }
}

fn adapted() -> CompressorBuilder {
    builder().language(language_of(HashModel::adapted(ADAPTER), chunks(5)))
}

#[test]
fn an_adapter_waits_for_the_frame_that_takes_it() {
    let adapter = vec![5; 300];
    let text = [&mixed()[..], TEXT].concat();
    let archive = compress(adapted().embedded_adapter(adapter[..].into()), &text);
    assert_eq!(methods(&archive), ["bytes", "bytes", "model", "bytes", "model"]);
    assert!(index(&archive).members[0].adapter.is_some());
    let asked = Asked::default();
    let decompressor = Decompressor::new(asked.clone());
    let expected = [(false, None), (true, Some(adapter))];
    assert_eq!(decompressor.decompress(&archive).unwrap(), text);
    assert_eq!(asked.heard(), expected);
    assert_eq!(extract(&archive, 0..u64::MAX, &decompressor).unwrap(), text);
    assert_eq!(asked.heard(), expected);
    // Of each member its own.
    let twice = [&archive[..], &archive].concat();
    assert_eq!(decompressor.decompress(&twice).unwrap(), text.repeat(2));
    assert_eq!(asked.heard(), [&expected[..], &expected].concat());
    // Frames that do not take it are read without it; how large it may be is held all the same.
    let archive =
        compress(adapted().embedded_adapter([5; 300][..].into()), &mixed()[..2 * FRAME_BYTES]);
    assert_eq!(methods(&archive), ["bytes", "bytes"]);
    assert_eq!(without_model().decompress(&archive).unwrap(), &mixed()[..2 * FRAME_BYTES]);
    let limits = Limits { adapter_bytes: 200, ..Limits::default() };
    let error = without_model().with_limits(limits).decompress(&archive).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "bytes of adapter", .. }), "{error}");
}
