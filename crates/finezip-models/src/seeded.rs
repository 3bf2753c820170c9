//! Small models with seeded random weights, for tests: made by code, so never committed.
//!
//! A model is a GGUF file in memory, with a byte-level BPE vocabulary of its own, and goes through
//! the same reader as a real one. The same description gives the same bytes on every machine and
//! in every version: golden archives rest on that.

use crate::checkpoint::{Checkpoint, join_pairs};
use crate::config::{Activation, Architecture, ModelConfig, RopeScaling};
use crate::dequantize::quantize::quantize;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::{GgufWriter, TextArray, Value};
use crate::names;

/// Merges of the vocabulary, best first, in GPT-2's byte alphabet (`Ġ` is a space).
const MERGES: [&str; 24] = [
    "Ġ t", "h e", "i n", "Ġ a", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "n d", "Ġ o", "i s",
    "e s", "o r", "Ġ w", "in g", "e n", "Ġa nd", "Ġo f", "i t", "o u", "Ġ in", "e d",
];

/// Ids before those of bytes and merges: the text separator and one more special token.
const SPECIAL: [&str; 2] = ["<|endoftext|>", "<|special|>"];

/// The description of a test model.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededModel {
    /// The family; decides norms, biases and activation.
    pub architecture: Architecture,
    /// Width of the residual stream; a multiple of 32 for block types.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Width between gate/up and down projection.
    pub feed_forward: usize,
    /// Longest context, in tokens.
    pub context_length: usize,
    /// Tokens that sliding layers see (Gemma 3 only).
    pub sliding_window: usize,
    /// How rotary frequencies are stretched: by one factor or by divisors, which are what GGUF
    /// files can say.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the head is the embedding.
    pub tied_embeddings: bool,
    /// How matrices are stored: F32, F16, Q8_0, Q4_0 or Q4_1. Norms and biases are F32.
    pub weight_type: GgmlType,
    /// Which random weights.
    pub seed: u64,
}

impl Default for SeededModel {
    /// Two Llama layers of width 64 with grouped queries, in F32.
    fn default() -> Self {
        Self {
            architecture: Architecture::Llama,
            hidden_size: 64,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            feed_forward: 96,
            context_length: 1024,
            sliding_window: 32,
            rope_scaling: None,
            tied_embeddings: true,
            weight_type: GgmlType::F32,
            seed: 1,
        }
    }
}

impl SeededModel {
    /// Number of tokens of every seeded model: special ones, bytes and merges.
    pub const VOCAB_SIZE: usize = SPECIAL.len() + 256 + MERGES.len();

    /// The model, read back from its GGUF file.
    ///
    /// # Errors
    /// Sizes that cannot be (as when opening a file), or a weight type or a rotary scaling that is
    /// not written.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::from_gguf_bytes("seeded", self.to_gguf()?)
    }

    /// The GGUF file's bytes.
    ///
    /// # Errors
    /// Rows that are not whole blocks, or a weight type or a rotary scaling that is not written.
    pub fn to_gguf(&self) -> Result<Vec<u8>> {
        let mut writer = GgufWriter::new();
        self.write_settings(&mut writer);
        self.write_rope_scaling(&mut writer)?;
        write_vocabulary(&mut writer);
        let mut random = Random(self.seed);
        for (name, shape) in self.shape_config().tensors() {
            self.write_tensor(&mut writer, &mut random, &name, &shape)?;
        }
        writer.to_bytes()
    }

    fn architecture_name(&self) -> &'static str {
        match self.architecture {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
            Architecture::Gemma3 => "gemma3",
        }
    }

    fn write_settings(&self, writer: &mut GgufWriter) {
        let name = self.architecture_name();
        writer.setting("general.architecture", Value::Text(name.into()));
        writer.setting("general.name", Value::Text("seeded".into()));
        let mut number = |key: &str, value: usize| {
            writer.setting(format!("{name}.{key}"), Value::Unsigned(value as u64));
        };
        number("block_count", self.layers);
        number("context_length", self.context_length);
        number("embedding_length", self.hidden_size);
        number("feed_forward_length", self.feed_forward);
        number("attention.head_count", self.heads);
        number("attention.head_count_kv", self.kv_heads);
        number("attention.key_length", self.head_dim);
        number("attention.value_length", self.head_dim);
        number("rope.dimension_count", self.head_dim);
        if self.architecture == Architecture::Gemma3 {
            number("attention.sliding_window", self.sliding_window);
        }
        writer.setting(format!("{name}.rope.freq_base"), Value::Float32(10_000.0));
        let epsilon = format!("{name}.attention.layer_norm_rms_epsilon");
        writer.setting(epsilon, Value::Float32(1e-5));
    }

    fn write_rope_scaling(&self, writer: &mut GgufWriter) -> Result<()> {
        match &self.rope_scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => {
                let key = |name: &str| format!("{}.rope.scaling.{name}", self.architecture_name());
                writer.setting(key("type"), Value::Text("linear".into()));
                writer.setting(key("factor"), Value::Float32(*factor));
            }
            Some(RopeScaling::Divisors(divisors)) => {
                let bytes: Vec<u8> = divisors.iter().flat_map(|d| d.to_le_bytes()).collect();
                writer.tensor("rope_freqs.weight", GgmlType::F32, &[divisors.len()], &bytes)?;
            }
            Some(RopeScaling::Llama3 { .. }) => {
                let what = "Llama 3's ramp, of which GGUF files hold the divisors";
                return Err(Error::unsupported("seeded model", what));
            }
        }
        Ok(())
    }

    /// The configuration as far as names and shapes of tensors follow from it.
    fn shape_config(&self) -> ModelConfig {
        ModelConfig {
            architecture: self.architecture,
            hidden_size: self.hidden_size,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            feed_forward: self.feed_forward,
            vocab_size: Self::VOCAB_SIZE,
            rope_theta: 10_000.0,
            rope_local_theta: None,
            rope_scaling: None,
            norm_eps: 1e-5,
            tied_embeddings: self.tied_embeddings,
            context_length: self.context_length,
            sliding_window: None,
            query_scale: 1.0,
            embedding_scale: 1.0,
            activation: Activation::Silu,
            attention_bias: self.architecture == Architecture::Qwen2,
            query_key_norm: matches!(self.architecture, Architecture::Qwen3 | Architecture::Gemma3),
            bos_token: None,
            eos_token: None,
            separator_token: None,
        }
    }

    /// Draws a tensor's values in canonical order and stores them as a GGUF file does.
    fn write_tensor(
        &self,
        writer: &mut GgufWriter,
        random: &mut Random,
        name: &str,
        shape: &[usize],
    ) -> Result<()> {
        let Some(file_name) = names::in_gguf(self.architecture, name) else { return Ok(()) };
        let count = shape.iter().product();
        // Spread so that activations keep their size; the embedding wider, so that logits differ.
        let (centre, spread) = match (name.ends_with("norm.weight"), shape) {
            (true, _) => (1.0, 0.2),
            (false, [_, _]) if name.contains("embed") => (0.0, 0.5),
            (false, [_, columns]) => (0.0, 1.7 / (*columns as f32).sqrt()),
            (false, _) => (0.0, 0.1),
        };
        let values: Vec<f32> = (0..count).map(|_| centre + spread * random.value()).collect();
        let ggml_type = if shape.len() == 2 { self.weight_type } else { GgmlType::F32 };
        let mut bytes = quantize(ggml_type, &values)?;
        let paired = name.contains("q_proj") || name.contains("k_proj");
        if self.architecture == Architecture::Llama && paired {
            bytes = join_pairs(&bytes, shape[0], self.head_dim);
        }
        writer.tensor(&file_name, ggml_type, shape, &bytes)?;
        Ok(())
    }
}

/// Special tokens, all bytes, the merges' results.
fn write_vocabulary(writer: &mut GgufWriter) {
    let bytes = (0..=255).map(|byte| crate::byte_alphabet::character(byte).to_string());
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    let tokens: TextArray =
        SPECIAL.iter().map(ToString::to_string).chain(bytes).chain(merged).collect();
    let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
    let text = |text: &str| Value::Text(text.into());
    writer.setting("tokenizer.ggml.model", text("gpt2"));
    writer.setting("tokenizer.ggml.pre", text("smollm"));
    writer.setting("tokenizer.ggml.tokens", Value::Texts(tokens));
    writer.setting("tokenizer.ggml.token_type", Value::Integers(types));
    writer.setting("tokenizer.ggml.merges", Value::Texts(MERGES.iter().collect()));
    writer.setting("tokenizer.ggml.bos_token_id", Value::Unsigned(0));
    writer.setting("tokenizer.ggml.eos_token_id", Value::Unsigned(0));
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Uniform in -1..1, in steps of 2^-23: exact in `f32`.
    fn value(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_and_type_reads_back() {
        use Architecture::{Gemma3, Llama, Qwen2, Qwen3};
        for architecture in [Llama, Qwen2, Qwen3, Gemma3] {
            for weight_type in
                [GgmlType::F32, GgmlType::F16, GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1]
            {
                let tied_embeddings = weight_type == GgmlType::F16;
                let model = SeededModel {
                    architecture,
                    weight_type,
                    tied_embeddings,
                    ..SeededModel::default()
                };
                let checkpoint = model.checkpoint().unwrap();
                let config = checkpoint.config();
                assert_eq!(config.architecture, architecture);
                assert_eq!(config.vocab_size, SeededModel::VOCAB_SIZE);
                assert_eq!(config.tied_embeddings, tied_embeddings);
                assert_eq!(config.attention_bias, architecture == Qwen2);
                assert_eq!(config.query_key_norm, matches!(architecture, Qwen3 | Gemma3));
                assert_eq!(config.sliding_window.is_some(), architecture == Gemma3);
                assert_eq!(config.start_token(), 0);
                for (name, shape) in config.tensors() {
                    assert_eq!(checkpoint.tensor_f32(&name).unwrap().1, shape);
                }
            }
        }
    }

    #[test]
    fn rotary_scaling_reads_back_and_changes_no_weight() {
        let plain = SeededModel::default().checkpoint().unwrap();
        let divisors = (1..=8).map(|divisor| divisor as f32 * 0.5).collect();
        for scaling in [RopeScaling::Linear { factor: 8.0 }, RopeScaling::Divisors(divisors)] {
            let model = SeededModel { rope_scaling: Some(scaling), ..SeededModel::default() };
            let checkpoint = model.checkpoint().unwrap();
            assert_eq!(checkpoint.config().rope_scaling, model.rope_scaling);
            for name in plain.tensor_names() {
                assert_eq!(checkpoint.raw(name).unwrap(), plain.raw(name).unwrap());
            }
        }
        let ramp = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 64,
        };
        let model = SeededModel { rope_scaling: Some(ramp), ..SeededModel::default() };
        assert!(matches!(model.to_gguf(), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn query_rows_come_back_in_the_order_they_were_drawn_in() {
        let llama = SeededModel::default().checkpoint().unwrap();
        let qwen = SeededModel { architecture: Architecture::Qwen3, ..SeededModel::default() };
        let qwen = qwen.checkpoint().unwrap();
        // Up to the first query both draw the same numbers, and Qwen's rows are not permuted.
        let name = "model.layers.0.self_attn.q_proj.weight";
        assert_eq!(llama.tensor_f32(name).unwrap(), qwen.tensor_f32(name).unwrap());
    }

    #[test]
    fn the_default_model_never_changes() {
        let fingerprint = SeededModel::default().checkpoint().unwrap().fingerprint().unwrap();
        assert_eq!(
            fingerprint.to_hex(),
            "84489600975abee0874d6ee63fa0158a5bd25ce9dd1723812b2f1d44e23e0b20"
        );
    }
}
