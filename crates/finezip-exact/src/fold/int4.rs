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
use crate::kernels::quantize::ROUNDING;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Values a block.
const BLOCK: usize = 32;

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
    use std::collections::BTreeMap;

    use finezip_lora::{Adapter, AdapterConfig, LoraMatrices};
    use finezip_models::seeded::SeededModel;
    use finezip_models::{Architecture, Checkpoint};

    use super::*;

    /// Bytes of the scale, of the minimum, and of the values, two a byte.
    type Block = ([u8; 2], [u8; 2], [u8; 16]);

    /// The blocks of packed weights, `[channels][depth / 32]`, read from the layout as
    /// `kernels/int4.rs` describes it. Its bytes of two values are those of the file.
    fn packed_blocks(weights: &Int4Weights) -> Vec<Block> {
        let blocks = weights.depth() / BLOCK;
        let block = |index: usize| {
            let (channel, block) = (index / blocks, index % blocks);
            let column = channel % 16;
            let record = &weights.packed()[(channel / 16 * blocks + block) * 320..][..320];
            let half = |at: usize| [record[at], record[at + 1]];
            let values: [u8; 16] =
                std::array::from_fn(|i| record[64 + i / 4 * 64 + 4 * column + i % 4]);
            (half(2 * column), half(32 + 2 * column), values)
        };
        (0..weights.channels() * blocks).map(block).collect()
    }

    /// The blocks of all matrices: those of each layer, the head, and the embedding if it is
    /// another one.
    fn all_blocks(weights: &Weights) -> Vec<Vec<Block>> {
        let layers = weights.layers.iter();
        let linears = layers
            .flat_map(|layer| [&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down])
            .chain([&weights.head]);
        let mut all: Vec<_> = linears
            .map(|linear| match linear {
                Linear::Int4(weights) => packed_blocks(weights),
                _ => panic!("other than 4-bit blocks"),
            })
            .collect();
        if let Embedding::Int4 { weights, .. } = &weights.embedding {
            all.push(packed_blocks(weights));
        }
        all
    }

    /// The blocks of a tensor as its file has them, rows in the model's order.
    fn blocks_of_file(checkpoint: &Checkpoint, name: &str) -> Vec<Block> {
        let (file, config) = (checkpoint.gguf_bytes().unwrap().unwrap(), checkpoint.config());
        let tensor = checkpoint.gguf().unwrap().tensor(name).unwrap();
        let bytes = &file[tensor.offset as usize..][..tensor.bytes];
        let block_bytes = tensor.ggml_type.block_bytes();
        let (rows, row_bytes) = (tensor.shape[0], tensor.shape[1] / BLOCK * block_bytes);
        let queries_or_keys = name.contains("attn_q.") || name.contains("attn_k.");
        let paired = config.architecture == Architecture::Llama && queries_or_keys;
        let head = config.head_dim;
        let mut blocks: Vec<Block> = Vec::new();
        for row in 0..rows {
            // Pairs of a head lie side by side in such a file.
            let (first, inner) = (row / head * head, row % head);
            let side_by_side = first + inner % (head / 2) * 2 + inner / (head / 2);
            let row = if paired { side_by_side } else { row };
            for block in bytes[row * row_bytes..][..row_bytes].chunks_exact(block_bytes) {
                let (factors, values) = block.split_at(block_bytes - 16);
                let scale = [factors[0], factors[1]];
                let minimum = match tensor.ggml_type {
                    GgmlType::Q4_1 => [factors[2], factors[3]],
                    _ => f16::from_f32(f16::from_le_bytes(scale).to_f32() * -8.0).to_le_bytes(),
                };
                blocks.push((scale, minimum, values.try_into().unwrap()));
            }
        }
        blocks
    }

    /// Every matrix of a file in 4-bit blocks, queries and keys in their order, is multiplied as it
    /// stands there: rounding again would cost what its makers did not lose.
    #[test]
    fn all_matrices_keep_the_blocks_of_the_file() {
        for (architecture, tied_embeddings) in [
            (Architecture::Llama, true),
            (Architecture::Llama, false),
            (Architecture::Qwen3, false),
            (Architecture::Gemma3, true),
        ] {
            for weight_type in [GgmlType::Q4_0, GgmlType::Q4_1] {
                let model = SeededModel {
                    architecture,
                    tied_embeddings,
                    weight_type,
                    ..SeededModel::default()
                };
                let checkpoint = model.checkpoint().unwrap();
                let found = all_blocks(&fold(&Tensors::new(&checkpoint, None)).unwrap());
                let mut names: Vec<Vec<String>> = Vec::new();
                for layer in 0..model.layers {
                    for parts in [
                        &["attn_q", "attn_k", "attn_v"][..],
                        &["attn_output"],
                        &["ffn_gate", "ffn_up"],
                        &["ffn_down"],
                    ] {
                        let name = |part: &&str| format!("blk.{layer}.{part}.weight");
                        names.push(parts.iter().map(name).collect());
                    }
                }
                if !tied_embeddings {
                    names.push(vec!["output.weight".to_owned()]);
                }
                names.push(vec!["token_embd.weight".to_owned()]);
                assert_eq!(found.len(), names.len());
                for (found, names) in found.iter().zip(&names) {
                    let expected: Vec<Block> =
                        names.iter().flat_map(|name| blocks_of_file(&checkpoint, name)).collect();
                    assert!(*found == expected, "{architecture:?} {weight_type} {names:?}");
                }
            }
        }
    }

    /// An adapter of two modules: these are rounded to their sums with it, and all other matrices
    /// keep the file's blocks.
    #[test]
    fn only_what_an_adapter_changes_is_rounded_again() {
        let model = SeededModel { weight_type: GgmlType::Q4_1, ..SeededModel::default() };
        let checkpoint = model.checkpoint().unwrap();
        let config = checkpoint.config();
        let linears = [(finezip_lora::Linear::KProj, 0), (finezip_lora::Linear::DownProj, 1)];
        let factor = |i: usize| [0.5f32, -0.3, 0.2, -0.4, 0.3][i * 3 % 5];
        let module = |linear: finezip_lora::Linear| {
            let [out_features, in_features] = linear.shape(config);
            LoraMatrices {
                rank: 1,
                in_features,
                out_features,
                alpha: 1.0,
                a: (0..in_features).map(factor).collect(),
                b: (0..out_features).map(|i| factor(i + 50)).collect(),
            }
        };
        let modules: BTreeMap<_, _> =
            linears.iter().map(|&(linear, layer)| (linear.path(layer), module(linear))).collect();
        let adapter_config = AdapterConfig {
            rank: 1,
            alpha: 1.0,
            use_rslora: false,
            dropout: 0.0,
            base_model: None,
            base_fingerprint: None,
        };
        let adapter = Adapter::new(adapter_config, modules).unwrap();
        let plain = all_blocks(&fold(&Tensors::new(&checkpoint, None)).unwrap());
        let adapted = all_blocks(&fold(&Tensors::new(&checkpoint, Some(&adapter))).unwrap());

        // Where the two stand: the keys after the queries of the first layer's first matrix, and
        // the second layer's fourth matrix.
        let key_blocks = config.hidden_size / BLOCK;
        let queries = config.heads * config.head_dim * key_blocks;
        let keys = queries..queries + config.kv_heads * config.head_dim * key_blocks;
        let down = 0..config.hidden_size * config.feed_forward / BLOCK;
        assert_eq!(plain[7].len(), down.len());
        for (number, (plain, adapted)) in plain.iter().zip(&adapted).enumerate() {
            let changed = match number {
                0 => keys.clone(),
                7 => down.clone(),
                _ => 0..0,
            };
            for (index, (plain, adapted)) in plain.iter().zip(adapted).enumerate() {
                let same = plain == adapted;
                assert_eq!(same, !changed.contains(&index), "matrix {number}, block {index}");
            }
        }

        for ((linear, layer), found) in
            linears.into_iter().zip([&adapted[0][keys], &adapted[7][down]])
        {
            let name = format!("{}.weight", linear.path(layer));
            let (mut sums, shape) = checkpoint.tensor_f32(&name).unwrap();
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum += factor(index / shape[1] + 50) * factor(index % shape[1]);
            }
            for ((scale, minimum, values), sums) in found.iter().zip(sums.chunks_exact(BLOCK)) {
                let d = f16::from_le_bytes(*scale).to_f32();
                let m = f16::from_le_bytes(*minimum).to_f32();
                let smallest = sums.iter().copied().fold(f32::INFINITY, f32::min);
                let largest = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                // Half a step, and what the factors' own eleven bits cost.
                let limit = (largest - smallest) / 30.0 + 2e-3 * largest.max(-smallest);
                for (i, sum) in sums.iter().enumerate() {
                    let byte = values[i % 16];
                    let q = if i < 16 { byte & 15 } else { byte >> 4 };
                    let found = f32::from(q) * d + m;
                    assert!((found - sum).abs() <= limit, "{name}: {found} for {sum}");
                }
            }
        }
    }

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
