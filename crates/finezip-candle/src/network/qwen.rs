//! Qwen 2 and 3: `candle_transformers::models::{qwen2, qwen3}`.

use candle_core::Tensor;
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{qwen2, qwen3};
use finezip_core::Result;
use finezip_models::ModelConfig;

use super::{Network, refuse};

impl Network for qwen2::ModelForCausalLM {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.forward(tokens, position)
    }
}

impl Network for qwen3::ModelForCausalLM {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.forward(tokens, position)
    }
}

pub(super) fn check_qwen2(config: &ModelConfig) -> Result<()> {
    refuse(
        config,
        &[
            (!config.attention_bias, "query, key and value without biases"),
            (config.query_key_norm, "norms on query and key heads"),
            (config.rope_scaling.is_some(), "rotary scaling"),
            (
                config.heads.saturating_mul(config.head_dim) != config.hidden_size,
                "heads whose widths do not add up to the model's",
            ),
        ],
    )
}

pub(super) fn build_qwen2(
    config: &ModelConfig,
    weights: VarBuilder<'static>,
    window: usize,
) -> candle_core::Result<Box<dyn Network>> {
    let settings = qwen2::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.feed_forward,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        max_position_embeddings: window,
        sliding_window: window,
        max_window_layers: config.layers,
        tie_word_embeddings: config.tied_embeddings,
        rope_theta: f64::from(config.rope_theta),
        rms_norm_eps: f64::from(config.norm_eps),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    Ok(Box::new(qwen2::ModelForCausalLM::new(&settings, weights)?))
}

pub(super) fn check_qwen3(config: &ModelConfig) -> Result<()> {
    refuse(
        config,
        &[
            (config.attention_bias, "biases on query, key and value"),
            (!config.query_key_norm, "query and key heads without norms"),
            (config.rope_scaling.is_some(), "rotary scaling"),
        ],
    )
}

pub(super) fn build_qwen3(
    config: &ModelConfig,
    weights: VarBuilder<'static>,
    window: usize,
) -> candle_core::Result<Box<dyn Network>> {
    let settings = qwen3::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.feed_forward,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        head_dim: config.head_dim,
        attention_bias: false,
        num_key_value_heads: config.kv_heads,
        max_position_embeddings: window,
        sliding_window: None,
        max_window_layers: config.layers,
        tie_word_embeddings: config.tied_embeddings,
        rope_theta: f64::from(config.rope_theta),
        rms_norm_eps: f64::from(config.norm_eps),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    Ok(Box::new(qwen3::ModelForCausalLM::new(&settings, weights)?))
}
