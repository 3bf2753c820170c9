//! Gemma 3 (text): `candle_transformers::models::gemma3`.

use candle_core::Tensor;
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::gemma3::{Config, Model};
use finezip_core::Result;
use finezip_models::ModelConfig;

use super::{Network, refuse};

impl Network for Model {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.forward(tokens, position)
    }
}

pub(super) fn check(config: &ModelConfig) -> Result<()> {
    let head_scale = 1.0 / (config.head_dim as f32).sqrt();
    refuse(
        config,
        &[
            (config.attention_bias, "biases on query, key and value"),
            (!config.query_key_norm, "query and key heads without norms"),
            (!config.tied_embeddings, "a head that is not the embedding"),
            (config.rope_scaling.is_some(), "rotary scaling"),
            (
                (config.query_scale / head_scale - 1.0).abs() > 1e-6,
                "a query scale that is not the head's",
            ),
            (pattern(config).is_none(), "a pattern of sliding layers that does not repeat"),
        ],
    )
}

pub(super) fn build(
    config: &ModelConfig,
    weights: VarBuilder<'static>,
    window: usize,
) -> candle_core::Result<Box<dyn Network>> {
    let sliding = config.sliding_window.as_ref().map_or(window, |sliding| sliding.tokens);
    let settings = Config {
        attention_bias: false,
        head_dim: config.head_dim,
        hidden_activation: Activation::GeluPytorchTanh,
        hidden_size: config.hidden_size,
        intermediate_size: config.feed_forward,
        num_attention_heads: config.heads,
        num_hidden_layers: config.layers,
        num_key_value_heads: config.kv_heads,
        rms_norm_eps: f64::from(config.norm_eps),
        rope_theta: f64::from(config.rope_theta),
        rope_local_base_freq: f64::from(config.rope_local_theta.unwrap_or(config.rope_theta)),
        vocab_size: config.vocab_size,
        final_logit_softcapping: None,
        attn_logit_softcapping: None,
        query_pre_attn_scalar: config.head_dim,
        // Both lengths set memory aside at the first token, so neither exceeds the window.
        sliding_window: sliding.min(window),
        sliding_window_pattern: pattern(config).unwrap_or(1),
        max_position_embeddings: window,
    };
    Ok(Box::new(Model::new(false, &settings, weights)?))
}

/// The `p` for which every `p`-th layer sees all and the others slide.
fn pattern(config: &ModelConfig) -> Option<usize> {
    let Some(sliding) = &config.sliding_window else { return Some(1) };
    let repeats = |pattern: &usize| {
        let mut layers = sliding.sliding_layers.iter().enumerate();
        layers.all(|(layer, slides)| *slides == ((layer + 1) % pattern > 0))
    };
    (1..=config.layers + 1).find(repeats)
}
