//! Llama 2 and 3, SmolLM: `candle_transformers::models::llama`.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, Llama3RopeConfig, Llama3RopeType};
use finezip_core::Result;
use finezip_models::{ModelConfig, RopeScaling};

use super::{Network, refuse};

/// Relative difference within which divisors of a GGUF file are taken for Llama 3's.
const DIVISOR_TOLERANCE: f64 = 1e-4;

struct LlamaNetwork {
    model: Llama,
    cache: Cache,
}

impl Network for LlamaNetwork {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.model.forward(tokens, position, &mut self.cache)
    }
}

pub(super) fn check(config: &ModelConfig) -> Result<()> {
    let unknown_scaling = config.rope_scaling.is_some() && llama3_scaling(config).is_none();
    refuse(
        config,
        &[
            (config.attention_bias, "biases on query, key and value"),
            (config.query_key_norm, "norms on query and key heads"),
            (
                config.heads.saturating_mul(config.head_dim) != config.hidden_size,
                "heads whose widths do not add up to the model's",
            ),
            (unknown_scaling, "rotary scaling other than Llama 3's"),
        ],
    )
}

pub(super) fn build(
    config: &ModelConfig,
    weights: VarBuilder<'static>,
    window: usize,
) -> candle_core::Result<Box<dyn Network>> {
    let settings = Config {
        hidden_size: config.hidden_size,
        intermediate_size: config.feed_forward,
        vocab_size: config.vocab_size,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: f64::from(config.norm_eps),
        rope_theta: config.rope_theta,
        bos_token_id: config.bos_token,
        eos_token_id: None,
        rope_scaling: llama3_scaling(config),
        // Sets the length of the rotary tables. candle also compares the number of key heads
        // (for the number of positions) with it and would cut keys: never less than that.
        max_position_embeddings: window.max(config.kv_heads),
        tie_word_embeddings: config.tied_embeddings,
    };
    let device = weights.device().clone();
    let cache = Cache::new(true, DType::F32, &settings, &device)?;
    let model = Llama::load(weights, &settings)?;
    Ok(Box::new(LlamaNetwork { model, cache }))
}

/// Llama 3's scaling in candle's form. GGUF files give its divisors in place of its numbers, so
/// those are compared with what the numbers of all published Llama 3 models give.
fn llama3_scaling(config: &ModelConfig) -> Option<Llama3RopeConfig> {
    match config.rope_scaling.as_ref()? {
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context,
        } => Some(Llama3RopeConfig {
            factor: *factor,
            low_freq_factor: *low_frequency_factor,
            high_freq_factor: *high_frequency_factor,
            original_max_position_embeddings: *original_context,
            rope_type: Llama3RopeType::Llama3,
        }),
        RopeScaling::Divisors(divisors) => {
            let published = RopeScaling::Llama3 {
                factor: divisors.iter().copied().fold(1.0, f32::max),
                low_frequency_factor: 1.0,
                high_frequency_factor: 4.0,
                original_context: 8192,
            };
            let theta = f64::from(config.rope_theta);
            let exponent = |pair: usize| -(2.0 * pair as f64) / config.head_dim as f64;
            let frequencies: Vec<f64> =
                (0..config.head_dim / 2).map(|pair| theta.powf(exponent(pair))).collect();
            let same = published
                .divisors(&frequencies)
                .iter()
                .zip(divisors)
                .all(|(ours, file)| (ours / f64::from(*file) - 1.0).abs() < DIVISOR_TOLERANCE);
            let scaled = ModelConfig { rope_scaling: Some(published), ..config.clone() };
            if same { llama3_scaling(&scaled) } else { None }
        }
        RopeScaling::Linear { .. } => None,
    }
}
