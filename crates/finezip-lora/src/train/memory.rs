//! What a run takes, reckoned before it begins.

use finezip_models::{Checkpoint, ModelConfig};

use super::TrainingSettings;
use crate::error::Result;
use crate::ops::values_at_once;
use crate::target::Linear;

/// Tokenizer, tables, and what matrix products pack.
const FIXED: u64 = 96 << 20;
/// Bytes of an `f32`.
const VALUE: u64 = 4;

/// The most bytes of memory that a run of these settings takes on rows of `length` tokens, its
/// texts aside: an estimate, rather too high. It counts the frozen weights in their form, the
/// adapter with its gradients, moments and copies, and the activations of a batch.
///
/// # Errors
/// Tensors that the checkpoint does not have.
pub fn memory_bytes(
    checkpoint: &Checkpoint,
    settings: &TrainingSettings,
    length: usize,
) -> Result<u64> {
    let config = checkpoint.config();
    let weights = Weights::of(checkpoint)?;
    let base = match settings.qlora {
        // Of weights in blocks the values of one are made at a time.
        true => weights.stored + weights.largest_linear * VALUE,
        // A weight is read in blocks and then made dense.
        false => weights.values * VALUE + weights.largest_stored,
    };
    let tokens = settings.batch * length;
    let block = block_values(config) * tokens as u64 * VALUE;
    let input = (config.hidden_size * tokens) as u64 * VALUE;
    let layers = config.layers as u64;
    // A block's values and the gradients of as many; the others' inputs, or all of theirs.
    let activations = match settings.checkpointing {
        true => 2 * block + layers * input,
        false => (layers + 1) * block + layers * input,
    };
    let vocabulary = [config.vocab_size, config.hidden_size];
    // A part of the vocabulary; states and gradients.
    let head = values_at_once(tokens, vocabulary) as u64 * VALUE + 6 * input;
    // Values, gradients, two moments, the best; the same in the network, and in a state that is
    // being written.
    let adapter = 12 * VALUE * adapter_values(config, settings);
    Ok(FIXED + base + activations + head + adapter)
}

/// Values a token has in a block's forward pass.
fn block_values(config: &ModelConfig) -> u64 {
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    // Where each projection, head and sum has a norm of its own, one more of each.
    let normed = if config.query_key_norm { queries + keys } else { 0 };
    (8 * config.hidden_size + 4 * queries + 4 * keys + 3 * config.feed_forward + normed) as u64
}

fn adapter_values(config: &ModelConfig, settings: &TrainingSettings) -> u64 {
    let widths = settings.lora.targets.iter().map(|linear| {
        let [rows, columns] = linear.shape(config);
        (rows + columns) as u64
    });
    widths.sum::<u64>() * (settings.lora.rank * config.layers) as u64
}

/// Sizes of the frozen matrices.
struct Weights {
    values: u64,
    /// In bytes.
    stored: u64,
    /// Bytes of the largest.
    largest_stored: u64,
    /// Values of the largest within the blocks.
    largest_linear: u64,
}

impl Weights {
    fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let config = checkpoint.config();
        let mut sizes = Self { values: 0, stored: 0, largest_stored: 0, largest_linear: 0 };
        let vocabulary = [config.vocab_size, config.hidden_size];
        sizes.add(checkpoint, "model.embed_tokens.weight", vocabulary)?;
        if !config.tied_embeddings {
            sizes.add(checkpoint, "lm_head.weight", vocabulary)?;
        }
        for layer in 0..config.layers {
            for linear in Linear::ALL {
                let shape = linear.shape(config);
                sizes.add(checkpoint, &format!("{}.weight", linear.path(layer)), shape)?;
                sizes.largest_linear =
                    sizes.largest_linear.max(shape.map(|size| size as u64).iter().product());
            }
        }
        Ok(sizes)
    }

    fn add(
        &mut self,
        checkpoint: &Checkpoint,
        name: &str,
        [rows, columns]: [usize; 2],
    ) -> Result<()> {
        let missing = || finezip_models::Error::TensorMissing {
            file: checkpoint.name().to_owned(),
            name: name.to_owned(),
        };
        let ggml_type = checkpoint.tensor_type(name).ok_or_else(missing)?;
        // A row that is no whole number of blocks is refused when it is read.
        let row_bytes = ggml_type.bytes_for(columns).unwrap_or(columns * size_of::<f32>());
        let stored = (rows * row_bytes) as u64;
        self.values += (rows * columns) as u64;
        self.stored += stored;
        self.largest_stored = self.largest_stored.max(stored);
        Ok(())
    }
}
