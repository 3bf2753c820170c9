//! How the tool ends: exit codes, and failures that say which file, what was found and what to do.
//!
//! Codes are part of the interface (scripts test them), so each has one meaning, documented in
//! `docs/cli.md`. With several files the first failure decides.

use std::fmt;
use std::io;

use finezip_core::Error;

/// Why the tool ended without doing all it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// All was done.
    Done = 0,
    /// A file could not be read or written, or was refused (it exists, it is a terminal).
    File = 1,
    /// The command line asks for something that does not exist or does not fit together.
    Usage = 2,
    /// An archive (or a message, or a profile) is damaged, truncated, or none at all, or asks for
    /// more than is allowed.
    Archive = 3,
    /// A model (or another part an archive names) is missing, does not fit or failed.
    Model = 4,
    /// Stopped by a signal.
    Interrupted = 130,
    /// Whoever read our output stopped reading.
    BrokenPipe = 141,
}

/// A failure with its message.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process ends with, if this is the first failure.
    pub(crate) code: Code,
    /// What was expected, what was found, what to do.
    pub(crate) message: String,
    /// Whether the other files would fail for the same reason, or be of no use.
    pub(crate) is_fatal: bool,
    /// Whether the message says what it is about.
    names_subject: bool,
}

/// The result of a step that can fail.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with its message.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_fatal: false, names_subject: false }
    }

    /// A mistake on the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A file that was refused.
    pub(crate) fn file(message: impl Into<String>) -> Self {
        Self::new(Code::File, message)
    }

    /// The same failure, which ends the whole run and is about no one file.
    #[must_use]
    pub(crate) fn fatal(mut self) -> Self {
        self.is_fatal = true;
        self.names_subject = true;
        self
    }

    /// The same failure, after which no other file is taken, and what that means.
    #[must_use]
    pub(crate) fn last(mut self, meaning: &str) -> Self {
        self.is_fatal = true;
        self.message.push_str("; ");
        self.message.push_str(meaning);
        self
    }

    /// The same failure, which names its subject itself.
    #[must_use]
    pub(crate) fn unnamed(mut self) -> Self {
        self.names_subject = true;
        self
    }

    /// The same failure, said of `subject` unless it names one.
    #[must_use]
    pub(crate) fn about(mut self, subject: impl fmt::Display) -> Self {
        if !self.names_subject {
            self.message = format!("{subject}: {}", self.message);
        }
        self
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return Error::from_io(error).into();
        }
        let code =
            if error.kind() == io::ErrorKind::BrokenPipe { Code::BrokenPipe } else { Code::File };
        Self::new(code, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Io(error) => return error.into(),
            error => error,
        };
        let code = match &error {
            Error::Settings(_) | Error::NoRecords { .. } => Code::Usage,
            Error::Mismatch { .. }
            | Error::Profile { .. }
            | Error::ModelMissing { .. }
            | Error::AdapterMissing { .. }
            | Error::Unknown { .. }
            | Error::Engine { .. } => Code::Model,
            _ => Code::Archive,
        };
        let mut message = error.to_string();
        if let Some(advice) = advice(&error) {
            message.push_str("; ");
            message.push_str(advice);
        }
        Self::new(code, message)
    }
}

/// What to do about an error, where the error does not say it itself.
fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::NotAnArchive { .. } => Some("to make one of it, use `finezip-cli compress`"),
        Error::Truncated { .. } => {
            Some("get it whole again, or `finezip-cli decompress --recover` what is there of it")
        }
        Error::Damaged { .. } | Error::Payload { .. } | Error::TextTooLong { .. } => Some(
            "get an undamaged copy, or `finezip-cli decompress --recover` what is whole of this one",
        ),
        Error::Limit { what, .. } if what.contains("session") => {
            Some("allow more with --memory, if the archive is from someone you trust")
        }
        Error::NoRecords { .. } => {
            Some("`finezip-cli compress --lines` or `--records` makes archives of records")
        }
        Error::Profile { .. } => Some("give the one that was written with the messages"),
        Error::MessageCheck { .. } | Error::Message { .. } => Some("get an undamaged copy"),
        Error::Unknown { .. } => Some("a newer finezip-cli may know it"),
        _ => None,
    }
}
