//! `adapter_config.json` as PEFT writes it: what is read of it, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AdapterConfig;
use crate::error::{Error, Result};

/// The fields of PEFT's `LoraConfig` that decide what an adapter computes, and those that Python
/// expects in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PeftConfig {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    inference_mode: bool,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    lora_bias: bool,
    /// A list of names, or a pattern; which modules there are is seen from the matrices.
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    modules_to_save: Option<Value>,
    #[serde(default)]
    layer_replication: Option<Value>,
    #[serde(default)]
    trainable_token_indices: Option<Value>,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

/// What makes more of LoRA than a product beside the weights: read to be refused, never written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variants {
    /// How A and B began. Some ways take from the weight what they put there, so the adapter is
    /// one of another weight.
    init_lora_weights: Value,
    /// Only after these tokens is the adapter switched on.
    alora_invocation_tokens: Value,
    /// Parameters that are no linear's weight.
    target_parameters: Value,
    /// Which of many adapters computes follows from the token.
    arrow_config: Value,
    /// A's inputs are means of groups.
    use_qalora: Value,
    /// A or B is block-diagonal.
    use_bdlora: Value,
}

/// Ways to begin that leave the weight as it is.
const INITS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

impl PeftConfig {
    /// What describes an adapter of ours. Modules with a rank or alpha of their own come by path.
    pub(super) fn new(
        config: &AdapterConfig,
        target_modules: Vec<String>,
        rank_pattern: BTreeMap<String, usize>,
        alpha_pattern: BTreeMap<String, f32>,
    ) -> Self {
        Self {
            peft_type: "LORA".into(),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: config.base_model.clone(),
            inference_mode: true,
            r: config.rank,
            lora_alpha: f64::from(config.alpha),
            lora_dropout: f64::from(config.dropout),
            use_rslora: config.use_rslora,
            use_dora: false,
            fan_in_fan_out: false,
            bias: Some("none".into()),
            lora_bias: false,
            target_modules: target_modules.into(),
            modules_to_save: None,
            layer_replication: None,
            trainable_token_indices: None,
            rank_pattern,
            alpha_pattern: alpha_pattern
                .into_iter()
                .map(|(path, alpha)| (path, f64::from(alpha)))
                .collect(),
        }
    }

    /// Parses the file and refuses what merging cannot honour.
    pub(super) fn parse(path: &Path, json: &[u8]) -> Result<Self> {
        let not_peft = |error| Error::malformed(path, "content", "PEFT's LoRA settings", error);
        let config: Self = serde_json::from_slice(json).map_err(not_peft)?;
        let variants: Variants = serde_json::from_slice(json).map_err(not_peft)?;
        let refuse = |what: &str, expected: &str, found: String| {
            Err(Error::malformed(path, what, expected, found))
        };
        if config.peft_type != "LORA" {
            return refuse("peft_type", "LORA", config.peft_type);
        }
        let flags = [
            ("use_dora", config.use_dora),
            ("fan_in_fan_out", config.fan_in_fan_out),
            ("lora_bias", config.lora_bias),
        ];
        if let Some((name, _)) = flags.iter().find(|(_, set)| *set) {
            return refuse(name, "false", "true".into());
        }
        if let Some(bias) = config.bias.as_deref().filter(|bias| *bias != "none") {
            return refuse("bias", "none", bias.into());
        }
        match &variants.init_lora_weights {
            Value::Null | Value::Bool(_) => {}
            Value::String(init) if INITS.contains(&init.as_str()) => {}
            other => {
                let expected = format!("true, false, {}", INITS.join(", "));
                return refuse("init_lora_weights", &expected, other.to_string());
            }
        }
        let extras = [
            ("modules_to_save", config.modules_to_save.as_ref()),
            ("layer_replication", config.layer_replication.as_ref()),
            ("trainable_token_indices", config.trainable_token_indices.as_ref()),
            ("alora_invocation_tokens", Some(&variants.alora_invocation_tokens)),
            ("target_parameters", Some(&variants.target_parameters)),
            ("arrow_config", Some(&variants.arrow_config)),
            ("use_qalora", Some(&variants.use_qalora)),
            ("use_bdlora", Some(&variants.use_bdlora)),
        ];
        for (name, value) in extras {
            let is_empty = match value {
                None | Some(Value::Null | Value::Bool(false)) => true,
                Some(Value::Array(values)) => values.is_empty(),
                Some(Value::Object(values)) => values.is_empty(),
                Some(_) => false,
            };
            if !is_empty {
                return refuse(name, "nothing", value.cloned().unwrap_or_default().to_string());
            }
        }
        if config.r == 0 {
            return refuse("r", "at least 1", "0".into());
        }
        let alphas = config.alpha_pattern.values().chain([&config.lora_alpha]);
        if let Some(alpha) = alphas.into_iter().find(|alpha| !(alpha.is_finite() && **alpha > 0.0))
        {
            return refuse("lora_alpha", "a number above 0", alpha.to_string());
        }
        // PEFT takes keys of patterns for regular expressions; names with dots are what is used.
        let literal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let keys = config.rank_pattern.keys().chain(config.alpha_pattern.keys());
        if let Some(key) = keys.into_iter().find(|key| !key.chars().all(literal)) {
            return refuse("rank_pattern or alpha_pattern", "names of modules", key.clone());
        }
        Ok(config)
    }

    /// The settings without PEFT's words.
    pub(super) fn config(&self, base_fingerprint: Option<String>) -> AdapterConfig {
        AdapterConfig {
            rank: self.r,
            alpha: self.lora_alpha as f32,
            use_rslora: self.use_rslora,
            dropout: self.lora_dropout as f32,
            base_model: self.base_model_name_or_path.clone(),
            base_fingerprint,
        }
    }

    /// The alpha of a module: PEFT's first pattern that the path ends with, at a dot.
    pub(super) fn alpha(&self, path: &str) -> f32 {
        *self.pattern(&self.alpha_pattern, path).unwrap_or(&self.lora_alpha) as f32
    }

    /// The rank of a module, found likewise.
    pub(super) fn rank(&self, path: &str) -> usize {
        *self.pattern(&self.rank_pattern, path).unwrap_or(&self.r)
    }

    fn pattern<'p, T>(&self, patterns: &'p BTreeMap<String, T>, path: &str) -> Option<&'p T> {
        let matches = |key: &str| match path.strip_suffix(key) {
            Some(before) => before.is_empty() || before.ends_with('.'),
            None => false,
        };
        patterns.iter().find(|(key, _)| matches(key)).map(|(_, value)| value)
    }
}
