//! The features beside the logits: what the head is multiplied with, the same bits however they
//! are computed, and logits that do not change for being accompanied.

use finezip_core::{LaneFeed, LanguageModel, Logits, SessionShape, TokenId, Window};
use finezip_exact::{ExactModel, ExactOptions, Isa, Precision};
use finezip_models::Architecture;

use crate::families::{FAMILIES, checkpoint, logits_alone, model, rolling, tokens};

/// Features and logits of all tokens of one lane, fed `chunk` tokens a call, as bits.
fn features_alone(
    model: &ExactModel,
    window: Window,
    tokens: &[TokenId],
    chunk: usize,
) -> (Vec<Vec<u32>>, Vec<Vec<f32>>) {
    let mut session = model.open_session(SessionShape { lanes: 1, window }).unwrap();
    let mut logits = Logits::with_features();
    let (mut features, mut rows) = (Vec::new(), Vec::new());
    for tokens in tokens.chunks(chunk) {
        session.feed(&[LaneFeed { lane: 0, tokens, rows: tokens.len() }], &mut logits).unwrap();
        for row in 0..tokens.len() {
            features.push(logits.features(row).iter().map(|x| x.to_bits()).collect());
            rows.push(logits.row(row).to_vec());
        }
    }
    (features, rows)
}

#[test]
fn neither_instructions_nor_threads_nor_chunks_change_features() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        let (window, tokens) = (rolling(20, 1), tokens(50, 8));
        for precision in Precision::ALL {
            let expected = features_alone(&model(&checkpoint, precision), window, &tokens, 50);
            let plain = logits_alone(&model(&checkpoint, precision), window, &tokens, 50);
            assert!(expected.1 == plain, "{architecture:?} {precision}");
            for isa in Isa::available() {
                for (threads, chunk) in [(1, 1), (2, 7), (3, 50)] {
                    let isa = Some(isa);
                    let options = ExactOptions { precision, threads, isa, ..Default::default() };
                    let model = ExactModel::open(&checkpoint, options).unwrap();
                    let found = features_alone(&model, window, &tokens, chunk);
                    assert!(found == expected, "{architecture:?} {precision} {isa:?} {threads}");
                }
            }
        }
    }
}

#[test]
fn the_head_times_the_features_is_the_logits() {
    let checkpoint = checkpoint(Architecture::Llama);
    let model = model(&checkpoint, Precision::F32);
    let (head, shape) = checkpoint.tensor_f32("model.embed_tokens.weight").unwrap();
    let width = model.feature_width().unwrap();
    assert_eq!(shape[1], width);
    let (features, rows) = features_alone(&model, rolling(20, 1), &tokens(30, 2), 9);
    for (features, row) in features.iter().zip(rows) {
        for (weights, logit) in head.chunks(width).zip(row) {
            let mut sum = 0.0f32;
            for (&x, w) in features.iter().zip(weights) {
                sum += f32::from_bits(x) * w;
            }
            assert_eq!(sum.to_bits(), logit.to_bits());
        }
    }
}

#[test]
fn each_row_has_its_own_features_where_only_some_are_asked_for() {
    let checkpoint = checkpoint(Architecture::Gemma3);
    let model = model(&checkpoint, Precision::Int8);
    let window = rolling(20, 1);
    let texts = [tokens(70, 1), tokens(9, 2), tokens(40, 3)];
    let shape = SessionShape { lanes: texts.len(), window };
    let mut session = model.open_session(shape).unwrap();
    let rows = [3, 1, 40];
    let feeds: Vec<LaneFeed<'_>> = (0..texts.len())
        .map(|lane| LaneFeed { lane, tokens: &texts[lane], rows: rows[lane] })
        .collect();
    let mut logits = Logits::with_features();
    session.feed(&feeds, &mut logits).unwrap();
    let mut next = 0;
    for (text, rows) in texts.iter().zip(rows) {
        let (features, _) = features_alone(&model, window, text, 16);
        for expected in &features[text.len() - rows..] {
            let found: Vec<u32> = logits.features(next).iter().map(|x| x.to_bits()).collect();
            assert!(found == *expected, "row {next}");
            next += 1;
        }
    }
    assert_eq!(next, logits.rows());
}
