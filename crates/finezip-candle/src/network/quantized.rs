//! Models with weights as a GGUF file stores them: `candle_transformers::models::quantized_*`.
//!
//! candle's code reads the file itself. What it leaves out of a model is refused here, and where
//! it holds for short windows only, the window is bounded.

use std::io::Cursor;
use std::sync::Arc;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};
use finezip_core::{Error, Result};
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use super::{BlockRule, Blueprint, Network, lacks, position_bytes, refuse};
use crate::failure;

/// Rows of the rotary tables in candle's quantised code; Qwen3's also sets aside so many
/// positions of cache a lane.
const TABLE_POSITIONS: usize = 4096;

/// Lanes a group: see "Group size" in `docs/engine-candle.md`.
const USUAL_GROUP_LANES: usize = 16;

macro_rules! network {
    ($($model:ty),*) => {
        $(impl Network for $model {
            fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
                self.forward(tokens, position)
            }
        })*
    };
}

network!(
    quantized_llama::ModelWeights,
    quantized_qwen2::ModelWeights,
    quantized_qwen3::ModelWeights
);

/// A model as read from the file, its caches empty. Copies share the weights.
enum Pristine {
    Llama(quantized_llama::ModelWeights),
    /// candle's type cannot be copied: read again for every network.
    Qwen2(Arc<[u8]>),
    Qwen3(quantized_qwen3::ModelWeights),
}

struct Quantized {
    config: ModelConfig,
    device: Device,
    pristine: Pristine,
}

/// Reads the file and checks that candle's code for the family does what the model asks for.
pub(super) fn blueprint(checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Blueprint>> {
    let config = checkpoint.config().clone();
    check(&config)?;
    let Some(file) = checkpoint.gguf_bytes().map_err(failure)? else {
        let message = "quantized weights come from a GGUF file, and this model is a folder";
        return Err(Error::Settings(message.to_owned()));
    };
    let pristine = match config.architecture {
        Architecture::Qwen2 => {
            let file: Arc<[u8]> = file.into();
            read(&file, device, quantized_qwen2::ModelWeights::from_gguf)?;
            Pristine::Qwen2(file)
        }
        Architecture::Llama => {
            Pristine::Llama(read(&file, device, quantized_llama::ModelWeights::from_gguf)?)
        }
        Architecture::Qwen3 => {
            Pristine::Qwen3(read(&file, device, quantized_qwen3::ModelWeights::from_gguf)?)
        }
        Architecture::Gemma3 => {
            // It computes SiLU where Gemma has GELU: 7 % off on a small random model.
            return Err(lacks(&config, "quantized weights rightly (another activation)"));
        }
    };
    Ok(Box::new(Quantized { config, device: device.clone(), pristine }))
}

fn check(config: &ModelConfig) -> Result<()> {
    let narrow_heads = config.architecture != Architecture::Qwen3
        && config.heads.saturating_mul(config.head_dim) != config.hidden_size;
    let bias = config.attention_bias && config.architecture != Architecture::Qwen2;
    refuse(
        config,
        &[
            (config.rope_scaling.is_some(), "rotary scaling with quantized weights"),
            (narrow_heads, "heads whose widths do not add up to the model's"),
            (bias, "biases on query, key and value"),
        ],
    )
}

/// Has candle read a model from a GGUF file in memory.
fn read<'a, M>(
    file: &'a [u8],
    device: &Device,
    from_gguf: impl Fn(Content, &mut Cursor<&'a [u8]>, &Device) -> candle_core::Result<M>,
) -> Result<M> {
    let mut cursor = Cursor::new(file);
    let content = Content::read(&mut cursor).map_err(failure)?;
    from_gguf(content, &mut cursor, device).map_err(failure)
}

impl Blueprint for Quantized {
    fn network(&self, _window: usize) -> Result<Box<dyn Network>> {
        Ok(match &self.pristine {
            Pristine::Llama(model) => Box::new(model.clone()),
            Pristine::Qwen2(file) => {
                Box::new(read(file, &self.device, quantized_qwen2::ModelWeights::from_gguf)?)
            }
            Pristine::Qwen3(model) => Box::new(model.clone()),
        })
    }

    fn block_rule(&self) -> BlockRule {
        // candle's quantised code takes the last position of a block in a form that its own
        // products refuse for more than one lane; its Qwen3 keeps two caches, of which blocks
        // read the one that single tokens do not write.
        BlockRule { tokens: 1, until: usize::MAX }
    }

    fn max_window(&self) -> usize {
        self.config.context_length.min(TABLE_POSITIONS)
    }

    fn usual_group_lanes(&self) -> usize {
        match self.config.architecture {
            Architecture::Qwen3 => 1,
            _ => USUAL_GROUP_LANES,
        }
    }

    fn parallel_groups(&self) -> bool {
        // candle's quantised products run on a pool of candle's own, one at a time.
        false
    }

    fn check_group_lanes(&self, group_lanes: usize) -> Result<()> {
        if self.config.architecture == Architecture::Qwen3 && group_lanes != 1 {
            let message = format!(
                "candle's quantized Qwen3 computes one lane at a time: expected groups of 1, \
                 found {group_lanes}"
            );
            return Err(Error::Settings(message));
        }
        Ok(())
    }

    fn cache_bytes(&self, window: usize) -> u64 {
        let positions = match self.config.architecture {
            Architecture::Qwen3 => TABLE_POSITIONS,
            _ => window,
        };
        let layer = position_bytes(&self.config).saturating_mul(positions as u64);
        let repeated = (self.config.heads / self.config.kv_heads.max(1)) as u64;
        layer.saturating_mul(self.config.layers as u64 + 1 + repeated)
    }
}
