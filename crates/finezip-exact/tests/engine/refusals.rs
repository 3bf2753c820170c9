//! What a session refuses, and says so.

use finezip_core::{Error, LaneFeed, LanguageModel, Logits, SessionShape, Window};
use finezip_exact::{ExactModel, ExactOptions, Precision};
use finezip_models::seeded::SeededModel;

use crate::families::{FAMILIES, checkpoint, fixed, model, rolling};

#[test]
fn windows_out_of_range() {
    let checkpoint = checkpoint(FAMILIES[0]);
    let model = model(&checkpoint, Precision::Int8);
    let longer = model.max_window() + 1;
    let windows: [Window; 4] = [fixed(0), fixed(longer), rolling(4, 4), rolling(0, 0)];
    for window in windows {
        assert!(model.open_session(SessionShape { lanes: 1, window }).is_err(), "{window:?}");
        assert!(model.check_window(window).is_err(), "{window:?}");
    }
}

/// What a session would refuse is refused before anything is read.
#[test]
fn sinks_that_have_no_slots_beside_the_window() {
    let long = SeededModel { head_dim: 64, context_length: 1 << 16, ..SeededModel::default() };
    let checkpoint = long.checkpoint().unwrap();
    for (precision, refused) in [(Precision::Int8, true), (Precision::F32, false)] {
        let model = model(&checkpoint, precision);
        let window = |sinks| rolling(model.max_window(), sinks);
        model.check_window(window(1)).unwrap();
        let many = model.check_window(window(1000));
        assert_eq!(many.is_err(), refused, "{precision}: {many:?}");
        if let Err(error) = many {
            assert!(matches!(error, Error::Settings(_)), "{error}");
            let shape = SessionShape { lanes: 1, window: window(1000) };
            assert!(model.open_session(shape).is_err());
        }
    }
}

#[test]
fn feeds_out_of_range() {
    let checkpoint = checkpoint(FAMILIES[0]);
    let model = model(&checkpoint, Precision::Int8);
    let shape = SessionShape { lanes: 2, window: fixed(4) };
    let mut session = model.open_session(shape).unwrap();
    let mut logits = Logits::new();
    let unknown = [SeededModel::VOCAB_SIZE as u32];
    let feed = |lane, tokens, rows| LaneFeed { lane, tokens, rows };
    let wrong: [Vec<LaneFeed<'_>>; 5] = [
        vec![feed(2, &[1], 1)],
        vec![feed(0, &[1], 2)],
        vec![feed(0, &unknown, 1)],
        vec![feed(0, &[1, 2, 3, 4, 5], 1)],
        vec![feed(1, &[1], 1), feed(1, &[2], 1)],
    ];
    for feeds in &wrong {
        assert!(session.feed(feeds, &mut logits).is_err());
    }
    assert!(session.reset(2).is_err());
    session.feed(&[feed(0, &[1, 2, 3, 4], 0), feed(1, &[], 0)], &mut logits).unwrap();
    assert_eq!(logits.rows(), 0);
    assert!(session.feed(&[feed(0, &[5], 1)], &mut logits).is_err());
    session.reset(0).unwrap();
    session.feed(&[feed(0, &[5], 1)], &mut logits).unwrap();
    assert_eq!(logits.rows(), 1);
}

/// Before any weight is folded, and only where attention works on blocks.
#[test]
fn heads_that_attention_cannot_work_on() {
    let checkpoint = SeededModel { head_dim: 8, ..SeededModel::default() }.checkpoint().unwrap();
    for (precision, opens) in
        [(Precision::Int8, false), (Precision::Int4, false), (Precision::F32, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let cache_dir = Some(folder.path().to_owned());
        let options = ExactOptions { precision, threads: 1, cache_dir, ..ExactOptions::default() };
        assert_eq!(ExactModel::open(&checkpoint, options).is_ok(), opens, "{precision}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing was written");
    }
}
