//! The precision `int4`: blocks of 32 4-bit integers with a scale and a minimum.
//!
//! Blocks of Q4_0 and Q4_1 stay what the file has (the minimum of Q4_0 is `-8 d`). Every other
//! type is rounded: with the block's largest value `a` and smallest `m`, `m` and
//! `d = (a - m) / 15` are rounded to 16-bit floats, and `q = round((x - m) / d)`, half to even,
//! within 0 to 15, with these; where `d` is 0, `q` is 0. So is every matrix that an adapter changes,
//! whatever its type: rounding it once more is what merging costs here. Nothing is rotated or
//! folded: blocks this small need it less, and rotating would mean rounding every block again.

use finezip_models::GgmlType;
use half::f16;

use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::kernels::Int4Weights;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Values a block.
const BLOCK: usize = 32;

/// Adding and taking away 1.5 * 2^23 rounds to an integer, half to even.
const ROUNDING: f32 = 12_582_912.0;

/// Makes the weights of a model.
pub(crate) fn fold(tensors: &Tensors<'_>) -> Result<Weights> {
    let config = tensors.config();
    let (hidden, feed_forward) = (config.hidden_size, config.feed_forward);
    let query_width = config.heads * config.head_dim;
    let pack = |names: &[String], depth: usize| -> Result<Int4Weights> {
        let mut blocks = Blocks::default();
        names.iter().try_for_each(|name| blocks.push(tensors, name))?;
        let channels = blocks.values.len() / depth;
        let Blocks { values, scales, minima } = blocks;
        Ok(Int4Weights::pack(channels, depth, &values, &scales, &minima)?)
    };
    let layer = |layer: usize| -> Result<LayerWeights> {
        let vectors = tensors.vectors(layer)?;
        let linear = |parts: &[&str], depth: usize| -> Result<Linear> {
            let name = |part: &&str| format!("model.layers.{layer}.{part}_proj.weight");
            let names: Vec<String> = parts.iter().map(name).collect();
            pack(&names, depth).map(Linear::Int4)
        };
        Ok(LayerWeights {
            attention_gain: vectors.attention_gain,
            qkv: linear(&["self_attn.q", "self_attn.k", "self_attn.v"], hidden)?,
            qkv_bias: [vectors.query_bias, vectors.key_bias, vectors.value_bias].concat(),
            query_gain: vectors.query_gain,
            key_gain: vectors.key_gain,
            attention_output: linear(&["self_attn.o"], query_width)?,
            post_attention_gain: vectors.post_attention_gain,
            feed_forward_gain: vectors.feed_forward_gain,
            gate_up: linear(&["mlp.gate", "mlp.up"], hidden)?,
            down: linear(&["mlp.down"], feed_forward)?,
            post_feed_forward_gain: vectors.post_feed_forward_gain,
        })
    };
    let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
    let embedding = pack(&["model.embed_tokens.weight".to_owned()], hidden)?;
    let scale = config.embedding_scale;
    let (embedding, head) = match config.tied_embeddings {
        true => (Embedding::Head { scale }, embedding),
        false => {
            let head = pack(&["lm_head.weight".to_owned()], hidden)?;
            (Embedding::Int4 { weights: embedding, scale }, head)
        }
    };
    let final_gain = tensors.final_gain()?;
    Ok(Weights { embedding, layers, final_gain, head: Linear::Int4(head) })
}

/// Blocks in the form that is packed.
#[derive(Default)]
struct Blocks {
    /// One value a byte.
    values: Vec<u8>,
    /// Bits of 16-bit floats, one a block.
    scales: Vec<u16>,
    /// Bits of 16-bit floats, one a block.
    minima: Vec<u16>,
}

impl Blocks {
    /// Appends a tensor's rows.
    fn push(&mut self, tensors: &Tensors<'_>, name: &str) -> Result<()> {
        let checkpoint = tensors.checkpoint();
        let kind = checkpoint.tensor_type(name).filter(|_| !tensors.is_adapted(name));
        let first = self.scales.len();
        match kind {
            Some(GgmlType::Q4_0) => {
                for block in checkpoint.raw(name)?.bytes.as_chunks::<18>().0 {
                    let scale = f16::from_le_bytes([block[0], block[1]]);
                    self.push_nibbles(scale, f16::from_f32(-8.0 * scale.to_f32()), &block[2..]);
                }
            }
            Some(GgmlType::Q4_1) => {
                for block in checkpoint.raw(name)?.bytes.as_chunks::<20>().0 {
                    let scale = f16::from_le_bytes([block[0], block[1]]);
                    let minimum = f16::from_le_bytes([block[2], block[3]]);
                    self.push_nibbles(scale, minimum, &block[4..]);
                }
            }
            _ => {
                for block in tensors.values(name)?.as_chunks::<BLOCK>().0 {
                    self.push_rounded(block);
                }
            }
        }
        let factors = self.scales[first..].iter().zip(&self.minima[first..]);
        let broken = factors.map(|(&scale, &minimum)| {
            f16::from_bits(scale).to_f32() * 15.0 + f16::from_bits(minimum).to_f32()
        });
        match broken.enumerate().find(|(_, largest)| !largest.is_finite()) {
            None => Ok(()),
            Some((block, found)) => {
                Err(Error::NotFinite { tensor: name.to_owned(), index: block * BLOCK, found })
            }
        }
    }

    fn push_nibbles(&mut self, scale: f16, minimum: f16, nibbles: &[u8]) {
        self.scales.push(scale.to_bits());
        self.minima.push(minimum.to_bits());
        self.values.extend(nibbles.iter().map(|byte| byte & 15));
        self.values.extend(nibbles.iter().map(|byte| byte >> 4));
    }

    fn push_rounded(&mut self, block: &[f32; BLOCK]) {
        let smallest = block.iter().fold(f32::INFINITY, |a, &b| if b < a { b } else { a });
        let largest = block.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        let minimum = f16::from_f32(smallest);
        let scale = f16::from_f32((largest - smallest) / 15.0);
        let (m, d) = (minimum.to_f32(), scale.to_f32());
        self.scales.push(scale.to_bits());
        self.minima.push(minimum.to_bits());
        self.values.extend(block.iter().map(|value| {
            if d == 0.0 {
                return 0;
            }
            let q = ((value - m) / d).clamp(0.0, 15.0);
            ((q + ROUNDING) - ROUNDING) as u8
        }));
    }
}

#[cfg(test)]
mod tests {
    use finezip_models::seeded::SeededModel;

    use super::*;

    /// What is not rounded again is what the file's own reader gives.
    #[test]
    fn blocks_of_four_bits_stay_what_they_are() {
        for weight_type in [GgmlType::Q4_0, GgmlType::Q4_1] {
            let checkpoint = SeededModel { weight_type, ..SeededModel::default() }.checkpoint();
            let checkpoint = checkpoint.unwrap();
            let name = "model.layers.1.mlp.down_proj.weight";
            assert_eq!(checkpoint.tensor_type(name), Some(weight_type));
            let mut blocks = Blocks::default();
            blocks.push(&Tensors::new(&checkpoint, None), name).unwrap();
            let (expected, _) = checkpoint.tensor_f32(name).unwrap();
            assert_eq!(blocks.values.len(), expected.len());
            for (index, expected) in expected.into_iter().enumerate() {
                let d = f16::from_bits(blocks.scales[index / BLOCK]).to_f32();
                let m = f16::from_bits(blocks.minima[index / BLOCK]).to_f32();
                // Sixteen bits times four are exact; the sum may be rounded.
                let found = f32::from(blocks.values[index]) * d + m;
                assert!((found - expected).abs() <= 1e-6 * m.abs(), "{weight_type} {index}");
            }
        }
    }

    #[test]
    fn rounded_blocks_are_close_and_flat_ones_exact() {
        let values: [f32; BLOCK] = std::array::from_fn(|i| (i * 37 % 32) as f32 * 0.01 - 0.1);
        let mut blocks = Blocks::default();
        blocks.push_rounded(&values);
        blocks.push_rounded(&[0.25; BLOCK]);
        let read = |index: usize| {
            let d = f16::from_bits(blocks.scales[index / BLOCK]).to_f32();
            let m = f16::from_bits(blocks.minima[index / BLOCK]).to_f32();
            f32::from(blocks.values[index]) * d + m
        };
        for (index, value) in values.iter().enumerate() {
            assert!((read(index) - value).abs() < 0.31 / 30.0 + 1e-3);
        }
        assert!((BLOCK..2 * BLOCK).all(|index| read(index) == 0.25));
    }
}
