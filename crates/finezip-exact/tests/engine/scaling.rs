//! Rotary frequencies stretched for longer contexts: as their makers say, and in the layers that
//! docs/arithmetic.md names.

use std::fs;

use finezip_core::Window;
use finezip_exact::Precision;
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, Checkpoint, ModelConfig, RopeScaling};
use tempfile::TempDir;

use crate::families::{checkpoint, fixed, logits_alone, model, rolling, seeded, tokens};
use crate::oracle;

/// Pairs of a head of 64 lie before this ramp, on it and behind it: waves of up to 16 tokens are
/// kept, those of more than 64 become eight times as long.
const RAMP: RopeScaling = RopeScaling::Llama3 {
    factor: 8.0,
    low_frequency_factor: 1.0,
    high_frequency_factor: 4.0,
    original_context: 64,
};

/// As in the larger models of Gemma 3.
const LINEAR: RopeScaling = RopeScaling::Linear { factor: 8.0 };

/// The seeded Llama with [`RAMP`], which only the `config.json` of a folder can say: its weights
/// are written to one, which must live as long as the checkpoint.
pub(crate) fn llama3() -> (TempDir, Checkpoint) {
    let plain = checkpoint(Architecture::Llama);
    let ModelConfig { hidden_size, layers, heads, kv_heads, head_dim, feed_forward, .. } =
        *plain.config();
    let ModelConfig { vocab_size, context_length, .. } = *plain.config();
    let config = format!(
        r#"{{"model_type": "llama", "hidden_size": {hidden_size}, "num_hidden_layers": {layers},
"num_attention_heads": {heads}, "num_key_value_heads": {kv_heads}, "head_dim": {head_dim},
"intermediate_size": {feed_forward}, "vocab_size": {vocab_size}, "rms_norm_eps": 1e-5,
"max_position_embeddings": {context_length}, "tie_word_embeddings": true, "bos_token_id": 0,
"eos_token_id": 0, "rope_theta": 10000.0, "rope_scaling": {{"rope_type": "llama3", "factor": 8.0,
"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}}}"#
    );
    let tokenizer = r#"{"added_tokens":[{"id":0,"content":"<|endoftext|>","special":true}]}"#;
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for name in plain.tensor_names() {
        let tensor = plain.raw(name).unwrap();
        let (start, shape) = (values.len(), tensor.shape);
        values.extend(tensor.bytes);
        let end = values.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let weights =
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values.as_slice()].concat();

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config).unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let expected = ModelConfig { rope_scaling: Some(RAMP), ..plain.config().clone() };
    assert_eq!(*checkpoint.config(), expected);
    (folder, checkpoint)
}

fn scaled(architecture: Architecture, scaling: RopeScaling) -> Checkpoint {
    let description = SeededModel { rope_scaling: Some(scaling), ..seeded(architecture) };
    description.checkpoint().unwrap()
}

/// The seeded Llama with divisors of its own in the tensor `rope_freqs`.
pub(crate) fn divided_llama() -> Checkpoint {
    let divisors = (0..32).map(|pair| 1.0 + pair as f32 * 0.375).collect();
    scaled(Architecture::Llama, RopeScaling::Divisors(divisors))
}

/// The seeded Gemma 3 whose last layer's frequencies are an eighth.
pub(crate) fn linear_gemma() -> Checkpoint {
    scaled(Architecture::Gemma3, LINEAR)
}

/// Holds the scaled model against the oracle with its scaling, and finds it away from the oracle
/// without.
fn check(scaled: &Checkpoint) {
    let plain = checkpoint(scaled.config().architecture);
    let windows: [Window; 3] = [fixed(48), rolling(20, 0), rolling(14, 1)];
    for window in windows {
        // As much as without scaling.
        let limits = [(Precision::F32, 1e-5), (Precision::Int8, 0.1), (Precision::Int4, 0.5)];
        oracle::check(scaled, window, limits);
        let text = tokens(40, 9);
        let without = oracle::logits(&plain, window, &text);
        let found = logits_alone(&model(scaled, Precision::F32), window, &text, 16);
        let error = oracle::relative_error(&found, &without);
        let scaling = &scaled.config().rope_scaling;
        assert!(error > 1e-3, "{scaling:?} {window:?} changes logits by {error:e}");
    }
}

#[test]
fn llama3_stretches_waves_along_its_ramp() {
    let (_folder, checkpoint) = llama3();
    check(&checkpoint);
}

#[test]
fn divisors_of_a_file_divide_each_its_frequency() {
    check(&divided_llama());
}

#[test]
fn linear_scaling_stretches_all_waves_of_layers_that_see_all() {
    check(&linear_gemma());
}

/// Every sixth layer of Gemma 3 sees all: of five none does, and then nothing changes.
#[test]
fn layers_that_slide_keep_their_frequencies() {
    for (layers, changes) in [(5, false), (6, true)] {
        for precision in Precision::ALL {
            let logits = |rope_scaling: Option<RopeScaling>| {
                let gemma = seeded(Architecture::Gemma3);
                let checkpoint =
                    SeededModel { layers, rope_scaling, ..gemma }.checkpoint().unwrap();
                logits_alone(&model(&checkpoint, precision), rolling(20, 1), &tokens(40, 2), 40)
            };
            let same = logits(None) == logits(Some(LINEAR));
            assert_eq!(same, !changes, "{precision}, {layers} layers");
        }
    }
}
