//! What can go wrong, with what was expected and what was found.

use crate::message::{ProfileId, ProfilePrefix};
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

    /// The input does not begin like an archive.
    #[error("not a finezip archive: it begins with {}, an archive with 8f 46 5a 1a", hex(.found))]
    NotAnArchive {
        /// The first bytes, at most four.
        found: Vec<u8>,
    },

    /// A newer (or unknown) format version.
    #[error("archive format version {found}; this finezip reads version {known}: use a newer one")]
    FormatVersion {
        /// The archive's version.
        found: u8,
        /// The newest version known here.
        known: u8,
    },

    /// The archive ends too early.
    #[error(
        "archive truncated: {}the block at offset {offset} is not whole ({held} bytes of it are there)",
        place(*.frame)
    )]
    Truncated {
        /// Offset of the block that is not whole.
        offset: u64,
        /// Bytes of it that are there.
        held: u64,
        /// Number of the frame it belongs to, if it stands among frames.
        frame: Option<u64>,
    },

    /// Bytes that no compressor wrote.
    #[error("archive damaged: {}{part} at offset {offset}: {what}", place(*.frame))]
    Damaged {
        /// The part of the format.
        part: &'static str,
        /// Number of the frame in its member.
        frame: Option<u64>,
        /// Offset of the block in the archive.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },

    /// A descriptor that does not describe what frames need.
    #[error("the archive's descriptor is not valid: {what}")]
    Descriptor {
        /// What is wrong.
        what: String,
    },

    /// A declared length over a limit.
    #[error("the archive declares {found} {what}; the limit is {limit}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// The number declared.
        found: u64,
        /// The largest allowed.
        limit: u64,
    },

    /// A decoded frame is not the text that was compressed.
    #[error(
        "frame {frame} decoded to other bytes than were compressed (XXH3 {found:016x}, expected \
         {expected:016x}): {hint}"
    )]
    Content {
        /// Number of the frame in its member.
        frame: u64,
        /// The hash the archive holds.
        expected: u64,
        /// The hash of what was decoded.
        found: u64,
        /// What to try.
        hint: String,
    },

    /// The archive needs another part than the one at hand.
    #[error("the archive needs {part} {expected}; at hand is {found}")]
    Mismatch {
        /// "model", "adapter", "engine", "tokenizer", "schedule", "coder", "prime" or "byte coder".
        part: &'static str,
        /// What the archive says.
        expected: String,
        /// What is at hand.
        found: String,
    },

    /// Records were asked for, and the archive was not compressed as records.
    #[error("frame {frame} has no records")]
    NoRecords {
        /// Number of the frame in its member.
        frame: u64,
    },

    /// The tokens of a frame are not its text.
    #[error("a frame of {expected} bytes decoded to more")]
    TextTooLong {
        /// Bytes the frame declares.
        expected: u64,
    },

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

    /// A message was coded with another profile than the one at hand.
    #[error("the message needs profile {needed}; at hand is {held}")]
    Profile {
        /// The part of the profile's identifier that the message holds.
        needed: ProfilePrefix,
        /// The profile that was given.
        held: ProfileId,
    },

    /// A message did not decode to what was coded.
    #[error(
        "the message is damaged, or its profile is another of the same name: its text has check \
         {found:08x}, expected {expected:08x}"
    )]
    MessageCheck {
        /// What the message holds.
        expected: u32,
        /// What was decoded.
        found: u32,
    },

    /// Bytes that are no message of this format.
    #[error("not a finezip message: {what}")]
    Message {
        /// What was expected and what was found.
        what: String,
    },

    /// A file that is no profile.
    #[error("not a finezip profile: {what}")]
    NotAProfile {
        /// What was expected and what was found.
        what: String,
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

    /// The archive needs an adapter that is not at hand.
    #[error("adapter (BLAKE3 {fingerprint}) is needed: {message}")]
    AdapterMissing {
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
    /// Damage at a place that [`Error::at`] fills in.
    pub(crate) fn damaged(part: &'static str, what: impl Into<String>) -> Self {
        Self::Damaged { part, frame: None, offset: 0, what: what.into() }
    }

    /// A checksum that does not hold.
    pub(crate) fn checksum(part: &'static str, expected: u32, found: u32) -> Self {
        Self::damaged(part, format!("checksum {found:08x}, expected {expected:08x}"))
    }

    /// The same error with its place in the archive.
    pub(crate) fn at(mut self, at_frame: Option<u64>, at_offset: u64) -> Self {
        if let Self::Damaged { frame, offset, .. } = &mut self {
            *frame = at_frame;
            *offset = at_offset;
        }
        self
    }

    /// What a `Read` or `Write` adapter answers after it has failed. What it was to code then is
    /// missing from whatever would follow, so nothing may.
    pub(crate) fn failed_before(adapter: &str) -> Self {
        Self::Io(std::io::Error::other(format!(
            "this {adapter} has failed before, and lacks what it had at hand then: begin again \
             with a new one"
        )))
    }

    /// The error as an [`std::io::Error`], for the `Read` and `Write` adapters; I/O errors are
    /// handed through.
    pub fn into_io(self) -> std::io::Error {
        match self {
            Self::Io(error) => error,
            other => std::io::Error::new(std::io::ErrorKind::InvalidData, other),
        }
    }

    /// The error inside an [`std::io::Error`] made by [`Error::into_io`].
    pub fn from_io(error: std::io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Self::Io(error),
        }
    }

    /// An error of the engine named.
    pub fn engine(engine: impl Into<String>, message: impl ToString) -> Self {
        Self::Engine { engine: engine.into(), message: message.to_string() }
    }

    /// An error of a payload under the coder named.
    pub fn payload(coder: impl Into<String>, message: impl ToString) -> Self {
        Self::Payload { coder: coder.into(), message: message.to_string() }
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".into();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn place(frame: Option<u64>) -> String {
    frame.map_or_else(String::new, |frame| format!("frame {frame}, "))
}
