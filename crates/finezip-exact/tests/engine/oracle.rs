//! The models written once more, naively and in f64, from the papers: what the engine computes is
//! right, not only repeatable. Every position's keys and values are kept; windows and sinks are
//! applied to the list of positions.

use finezip_core::{TokenId, Window};
use finezip_exact::Precision;
use finezip_models::seeded::SeededModel;
use finezip_models::{Activation, Architecture, Checkpoint, GgmlType, ModelConfig, RopeScaling};

use crate::families::{FAMILIES, checkpoint, fixed, logits_alone, model, rolling, seeded, tokens};

struct Oracle<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    window: Window,
    /// For each layer, the unrotated keys and the values of each position, `[kv_heads * head]`.
    cache: Vec<Vec<(Vec<f64>, Vec<f64>)>>,
}

impl Oracle<'_> {
    fn tensor(&self, name: &str) -> Vec<f64> {
        let (values, _) = self.checkpoint.tensor_f32(name).unwrap();
        values.into_iter().map(f64::from).collect()
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weights = self.tensor(&format!("{name}.weight"));
        let product = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum();
        let mut out: Vec<f64> = weights.chunks(x.len()).map(product).collect();
        if self.checkpoint.tensor_type(&format!("{name}.bias")).is_some() {
            let bias = self.tensor(&format!("{name}.bias"));
            out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
        }
        out
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let gain = self.tensor(&format!("{name}.weight"));
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let root = (mean + f64::from(self.config.norm_eps)).sqrt();
        x.iter().zip(gain).map(|(x, gain)| x / root * gain).collect()
    }

    fn rotated(
        &self,
        head: &[f64],
        position: usize,
        base: f64,
        scaling: Option<&RopeScaling>,
    ) -> Vec<f64> {
        let half = head.len() / 2;
        let mut out = head.to_vec();
        for i in 0..half {
            let frequency = base.powf(-((2 * i) as f64) / head.len() as f64);
            let frequency = scaling.map_or(frequency, |s| stretched(s, i, frequency));
            let (sine, cosine) = (position as f64 * frequency).sin_cos();
            out[i] = head[i] * cosine - head[i + half] * sine;
            out[i + half] = head[i] * sine + head[i + half] * cosine;
        }
        out
    }

    /// Positions that `position` sees, each with the distance it is seen at.
    fn visible(&self, layer: usize, position: usize) -> Vec<(usize, usize)> {
        let sliding = self.config.sliding_window.as_ref().filter(|w| w.sliding_layers[layer]);
        let (tokens, sinks) = match sliding {
            Some(own) if own.tokens <= self.window.tokens => (own.tokens, 0),
            _ => (self.window.tokens, self.window.sinks),
        };
        let start = (position + 1).saturating_sub(tokens);
        let from = position.min(tokens + sinks - 1);
        let outside = (0..sinks.min(start)).map(|sink| (sink, from - sink));
        outside.chain((start..=position).map(|other| (other, position - other))).collect()
    }

    fn attention(&mut self, layer: usize, position: usize, x: &[f64]) -> Vec<f64> {
        let (name, width) = (format!("model.layers.{layer}.self_attn"), self.config.head_dim);
        let project = |part: &str, norm: &str| {
            let all = self.linear(&format!("{name}.{part}"), x);
            if norm.is_empty() || !self.config.query_key_norm {
                return all;
            }
            all.chunks(width).flat_map(|head| self.norm(&format!("{name}.{norm}"), head)).collect()
        };
        let queries = project("q_proj", "q_norm");
        let entry = (project("k_proj", "k_norm"), project("v_proj", ""));
        self.cache[layer].push(entry);
        let sliding = self.config.sliding_window.as_ref().map(|w| w.sliding_layers[layer]);
        let (base, scaling) = match (sliding, self.config.rope_local_theta) {
            (Some(true), Some(base)) => (f64::from(base), None),
            _ => (f64::from(self.config.rope_theta), self.config.rope_scaling.as_ref()),
        };
        let visible = self.visible(layer, position);
        let mut out = Vec::new();
        for (head, query) in queries.chunks(width).enumerate() {
            let columns = head * self.config.kv_heads / self.config.heads * width;
            let scores: Vec<f64> = visible
                .iter()
                .map(|&(other, distance)| {
                    let key = &self.cache[layer][other].0[columns..columns + width];
                    let query = self.rotated(query, distance, base, scaling);
                    let dot: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                    (dot * f64::from(self.config.query_scale)).exp()
                })
                .collect();
            let sum: f64 = scores.iter().sum();
            for column in columns..columns + width {
                let values = visible.iter().map(|&(other, _)| self.cache[layer][other].1[column]);
                out.push(scores.iter().zip(values).map(|(s, v)| s * v).sum::<f64>() / sum);
            }
        }
        self.linear(&format!("{name}.o_proj"), &out)
    }

    fn feed_forward(&self, layer: usize, x: &[f64]) -> Vec<f64> {
        let name = format!("model.layers.{layer}.mlp");
        let gate = self.linear(&format!("{name}.gate_proj"), x);
        let up = self.linear(&format!("{name}.up_proj"), x);
        let activate = |g: f64| match self.config.activation {
            Activation::Silu => g / (1.0 + (-g).exp()),
            Activation::GeluTanh => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (g + 0.044715 * g * g * g);
                0.5 * g * (1.0 + u.tanh())
            }
        };
        let hidden: Vec<f64> = gate.iter().zip(up).map(|(&g, up)| activate(g) * up).collect();
        self.linear(&format!("{name}.down_proj"), &hidden)
    }

    fn logits(&mut self, position: usize, token: TokenId) -> Vec<f64> {
        let hidden = self.config.hidden_size;
        let post = self.config.architecture == Architecture::Gemma3;
        let embedding = self.tensor("model.embed_tokens.weight");
        let scale = f64::from(self.config.embedding_scale);
        let row = &embedding[token as usize * hidden..][..hidden];
        let mut x: Vec<f64> = row.iter().map(|x| x * scale).collect();
        for layer in 0..self.config.layers {
            let norm = |name: &str| format!("model.layers.{layer}.{name}_layernorm");
            let normed = self.norm(&norm("input"), &x);
            let mut part = self.attention(layer, position, &normed);
            if post {
                part = self.norm(&norm("post_attention"), &part);
            }
            x.iter_mut().zip(part).for_each(|(x, part)| *x += part);
            let before = if post { "pre_feedforward" } else { "post_attention" };
            let mut part = self.feed_forward(layer, &self.norm(&norm(before), &x));
            if post {
                part = self.norm(&norm("post_feedforward"), &part);
            }
            x.iter_mut().zip(part).for_each(|(x, part)| *x += part);
        }
        let x = self.norm("model.norm", &x);
        let head = if self.config.tied_embeddings { "model.embed_tokens" } else { "lm_head" };
        self.linear(head, &x)
    }
}

/// The frequency of a head's pair as the makers of a scaling stretch it: Llama 3's own code asks
/// how long a wave is.
fn stretched(scaling: &RopeScaling, pair: usize, frequency: f64) -> f64 {
    match scaling {
        RopeScaling::Linear { factor } => frequency / f64::from(*factor),
        RopeScaling::Divisors(divisors) => frequency / f64::from(divisors[pair]),
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context,
        } => {
            let context = *original_context as f64;
            let low = f64::from(*low_frequency_factor);
            let high = f64::from(*high_frequency_factor);
            let wave = std::f64::consts::TAU / frequency;
            let slow = frequency / f64::from(*factor);
            if wave < context / high {
                return frequency;
            }
            if wave > context / low {
                return slow;
            }
            let smooth = (context / wave - low) / (high - low);
            (1.0 - smooth) * slow + smooth * frequency
        }
    }
}

/// Root of the mean squared difference over that of the oracle's logits about their mean.
pub(crate) fn relative_error(found: &[Vec<f32>], expected: &[Vec<f64>]) -> f64 {
    let (mut error, mut power) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        for (found, expected) in found.iter().zip(expected) {
            error += (f64::from(*found) - expected).powi(2);
            power += (expected - mean).powi(2);
        }
    }
    (error / power).sqrt()
}

/// The oracle's logits of a text.
pub(crate) fn logits(checkpoint: &Checkpoint, window: Window, tokens: &[TokenId]) -> Vec<Vec<f64>> {
    let config = checkpoint.config();
    let cache = vec![Vec::new(); config.layers];
    let mut oracle = Oracle { checkpoint, config, window, cache };
    let positions = tokens.iter().enumerate();
    positions.map(|(position, &token)| oracle.logits(position, token)).collect()
}

/// Holds each precision's logits against the oracle's, with the error it may have.
pub(crate) fn check(checkpoint: &Checkpoint, window: Window, limits: [(Precision, f64); 3]) {
    let tokens = tokens(40, 9);
    let config = checkpoint.config();
    let expected = logits(checkpoint, window, &tokens);
    for (precision, limit) in limits {
        let found = logits_alone(&model(checkpoint, precision), window, &tokens, 16);
        let error = relative_error(&found, &expected);
        let (family, weights) =
            (config.architecture, checkpoint.tensor_type("model.embed_tokens.weight"));
        assert!(error < limit, "{family:?} {weights:?} {precision} {window:?}: {error:e}");
    }
}

#[test]
fn every_family_computes_what_its_papers_say() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        for window in [fixed(48), rolling(20, 0), rolling(9, 2), rolling(14, 1)] {
            // On weights that are only noise, which rounding to 4 bits hurts most.
            let limits = [(Precision::F32, 1e-5), (Precision::Int8, 0.1), (Precision::Int4, 0.5)];
            check(&checkpoint, window, limits);
        }
    }
}

/// The oracle reads the values that a file's blocks stand for. Where int4 keeps the blocks it has
/// those values, and only activations are rounded; where it rounds 8-bit weights it loses as much
/// as on any others.
#[test]
fn weights_stored_in_blocks_are_computed_with_as_their_values_say() {
    for architecture in FAMILIES {
        for (weight_type, int4) in
            [(GgmlType::Q4_0, 0.05), (GgmlType::Q4_1, 0.05), (GgmlType::Q8_0, 0.5)]
        {
            let description = SeededModel { weight_type, ..seeded(architecture) };
            let limits = [(Precision::F32, 1e-5), (Precision::Int8, 0.1), (Precision::Int4, int4)];
            check(&description.checkpoint().unwrap(), rolling(14, 1), limits);
        }
    }
}
