//! A merged adapter: the logits of a model whose file holds the sums.

use std::collections::BTreeMap;

use finezip_candle::{CandleModel, CandleOptions, WeightFormat};
use finezip_core::LanguageModel;
use finezip_lora::{Adapter, AdapterConfig, Linear, LoraMatrices};
use finezip_models::{Checkpoint, ModelConfig};

use crate::support::{FAMILIES, bits, checkpoint, feed_one, session, text};

/// An adapter of some linears of layer 1, none of them with rows that GGUF files put in another
/// order.
fn adapter(config: &ModelConfig) -> Adapter {
    let module = |linear: Linear| {
        let [out_features, in_features] = linear.shape(config);
        let module = LoraMatrices {
            rank: 2,
            in_features,
            out_features,
            alpha: 4.0,
            a: (0..2 * in_features).map(|i| (i * 37 % 64) as f32 / 300.0 - 0.1).collect(),
            b: (0..2 * out_features).map(|i| (i * 29 % 64) as f32 / 300.0 - 0.1).collect(),
        };
        (linear.path(1), module)
    };
    let modules: BTreeMap<String, LoraMatrices> =
        [Linear::VProj, Linear::OProj, Linear::UpProj, Linear::DownProj].map(module).into();
    let config = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        use_rslora: false,
        dropout: 0.0,
        base_model: None,
        base_fingerprint: None,
    };
    Adapter::new(config, modules).unwrap()
}

fn merged(checkpoint: &Checkpoint, adapter: &Adapter) -> Checkpoint {
    let mut file = checkpoint.gguf_bytes().unwrap().unwrap();
    for (path, name) in [
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ] {
        let delta = adapter.delta(&format!("model.layers.1.{path}")).unwrap();
        let info = checkpoint.gguf().unwrap().tensor(&format!("blk.1.{name}.weight")).unwrap();
        let stored = file[info.offset as usize..][..4 * delta.len()].as_chunks_mut::<4>().0;
        for (stored, change) in stored.iter_mut().zip(delta) {
            *stored = (f32::from_le_bytes(*stored) + change).to_le_bytes();
        }
    }
    Checkpoint::from_gguf_bytes(checkpoint.name(), file).unwrap()
}

#[test]
fn merging_gives_the_logits_of_a_model_whose_file_holds_the_sums() {
    let logits = |model: &CandleModel| {
        let mut session = session(model, 1, 40);
        bits(&feed_one(session.as_mut(), 0, &text(0, 40), 40))
    };
    for family in FAMILIES {
        let checkpoint = checkpoint(family);
        let adapter = adapter(checkpoint.config());
        let options =
            || CandleOptions { group_lanes: Some(4), threads: 1, ..CandleOptions::default() };
        let plain = CandleModel::open(&checkpoint, options()).unwrap();
        let summed = CandleModel::open(&merged(&checkpoint, &adapter), options()).unwrap();
        let model = CandleModel::open_adapted(&checkpoint, Some(&adapter), options()).unwrap();
        assert!(logits(&model) == logits(&summed), "{family:?}");
        assert!(logits(&model) != logits(&plain), "{family:?}");
        assert_eq!(model.identity().adapter, Some(adapter.fingerprint()));
    }
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let llama = checkpoint(FAMILIES[0]);
    let adapter = adapter(llama.config());
    let open = |checkpoint: &Checkpoint, weights| {
        let options = CandleOptions { weights, ..CandleOptions::default() };
        CandleModel::open_adapted(checkpoint, Some(&adapter), options).unwrap_err().to_string()
    };
    let error = open(&llama, WeightFormat::Quantized);
    assert!(error.contains("blocks of their file"), "{error}");
    let wide = finezip_models::seeded::SeededModel { feed_forward: 128, ..Default::default() };
    let error = open(&wide.checkpoint().unwrap(), WeightFormat::F32);
    assert!(error.contains("does not fit the model"), "{error}");
}
