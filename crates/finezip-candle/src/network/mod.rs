//! The stock models behind one door: a network steps a batch of lanes that are all at the same
//! position.

mod full;
mod gemma;
mod llama;
mod quantized;
mod qwen;

use candle_core::{Device, Tensor};
use finezip_core::{Error, Result};
use finezip_lora::Adapter;
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use crate::failure;
use crate::options::WeightFormat;

/// Most tokens a lane that are computed in one call: bounds the memory for attention scores.
const BLOCK_TOKENS: usize = 128;

/// A model's code, weights and KV cache for one batch.
pub(crate) trait Network: Send {
    /// Computes `tokens` `[lanes, n]` after the `position` tokens that were computed before.
    /// Gives the logits of the last of the `n`, with `lanes * vocab` values.
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor>;
}

/// How many tokens may be computed in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRule {
    /// Most tokens a call.
    pub(crate) tokens: usize,
    /// Beyond this position tokens are computed one by one.
    pub(crate) until: usize,
}

impl BlockRule {
    /// Tokens of the next call for a lane at `position` with `remaining` tokens to compute.
    pub(crate) fn next(self, position: usize, remaining: usize) -> usize {
        let room = self.until.saturating_sub(position);
        remaining.min(self.tokens).min(room).max(1)
    }
}

/// What all networks of a model have in common: settings and shared weights.
pub(crate) trait Blueprint: Send + Sync {
    /// A network with an empty cache for at most `window` positions. Weights are shared.
    fn network(&self, window: usize) -> Result<Box<dyn Network>>;

    /// How many tokens may be computed in one call.
    fn block_rule(&self) -> BlockRule;

    /// The longest window the code computes rightly, in tokens.
    fn max_window(&self) -> usize;

    /// Lanes a group where the caller does not choose.
    fn usual_group_lanes(&self) -> usize;

    /// Whether groups may be computed on several threads at a time.
    fn parallel_groups(&self) -> bool;

    /// Checks a group size that the caller chose.
    fn check_group_lanes(&self, _group_lanes: usize) -> Result<()> {
        Ok(())
    }

    /// Bytes of cache a lane takes in a session with this window.
    fn cache_bytes(&self, window: usize) -> u64;
}

/// Reads a checkpoint's weights for the code of its family.
///
/// # Errors
/// Unreadable weights, a feature of the model that candle's code for the family lacks, an adapter
/// that does not fit, or one for weights in the blocks of their file.
pub(crate) fn blueprint(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    weights: WeightFormat,
    device: &Device,
) -> Result<Box<dyn Blueprint>> {
    match weights {
        WeightFormat::F32 => full::blueprint(checkpoint, adapter, device),
        WeightFormat::Quantized if adapter.is_some() => Err(Error::Settings(
            "an adapter is merged into f32 weights; these stay in the blocks of their file".into(),
        )),
        WeightFormat::Quantized => quantized::blueprint(checkpoint, device),
    }
}

/// An error that says what candle's code for the family lacks.
fn lacks(config: &ModelConfig, what: &str) -> Error {
    let family = match config.architecture {
        Architecture::Llama => "Llama",
        Architecture::Qwen2 => "Qwen2",
        Architecture::Qwen3 => "Qwen3",
        Architecture::Gemma3 => "Gemma 3",
    };
    failure(format!("candle's {family} does not support {what}"))
}

/// Refuses each listed feature whose condition holds.
fn refuse(config: &ModelConfig, features: &[(bool, &str)]) -> Result<()> {
    match features.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(lacks(config, what)),
        None => Ok(()),
    }
}

/// Bytes of keys and values of one position in one layer, `f32`.
fn position_bytes(config: &ModelConfig) -> u64 {
    let values = (config.kv_heads as u64).saturating_mul(config.head_dim as u64);
    values.saturating_mul(2 * size_of::<f32>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_bounded_and_single_beyond_the_limit() {
        let rule = BlockRule { tokens: 128, until: 300 };
        assert_eq!(rule.next(0, 1), 1);
        assert_eq!(rule.next(0, 1000), 128);
        assert_eq!(rule.next(256, 1000), 44);
        assert_eq!(rule.next(300, 1000), 1);
        assert_eq!(rule.next(5000, 2), 1);
    }
}
