//! What an observer sees of a run: numbers that do not fall, and the summary at the end.

mod support;

use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};

use finezip_core::{
    ArchiveIndex, Compressor, CompressorBuilder, Decompressor, Exactness, Limits, Observer,
    Progress, RecordRule, Summary, read,
};
use support::{Chunks, TEXT, language};

/// Keeps all that is reported to the observers it makes.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Progress>>>);

impl Listener {
    fn observer(&self) -> Box<Observer<'static>> {
        let told = Arc::clone(&self.0);
        Box::new(move |progress| told.lock().unwrap().push(progress))
    }

    fn told(&self) -> Vec<Progress> {
        self.0.lock().unwrap().clone()
    }
}

fn builder(frame_bytes: usize) -> CompressorBuilder {
    Compressor::builder()
        .language(language(Exactness::Everywhere, Chunks { chunk: 5, lanes: 3, overlap: 0 }))
        .frame_bytes(frame_bytes)
}

/// An archive, and what was told of making it.
fn compress(builder: CompressorBuilder, text: &[u8]) -> (Vec<u8>, Vec<Progress>, Summary) {
    let (listener, mut archive) = (Listener::default(), Vec::new());
    let summary = builder
        .build()
        .unwrap()
        .compress_stream(&mut &text[..], &mut archive, Some(listener.observer()))
        .unwrap();
    (archive, listener.told(), summary)
}

/// What was told of decompressing an archive, by either adapter.
fn decompress(archive: &[u8], text: &[u8]) -> [(Vec<Progress>, Summary); 2] {
    let decompressor = Decompressor::new(builder(1).build().unwrap().components().clone());
    let (listener, mut written) = (Listener::default(), Vec::new());
    let summary = decompressor
        .decompress_stream(&mut &archive[..], &mut written, Some(listener.observer()))
        .unwrap();
    assert_eq!(written, text);
    let (other, mut read) = (Listener::default(), Vec::new());
    let mut decoder = read::Decoder::new(archive, &decompressor).observed(other.observer());
    decoder.read_to_end(&mut read).unwrap();
    assert_eq!(read, text);
    [(listener.told(), summary), (other.told(), decoder.summary())]
}

fn never_falls(told: &[Progress], what: impl Fn(&Progress) -> u64) {
    assert!(told.is_sorted_by_key(what), "{told:?}");
}

fn nothing_falls(told: &[Progress]) {
    never_falls(told, |progress| progress.text_bytes);
    never_falls(told, |progress| progress.archive_bytes);
    never_falls(told, |progress| progress.tokens);
}

fn ends_at(told: &[Progress], summary: &Summary) {
    let &Summary { text_bytes, archive_bytes, tokens, .. } = summary;
    assert_eq!(told.last(), Some(&Progress { text_bytes, archive_bytes, tokens }));
}

/// While a frame is decoded, its block is what the archive's bytes end in.
fn stays_within_frames(told: &[Progress], archive: &[u8]) {
    let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap();
    for progress in &told[..told.len() - 1] {
        let at = progress.text_bytes;
        let frame = index.frames.iter().find(|frame| {
            (frame.text_offset + 1..=frame.text_offset + frame.header.original_bytes).contains(&at)
        });
        let frame = frame.unwrap();
        let block = frame.offset..=frame.offset + frame.block_bytes;
        assert!(block.contains(&progress.archive_bytes), "{progress:?} in {block:?}");
    }
}

/// Frames of the model with others between them.
fn mixed() -> Vec<u8> {
    [TEXT, &[b'a'; 90], &[0x80, 0xFF, 0x00, 0xC1], TEXT, TEXT].concat()
}

#[test]
fn compressing_frames_with_the_model_nothing_falls() {
    let (archive, told, summary) = compress(builder(TEXT.len()), &TEXT.repeat(3));
    assert_eq!((summary.model_frames, summary.other_frames), (3, 0));
    assert!(told.len() > 9, "{told:?}");
    nothing_falls(&told);
    ends_at(&told, &summary);
    assert_eq!(summary.archive_bytes, archive.len() as u64);
}

#[test]
fn compressing_frames_in_other_ways_text_does_not_fall() {
    for builder in [builder(45), builder(60).records(RecordRule::LINES)] {
        let (_, told, summary) = compress(builder, &mixed());
        assert!(summary.model_frames + summary.other_frames > 2);
        never_falls(&told, |progress| progress.text_bytes);
        ends_at(&told, &summary);
    }
}

#[test]
fn decompressing_nothing_falls_and_no_frame_is_counted_twice() {
    let records = builder(60).records(RecordRule::LINES);
    for (builder, text) in
        [(builder(TEXT.len()), TEXT.repeat(3)), (builder(45), mixed()), (records, mixed())]
    {
        let (archive, _, _) = compress(builder, &text);
        let twice = [&archive[..], &archive].concat();
        for (archive, text) in [(archive, text.clone()), (twice, text.repeat(2))] {
            for (told, summary) in decompress(&archive, &text) {
                nothing_falls(&told);
                ends_at(&told, &summary);
                stays_within_frames(&told, &archive);
                assert_eq!(summary.archive_bytes, archive.len() as u64);
            }
        }
    }
}

#[test]
fn a_frame_is_not_counted_whole_from_its_first_token_on() {
    let text = TEXT.repeat(3);
    let (archive, _, _) = compress(builder(TEXT.len()), &text);
    let index = ArchiveIndex::read(&mut Cursor::new(&archive), &Limits::default()).unwrap();
    let frame = index.frames[0];
    let half = frame.offset + frame.block_bytes / 2;
    for (told, _) in decompress(&archive, &text) {
        assert!(told[0].archive_bytes < half, "{:?}, half at {half}", told[0]);
    }
}
