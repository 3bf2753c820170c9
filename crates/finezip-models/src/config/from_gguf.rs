//! A model's numbers from the settings of a GGUF file.

use super::{Activation, Architecture, ModelConfig, RopeScaling, SlidingWindow};
use super::{MAX_LAYERS, SEPARATOR, inverse_root, sliding_layers};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use finezip_core::TokenId;

/// Settings of one file, most of them named after its architecture.
struct Settings<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Settings<'a> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.gguf.setting(&self.key(name))
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        let found = self.get(name).map_or("nothing".to_owned(), ToString::to_string);
        Error::setting(self.gguf.file(), self.key(name), expected, found)
    }

    fn optional_usize(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // Some writers give one number a layer where all are the same.
        let number = match value.as_integers() {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => {
                u64::try_from(*first).ok()
            }
            _ => value.as_u64(),
        };
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong(name, "one whole number for all layers"))
    }

    fn usize(&self, name: &str) -> Result<usize> {
        self.optional_usize(name)?.ok_or_else(|| self.wrong(name, "a whole number"))
    }

    fn optional_f32(&self, name: &str) -> Result<Option<f32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().map(|number| number as f32);
        number.map(Some).ok_or_else(|| self.wrong(name, "a number"))
    }

    fn refuse(&self, name: &str, allowed: impl Fn(&Value) -> bool) -> Result<()> {
        match self.get(name) {
            Some(value) if !allowed(value) => {
                let what = format!("setting {} = {value}", self.key(name));
                Err(Error::unsupported(self.gguf.file(), what))
            }
            _ => Ok(()),
        }
    }

    fn token(&self, key: &str) -> Result<Option<TokenId>> {
        let Some(value) = self.gguf.setting(key) else { return Ok(None) };
        let token = value.as_u64().and_then(|token| TokenId::try_from(token).ok());
        let wrong = || Error::setting(self.gguf.file(), key, "a token id", value);
        token.map(Some).ok_or_else(wrong)
    }
}

/// Reads the settings; `rope_divisors` is the content of the `rope_freqs` tensor, if there is one.
pub(crate) fn from_gguf(gguf: &Gguf, rope_divisors: Option<Vec<f32>>) -> Result<ModelConfig> {
    let file = gguf.file();
    let name = gguf.setting("general.architecture").and_then(Value::as_str).unwrap_or("nothing");
    let architecture = match name {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        "gemma3" => Architecture::Gemma3,
        other => {
            let what = format!("architecture {other}; llama, qwen2, qwen3 and gemma3 are read");
            return Err(Error::unsupported(file, what));
        }
    };
    let settings = Settings { gguf, architecture: name };
    settings.refuse("expert_count", |count| count.as_u64() == Some(0))?;
    settings.refuse("attn_logit_softcapping", |_| false)?;
    settings.refuse("final_logit_softcapping", |_| false)?;

    let layers = settings.usize("block_count")?;
    if layers > MAX_LAYERS {
        return Err(settings.wrong("block_count", "at most 4096 layers"));
    }
    let hidden_size = settings.usize("embedding_length")?;
    let heads = settings.usize("attention.head_count")?;
    let head_dim = match settings.optional_usize("attention.key_length")? {
        Some(length) => length,
        None => hidden_size
            .checked_div(heads)
            .ok_or_else(|| settings.wrong("attention.head_count", "a number above 0"))?,
    };
    let is_head_dim = |value: &Value| value.as_u64() == Some(head_dim as u64);
    settings.refuse("attention.value_length", is_head_dim)?;
    settings.refuse("rope.dimension_count", is_head_dim)?;

    let tensor_rows = |name: &str| gguf.tensor(name).and_then(|info| info.shape.first().copied());
    let vocab_size = tensor_rows("token_embd.weight").ok_or_else(|| Error::TensorMissing {
        file: file.to_owned(),
        name: "token_embd.weight".to_owned(),
    })?;

    let gemma = architecture == Architecture::Gemma3;
    // The one Gemma 3 whose query scale does not follow its head dimension is that of 27 billion
    // weights, and GGUF files do not say so: it is known by its 62 layers.
    let query_width = if gemma && layers == 62 { hidden_size / heads.max(1) } else { head_dim };
    let config = ModelConfig {
        architecture,
        hidden_size,
        layers,
        heads,
        kv_heads: settings.optional_usize("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        feed_forward: settings.usize("feed_forward_length")?,
        vocab_size,
        rope_theta: settings.optional_f32("rope.freq_base")?.unwrap_or(10_000.0),
        rope_local_theta: match gemma {
            true => Some(settings.optional_f32("rope.freq_base_swa")?.unwrap_or(10_000.0)),
            false => None,
        },
        rope_scaling: rope_scaling(&settings, rope_divisors)?,
        norm_eps: settings
            .optional_f32("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| settings.wrong("attention.layer_norm_rms_epsilon", "a number"))?,
        tied_embeddings: gguf.tensor("output.weight").is_none(),
        context_length: settings.usize("context_length")?,
        sliding_window: if gemma { sliding_window(&settings, layers)? } else { None },
        query_scale: inverse_root(query_width),
        embedding_scale: if gemma { (hidden_size as f32).sqrt() } else { 1.0 },
        activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
        attention_bias: gguf.tensor("blk.0.attn_q.bias").is_some(),
        query_key_norm: gguf.tensor("blk.0.attn_q_norm.weight").is_some(),
        bos_token: settings.token("tokenizer.ggml.bos_token_id")?,
        eos_token: settings.token("tokenizer.ggml.eos_token_id")?,
        separator_token: separator(gguf),
    };
    config.check(file)?;
    Ok(config)
}

/// The id of the separator, if the vocabulary has it as something else than normal text.
fn separator(gguf: &Gguf) -> Option<TokenId> {
    let tokens = gguf.setting("tokenizer.ggml.tokens")?.as_texts()?;
    let token = tokens.iter().position(|text| text == SEPARATOR.as_bytes())?;
    let types = gguf.setting("tokenizer.ggml.token_type").and_then(Value::as_integers);
    let normal = types.and_then(|types| types.get(token)) == Some(&1);
    if normal { None } else { TokenId::try_from(token).ok() }
}

fn rope_scaling(
    settings: &Settings<'_>,
    divisors: Option<Vec<f32>>,
) -> Result<Option<RopeScaling>> {
    if let Some(divisors) = divisors {
        return Ok(Some(RopeScaling::Divisors(divisors)));
    }
    match settings.get("rope.scaling.type").and_then(Value::as_str) {
        None | Some("none") => Ok(None),
        Some("linear") => {
            let factor = settings.optional_f32("rope.scaling.factor")?;
            let factor = factor.ok_or_else(|| settings.wrong("rope.scaling.factor", "a number"))?;
            Ok(Some(RopeScaling::Linear { factor }))
        }
        Some(other) => {
            let what = format!("rotary scaling {other}; linear and rope_freqs are read");
            Err(Error::unsupported(settings.gguf.file(), what))
        }
    }
}

/// Gemma 3's sliding layers: a window, and every sixth layer sees all where no pattern is given.
fn sliding_window(settings: &Settings<'_>, layers: usize) -> Result<Option<SlidingWindow>> {
    let Some(tokens) = settings.optional_usize("attention.sliding_window")? else {
        return Ok(None);
    };
    const PATTERN: &str = "attention.sliding_window_pattern";
    let sliding_layers = match settings.get(PATTERN) {
        Some(Value::Bools(sliding)) => sliding.clone(),
        _ => {
            let pattern = settings.optional_usize(PATTERN)?.unwrap_or(6);
            sliding_layers(layers, pattern)
        }
    };
    Ok(Some(SlidingWindow { tokens, sliding_layers }))
}
