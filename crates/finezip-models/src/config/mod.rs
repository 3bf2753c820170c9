//! What a model is: its architecture and every number an engine needs, from either kind of file.

mod from_gguf;
mod from_json;
mod tensors;

pub(crate) use from_gguf::from_gguf;
pub(crate) use from_json::from_json;

use crate::error::{Error, Result};
use finezip_core::TokenId;

/// More layers than any model has; bounds what is set aside before tensors are looked at.
const MAX_LAYERS: usize = 1 << 12;

/// The families of decoder-only transformers that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM 1 and 2.
    Llama,
    /// Qwen 2 and 2.5: Llama with biases on query, key and value.
    Qwen2,
    /// Qwen 3: Llama with a norm on each query and key head.
    Qwen3,
    /// Gemma 3 (text): four norms a layer, norms on query and key heads, sliding layers.
    Gemma3,
}

/// The function between gate and up projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

/// How rotary frequencies are stretched for longer contexts.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Every frequency is divided by the factor. In Gemma 3 on its full layers only.
    Linear {
        /// At least 1.
        factor: f32,
    },
    /// Llama 3: low frequencies divided by the factor, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Waves longer than the original context over this are low.
        low_frequency_factor: f32,
        /// Waves shorter than the original context over this are high.
        high_frequency_factor: f32,
        /// Context the model was trained with at first, in tokens.
        original_context: usize,
    },
    /// One divisor a frequency, `[head_dim / 2]` (the `rope_freqs` tensor of GGUF files).
    Divisors(Vec<f32>),
}

impl RopeScaling {
    /// What each of `frequencies` (radians a token, `[head_dim / 2]`) is divided by, computed
    /// with basic operations alone, so the same on every machine.
    pub fn divisors(&self, frequencies: &[f64]) -> Vec<f64> {
        match self {
            Self::Linear { factor } => vec![f64::from(*factor); frequencies.len()],
            Self::Divisors(divisors) => {
                let padded = divisors.iter().copied().chain(std::iter::repeat(1.0));
                padded.take(frequencies.len()).map(f64::from).collect()
            }
            Self::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_context,
            } => {
                let (factor, low) = (f64::from(*factor), f64::from(*low_frequency_factor));
                let high = f64::from(*high_frequency_factor);
                let context = *original_context as f64;
                let divisor = |frequency: &f64| {
                    let waves_in_context = context * frequency / std::f64::consts::TAU;
                    if waves_in_context < low {
                        factor
                    } else if waves_in_context > high {
                        1.0
                    } else {
                        let smooth = (waves_in_context - low) / (high - low);
                        1.0 / ((1.0 - smooth) / factor + smooth)
                    }
                };
                frequencies.iter().map(divisor).collect()
            }
        }
    }
}

/// Layers that see only the last tokens, mixed with layers that see all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Tokens a sliding layer sees, the token itself included.
    pub tokens: usize,
    /// For each layer whether it slides, `[layers]`.
    pub sliding_layers: Vec<bool>,
}

/// Every number of a model that an engine needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; even. Not always `hidden_size / heads`.
    pub head_dim: usize,
    /// Width between gate/up and down projection.
    pub feed_forward: usize,
    /// Rows of the embedding: logits a row.
    pub vocab_size: usize,
    /// Base of the rotary frequencies (of the full layers).
    pub rope_theta: f32,
    /// Base of the rotary frequencies of sliding layers (Gemma 3).
    pub rope_local_theta: Option<f32>,
    /// Stretching of the rotary frequencies (of the full layers).
    pub rope_scaling: Option<RopeScaling>,
    /// Added to the mean square in RMS norms.
    pub norm_eps: f32,
    /// Whether the head is the embedding; there is no `lm_head.weight` then.
    pub tied_embeddings: bool,
    /// Longest context the model is made for, in tokens.
    pub context_length: usize,
    /// Sliding layers, if any.
    pub sliding_window: Option<SlidingWindow>,
    /// What query times key is multiplied with: `1 / sqrt(head_dim)` but for a few models.
    pub query_scale: f32,
    /// What embeddings are multiplied with before the first layer: 1, in Gemma
    /// `sqrt(hidden_size)`.
    pub embedding_scale: f32,
    /// Between gate and up projection.
    pub activation: Activation,
    /// Whether query, key and value projections have biases.
    pub attention_bias: bool,
    /// Whether each query and key head passes an RMS norm before the rotation.
    pub query_key_norm: bool,
    /// The token documents begin with, if the model names one.
    pub bos_token: Option<TokenId>,
    /// The token documents end with, if the model names one.
    pub eos_token: Option<TokenId>,
    /// The special token `<|endoftext|>`, if there is one: models that have it saw it between
    /// documents in training, also where a chat format names other first and last tokens.
    pub separator_token: Option<TokenId>,
}

impl ModelConfig {
    /// The token every lane begins with: what separates documents in training, else what begins
    /// them, else what ends them, else token 0.
    pub fn start_token(&self) -> TokenId {
        self.separator_token.or(self.bos_token).or(self.eos_token).unwrap_or(0)
    }

    /// Checks what does not follow from the tensors' shapes.
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        let whole = |key: &str, value: usize| match value {
            0 => Err(Error::setting(file, key, "a number above 0", value)),
            _ => Ok(()),
        };
        whole("hidden size", self.hidden_size)?;
        whole("layers", self.layers)?;
        whole("heads", self.heads)?;
        whole("key and value heads", self.kv_heads)?;
        whole("head dimension", self.head_dim)?;
        whole("feed-forward size", self.feed_forward)?;
        whole("vocabulary size", self.vocab_size)?;
        whole("context length", self.context_length)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of {} heads", self.heads);
            return Err(Error::setting(file, "key and value heads", expected, self.kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::setting(file, "head dimension", "an even number", self.head_dim));
        }
        let positive = |key: &str, value: f32| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(Error::setting(file, key, "a number above 0", value))
        };
        positive("rotary base", self.rope_theta)?;
        positive("local rotary base", self.rope_local_theta.unwrap_or(1.0))?;
        positive("norm epsilon", self.norm_eps)?;
        positive("query scale", self.query_scale)?;
        match &self.rope_scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => positive("rotary factor", *factor)?,
            Some(RopeScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_context,
            }) => {
                positive("rotary factor", *factor)?;
                positive("low frequency factor", *low_frequency_factor)?;
                positive(
                    "high minus low frequency factor",
                    *high_frequency_factor - *low_frequency_factor,
                )?;
                whole("original context", *original_context)?;
            }
            Some(RopeScaling::Divisors(divisors)) => {
                if divisors.len() != self.head_dim / 2 {
                    let expected = self.head_dim / 2;
                    return Err(Error::setting(file, "rope_freqs", expected, divisors.len()));
                }
                divisors.iter().try_for_each(|divisor| positive("rope_freqs", *divisor))?;
            }
        }
        if let Some(window) = &self.sliding_window {
            whole("sliding window", window.tokens)?;
            if window.sliding_layers.len() != self.layers {
                let found = window.sliding_layers.len();
                return Err(Error::setting(file, "sliding layers", self.layers, found));
            }
        }
        for (key, token) in [
            ("first token", self.bos_token),
            ("last token", self.eos_token),
            (SEPARATOR, self.separator_token),
        ] {
            if token.is_some_and(|token| token as usize >= self.vocab_size) {
                let expected = format!("an id below {}", self.vocab_size);
                return Err(Error::setting(file, key, expected, token.unwrap_or(0)));
            }
        }
        Ok(())
    }
}

/// The text of [`ModelConfig::separator_token`].
const SEPARATOR: &str = "<|endoftext|>";

/// `1 / sqrt(x)` in single precision, two roundings.
fn inverse_root(value: usize) -> f32 {
    1.0 / (value as f32).sqrt()
}

/// The sliding layers of a model in which every `pattern`-th layer sees all.
fn sliding_layers(layers: usize, pattern: usize) -> Vec<bool> {
    (0..layers).map(|layer| pattern == 0 || (layer + 1) % pattern != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_divisors_keep_high_and_divide_low_frequencies() {
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        // Waves of 100, 4096 (between) and 100,000 tokens.
        let frequencies = [100.0, 4096.0, 100_000.0].map(|wave| std::f64::consts::TAU / wave);
        let divisors = scaling.divisors(&frequencies);
        assert_eq!(divisors[0], 1.0);
        assert!((divisors[1] - 1.0 / (2.0 / 3.0 / 32.0 + 1.0 / 3.0)).abs() < 1e-12);
        assert_eq!(divisors[2], 32.0);
    }

    #[test]
    fn every_sixth_layer_of_gemma_sees_all() {
        let layers = sliding_layers(12, 6);
        assert_eq!(layers.iter().filter(|sliding| **sliding).count(), 10);
        assert!(!layers[5] && !layers[11]);
    }
}
