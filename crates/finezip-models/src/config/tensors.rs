//! Which tensors a model has and what shapes they have, from its numbers alone.

use super::{Architecture, ModelConfig};

impl ModelConfig {
    /// Canonical name and shape of every tensor of the model, in the order of the computation.
    ///
    /// Names are Hugging Face's. Matrices are `[out, in]`, row-major.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let hidden = self.hidden_size;
        let mut tensors =
            vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, hidden])];
        for layer in 0..self.layers {
            self.layer_tensors(layer, &mut tensors);
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if !self.tied_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab_size, hidden]));
        }
        tensors
    }

    fn layer_tensors(&self, layer: usize, tensors: &mut Vec<(String, Vec<usize>)>) {
        let hidden = self.hidden_size;
        let query = self.heads.saturating_mul(self.head_dim);
        let key = self.kv_heads.saturating_mul(self.head_dim);
        let mut add = |name: &str, shape: &[usize]| {
            tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        add("input_layernorm.weight", &[hidden]);
        for (name, rows) in [("q", query), ("k", key), ("v", key)] {
            add(&format!("self_attn.{name}_proj.weight"), &[rows, hidden]);
            if self.attention_bias {
                add(&format!("self_attn.{name}_proj.bias"), &[rows]);
            }
        }
        if self.query_key_norm {
            add("self_attn.q_norm.weight", &[self.head_dim]);
            add("self_attn.k_norm.weight", &[self.head_dim]);
        }
        add("self_attn.o_proj.weight", &[hidden, query]);
        add("post_attention_layernorm.weight", &[hidden]);
        if self.architecture == Architecture::Gemma3 {
            add("pre_feedforward_layernorm.weight", &[hidden]);
        }
        add("mlp.gate_proj.weight", &[self.feed_forward, hidden]);
        add("mlp.up_proj.weight", &[self.feed_forward, hidden]);
        add("mlp.down_proj.weight", &[hidden, self.feed_forward]);
        if self.architecture == Architecture::Gemma3 {
            add("post_feedforward_layernorm.weight", &[hidden]);
        }
    }
}
