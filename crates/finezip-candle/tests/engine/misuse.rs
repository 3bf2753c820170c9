//! Wrong use is an error that says what was expected and what was found.

use crate::support::{checkpoint, session};
use finezip_candle::{CandleModel, CandleOptions, ENGINE, ENGINE_VERSION, WeightFormat};
use finezip_core::{Error, LaneFeed, LanguageModel, Logits, Record, SessionShape, Window};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, GgmlType};

#[test]
fn wrong_feeds_are_refused() {
    let model = crate::support::model(Architecture::Llama, 1);
    let wrong: [(&[LaneFeed<'_>], &str); 5] = [
        (&[LaneFeed { lane: 3, tokens: &[1], rows: 1 }], "lane: expected below 3, found 3"),
        (
            &[LaneFeed { lane: 0, tokens: &[1, 282], rows: 1 }],
            "token: expected below 282, found 282",
        ),
        (&[LaneFeed { lane: 0, tokens: &[1], rows: 2 }], "rows: expected at most 1"),
        (&[LaneFeed { lane: 0, tokens: &[1; 9], rows: 1 }], "expected at most 8 tokens"),
        (&[LaneFeed { lane: 1, tokens: &[1], rows: 1 }; 2], "lane 1 is fed twice"),
    ];
    for (feeds, expected) in wrong {
        let mut session = session(&model, 3, 8);
        let error = session.feed(feeds, &mut Logits::new()).unwrap_err();
        assert!(matches!(error, Error::Engine { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(session(&model, 3, 8).reset(3).is_err());
}

#[test]
fn a_full_window_takes_no_more_until_its_reset() {
    let model = crate::support::model(Architecture::Gemma3, 1);
    let mut session = session(&model, 1, 8);
    let mut logits = Logits::new();
    session.feed(&[LaneFeed { lane: 0, tokens: &[1; 8], rows: 8 }], &mut logits).unwrap();
    assert_eq!(logits.rows(), 8);
    let one = [LaneFeed { lane: 0, tokens: &[1], rows: 1 }];
    assert!(session.feed(&one, &mut logits).is_err());
    session.reset(0).unwrap();
    session.feed(&one, &mut logits).unwrap();
    assert_eq!((logits.rows(), logits.vocab_size()), (1, SeededModel::VOCAB_SIZE));
}

#[test]
fn nothing_fed_is_nothing_computed() {
    let model = crate::support::model(Architecture::Llama, 1);
    let mut session = session(&model, 2, 8);
    let mut logits = Logits::new();
    session.feed(&[], &mut logits).unwrap();
    session.feed(&[LaneFeed { lane: 1, tokens: &[], rows: 0 }], &mut logits).unwrap();
    assert_eq!(logits.rows(), 0);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let model = crate::support::model(Architecture::Llama, 1);
    assert!(!model.can_roll());
    for (tokens, rolling) in [(0, false), (model.max_window() + 1, false), (8, true)] {
        let window = Window { tokens, sinks: 0, rolling };
        let error = model.open_session(SessionShape { lanes: 1, window }).err().unwrap();
        assert!(matches!(error, Error::Settings(_)), "{error}");
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let open = |architecture, weights, group_lanes| {
        let seeded = SeededModel { architecture, ..SeededModel::default() };
        let options = CandleOptions { weights, group_lanes, ..CandleOptions::default() };
        CandleModel::open(&seeded.checkpoint().unwrap(), options)
    };
    assert!(open(Architecture::Llama, WeightFormat::F32, Some(0)).is_err());
    assert!(open(Architecture::Qwen3, WeightFormat::Quantized, Some(4)).is_err());
    assert!(open(Architecture::Qwen3, WeightFormat::Quantized, None).is_ok());
    assert!(open(Architecture::Gemma3, WeightFormat::Quantized, None).is_err());
}

#[test]
fn features_that_candle_lacks_are_named() {
    let untied = SeededModel {
        architecture: Architecture::Gemma3,
        tied_embeddings: false,
        ..SeededModel::default()
    };
    let narrow = SeededModel { head_dim: 8, ..SeededModel::default() };
    for (seeded, expected) in [
        (untied, "Gemma 3 does not support a head that is not the embedding"),
        (narrow, "Llama does not support heads whose widths"),
    ] {
        let checkpoint = seeded.checkpoint().unwrap();
        let error = CandleModel::open(&checkpoint, CandleOptions::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn memory_grows_with_the_window_and_the_identity_names_the_weights() {
    let model = crate::support::model(Architecture::Llama, 1);
    let window = |tokens| Window { tokens, sinks: 0, rolling: false };
    let cache = |tokens: u64| 2 * 2 * 2 * 16 * 4 * tokens;
    assert!(model.lane_bytes(window(100)) > cache(100));
    assert!(model.lane_bytes(window(200)) - model.lane_bytes(window(100)) >= cache(100));
    let identity = model.identity();
    assert_eq!(identity.name, "seeded");
    let other = SeededModel { weight_type: GgmlType::F16, ..SeededModel::default() };
    let other = CandleModel::open(&other.checkpoint().unwrap(), CandleOptions::default()).unwrap();
    assert_ne!(identity.fingerprint, other.identity().fingerprint);
    assert_eq!(model.start_token(), checkpoint(Architecture::Llama).config().start_token());
}

/// A record may ask for groups of any size, so limits count all of a group's rows.
#[test]
fn a_lane_takes_the_memory_of_its_whole_group() {
    let window = Window { tokens: 100, sinks: 0, rolling: false };
    let bytes = |model: &CandleModel, lanes| model.session_bytes(SessionShape { lanes, window });
    let fours = crate::support::model(Architecture::Llama, 1);
    let lane_bytes = fours.lane_bytes(window);
    assert_eq!(bytes(&fours, 0), 0);
    assert!(bytes(&fours, 1) >= 4 * lane_bytes);
    assert_eq!(bytes(&fours, 4), bytes(&fours, 1));
    assert_eq!(bytes(&fours, 5), 2 * bytes(&fours, 1));
    let record = Record::new(ENGINE, ENGINE_VERSION).with("weights", 0).with("compute", 0);
    let options = CandleOptions::from_record(&record.with("group", 1024)).unwrap();
    let forged = CandleModel::open(&checkpoint(Architecture::Llama), options).unwrap();
    assert!(bytes(&forged, 1) >= 1024 * lane_bytes);
    let endless = Window { tokens: usize::MAX, ..window };
    assert_eq!(fours.session_bytes(SessionShape { lanes: 1, window: endless }), u64::MAX);
}
