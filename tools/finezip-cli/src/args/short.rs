//! How short texts are treated: messages, records, primes.

use std::path::PathBuf;

use clap::Args;
use finezip_core::RecordRule;

use crate::units::parse_rule;

/// How `compress` treats short texts.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShortArguments {
    /// Make each input a message: coded as it is, with a few bytes that name the profile the
    /// reader must have. For inputs of up to 64 KiB
    #[arg(long, help_heading = "Short texts", conflicts_with_all = ["lines", "records", "frame_size",
        "embed_adapter", "memorize"])]
    pub(crate) compact: bool,
    /// Code each line by itself, so that `cat --record` reads it alone
    #[arg(long, help_heading = "Short texts", conflicts_with = "records")]
    pub(crate) lines: bool,
    /// Code each record by itself: records end with a line (`lines`), a NUL (`nul`) or after so
    /// many BYTES
    #[arg(long, value_name = "lines|nul|BYTES", value_parser = parse_rule, help_heading = "Short texts")]
    pub(crate) records: Option<RecordRule>,
    /// Text of the same kind, of up to 32 KiB, that the model reads before each lane, message or
    /// record. Archives hold it, messages refer to it
    #[arg(long, value_name = "FILE", help_heading = "Short texts")]
    pub(crate) prime: Option<PathBuf>,
    /// Write the profile, which readers of the messages may need, to this file
    #[arg(long, value_name = "FILE", help_heading = "Short texts", requires = "compact")]
    pub(crate) write_profile: Option<PathBuf>,
}
