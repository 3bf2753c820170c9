//! A failure on the way: nothing that follows it may look whole.

mod support;

use std::io::{Read, Write};

use finezip_core::{Compressor, Decompressor, Error, Exactness, Language, read, write};
use support::{Chunks, HashModel, TEXT, language_of};

fn parts(model: HashModel) -> Language {
    language_of(model, Chunks { chunk: 5, lanes: 3, overlap: 0 })
}

/// A model that is out of order for one frame, the one of this number.
fn failing(fails_at: usize) -> Language {
    let mut model = HashModel::new(Exactness::Everywhere);
    model.fails_to_open = Some(fails_at);
    parts(model)
}

/// Frames of [`TEXT`], each coded by the model.
fn compressor(language: Language) -> Compressor {
    Compressor::builder().language(language).frame_bytes(TEXT.len()).build().unwrap()
}

const FRAMES: usize = 4;

fn text() -> Vec<u8> {
    TEXT.repeat(FRAMES)
}

fn archive() -> Vec<u8> {
    let mut archive = Vec::new();
    let model = HashModel::new(Exactness::Everywhere);
    let summary =
        compressor(parts(model)).compress_stream(&mut &text()[..], &mut archive, None).unwrap();
    assert_eq!(summary.model_frames, FRAMES as u64);
    archive
}

fn is_engine(error: std::io::Error) -> bool {
    matches!(Error::from_io(error), Error::Engine { .. })
}

fn says_it_failed_before(error: &dyn std::error::Error) {
    assert!(error.to_string().contains("has failed before"), "{error}");
}

#[test]
fn no_archive_is_finished_without_a_frame() {
    // The last frame is coded by `finish` itself.
    for fails_at in 0..FRAMES - 1 {
        let compressor = compressor(failing(fails_at));
        let mut encoder = write::Encoder::new(Vec::new(), &compressor);
        assert!(is_engine(encoder.write_all(&text()).unwrap_err()), "frame {fails_at}");
        says_it_failed_before(&encoder.write_all(TEXT).unwrap_err());
        says_it_failed_before(&encoder.finish().err().unwrap());
    }
}

#[test]
fn no_archive_is_read_to_its_end_without_a_frame() {
    for fails_at in 0..FRAMES {
        let compressor = compressor(failing(fails_at));
        let text = text();
        let mut encoder = read::Encoder::new(&text[..], &compressor);
        let mut archive = Vec::new();
        assert!(is_engine(encoder.read_to_end(&mut archive).unwrap_err()), "frame {fails_at}");
        for _ in 0..2 {
            says_it_failed_before(&encoder.read(&mut [0; 9]).unwrap_err());
        }
    }
}

#[test]
fn no_text_is_written_behind_a_frame_that_failed() {
    let archive = archive();
    for fails_at in 0..FRAMES {
        let decompressor = Decompressor::new(finezip_core::Components::from(failing(fails_at)));
        let mut text = Vec::new();
        let mut decoder = write::Decoder::new(&mut text, &decompressor);
        let mut errors =
            archive.chunks(10).filter_map(|piece| decoder.write_all(piece).err()).fuse();
        assert!(errors.next().is_some_and(is_engine), "frame {fails_at}");
        errors.for_each(|error| says_it_failed_before(&error));
        says_it_failed_before(&decoder.finish().err().unwrap());
        assert_eq!(text, TEXT.repeat(fails_at));
    }
}

#[test]
fn no_text_is_read_behind_a_frame_that_failed() {
    let archive = archive();
    for fails_at in 0..FRAMES {
        let decompressor = Decompressor::new(finezip_core::Components::from(failing(fails_at)));
        let mut decoder = read::Decoder::new(&archive[..], &decompressor);
        let mut text = Vec::new();
        assert!(is_engine(decoder.read_to_end(&mut text).unwrap_err()), "frame {fails_at}");
        for _ in 0..FRAMES {
            says_it_failed_before(&decoder.read(&mut [0; 9]).unwrap_err());
        }
        assert_eq!(text, TEXT.repeat(fails_at));
    }
}

/// Gives a few bytes at a time, and an error between them.
struct Stuttering<'a> {
    rest: &'a [u8],
    gives: bool,
}

impl Read for Stuttering<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.gives = !self.gives;
        if !self.gives {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = out.len().min(7);
        self.rest.read(&mut out[..count])
    }
}

/// Reads to the end, over errors of the reader.
fn read_patiently(reader: &mut dyn Read) -> Vec<u8> {
    let (mut read, mut buffer) = (Vec::new(), [0; 16]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return read,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
    }
}

#[test]
fn errors_of_the_reader_may_pass() {
    let compressor = compressor(parts(HashModel::new(Exactness::Everywhere)));
    let text = text();
    let reader = Stuttering { rest: &text, gives: false };
    assert_eq!(read_patiently(&mut read::Encoder::new(reader, &compressor)), archive());
    let archive = archive();
    let decompressor = Decompressor::new(compressor.components().clone());
    let reader = Stuttering { rest: &archive, gives: false };
    assert_eq!(read_patiently(&mut read::Decoder::new(reader, &decompressor)), text);
}
