//! Which linears of a model get an adapter: their names and sizes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use finezip_models::ModelConfig;
use serde::{Deserialize, Serialize};

/// A linear of a transformer block, by its name in Hugging Face models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the models' own")]
pub enum Linear {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl Linear {
    /// Those of the attention, then those of the feed-forward part.
    pub const ALL: [Self; 7] = [
        Self::QProj,
        Self::KProj,
        Self::VProj,
        Self::OProj,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    /// The last part of the module's path: `q_proj` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }

    /// The module's path in the model, without `.weight`.
    pub fn path(self, layer: usize) -> String {
        let part = match self {
            Self::QProj | Self::KProj | Self::VProj | Self::OProj => "self_attn",
            Self::GateProj | Self::UpProj | Self::DownProj => "mlp",
        };
        format!("model.layers.{layer}.{part}.{}", self.name())
    }

    /// `[out, in]` of the weight.
    pub fn shape(self, config: &ModelConfig) -> [usize; 2] {
        let hidden = config.hidden_size;
        let query = config.heads.saturating_mul(config.head_dim);
        let key = config.kv_heads.saturating_mul(config.head_dim);
        match self {
            Self::QProj => [query, hidden],
            Self::KProj | Self::VProj => [key, hidden],
            Self::OProj => [hidden, query],
            Self::GateProj | Self::UpProj => [config.feed_forward, hidden],
            Self::DownProj => [hidden, config.feed_forward],
        }
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of linears, the same in every layer.
///
/// Written as `attention`, `mlp`, `all`, or names with commas between: `q_proj,v_proj`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Targets(BTreeSet<Linear>);

impl Targets {
    /// These.
    pub fn of(linears: impl IntoIterator<Item = Linear>) -> Self {
        Self(linears.into_iter().collect())
    }

    /// Every linear of a block.
    pub fn all() -> Self {
        Self(Linear::ALL.into_iter().collect())
    }

    /// Query, key, value and output projections.
    pub fn attention() -> Self {
        Self(Linear::ALL.into_iter().take(4).collect())
    }

    /// Gate, up and down projections.
    pub fn mlp() -> Self {
        Self(Linear::ALL.into_iter().skip(4).collect())
    }

    /// Whether a linear is one of them.
    pub fn contains(&self, linear: Linear) -> bool {
        self.0.contains(&linear)
    }

    /// The linears, those of the attention first.
    pub fn iter(&self) -> impl Iterator<Item = Linear> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::all()),
            "attention" => return Ok(Self::attention()),
            "mlp" => return Ok(Self::mlp()),
            _ => {}
        }
        let one = |name: &str| {
            let found = Linear::ALL.into_iter().find(|linear| linear.name() == name.trim());
            found.ok_or_else(|| {
                let known = Linear::ALL.map(Linear::name).join(", ");
                format!("expected attention, mlp, all, or some of {known}; found {name:?}")
            })
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = [("all", Self::all()), ("attention", Self::attention()), ("mlp", Self::mlp())];
        match whole.iter().find(|(_, targets)| targets == self) {
            Some((name, _)) => f.write_str(name),
            None => {
                let names: Vec<&str> = self.iter().map(Linear::name).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl TryFrom<String> for Targets {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Targets> for String {
    fn from(targets: Targets) -> Self {
        targets.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back() {
        for text in ["all", "attention", "mlp", "q_proj,v_proj", "o_proj,up_proj,down_proj"] {
            assert_eq!(text.parse::<Targets>().unwrap().to_string(), text);
        }
        assert_eq!("v_proj, q_proj".parse::<Targets>().unwrap().to_string(), "q_proj,v_proj");
        assert!("q_proj,nose".parse::<Targets>().unwrap_err().contains("nose"));
        assert!("".parse::<Targets>().is_err());
    }
}
