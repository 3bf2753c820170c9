//! A checkpoint's tensors as finite floats of the expected size, an adapter's changes added.

use finezip_lora::Adapter;
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use crate::error::{Error, Result};

/// Reads the tensors of one model.
pub(crate) struct Tensors<'a> {
    checkpoint: &'a Checkpoint,
    adapter: Option<&'a Adapter>,
}

/// The vectors of one layer: gains and biases.
pub(crate) struct LayerVectors {
    pub(crate) attention_gain: Vec<f32>,
    pub(crate) query_bias: Vec<f32>,
    pub(crate) key_bias: Vec<f32>,
    pub(crate) value_bias: Vec<f32>,
    pub(crate) query_gain: Vec<f32>,
    pub(crate) key_gain: Vec<f32>,
    pub(crate) post_attention_gain: Vec<f32>,
    pub(crate) feed_forward_gain: Vec<f32>,
    pub(crate) post_feed_forward_gain: Vec<f32>,
}

impl<'a> Tensors<'a> {
    /// The tensors of a checkpoint with an adapter of this model merged.
    pub(crate) fn new(checkpoint: &'a Checkpoint, adapter: Option<&'a Adapter>) -> Self {
        Self { checkpoint, adapter }
    }

    /// The file, without the adapter.
    pub(crate) fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// Whether the adapter changes the tensor of this canonical name.
    pub(crate) fn is_adapted(&self, name: &str) -> bool {
        self.adapter.is_some_and(|adapter| adapter.module(module_of(name)).is_some())
    }

    /// The values of the tensor of this canonical name: as the file has them, plus what the
    /// adapter adds; all finite.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let mut values = self.checkpoint.tensor_f32(name)?.0;
        if let Some(adapter) = self.adapter {
            adapter.merge(module_of(name), &mut values)?;
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => {
                Err(Error::NotFinite { tensor: name.to_owned(), index, found: values[index] })
            }
            None => Ok(values),
        }
    }

    pub(crate) fn config(&self) -> &'a ModelConfig {
        self.checkpoint.config()
    }

    /// Whether each part's output passes a norm of its own before it joins the residual stream.
    pub(crate) fn has_post_norms(&self) -> bool {
        has_post_norms(self.config())
    }

    /// The tensor of this canonical name, which must have `size` elements, all finite.
    pub(crate) fn read(&self, name: &str, size: usize) -> Result<Vec<f32>> {
        let values = self.values(name)?;
        if values.len() != size {
            let (tensor, found) = (name.to_owned(), values.len());
            return Err(Error::TensorSize { tensor, expected: size, found });
        }
        Ok(values)
    }

    /// A matrix `[rows][columns]` of a layer.
    pub(crate) fn matrix(
        &self,
        layer: usize,
        part: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Vec<f32>> {
        self.read(&format!("model.layers.{layer}.{part}.weight"), rows.saturating_mul(columns))
    }

    /// Gains and biases of a layer; those the model does not have are empty.
    pub(crate) fn vectors(&self, layer: usize) -> Result<LayerVectors> {
        let config = self.config();
        let (hidden, head) = (config.hidden_size, config.head_dim);
        let read = |present: bool, part: &str, size: usize| match present {
            true => self.read(&format!("model.layers.{layer}.{part}"), size),
            false => Ok(Vec::new()),
        };
        let (bias, norm, post) =
            (config.attention_bias, config.query_key_norm, self.has_post_norms());
        let key_width = config.kv_heads * head;
        let after_attention = "post_attention_layernorm.weight";
        let before_feed_forward =
            if post { "pre_feedforward_layernorm.weight" } else { after_attention };
        Ok(LayerVectors {
            attention_gain: read(true, "input_layernorm.weight", hidden)?,
            query_bias: read(bias, "self_attn.q_proj.bias", config.heads * head)?,
            key_bias: read(bias, "self_attn.k_proj.bias", key_width)?,
            value_bias: read(bias, "self_attn.v_proj.bias", key_width)?,
            query_gain: read(norm, "self_attn.q_norm.weight", head)?,
            key_gain: read(norm, "self_attn.k_norm.weight", head)?,
            post_attention_gain: read(post, after_attention, hidden)?,
            feed_forward_gain: read(true, before_feed_forward, hidden)?,
            post_feed_forward_gain: read(post, "post_feedforward_layernorm.weight", hidden)?,
        })
    }

    /// Queries, keys and values of a layer as one matrix `[.., hidden]`, keys' and values' rows
    /// after the queries'.
    pub(crate) fn qkv(&self, layer: usize) -> Result<Vec<f32>> {
        let config = self.config();
        let key_width = config.kv_heads * config.head_dim;
        let query_width = config.heads * config.head_dim;
        let mut all = self.matrix(layer, "self_attn.q_proj", query_width, config.hidden_size)?;
        for part in ["self_attn.k_proj", "self_attn.v_proj"] {
            all.extend(self.matrix(layer, part, key_width, config.hidden_size)?);
        }
        Ok(all)
    }

    /// Gate and up of a layer as one matrix `[2 * feed_forward][hidden]`.
    pub(crate) fn gate_up(&self, layer: usize) -> Result<Vec<f32>> {
        let config = self.config();
        let (rows, columns) = (config.feed_forward, config.hidden_size);
        let mut all = self.matrix(layer, "mlp.gate_proj", rows, columns)?;
        all.extend(self.matrix(layer, "mlp.up_proj", rows, columns)?);
        Ok(all)
    }

    /// The embedding, `[vocab][hidden]`, as stored.
    pub(crate) fn embedding(&self) -> Result<Vec<f32>> {
        let config = self.config();
        let size = config.vocab_size.saturating_mul(config.hidden_size);
        self.read("model.embed_tokens.weight", size)
    }

    /// The head, `[vocab][hidden]`: the embedding where they are tied.
    pub(crate) fn head(&self) -> Result<Vec<f32>> {
        let config = self.config();
        if config.tied_embeddings {
            return self.embedding();
        }
        self.read("lm_head.weight", config.vocab_size.saturating_mul(config.hidden_size))
    }

    /// Gain of the last norm, `[hidden]`.
    pub(crate) fn final_gain(&self) -> Result<Vec<f32>> {
        self.read("model.norm.weight", self.config().hidden_size)
    }
}

/// The module that a weight belongs to.
fn module_of(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// Whether each part's output passes a norm of its own before it joins the residual stream.
pub(crate) fn has_post_norms(config: &ModelConfig) -> bool {
    config.architecture == Architecture::Gemma3
}
