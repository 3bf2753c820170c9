//! The engine on the catalog's default model, against the plain transformer.

use crate::reference::Reference;
use crate::support::{feed_in_step, root_mean_square_difference, session};
use finezip_candle::{CandleModel, CandleOptions, WeightFormat};
use finezip_core::LanguageModel;
use finezip_models::Checkpoint;
use finezip_models::hub::{Store, find};

/// Sums of a few thousand terms in `f32`, over dozens of layers.
const F32_TOLERANCE: f64 = 1e-3;

/// Activations rounded to 8 bits before each product.
const QUANTIZED_TOLERANCE: f64 = 0.1;

#[test]
fn a_real_model_matches_the_reference() {
    let entry = find("smollm2-135m").unwrap();
    let path = Store::from_env().unwrap().fetch(entry, &mut ()).unwrap();
    let checkpoint = Checkpoint::open(path).unwrap();
    let vocab_size = checkpoint.config().vocab_size as u32;
    let start = checkpoint.config().start_token();
    let text: Vec<u32> = (0..6).map(|place| (start + place * 977) % vocab_size).collect();
    let expected = Reference::new(&checkpoint).logits(&text);
    let both = [(WeightFormat::F32, F32_TOLERANCE), (WeightFormat::Quantized, QUANTIZED_TOLERANCE)];
    for (weights, tolerance) in &both {
        let options =
            CandleOptions { weights: *weights, group_lanes: Some(2), ..CandleOptions::default() };
        let model = CandleModel::open(&checkpoint, options).unwrap();
        assert_eq!(model.vocab_size(), expected[0].len());
        let rows = feed_in_step(session(&model, 1, 6).as_mut(), std::slice::from_ref(&text));
        let difference = root_mean_square_difference(&rows[0], &expected);
        assert!(difference < *tolerance, "{weights:?}: {difference}");
    }
}
