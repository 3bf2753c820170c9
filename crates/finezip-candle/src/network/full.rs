//! Models in `f32`: candle's full-precision code on dequantised weights.

use candle_core::Device;
use candle_nn::VarBuilder;
use finezip_core::Result;
use finezip_lora::Adapter;
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use super::{BLOCK_TOKENS, BlockRule, Blueprint, Network, gemma, llama, position_bytes, qwen};
use crate::{failure, weights};

/// Lanes a group: see "Group size" in `docs/engine-candle.md` for the measurements.
const USUAL_GROUP_LANES: usize = 16;

/// Makes a network of one family for a window.
type Build = fn(&ModelConfig, VarBuilder<'static>, usize) -> candle_core::Result<Box<dyn Network>>;

struct Full {
    config: ModelConfig,
    weights: VarBuilder<'static>,
    build: Build,
}

/// Reads the weights and checks that candle's code for the family does what the model asks for.
pub(super) fn blueprint(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    device: &Device,
) -> Result<Box<dyn Blueprint>> {
    let config = checkpoint.config().clone();
    let (check, build): (fn(&ModelConfig) -> Result<()>, Build) = match config.architecture {
        Architecture::Llama => (llama::check, llama::build),
        Architecture::Qwen2 => (qwen::check_qwen2, qwen::build_qwen2),
        Architecture::Qwen3 => (qwen::check_qwen3, qwen::build_qwen3),
        Architecture::Gemma3 => (gemma::check, gemma::build),
    };
    check(&config)?;
    // Every tensor the code asks for is there: the checkpoint holds all that follow from the
    // configuration, with their shapes checked.
    let weights = weights::load(checkpoint, adapter, device)?;
    Ok(Box::new(Full { config, weights, build }))
}

impl Blueprint for Full {
    fn network(&self, window: usize) -> Result<Box<dyn Network>> {
        (self.build)(&self.config, self.weights.clone(), window).map_err(failure)
    }

    fn block_rule(&self) -> BlockRule {
        // Gemma's sliding layers keep a ring of keys that blocks must not run over.
        let until = self.config.sliding_window.as_ref().map_or(usize::MAX, |window| window.tokens);
        BlockRule { tokens: BLOCK_TOKENS, until }
    }

    fn max_window(&self) -> usize {
        self.config.context_length
    }

    fn usual_group_lanes(&self) -> usize {
        USUAL_GROUP_LANES
    }

    fn parallel_groups(&self) -> bool {
        true
    }

    fn cache_bytes(&self, window: usize) -> u64 {
        let position = position_bytes(&self.config);
        let bytes = |tokens: usize| position.saturating_mul(tokens as u64);
        let layers: u64 = match &self.config.sliding_window {
            None => bytes(window).saturating_mul(self.config.layers as u64),
            Some(sliding) => {
                let short = bytes(window.min(sliding.tokens));
                let layer_bytes = |slides: &bool| if *slides { short } else { bytes(window) };
                sliding.sliding_layers.iter().map(layer_bytes).fold(0, u64::saturating_add)
            }
        };
        // While a layer is computed its cache is there twice more (the copy that grew by one
        // position) and repeated for every query head.
        let repeated = (self.config.heads / self.config.kv_heads.max(1)) as u64;
        layers.saturating_add(bytes(window).saturating_mul(1 + repeated))
    }
}
