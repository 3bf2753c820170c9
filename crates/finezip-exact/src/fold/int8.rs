//! The precision `int8`: rotations and gains folded in, then one scale a channel.
//!
//! `R` is the rotation of the residual stream, `V` that of one head's values, `D` the Hadamard
//! matrix that the engine applies to each 64 inputs of the feed-forward part's last matrix. With
//! gains `g`:
//!
//! | matrix | becomes | in Gemma 3 |
//! |---|---|---|
//! | query, key, gate, up | `W diag(g) R` | `W R` |
//! | value | `V' W diag(g) R` on each head | `V' W R` |
//! | attention output | `R' W V` | `W V` |
//! | down | `R' W D` | `W D` |
//! | head | `E diag(g) R` | `E R` |
//! | embedding | rows `e R` | `e` |
//!
//! In Gemma 3 a part's output passes a norm of its own before it joins the residual stream, and
//! that norm's gain stands in the unrotated basis. There the residual stream stays as it is and
//! the engine applies gains and `R` online, to each row it multiplies. Gains must come before the
//! rotation then: they quieten channels that are a hundred times louder than the others, which
//! would otherwise drown them when the sum is rounded (measured: 49 % more bits).

use super::columns::{rotate_inputs, rotate_outputs, scale_columns};
use super::rotation::Rotation;
use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::kernels::quantize::{ROUNDING, largest_magnitude};
use crate::kernels::{AlignedBytes, Context, Int8Weights, QuantizedRows};
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Rows that are quantized together, to bound the memory beside the matrix.
const ROWS_AT_ONCE: usize = 4096;

/// The largest integer of an embedding's row.
const INT16_MAXIMUM: f32 = 32767.0;

/// Width of the blocks of `D`.
const DOWN_BLOCK: usize = 64;

/// Whether the engine applies `D`: where the width is a multiple of 64.
pub(crate) fn rotates_down(feed_forward: usize) -> bool {
    feed_forward.is_multiple_of(DOWN_BLOCK)
}

/// Width of the blocks that queries and keys are rotated in.
const QUERY_BLOCK: usize = 64;

/// Whether the engine rotates queries and keys, the same way, after rotary embedding: where a
/// head is a multiple of 64 wide. It changes no score but for the rounding of keys.
pub(crate) fn rotates_queries(head_width: usize) -> bool {
    head_width.is_multiple_of(QUERY_BLOCK)
}

/// Makes the weights of a model.
pub(crate) fn fold(tensors: Tensors<'_>, context: &Context) -> Result<Weights> {
    let config = tensors.config();
    let residual = Rotation::new(config.hidden_size);
    let rotates_residual = !tensors.has_post_norms();

    let mut head = tensors.embedding()?;
    let embedding = {
        let mut rows = head.clone();
        for value in &mut rows {
            *value *= config.embedding_scale;
        }
        if rotates_residual {
            rotate_inputs(context, &mut rows, &residual);
        }
        int16_rows(&rows, config.hidden_size)?
    };
    if !config.tied_embeddings {
        head = tensors.head()?;
    }
    let mut final_gain = tensors.final_gain()?;
    if rotates_residual {
        fold_gain(context, &mut head, &mut final_gain);
    }
    rotate_inputs(context, &mut head, &residual);
    let head = quantize(context, "head", head, config.hidden_size)?;

    let fold = Fold { tensors, context, residual, rotates_residual };
    let layers = (0..config.layers).map(|layer| fold.layer(layer)).collect::<Result<_>>()?;
    Ok(Weights { embedding, layers, final_gain, head })
}

struct Fold<'a> {
    tensors: Tensors<'a>,
    context: &'a Context,
    residual: Rotation,
    rotates_residual: bool,
}

impl Fold<'_> {
    fn layer(&self, layer: usize) -> Result<LayerWeights> {
        let (config, context) = (self.tensors.config(), self.context);
        let mut vectors = self.tensors.vectors(layer)?;
        let (hidden, feed_forward) = (config.hidden_size, config.feed_forward);
        let query_width = config.heads * config.head_dim;
        let values = Rotation::heads(config.kv_heads, config.head_dim);

        let mut qkv = self.tensors.qkv(layer)?;
        if self.rotates_residual {
            fold_gain(context, &mut qkv, &mut vectors.attention_gain);
        }
        let value_rows = (query_width + config.kv_heads * config.head_dim) * hidden;
        rotate_outputs(context, &mut qkv[value_rows..], hidden, &values);
        rotate_inputs(context, &mut qkv, &self.residual);

        let mut value_bias = vectors.value_bias;
        if !value_bias.is_empty() {
            values.apply_rows(&mut value_bias);
        }
        let qkv_bias = [vectors.query_bias, vectors.key_bias, value_bias].concat();

        let mut output = self.tensors.matrix(layer, "self_attn.o_proj", hidden, query_width)?;
        let heads = Rotation::heads(config.heads, config.head_dim);
        rotate_inputs(context, &mut output, &heads);

        let mut gate_up = self.tensors.gate_up(layer)?;
        if self.rotates_residual {
            fold_gain(context, &mut gate_up, &mut vectors.feed_forward_gain);
        }
        rotate_inputs(context, &mut gate_up, &self.residual);

        let mut down = self.tensors.matrix(layer, "mlp.down_proj", hidden, feed_forward)?;
        if rotates_down(feed_forward) {
            rotate_inputs(context, &mut down, &Rotation::blocks(feed_forward, DOWN_BLOCK));
        }
        if self.rotates_residual {
            rotate_outputs(context, &mut output, query_width, &self.residual);
            rotate_outputs(context, &mut down, feed_forward, &self.residual);
        }
        Ok(LayerWeights {
            attention_gain: vectors.attention_gain,
            qkv: quantize(context, "queries, keys and values", qkv, hidden)?,
            qkv_bias,
            query_gain: vectors.query_gain,
            key_gain: vectors.key_gain,
            attention_output: quantize(context, "attention output", output, query_width)?,
            post_attention_gain: vectors.post_attention_gain,
            feed_forward_gain: vectors.feed_forward_gain,
            gate_up: quantize(context, "gate and up", gate_up, hidden)?,
            down: quantize(context, "down", down, feed_forward)?,
            post_feed_forward_gain: vectors.post_feed_forward_gain,
        })
    }
}

/// Multiplies a gain into the inputs' side of a weight, and leaves none to be applied.
fn fold_gain(context: &Context, matrix: &mut [f32], gain: &mut Vec<f32>) {
    scale_columns(context, matrix, gain);
    gain.clear();
}

/// Quantizes and packs `[_][depth]`: a channel is rounded as a row of activations is.
fn quantize(
    context: &Context,
    name: &'static str,
    matrix: Vec<f32>,
    depth: usize,
) -> Result<Linear> {
    let channels = matrix.len() / depth;
    let mut values = Vec::with_capacity(matrix.len());
    let mut scales = Vec::with_capacity(channels);
    let mut rows = QuantizedRows::new();
    for part in matrix.chunks(ROWS_AT_ONCE * depth) {
        let count = part.len() / depth;
        rows.quantize(context, part, count, depth)?;
        for row in 0..count {
            values.extend(rows.row(row));
        }
        scales.extend_from_slice(rows.scales());
    }
    drop(matrix);
    if let Some(row) = scales.iter().position(|scale| scale.is_nan()) {
        return Err(Error::Overflow { matrix: name, row });
    }
    Ok(Linear::Int8(Int8Weights::pack(channels, depth, &values, &scales)?))
}

/// Rows with one scale each: `scale = a / 32767`, `q = round(x * (32767 / a))`, half to even, for
/// a row whose largest magnitude is `a`; a row of zeros has the scale 0.
fn int16_rows(rows: &[f32], width: usize) -> Result<Embedding> {
    let mut values: Vec<[u8; 2]> = Vec::with_capacity(rows.len());
    let mut scales = Vec::with_capacity(rows.len() / width);
    for (number, row) in rows.chunks_exact(width).enumerate() {
        let Some(maximum) = largest_magnitude(row) else {
            return Err(Error::Overflow { matrix: "embedding", row: number });
        };
        if maximum < f32::MIN_POSITIVE * INT16_MAXIMUM {
            scales.push(0.0);
            values.resize(values.len() + width, [0; 2]);
            continue;
        }
        scales.push(maximum / INT16_MAXIMUM);
        let inverse = INT16_MAXIMUM / maximum;
        let round = |value: &f32| ((value * inverse + ROUNDING) - ROUNDING) as i16;
        values.extend(row.iter().map(|value| round(value).to_le_bytes()));
    }
    Ok(Embedding::Int16 { values: AlignedBytes::copy_of(values.as_flattened()), scales })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedding_rows_keep_sixteen_bits() {
        let rows: Vec<f32> = (0..64).map(|i| (i as f32 - 20.5) * 0.013).chain([0.0; 64]).collect();
        let Embedding::Int16 { values, scales } = int16_rows(&rows, 64).unwrap() else {
            panic!("int16")
        };
        for (value, expected) in values.as_chunks().0.iter().zip(&rows) {
            let value = f32::from(i16::from_le_bytes(*value)) * scales[0];
            assert!((value - expected).abs() <= 0.013 * 43.0 / 32767.0);
        }
        assert_eq!(scales[1], 0.0);
    }

    #[test]
    fn what_folding_made_infinite_is_refused() {
        let context = Context::new(crate::kernels::Isa::scalar(), 1).unwrap();
        for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut rows = vec![1.0; 3 * 64];
            rows[64..128].fill(odd);
            let said = [
                int16_rows(&rows, 64).unwrap_err().to_string(),
                quantize(&context, "down", rows, 64).unwrap_err().to_string(),
            ];
            for (said, name) in said.into_iter().zip(["embedding", "down"]) {
                assert!(said.starts_with(name) && said.ends_with("row 1"), "{said}");
            }
        }
    }
}
