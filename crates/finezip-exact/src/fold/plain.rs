//! The precision `f32`: the weights as they are.

use super::tensors::Tensors;
use crate::error::Result;
use crate::kernels::F32Weights;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Makes the weights of a model.
pub(crate) fn fold(tensors: &Tensors<'_>) -> Result<Weights> {
    let config = tensors.config();
    let (hidden, feed_forward) = (config.hidden_size, config.feed_forward);
    let query_width = config.heads * config.head_dim;
    let linear = |values: Vec<f32>, depth: usize| -> Result<Linear> {
        Ok(Linear::F32(F32Weights::pack(values.len() / depth, depth, &values)?))
    };
    let layer = |layer: usize| -> Result<LayerWeights> {
        let vectors = tensors.vectors(layer)?;
        let output = tensors.matrix(layer, "self_attn.o_proj", hidden, query_width)?;
        let down = tensors.matrix(layer, "mlp.down_proj", hidden, feed_forward)?;
        Ok(LayerWeights {
            attention_gain: vectors.attention_gain,
            qkv: linear(tensors.qkv(layer)?, hidden)?,
            qkv_bias: [vectors.query_bias, vectors.key_bias, vectors.value_bias].concat(),
            query_gain: vectors.query_gain,
            key_gain: vectors.key_gain,
            attention_output: linear(output, query_width)?,
            post_attention_gain: vectors.post_attention_gain,
            feed_forward_gain: vectors.feed_forward_gain,
            gate_up: linear(tensors.gate_up(layer)?, hidden)?,
            down: linear(down, feed_forward)?,
            post_feed_forward_gain: vectors.post_feed_forward_gain,
        })
    };
    let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
    let mut embedding = tensors.embedding()?;
    for value in &mut embedding {
        *value *= config.embedding_scale;
    }
    Ok(Weights {
        embedding: Embedding::F32(embedding),
        layers,
        final_gain: tensors.final_gain()?,
        head: linear(tensors.head()?, hidden)?,
    })
}
