//! What can go wrong, with what was expected and what was found.

use crate::model::Fingerprint;
use crate::record::Record;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between bytes and an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// An engine failed.
    #[error("engine {engine}: {message}")]
    Engine {
        /// The engine's name.
        engine: String,
        /// What it said.
        message: String,
    },

    /// A payload does not decode under the distributions it is said to be coded with.
    #[error("coder {coder}: {message}")]
    Payload {
        /// The coder's name.
        coder: String,
        /// What was expected and what was found.
        message: String,
    },

    /// The archive needs a model that is not at hand.
    #[error("model {name} (BLAKE3 {fingerprint}) is needed: {message}")]
    ModelMissing {
        /// The name the archive gives.
        name: String,
        /// The hash the archive gives.
        fingerprint: Fingerprint,
        /// Why it is not at hand and what to do.
        message: String,
    },

    /// The archive names a part in a form that is not known here.
    #[error("unknown {part}: {record}")]
    Unknown {
        /// "engine", "schedule" or "coder".
        part: &'static str,
        /// What the archive says.
        record: Record,
    },

    /// Settings that cannot be used together, or out of range.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    /// An error of the engine named.
    pub fn engine(engine: impl Into<String>, message: impl ToString) -> Self {
        Self::Engine { engine: engine.into(), message: message.to_string() }
    }

    /// An error of a payload under the coder named.
    pub fn payload(coder: impl Into<String>, message: impl ToString) -> Self {
        Self::Payload { coder: coder.into(), message: message.to_string() }
    }
}
