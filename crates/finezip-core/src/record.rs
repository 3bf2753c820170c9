//! A self-describing name: what an archive says of an engine, a schedule or a coder.

use std::collections::BTreeMap;
use std::fmt;

/// A name, the version of the arithmetic or layout behind it, and every parameter by name.
///
/// Shown and parsed as `name/version key=value key=value`, keys in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Lower-case words joined by `-`.
    pub name: String,
    /// Raised when the same parameters would give other bytes.
    pub version: u32,
    /// Whole numbers by name; a choice is a number with a meaning its owner documents.
    pub parameters: BTreeMap<String, u64>,
}

impl Record {
    /// A record without parameters.
    pub fn new(name: impl Into<String>, version: u32) -> Self {
        Self { name: name.into(), version, parameters: BTreeMap::new() }
    }

    /// The same record with one more parameter.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: u64) -> Self {
        self.parameters.insert(key.into(), value);
        self
    }

    /// A parameter's value.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.parameters.get(key).copied()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)?;
        for (key, value) in &self.parameters {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}
