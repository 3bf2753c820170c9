//! Several sessions side by side: the same archive as from one, and errors that end all of them.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use finezip_core::{Compressor, Decompressor, Error, Exactness};
use proptest::prelude::*;
use support::{Chunks, HashModel, TEXT, language_of};

/// A compressor whose lanes are in so many sessions, of which one may fail at one of its calls.
fn compressor(
    exactness: &Exactness,
    schedule: Chunks,
    sessions: usize,
    failing: Option<(usize, usize)>,
) -> Compressor {
    let mut model = HashModel::new(exactness.clone());
    (model.sessions, model.failing) = (sessions, failing);
    let language = language_of(model, schedule);
    Compressor::builder().language(language).frame_bytes(TEXT.len()).build().unwrap()
}

fn decompressor(compressor: &Compressor) -> Decompressor {
    Decompressor::new(compressor.components().clone())
}

/// ASCII without repeats, which the model is kept for, and other text.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{1,200}".prop_map(String::into_bytes),
        "(the |and |<\\|end\\|>|\r\n|\u{e9}){0,40}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sessions_side_by_side_make_and_read_the_archive_of_one(
        text in text(),
        chunk in 1_usize..40,
        lanes in 1_usize..8,
        overlap in 0_usize..4,
        sessions in 2_usize..5,
        everywhere in any::<bool>(),
    ) {
        let exactness = match everywhere {
            true => Exactness::Everywhere,
            false => Exactness::SameMachineKind("test".into()),
        };
        let of = |sessions| {
            compressor(&exactness, Chunks { chunk, lanes, overlap }, sessions, None)
        };
        let (one, several) = (of(1), of(sessions));
        let archive = one.compress(&text).unwrap();
        prop_assert_eq!(&several.compress(&text).unwrap(), &archive);
        prop_assert_eq!(decompressor(&several).decompress(&archive).unwrap(), text);
    }
}

/// Runs what must end; a thread that waits for ever is a failure and no standstill of the tests.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("an end within a minute")
}

#[test]
fn a_session_that_fails_ends_the_others_with_its_error() {
    let schedule = || Chunks { chunk: 5, lanes: 6, overlap: 0 };
    // An engine of one kind of machine computes step by step in both directions.
    let step_by_step = Exactness::SameMachineKind("test".into());
    let everywhere = Exactness::Everywhere;
    // Of two frames the first need not earn the archive's description alone.
    let text = [TEXT, TEXT].concat();
    let archive = compressor(&everywhere, schedule(), 1, None).compress(&text).unwrap();
    for place in (0..3).flat_map(|session| [0, 1, 4].map(|call| (session, call))) {
        let writer = compressor(&step_by_step, schedule(), 3, Some(place));
        let reader = decompressor(&compressor(&everywhere, schedule(), 3, Some(place)));
        let (text, archive) = (text.clone(), archive.clone());
        let results = ends(move || [writer.compress(&text), reader.decompress(&archive)]);
        for result in results {
            let error = result.expect_err("a session that fails");
            assert!(matches!(error, Error::Engine { .. }), "{place:?}: {error:?}");
        }
    }
}
