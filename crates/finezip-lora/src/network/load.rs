//! Opening a model for training.

use std::sync::Arc;

use candle_core::DType;
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use super::block::{Block, BlockNorms};
use super::{BaseForm, LoraSettings, Network};
use crate::error::Result;
use crate::frozen::FrozenMatrix;
use crate::ops::{LinearWeight, RmsNorm, Rotation};
use crate::target::Linear;

/// Reads everything; the adapters are missing yet. Rotations reach `length` positions.
pub(super) fn network(
    checkpoint: &Checkpoint,
    lora: LoraSettings,
    form: BaseForm,
    dtype: DType,
    length: usize,
) -> Result<Network> {
    let config = checkpoint.config().clone();
    let load = |name: &str| FrozenMatrix::load(checkpoint, name, form).map(Arc::new);
    let embedding = load("model.embed_tokens.weight")?;
    let head = match config.tied_embeddings {
        true => Arc::clone(&embedding),
        false => load("lm_head.weight")?,
    };
    let blocks = (0..config.layers)
        .map(|layer| block(checkpoint, &config, layer, form))
        .collect::<Result<_>>()?;
    let final_norm = norm(checkpoint, &config, "model.norm.weight")?;
    let rotation = rotation(&config, config.rope_theta, true, length);
    let local_rotation =
        config.rope_local_theta.map(|theta| self::rotation(&config, theta, false, length));
    Ok(Network {
        config,
        lora,
        dtype,
        embedding,
        head,
        blocks,
        final_norm,
        rotation,
        local_rotation,
    })
}

fn norm(checkpoint: &Checkpoint, config: &ModelConfig, name: &str) -> Result<RmsNorm> {
    let (gain, _) = checkpoint.tensor_f32(name)?;
    Ok(RmsNorm { gain: Arc::new(gain), epsilon: config.norm_eps })
}

fn block(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    layer: usize,
    form: BaseForm,
) -> Result<Block> {
    let norm =
        |name: &str| norm(checkpoint, config, &format!("model.layers.{layer}.{name}.weight"));
    let optional = |present: bool, name: &str| present.then(|| norm(name)).transpose();
    // Gemma's norm "after attention" is one; the others' stands before the feed-forward part.
    let gemma = config.architecture == Architecture::Gemma3;
    let norms = BlockNorms {
        before_attention: norm("input_layernorm")?,
        after_attention: optional(gemma, "post_attention_layernorm")?,
        before_feed_forward: match gemma {
            true => norm("pre_feedforward_layernorm")?,
            false => norm("post_attention_layernorm")?,
        },
        after_feed_forward: optional(gemma, "post_feedforward_layernorm")?,
        query: optional(config.query_key_norm, "self_attn.q_norm")?,
        key: optional(config.query_key_norm, "self_attn.k_norm")?,
    };
    let linear = |linear: Linear| -> Result<Arc<LinearWeight>> {
        let path = linear.path(layer);
        let weight = FrozenMatrix::load(checkpoint, &format!("{path}.weight"), form)?;
        let with_bias = config.attention_bias
            && matches!(linear, Linear::QProj | Linear::KProj | Linear::VProj);
        let bias = match with_bias {
            true => Some(checkpoint.tensor_f32(&format!("{path}.bias"))?.0),
            false => None,
        };
        Ok(Arc::new(LinearWeight { weight, bias }))
    };
    let linears = Linear::ALL.into_iter().map(linear).collect::<Result<_>>()?;
    let window = config.sliding_window.as_ref().and_then(|window| {
        let slides = window.sliding_layers.get(layer).copied().unwrap_or(false);
        slides.then_some(window.tokens)
    });
    Ok(Block { norms, linears, adapters: Default::default(), window })
}

/// Angles of all positions below `length`: position times `theta^(-2j / width)`, stretched on
/// full layers as the model says.
fn rotation(config: &ModelConfig, theta: f32, stretched: bool, length: usize) -> Rotation {
    let half = config.head_dim / 2;
    let frequency = |j: usize| f64::from(theta).powf(-((2 * j) as f64) / config.head_dim as f64);
    let mut frequencies: Vec<f64> = (0..half).map(frequency).collect();
    if let Some(scaling) = config.rope_scaling.as_ref().filter(|_| stretched) {
        let divisors = scaling.divisors(&frequencies);
        frequencies.iter_mut().zip(divisors).for_each(|(frequency, by)| *frequency /= by);
    }
    let angles = |position: usize| frequencies.iter().map(move |by| position as f64 * by);
    let angles: Vec<f64> = (0..length).flat_map(angles).collect();
    Rotation {
        cosines: Arc::new(angles.iter().map(|angle| angle.cos() as f32).collect()),
        sines: Arc::new(angles.iter().map(|angle| angle.sin() as f32).collect()),
    }
}
