//! The whole network: gradients against finite differences, logits against a plain composition
//! of candle's operations, quantized weights against dense ones.

use candle_core::{D, Result as CandleResult};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, GgmlType};

use super::*;
use crate::ops::IGNORED;

fn model(architecture: Architecture, weight_type: GgmlType) -> Checkpoint {
    let model = SeededModel {
        architecture,
        weight_type,
        hidden_size: 32,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        feed_forward: 64,
        sliding_window: 5,
        ..SeededModel::default()
    };
    model.checkpoint().unwrap()
}

fn lora(dropout: f32, targets: Targets) -> LoraSettings {
    LoraSettings { rank: 3, alpha: 4.0, dropout, targets, seed: 5, use_rslora: true }
}

/// A network whose B is not 0, so that every gradient is at work.
fn network(checkpoint: &Checkpoint, lora: LoraSettings, form: BaseForm, dtype: DType) -> Network {
    let network = Network::new(checkpoint, lora, form, dtype, 16).unwrap();
    let mut random = Random::new(11);
    let sizes = network.parameter_sizes();
    let values: Vec<Vec<f32>> =
        sizes.iter().map(|size| (0..*size).map(|_| random.symmetric() * 0.3).collect()).collect();
    network.set_parameters(&values).unwrap();
    network
}

/// Two rows of 9: one piece and padding; two pieces.
fn batch() -> Batch {
    let mut random = Random::new(3);
    let mut tokens: Vec<u32> = (0..18).map(|_| random.below(280) as u32).collect();
    let mut targets: Vec<u32> = (0..18).map(|_| random.below(280) as u32).collect();
    let mut starts = vec![0; 18];
    for place in 7..9 {
        (tokens[place], targets[place], starts[place]) = (0, IGNORED, place as u32);
    }
    starts[13..18].fill(4);
    Batch { sequences: 2, length: 9, tokens, targets: Arc::new(targets), starts: Arc::new(starts) }
}

fn settings(checkpointing: bool) -> BackwardSettings {
    BackwardSettings { weight: 0.125, dropout_key: Some(77), checkpointing }
}

fn gradients(network: &Network, settings: BackwardSettings) -> (f64, Vec<Vec<f32>>) {
    let sizes = network.parameter_sizes();
    let mut gradients: Vec<Vec<f32>> = sizes.iter().map(|size| vec![0.0; *size]).collect();
    let loss = network.backward(&batch(), settings, &mut gradients).unwrap();
    (loss, gradients)
}

#[test]
fn every_gradient_is_that_of_finite_differences() {
    use Architecture::{Gemma3, Llama, Qwen2, Qwen3};
    const STEP: f64 = 1e-4;
    for architecture in [Llama, Qwen2, Qwen3, Gemma3] {
        let checkpoint = model(architecture, GgmlType::F32);
        let form = BaseForm::Dense(DType::F64);
        let network = network(&checkpoint, lora(0.2, Targets::all()), form, DType::F64);
        let (_, found) = gradients(&network, settings(true));
        let vars: Vec<Var> = network.parameters().cloned().collect();
        assert_eq!(vars.len(), 2 * 2 * 7);
        for (number, var) in vars.iter().enumerate() {
            let values: Vec<f64> = var.flatten_all().unwrap().to_vec1().unwrap();
            assert!(found[number].iter().any(|gradient| *gradient != 0.0), "{number} is not used");
            // A few of each matrix; all of them would take hours.
            for place in [0, values.len() / 3, values.len() - 1] {
                let loss = |by: f64| {
                    let mut values = values.clone();
                    values[place] += by;
                    let shifted = Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap();
                    var.set(&shifted).unwrap();
                    gradients(&network, settings(true)).0
                };
                let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                loss(0.0);
                let found = f64::from(found[number][place]);
                assert!(
                    (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                    "{architecture:?}, parameter {number}, value {place}: {found} against {expected}"
                );
            }
        }
    }
}

/// Llama with adapters from candle's basic operations alone, for one row whose tokens see all
/// before them.
fn plain_llama(checkpoint: &Checkpoint, adapter: &Adapter, tokens: &[u32]) -> CandleResult<Tensor> {
    let config = checkpoint.config();
    let read = |name: &str| {
        let (values, shape) = checkpoint.tensor_f32(name).unwrap();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F64)
    };
    let length = tokens.len();
    let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_dim);
    let norm = |x: &Tensor, name: &str| {
        let square = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(config.norm_eps))?;
        x.broadcast_div(&square.sqrt()?)?.broadcast_mul(&read(name)?)
    };
    let linear = |x: &Tensor, layer: usize, linear: Linear| {
        let path = linear.path(layer);
        let mut weight = read(&format!("{path}.weight"))?;
        if let Some(delta) = adapter.delta(&path) {
            let delta = Tensor::from_vec(delta, weight.shape(), &Device::Cpu)?;
            weight = (weight + delta.to_dtype(DType::F64)?)?;
        }
        x.matmul(&weight.t()?)
    };
    let angles: Vec<f64> = (0..length)
        .flat_map(|position| {
            (0..width / 2).map(move |j| {
                let exponent = -((2 * j) as f64) / width as f64;
                position as f64 * f64::from(config.rope_theta).powf(exponent)
            })
        })
        .collect();
    let angles = Tensor::from_vec(angles, (length, 1, width / 2), &Device::Cpu)?;
    let rotate = |x: Tensor, heads: usize| {
        let x = x.reshape((length, heads, width))?;
        let (a, b) = (x.narrow(2, 0, width / 2)?, x.narrow(2, width / 2, width / 2)?);
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 2)
    };
    let tokens = Tensor::from_slice(tokens, length, &Device::Cpu)?;
    let embedding = read("model.embed_tokens.weight")?;
    let mut x = embedding.index_select(&tokens, 0)?;
    for layer in 0..config.layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let normed = norm(&x, &name("input_layernorm"))?;
        let q = rotate(linear(&normed, layer, Linear::QProj)?, heads)?;
        let k = rotate(linear(&normed, layer, Linear::KProj)?, kv_heads)?;
        let v = linear(&normed, layer, Linear::VProj)?.reshape((length, kv_heads, width))?;
        let mut attended = Vec::new();
        for head in 0..heads {
            let kv = head / (heads / kv_heads);
            let (q, k) = (q.narrow(1, head, 1)?.squeeze(1)?, k.narrow(1, kv, 1)?.squeeze(1)?);
            let v = v.narrow(1, kv, 1)?.squeeze(1)?.contiguous()?;
            let scores = (q.contiguous()?.matmul(&k.contiguous()?.t()?)? / (width as f64).sqrt())?;
            let hidden: Vec<f64> = (0..length * length)
                .map(|place| if place % length > place / length { -1e9 } else { 0.0 })
                .collect();
            let scores = (scores + Tensor::from_vec(hidden, (length, length), &Device::Cpu)?)?;
            let exponentials = scores.exp()?;
            let probabilities = exponentials.broadcast_div(&exponentials.sum_keepdim(1)?)?;
            attended.push(probabilities.matmul(&v)?);
        }
        let attended = Tensor::cat(&attended, 1)?;
        x = (x + linear(&attended, layer, Linear::OProj)?)?;
        let normed = norm(&x, &name("post_attention_layernorm"))?;
        let gate = linear(&normed, layer, Linear::GateProj)?.silu()?;
        let gated = (gate * linear(&normed, layer, Linear::UpProj)?)?;
        x = (x + linear(&gated, layer, Linear::DownProj)?)?;
    }
    norm(&x, "model.norm.weight")?.matmul(&embedding.t()?)
}

#[test]
fn logits_are_those_of_plain_operations_with_the_adapter_merged() {
    let checkpoint = model(Architecture::Llama, GgmlType::F32);
    let form = BaseForm::Dense(DType::F64);
    let network = network(&checkpoint, lora(0.0, Targets::all()), form, DType::F64);
    let values = network.parameter_values().unwrap();
    let adapter = network.adapter(&values, None, None).unwrap();
    let batch = Batch {
        sequences: 1,
        length: 9,
        tokens: batch().tokens[9..].to_vec(),
        targets: Arc::new(vec![IGNORED; 9]),
        starts: Arc::new(vec![0; 9]),
    };
    let found = network.logits(&batch).unwrap();
    let expected = plain_llama(&checkpoint, &adapter, &batch.tokens).unwrap();
    let expected: Vec<f64> = expected.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        // Deltas and angles are rounded to f32.
        assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_and_a_saved_one_comes_back() {
    let checkpoint = model(Architecture::Llama, GgmlType::F32);
    let form = BaseForm::Dense(DType::F32);
    let fresh = |targets| Network::new(&checkpoint, lora(0.0, targets), form, DType::F32, 16);
    let all = fresh(Targets::all()).unwrap();
    let attention = fresh(Targets::attention()).unwrap();
    assert_eq!(all.logits(&batch()).unwrap(), attention.logits(&batch()).unwrap());
    assert_eq!(attention.parameters().count(), 2 * 2 * 4);

    let trained = network(&checkpoint, lora(0.0, Targets::all()), form, DType::F32);
    let values = trained.parameter_values().unwrap();
    let adapter = trained.adapter(&values, None, None).unwrap();
    all.set_adapter(&adapter).unwrap();
    assert_eq!(all.logits(&batch()).unwrap(), trained.logits(&batch()).unwrap());
}

#[test]
fn computing_blocks_again_changes_no_bit() {
    let checkpoint = model(Architecture::Llama, GgmlType::F32);
    let form = BaseForm::Dense(DType::F32);
    let network = network(&checkpoint, lora(0.3, Targets::all()), form, DType::F32);
    assert_eq!(gradients(&network, settings(true)), gradients(&network, settings(false)));
}

#[test]
fn quantized_weights_train_like_the_dense_ones_they_stand_for() {
    for weight_type in [GgmlType::Q4_1, GgmlType::Q8_0, GgmlType::F16] {
        for architecture in [Architecture::Llama, Architecture::Gemma3] {
            let checkpoint = model(architecture, weight_type);
            let open = |form| network(&checkpoint, lora(0.1, Targets::all()), form, DType::F32);
            let (stored, dense) = (open(BaseForm::Stored), open(BaseForm::Dense(DType::F32)));
            assert_eq!(gradients(&stored, settings(true)), gradients(&dense, settings(true)));
            assert_eq!(stored.nats(&batch()).unwrap(), dense.nats(&batch()).unwrap());
        }
    }
}

#[test]
fn loss_and_gradient_belong_to_the_same_text() {
    let checkpoint = model(Architecture::Llama, GgmlType::F32);
    let form = BaseForm::Dense(DType::F32);
    let network = network(&checkpoint, lora(0.0, Targets::mlp()), form, DType::F32);
    let (loss, _) = gradients(&network, BackwardSettings { dropout_key: None, ..settings(true) });
    let nats = network.nats(&batch()).unwrap();
    assert!((loss - nats * 0.125).abs() < 1e-5 * loss, "{loss} against {nats} / 8");
}
