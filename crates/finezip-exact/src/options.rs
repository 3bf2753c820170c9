//! What a user chooses when opening a model.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use finezip_lora::Adapter;

use crate::kernels::Isa;

/// How weights and activations are rounded. A part of the arithmetic: it is named in archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Rotated 8-bit weights and activations: the default, the best speed in batches.
    #[default]
    Int8,
    /// 4-bit blocks of weights, 8-bit activations: half the memory, the best speed for one lane.
    Int4,
    /// `f32` in one fixed order: slow, the reference for the others.
    F32,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int4, Self::F32];

    /// The name that is shown and parsed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::F32 => "f32",
        }
    }

    /// The value of the engine record's parameter `precision`: bits of a weight.
    pub fn parameter(self) -> u64 {
        match self {
            Self::Int8 => 8,
            Self::Int4 => 4,
            Self::F32 => 32,
        }
    }

    /// The precision of a record's parameter.
    pub fn from_parameter(parameter: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.parameter() == parameter)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

/// A name that no precision has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision: expected int8, int4 or f32, found {0}")]
pub struct UnknownPrecision(String);

/// How to open a model. Of these only precision and adapter change logits.
#[derive(Clone, Debug, Default)]
pub struct ExactOptions {
    /// How weights and activations are rounded.
    pub precision: Precision,
    /// An adapter that is merged into the weights; none for the model as it is.
    pub adapter: Option<Arc<Adapter>>,
    /// Threads to compute with; 0 for one a core.
    pub threads: usize,
    /// The folder that keeps folded weights, adapters merged, between runs; none to fold each time.
    pub cache_dir: Option<PathBuf>,
    /// The instruction set; none for the best this CPU has.
    pub isa: Option<Isa>,
    /// The name archives give the model; none for the checkpoint's.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_find_their_precision() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().parse(), Ok(precision));
            assert_eq!(Precision::from_parameter(precision.parameter()), Some(precision));
        }
        assert!("int5".parse::<Precision>().is_err());
    }
}
