//! A model's numbers from the config.json of a Hugging Face checkpoint.

use super::{Activation, Architecture, ModelConfig, RopeScaling, SlidingWindow};
use super::{MAX_LAYERS, SEPARATOR, inverse_root, sliding_layers};
use crate::error::{Error, Result};
use finezip_core::TokenId;
use serde_json::Value;

struct Settings<'a> {
    file: &'a str,
    json: &'a Value,
}

impl<'a> Settings<'a> {
    /// The value, unless it is missing or null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> Error {
        let found = self.get(key).map_or("nothing".to_owned(), ToString::to_string);
        Error::setting(self.file, key, expected, found)
    }

    fn optional_usize(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong(key, "a whole number"))
    }

    fn usize(&self, key: &str) -> Result<usize> {
        self.optional_usize(key)?.ok_or_else(|| self.wrong(key, "a whole number"))
    }

    fn optional_f32(&self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().map(|number| number as f32);
        number.map(Some).ok_or_else(|| self.wrong(key, "a number"))
    }

    fn f32(&self, key: &str) -> Result<f32> {
        self.optional_f32(key)?.ok_or_else(|| self.wrong(key, "a number"))
    }

    fn bool(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))
    }

    /// A token id; of several (end tokens) the first.
    fn token(&self, key: &str) -> Result<Option<TokenId>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let one = value.as_array().and_then(|tokens| tokens.first()).unwrap_or(value);
        let token = one.as_u64().and_then(|token| TokenId::try_from(token).ok());
        token.map(Some).ok_or_else(|| self.wrong(key, "a token id"))
    }

    fn unsupported(&self, what: impl ToString) -> Error {
        Error::unsupported(self.file, what)
    }
}

/// Reads the settings; `has_tensor` tells whether the checkpoint has a tensor of that name,
/// `special_token` finds a special token by its text.
pub(crate) fn from_json(
    file: &str,
    json: &Value,
    has_tensor: impl Fn(&str) -> bool,
    special_token: impl Fn(&str) -> Option<TokenId>,
) -> Result<ModelConfig> {
    let settings = Settings { file, json };
    let model_type = settings.get("model_type").and_then(Value::as_str).unwrap_or("nothing");
    let architecture = match model_type {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        "gemma3_text" => Architecture::Gemma3,
        other => {
            let what = format!("model type {other}; llama, qwen2, qwen3 and gemma3_text are read");
            return Err(settings.unsupported(what));
        }
    };
    let gemma = architecture == Architecture::Gemma3;
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if settings.get(key).is_some() {
            return Err(settings.unsupported(format!("setting {key}")));
        }
    }
    if settings.bool("mlp_bias", false)? {
        return Err(settings.unsupported("biases in the feed-forward layers"));
    }
    if settings.bool("use_sliding_window", false)? && !gemma {
        return Err(settings.unsupported("sliding windows outside Gemma 3"));
    }
    let layers = settings.usize("num_hidden_layers")?;
    if layers > MAX_LAYERS {
        return Err(settings.wrong("num_hidden_layers", "at most 4096"));
    }
    let hidden_size = settings.usize("hidden_size")?;
    let heads = settings.usize("num_attention_heads")?;
    let default_head_dim = if gemma { Some(256) } else { hidden_size.checked_div(heads) };
    let head_dim = settings
        .optional_usize("head_dim")?
        .or(default_head_dim)
        .ok_or_else(|| settings.wrong("num_attention_heads", "a number above 0"))?;
    let query_width = match gemma {
        true => settings.optional_usize("query_pre_attn_scalar")?.unwrap_or(256),
        false => head_dim,
    };
    let rope = rope(&settings, gemma)?;
    let config = ModelConfig {
        architecture,
        hidden_size,
        layers,
        heads,
        kv_heads: settings.optional_usize("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        feed_forward: settings.usize("intermediate_size")?,
        vocab_size: settings.usize("vocab_size")?,
        rope_theta: rope.theta,
        rope_local_theta: rope.local_theta,
        rope_scaling: rope.scaling,
        norm_eps: settings.f32("rms_norm_eps")?,
        tied_embeddings: settings.bool("tie_word_embeddings", gemma)?,
        context_length: settings.usize("max_position_embeddings")?,
        sliding_window: if gemma { sliding_window(&settings, layers)? } else { None },
        query_scale: inverse_root(query_width),
        embedding_scale: if gemma { (hidden_size as f32).sqrt() } else { 1.0 },
        activation: activation(&settings, gemma)?,
        attention_bias: has_tensor("model.layers.0.self_attn.q_proj.bias"),
        query_key_norm: has_tensor("model.layers.0.self_attn.q_norm.weight"),
        bos_token: settings.token("bos_token_id")?,
        eos_token: settings.token("eos_token_id")?,
        separator_token: special_token(SEPARATOR),
    };
    config.check(file)?;
    Ok(config)
}

fn activation(settings: &Settings<'_>, gemma: bool) -> Result<Activation> {
    let key = if gemma { "hidden_activation" } else { "hidden_act" };
    let default = if gemma { "gelu_pytorch_tanh" } else { "silu" };
    match settings.get(key).map_or(Some(default), Value::as_str) {
        Some("silu") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        _ => Err(settings.wrong(key, "silu or gelu_pytorch_tanh")),
    }
}

/// Rotary bases and scaling.
struct Rope {
    theta: f32,
    local_theta: Option<f32>,
    scaling: Option<RopeScaling>,
}

/// Newer files have all of it in `rope_parameters`, of Gemma one set for each kind of layer; older
/// ones have it in several places. Either may leave out what the library's defaults say.
fn rope(settings: &Settings<'_>, gemma: bool) -> Result<Rope> {
    let file = settings.file;
    let default_theta = if gemma { 1_000_000.0 } else { 10_000.0 };
    let parameters = settings.get("rope_parameters");
    let of_layers = |kind: &str| parameters.and_then(|json| json.get(kind));
    let full = of_layers("full_attention").or(parameters).map(|json| Settings { file, json });
    let sliding = of_layers("sliding_attention").map(|json| Settings { file, json });
    let theta = match &full {
        Some(full) => full.optional_f32("rope_theta")?,
        None => settings.optional_f32("rope_theta")?,
    };
    let local_theta = match &sliding {
        Some(sliding) => sliding.optional_f32("rope_theta")?,
        None => settings.optional_f32("rope_local_base_freq")?,
    };
    let scaling = full.or_else(|| settings.get("rope_scaling").map(|json| Settings { file, json }));
    Ok(Rope {
        theta: theta.unwrap_or(default_theta),
        local_theta: gemma.then(|| local_theta.unwrap_or(10_000.0)),
        scaling: scaling.map_or(Ok(None), |scaling| rope_scaling(&scaling))?,
    })
}

fn rope_scaling(settings: &Settings<'_>) -> Result<Option<RopeScaling>> {
    let kind = settings.get("rope_type").or_else(|| settings.get("type")).and_then(Value::as_str);
    match kind {
        Some("default") => Ok(None),
        Some("linear") => Ok(Some(RopeScaling::Linear { factor: settings.f32("factor")? })),
        Some("llama3") => Ok(Some(RopeScaling::Llama3 {
            factor: settings.f32("factor")?,
            low_frequency_factor: settings.f32("low_freq_factor")?,
            high_frequency_factor: settings.f32("high_freq_factor")?,
            original_context: settings.usize("original_max_position_embeddings")?,
        })),
        other => {
            let what = format!("rotary scaling {other:?}; default, linear and llama3 are read");
            Err(settings.unsupported(what))
        }
    }
}

/// Gemma 3's sliding layers, by list (`layer_types`) or by pattern.
fn sliding_window(settings: &Settings<'_>, layers: usize) -> Result<Option<SlidingWindow>> {
    let Some(tokens) = settings.optional_usize("sliding_window")? else { return Ok(None) };
    let sliding_layers = match settings.get("layer_types").and_then(Value::as_array) {
        Some(types) => types
            .iter()
            .map(|layer_type| match layer_type.as_str() {
                Some("sliding_attention") => Ok(true),
                Some("full_attention") => Ok(false),
                _ => Err(settings.wrong("layer_types", "sliding_attention or full_attention")),
            })
            .collect::<Result<_>>()?,
        None => {
            let pattern = match settings.optional_usize("sliding_window_pattern")? {
                Some(pattern) => pattern,
                None => settings.optional_usize("_sliding_window_pattern")?.unwrap_or(6),
            };
            sliding_layers(layers, pattern)
        }
    };
    Ok(Some(SlidingWindow { tokens, sliding_layers }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(json: &Value) -> Result<ModelConfig> {
        from_json("config.json", json, |_| false, |_| None)
    }

    fn llama() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 300,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 1024,
        })
    }

    #[test]
    fn old_and_new_places_of_the_rotary_settings_read_the_same() {
        let scaling = json!({
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let (mut old, mut new) = (llama(), llama());
        old["rope_theta"] = 500_000.into();
        old["rope_scaling"] = scaling.clone();
        new["rope_parameters"] = scaling;
        new["rope_parameters"]["rope_theta"] = 500_000.into();
        let config = read(&new).unwrap();
        assert_eq!(read(&old).unwrap(), config);
        assert_eq!(config.rope_theta, 500_000.0);
        assert!(matches!(config.rope_scaling, Some(RopeScaling::Llama3 { .. })));
        assert!(!config.tied_embeddings);
    }

    #[test]
    fn gemma_has_a_rotary_base_for_each_kind_of_layer() {
        let mut json = llama();
        json["model_type"] = "gemma3_text".into();
        json["sliding_window"] = 512.into();
        json["layer_types"] = json!(["sliding_attention", "full_attention"]);
        json["rope_parameters"] = json!({
            "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 2e6 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 20_000 },
        });
        let config = read(&json).unwrap();
        assert_eq!((config.rope_theta, config.rope_local_theta), (2e6, Some(20_000.0)));
        assert_eq!(config.rope_scaling, Some(RopeScaling::Linear { factor: 8.0 }));
        assert_eq!(config.sliding_window.unwrap().sliding_layers, [true, false]);
        assert!(config.tied_embeddings);
        assert_eq!(config.embedding_scale, 8.0);
    }

    #[test]
    fn what_would_compute_something_else_is_refused() {
        for (key, value) in [
            ("model_type", json!("mamba")),
            ("mlp_bias", json!(true)),
            ("final_logit_softcapping", json!(30.0)),
            ("hidden_act", json!("relu")),
            ("rope_scaling", json!({ "rope_type": "yarn" })),
            ("num_hidden_layers", json!(1_000_000)),
            ("num_key_value_heads", json!(3)),
            ("num_attention_heads", json!(0)),
            ("rms_norm_eps", json!(-1.0)),
            ("vocab_size", json!("many")),
        ] {
            let mut json = llama();
            json[key] = value;
            assert!(read(&json).is_err(), "{key}");
        }
    }
}
