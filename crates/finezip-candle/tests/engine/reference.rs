//! A transformer written down plainly in `f64`, from the checkpoint's own conventions: what the
//! engine is held against. One token at a time would be no shorter, so it computes whole texts.

use std::collections::HashMap;

use finezip_core::TokenId;
use finezip_models::{Activation, Architecture, Checkpoint, ModelConfig};

/// The model.
pub(crate) struct Reference {
    config: ModelConfig,
    tensors: HashMap<String, Vec<f32>>,
}

impl Reference {
    /// Reads all tensors.
    pub(crate) fn new(checkpoint: &Checkpoint) -> Self {
        let read = |name: &str| (name.to_owned(), checkpoint.tensor_f32(name).unwrap().0);
        let tensors = checkpoint.tensor_names().map(read).collect();
        Self { config: checkpoint.config().clone(), tensors }
    }

    /// Logits after each token of a text, `[tokens][vocab]`.
    pub(crate) fn logits(&self, tokens: &[TokenId]) -> Vec<Vec<f64>> {
        let width = self.config.hidden_size;
        let embedding = &self.tensors["model.embed_tokens.weight"];
        let scale = f64::from(self.config.embedding_scale);
        let mut states: Vec<Vec<f64>> = tokens
            .iter()
            .map(|token| {
                let row = &embedding[*token as usize * width..][..width];
                row.iter().map(|value| f64::from(*value) * scale).collect()
            })
            .collect();
        for layer in 0..self.config.layers {
            self.layer(layer, &mut states);
        }
        let head = if self.config.tied_embeddings { "model.embed_tokens" } else { "lm_head" };
        let logits = |state: &Vec<f64>| self.linear(head, &self.norm("model.norm", state));
        states.iter().map(logits).collect()
    }

    fn layer(&self, layer: usize, states: &mut [Vec<f64>]) {
        let gemma = self.config.architecture == Architecture::Gemma3;
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let inputs: Vec<Vec<f64>> =
            states.iter().map(|state| self.norm(&name("input_layernorm"), state)).collect();
        let attended = self.attention(layer, &inputs);
        for (state, attended) in states.iter_mut().zip(attended) {
            let mut change = self.linear(&name("self_attn.o_proj"), &attended);
            if gemma {
                change = self.norm(&name("post_attention_layernorm"), &change);
            }
            add(state, &change);
            let norm = if gemma { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
            let input = self.norm(&name(norm), state);
            let gate = self.linear(&name("mlp.gate_proj"), &input);
            let up = self.linear(&name("mlp.up_proj"), &input);
            let hidden: Vec<f64> =
                gate.iter().zip(&up).map(|(gate, up)| self.activate(*gate) * up).collect();
            let mut change = self.linear(&name("mlp.down_proj"), &hidden);
            if gemma {
                change = self.norm(&name("post_feedforward_layernorm"), &change);
            }
            add(state, &change);
        }
    }

    /// Attention output of every position, `[tokens][heads * head_dim]`.
    fn attention(&self, layer: usize, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let config = &self.config;
        let dim = config.head_dim;
        let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}");
        let sliding = config.sliding_window.as_ref().filter(|window| window.sliding_layers[layer]);
        let seen = sliding.map_or(usize::MAX, |window| window.tokens);
        let theta = match (sliding, config.rope_local_theta) {
            (Some(_), Some(local)) => local,
            _ => config.rope_theta,
        };
        let project = |part: &str, norm: Option<&str>| -> Vec<Vec<Vec<f64>>> {
            let heads = |(position, input): (usize, &Vec<f64>)| {
                let projected = self.linear(&name(part), input);
                projected
                    .chunks_exact(dim)
                    .map(|head| match norm {
                        None => head.to_vec(),
                        Some(norm) => {
                            let head = match config.query_key_norm {
                                true => self.norm(&name(norm), head),
                                false => head.to_vec(),
                            };
                            rotate(&head, position, f64::from(theta))
                        }
                    })
                    .collect()
            };
            inputs.iter().enumerate().map(heads).collect()
        };
        let queries = project("q_proj", Some("q_norm"));
        let keys = project("k_proj", Some("k_norm"));
        let values = project("v_proj", None);
        let group = config.heads / config.kv_heads;
        let attend = |position: usize| {
            let first = (position + 1).saturating_sub(seen);
            let head = |head: usize| {
                let query = &queries[position][head];
                let scores: Vec<f64> = (first..=position)
                    .map(|other| dot(query, &keys[other][head / group]))
                    .map(|score| score * f64::from(config.query_scale))
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut output = vec![0.0; dim];
                for (other, weight) in (first..).zip(&weights) {
                    for (output, value) in output.iter_mut().zip(&values[other][head / group]) {
                        *output += weight / total * value;
                    }
                }
                output
            };
            (0..config.heads).flat_map(head).collect()
        };
        (0..inputs.len()).map(attend).collect()
    }

    /// `W x + b`.
    fn linear(&self, name: &str, input: &[f64]) -> Vec<f64> {
        let weights = &self.tensors[&format!("{name}.weight")];
        let mut output: Vec<f64> =
            weights.chunks_exact(input.len()).map(|row| weighted(row, input)).collect();
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            output.iter_mut().zip(bias).for_each(|(output, bias)| *output += f64::from(*bias));
        }
        output
    }

    /// RMS norm with gain.
    fn norm(&self, name: &str, input: &[f64]) -> Vec<f64> {
        let gains = &self.tensors[&format!("{name}.weight")];
        let mean = dot(input, input) / input.len() as f64;
        let scale = 1.0 / (mean + f64::from(self.config.norm_eps)).sqrt();
        input.iter().zip(gains).map(|(value, gain)| value * scale * f64::from(*gain)).collect()
    }

    fn activate(&self, value: f64) -> f64 {
        match self.config.activation {
            Activation::Silu => value / (1.0 + (-value).exp()),
            Activation::GeluTanh => {
                let inner =
                    (2.0 / std::f64::consts::PI).sqrt() * (value + 0.044715 * value.powi(3));
                0.5 * value * (1.0 + inner.tanh())
            }
        }
    }
}

fn weighted(weights: &[f32], input: &[f64]) -> f64 {
    weights.iter().zip(input).map(|(weight, value)| f64::from(*weight) * value).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(state: &mut [f64], change: &[f64]) {
    state.iter_mut().zip(change).for_each(|(state, change)| *state += change);
}

/// Rotary embedding (Su et al. 2021): elements `j` and `j + dim / 2` turn by `position * theta^(-2j
/// / dim)`.
fn rotate(head: &[f64], position: usize, theta: f64) -> Vec<f64> {
    let half = head.len() / 2;
    let angle = |j: usize| position as f64 * theta.powf(-2.0 * j as f64 / head.len() as f64);
    let turned = |j: usize| {
        let (sin, cos) = angle(j % half).sin_cos();
        match j < half {
            true => head[j] * cos - head[j + half] * sin,
            false => head[j] * cos + head[j - half] * sin,
        }
    };
    (0..head.len()).map(turned).collect()
}
