//! A model's weights in the form the engine multiplies them.
//!
//! Norm gains are empty where they have been folded into the next matrix.

use crate::kernels::{AlignedBytes, F32Weights, Int4Weights, Int8Weights};

/// The matrix of a linear layer, `[channels][depth]`.
#[derive(Clone, Debug)]
pub(crate) enum Linear {
    /// 8-bit integers with one scale a channel.
    Int8(Int8Weights),
    /// Blocks of 32 4-bit integers.
    Int4(Int4Weights),
    /// As floats.
    F32(F32Weights),
}

impl Linear {
    /// Output channels.
    pub(crate) fn channels(&self) -> usize {
        match self {
            Self::Int8(weights) => weights.channels(),
            Self::Int4(weights) => weights.channels(),
            Self::F32(weights) => weights.channels(),
        }
    }
}

/// The rows that tokens begin as.
#[derive(Clone, Debug)]
pub(crate) enum Embedding {
    /// 16-bit integers `[vocab][hidden]` with one scale a row: value times scale.
    Int16 {
        /// The integers, little-endian.
        values: AlignedBytes,
        /// One scale a row.
        scales: Vec<f32>,
    },
    /// 4-bit blocks, `[vocab][hidden]`.
    Int4 {
        /// The blocks.
        weights: Int4Weights,
        /// What the model multiplies rows with.
        scale: f32,
    },
    /// The 4-bit blocks of the head.
    Head {
        /// What the model multiplies rows with.
        scale: f32,
    },
    /// Floats, `[vocab][hidden]`.
    F32(Vec<f32>),
}

impl Weights {
    /// Writes a token's row, `[hidden]`.
    pub(crate) fn write_embedding(&self, token: usize, row: &mut [f32]) {
        let range = token * row.len()..(token + 1) * row.len();
        match (&self.embedding, &self.head) {
            (Embedding::Int16 { values, scales }, _) => {
                let (values, _) = values[2 * range.start..2 * range.end].as_chunks();
                for (out, &value) in row.iter_mut().zip(values) {
                    *out = f32::from(i16::from_le_bytes(value)) * scales[token];
                }
            }
            (Embedding::Int4 { weights, scale }, _) => {
                weights.write_channel(token, *scale, row);
            }
            (Embedding::Head { scale }, Linear::Int4(weights)) => {
                weights.write_channel(token, *scale, row);
            }
            (Embedding::Head { .. }, _) => unreachable!("a head in other than 4-bit blocks"),
            (Embedding::F32(values), _) => row.copy_from_slice(&values[range]),
        }
    }
}

/// One transformer layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerWeights {
    /// Gain of the norm before attention, `[hidden]`.
    pub(crate) attention_gain: Vec<f32>,
    /// Queries, keys and values, `[(heads + 2 kv_heads) * head_width][hidden]`.
    pub(crate) qkv: Linear,
    /// Their bias, or empty.
    pub(crate) qkv_bias: Vec<f32>,
    /// Gain of the queries' norm, `[head_width]`, or empty where there is no such norm.
    pub(crate) query_gain: Vec<f32>,
    /// Gain of the keys' norm, `[head_width]`, or empty where there is no such norm.
    pub(crate) key_gain: Vec<f32>,
    /// From heads to the residual stream, `[hidden][heads * head_width]`.
    pub(crate) attention_output: Linear,
    /// Gain of the norm after attention, `[hidden]`, or empty where there is no such norm.
    pub(crate) post_attention_gain: Vec<f32>,
    /// Gain of the norm before the feed-forward part, `[hidden]`.
    pub(crate) feed_forward_gain: Vec<f32>,
    /// Gate and up, `[2 * feed_forward][hidden]`.
    pub(crate) gate_up: Linear,
    /// Down, `[hidden][feed_forward]`.
    pub(crate) down: Linear,
    /// Gain of the norm after the feed-forward part, or empty where there is no such norm.
    pub(crate) post_feed_forward_gain: Vec<f32>,
}

/// All weights.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// Token rows, scaled as the model wants them.
    pub(crate) embedding: Embedding,
    /// Layers in order.
    pub(crate) layers: Vec<LayerWeights>,
    /// Gain of the last norm, `[hidden]`.
    pub(crate) final_gain: Vec<f32>,
    /// Logits, `[vocab][hidden]`.
    pub(crate) head: Linear,
}

impl Weights {
    /// Puts the matrices side by side in memory, in the order of a step. No value changes.
    pub(crate) fn gather(&mut self) {
        let layers = self.layers.iter_mut().flat_map(|layer| {
            [&mut layer.qkv, &mut layer.attention_output, &mut layer.gate_up, &mut layer.down]
        });
        let (mut int8, mut int4) = (Vec::new(), Vec::new());
        for linear in layers.chain([&mut self.head]) {
            match linear {
                Linear::Int8(weights) => int8.push(weights),
                Linear::Int4(weights) => int4.push(weights),
                Linear::F32(_) => {}
            }
        }
        Int8Weights::gather(int8);
        Int4Weights::gather(int4);
    }
}
