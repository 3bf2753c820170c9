//! The engine's logits against a plain transformer, for every family and weight format.

use crate::reference::Reference;
use crate::support::{
    FAMILIES, feed_in_step, feed_one, relative_difference, root_mean_square_difference, session,
    text,
};
use finezip_candle::{CandleModel, CandleOptions, WeightFormat};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, GgmlType};

/// `f32` sums in another order than the reference's.
const F32_TOLERANCE: f64 = 1e-4;

/// candle's quantised products round activations to 8 bits in blocks of 32.
const QUANTIZED_TOLERANCE: f64 = 0.025;

#[test]
fn lanes_in_step_match_the_reference() {
    for family in FAMILIES {
        let checkpoint = crate::support::checkpoint(family);
        let reference = Reference::new(&checkpoint);
        let model = crate::support::model(family, 1);
        // Longer than Gemma's sliding layers see (32), more lanes than a group has, some short.
        let texts = [(0, 60), (1, 60), (2, 59), (3, 44), (4, 60)].map(|(lane, n)| text(lane, n));
        let mut session = session(&model, 5, 60);
        for (rows, text) in feed_in_step(session.as_mut(), &texts).iter().zip(&texts) {
            let difference = relative_difference(rows, &reference.logits(text));
            assert!(difference < F32_TOLERANCE, "{family:?}: {difference}");
        }
    }
}

#[test]
fn blocks_of_tokens_match_the_reference() {
    for family in FAMILIES {
        let reference = Reference::new(&crate::support::checkpoint(family));
        let model = crate::support::model(family, 1);
        let text = text(3, 200);
        let expected = reference.logits(&text);
        let mut session = session(&model, 2, 200);
        // One row, many rows, none, and one again: 0..150, 150..160, 160..170, 170..200.
        let rows = feed_one(session.as_mut(), 1, &text[..150], 1);
        assert!(relative_difference(&rows, &expected[149..150]) < F32_TOLERANCE, "{family:?}");
        let rows = feed_one(session.as_mut(), 1, &text[150..160], 7);
        assert!(relative_difference(&rows, &expected[153..160]) < F32_TOLERANCE, "{family:?}");
        assert!(feed_one(session.as_mut(), 1, &text[160..170], 0).is_empty());
        let rows = feed_one(session.as_mut(), 1, &text[170..], 1);
        assert!(relative_difference(&rows, &expected[199..]) < F32_TOLERANCE, "{family:?}");
    }
}

#[test]
fn quantized_weights_match_the_reference() {
    for family in [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3] {
        let seeded = SeededModel {
            architecture: family,
            weight_type: GgmlType::Q8_0,
            ..SeededModel::default()
        };
        let checkpoint = seeded.checkpoint().unwrap();
        let reference = Reference::new(&checkpoint);
        let group_lanes = if family == Architecture::Qwen3 { None } else { Some(4) };
        let options = CandleOptions {
            weights: WeightFormat::Quantized,
            group_lanes,
            ..CandleOptions::default()
        };
        let model = CandleModel::open(&checkpoint, options).unwrap();
        let texts = [(0, 30), (1, 30), (2, 12), (3, 25), (4, 30)].map(|(lane, n)| text(lane, n));
        let mut session = session(&model, 5, 32);
        for (rows, text) in feed_in_step(session.as_mut(), &texts).iter().zip(&texts) {
            let difference = root_mean_square_difference(rows, &reference.logits(text));
            assert!(difference < QUANTIZED_TOLERANCE, "{family:?}: {difference}");
        }
        for lane in 0..5 {
            session.reset(lane).unwrap();
        }
        let rows = feed_one(session.as_mut(), 4, &texts[0], 1);
        let expected = reference.logits(&texts[0]);
        let difference = root_mean_square_difference(&rows, &expected[29..]);
        assert!(difference < QUANTIZED_TOLERANCE, "{family:?}, after a reset: {difference}");
    }
}
