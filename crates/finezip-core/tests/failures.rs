//! A failure on the way: nothing that follows it may look whole.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use finezip_core::{
    Compressor, Decompressor, Error, Exactness, Language, LanguageModel, ModelIdentity, Result,
    Session, SessionShape, TokenId, Window, read, write,
};
use support::{Chunks, HashModel, TEXT, language};

/// Opens sessions, one for each frame, but for the one of this number.
struct FailsOnce {
    model: HashModel,
    opened: AtomicUsize,
    fails_at: usize,
}

impl LanguageModel for FailsOnce {
    fn identity(&self) -> &ModelIdentity {
        self.model.identity()
    }

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn start_token(&self) -> TokenId {
        self.model.start_token()
    }

    fn max_window(&self) -> usize {
        self.model.max_window()
    }

    fn can_roll(&self) -> bool {
        self.model.can_roll()
    }

    fn lane_bytes(&self, window: Window) -> u64 {
        self.model.lane_bytes(window)
    }

    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        if self.opened.fetch_add(1, Ordering::Relaxed) == self.fails_at {
            return Err(Error::engine("hash", "out of order for once"));
        }
        self.model.open_session(shape)
    }
}

fn parts(model: impl LanguageModel + 'static) -> Language {
    let chunks = Chunks { chunk: 5, lanes: 3, overlap: 0 };
    Language { model: Arc::new(model), ..language(Exactness::Everywhere, chunks) }
}

fn failing(fails_at: usize) -> Language {
    let model = HashModel::new(Exactness::Everywhere);
    parts(FailsOnce { model, opened: AtomicUsize::new(0), fails_at })
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
