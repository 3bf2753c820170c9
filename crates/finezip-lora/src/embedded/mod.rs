//! An adapter in few bytes, to travel in an archive: rounded row by row, then entropy coded.
//!
//! A rank-8 adapter of a small model is ten megabytes as it is trained, which no archive of
//! ordinary size earns back. So every row of A and every column of B is rounded to a few bits with a
//! scale of its own ([`quantize`]), and the integers are coded under counts that adapt
//! ([`symbols`]). `docs/adapters.md` lays the bytes down.
//!
//! Merging uses the values that the stored form gives back, never those from before it, so what
//! compresses and what decompresses computes with the same adapter; its fingerprint names those
//! values. Modules and sizes follow from the model: an adapter that was forged cannot ask for more than
//! the model's own linears have, nor for more than a fixed number of values in all.

mod layout;
mod quantize;
mod symbols;

#[cfg(all(test, feature = "train"))]
mod tests;

#[cfg(feature = "train")]
pub(crate) use layout::{check_size, check_total};

use std::fmt;
use std::str::FromStr;

use finezip_models::ModelConfig;

use crate::adapter::Adapter;
use crate::error::{Error, Result};

/// How values are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EmbeddedPrecision {
    /// Integers of -7 to 7, 3 to 4 bits a value: the smallest.
    Int4,
    /// Integers of -127 to 127, 7 to 8 bits a value, more for very small adapters.
    Int8,
    /// 16-bit floats.
    F16,
}

impl EmbeddedPrecision {
    /// All precisions.
    pub const ALL: [Self; 3] = [Self::Int4, Self::Int8, Self::F16];

    /// The name that is shown and parsed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::F16 => "f16",
        }
    }

    /// What names it in the stored form: bits of a value before entropy coding.
    fn code(self) -> u8 {
        match self {
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::F16 => 16,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.code() == code)
    }
}

impl fmt::Display for EmbeddedPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EmbeddedPrecision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|precision| precision.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("expected one of {known}, found {name:?}")
        })
    }
}

/// An adapter's stored form, and the adapter that it gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedAdapter {
    adapter: Adapter,
    bytes: Vec<u8>,
}

impl EmbeddedAdapter {
    /// Rounds and codes an adapter of this model.
    ///
    /// ```
    /// use finezip_lora::{Adapter, AdapterConfig, EmbeddedAdapter, EmbeddedPrecision, LoraMatrices};
    /// use finezip_models::seeded::SeededModel;
    ///
    /// let config = SeededModel::default().checkpoint()?.config().clone();
    /// let settings = AdapterConfig {
    ///     rank: 1,
    ///     alpha: 2.0,
    ///     use_rslora: false,
    ///     dropout: 0.0,
    ///     base_model: None,
    ///     base_fingerprint: None,
    /// };
    /// let module = LoraMatrices {
    ///     rank: 1,
    ///     in_features: 64,
    ///     out_features: 64,
    ///     alpha: 2.0,
    ///     a: (0..64).map(|i| (i as f32 - 30.5) / 100.0).collect(),
    ///     b: vec![0.125; 64],
    /// };
    /// let modules = [("model.layers.0.self_attn.q_proj".to_owned(), module)];
    /// let adapter = Adapter::new(settings, modules.into())?;
    ///
    /// let embedded = EmbeddedAdapter::new(&adapter, EmbeddedPrecision::Int4, &config)?;
    /// assert!(embedded.bytes().len() < 100);
    /// let read = EmbeddedAdapter::read(embedded.bytes(), &config)?;
    /// assert_eq!(read.fingerprint(), embedded.adapter().fingerprint());
    /// # Ok::<(), finezip_lora::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Misfit`] for an adapter of another model, [`Error::Embedded`] for values that are
    /// not finite or too large for the precision, for ranks so high that a module has more values
    /// than its weight, and for more than 2^29 values in all.
    pub fn new(
        adapter: &Adapter,
        precision: EmbeddedPrecision,
        config: &ModelConfig,
    ) -> Result<Self> {
        let bytes = layout::write(adapter, precision, config)?;
        let adapter = Self::read(&bytes, config)?;
        Ok(Self { adapter, bytes })
    }

    /// The adapter that a stored form gives back.
    ///
    /// # Errors
    /// [`Error::Embedded`] for bytes that are no adapter of this model.
    pub fn read(bytes: &[u8], config: &ModelConfig) -> Result<Adapter> {
        layout::read(bytes, config)
    }

    /// The adapter to merge: the one that reading the stored form gives.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The stored form.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Both, the stored form last.
    pub fn into_parts(self) -> (Adapter, Vec<u8>) {
        (self.adapter, self.bytes)
    }
}

fn wrong(what: impl ToString, expected: impl ToString, found: impl ToString) -> Error {
    Error::Embedded {
        what: what.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
