//! What can go wrong with adapters and training, with what was expected and what was found.

use std::path::PathBuf;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a model, a text and an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file of an adapter, or of a training state, does not follow its format.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The entry.
        what: String,
        /// What is needed.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// The adapter does not belong to the model.
    #[error("the adapter does not fit the model: {what}: expected {expected}, found {found}")]
    Misfit {
        /// The part of the adapter.
        what: String,
        /// What the model has.
        expected: String,
        /// What the adapter has.
        found: String,
    },

    /// The stored form of an adapter that travels in an archive is not one, or cannot be made.
    #[error("the embedded adapter: {what}: expected {expected}, found {found}")]
    Embedded {
        /// The part of the adapter.
        what: String,
        /// What is possible.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// Settings out of range, or that cannot be used together.
    #[error("{what}: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// What is possible.
        expected: String,
        /// What was given.
        found: String,
    },

    /// There is nothing to learn from.
    #[error("{what}: expected {expected}, found {found}")]
    Data {
        /// The set of texts.
        what: String,
        /// How much text is needed.
        expected: String,
        /// How much there is.
        found: String,
    },

    /// Training diverged.
    #[error(
        "step {step}: {what} is {value}: training has diverged; {}. A lower learning rate, more \
         warm-up or a lower clipping bound help{}",
        kept(*last_saved, *best_step),
        place(*last_saved)
    )]
    NotFinite {
        /// The optimizer step, from 1.
        step: usize,
        /// The loss, or the gradient's norm.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step whose state is on disk; 0 for none.
        last_saved: usize,
        /// The step whose adapter was measured best and is on disk; 0 for none.
        best_step: usize,
    },

    /// A model's file, or its tokenizer.
    #[error(transparent)]
    Model(#[from] finezip_models::Error),

    /// Text that cannot be turned into tokens.
    #[error(transparent)]
    Tokenizer(#[from] finezip_core::Error),

    /// A computation on tensors failed.
    #[cfg(feature = "train")]
    #[error("tensor computation: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// What a run that diverged leaves.
fn kept(last_saved: usize, best_step: usize) -> String {
    match (last_saved, best_step) {
        (0, 0) => "nothing is kept".into(),
        (_, 0) => format!(
            "the state after step {last_saved} is kept, and no adapter, for none was measured \
             better than the model alone"
        ),
        _ => format!(
            "the adapter of step {best_step}, the best measured, and the state after step \
             {last_saved} are kept"
        ),
    }
}

/// Where to begin anew: a state is of settings that led astray.
fn place(last_saved: usize) -> &'static str {
    match last_saved {
        0 => "",
        _ => ", in another folder: the run in this one would diverge again",
    }
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn malformed(
        path: impl Into<PathBuf>,
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Malformed {
            path: path.into(),
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn misfit(
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Misfit {
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    #[cfg(feature = "train")]
    pub(crate) fn setting(
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Setting { what, expected: expected.to_string(), found: found.to_string() }
    }
}
