//! What of the machine may be used, and where the parts lie that archives name.

use std::path::PathBuf;

use clap::Args;

use crate::units::parse_bytes;

/// What reading an archive may use: nothing here changes what comes out.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReadingArguments {
    /// The model the archive names, if it is not in the cache: a GGUF file or a folder
    #[arg(long, value_name = "PATH", help_heading = "Machine")]
    pub(crate) model: Option<PathBuf>,
    /// The adapter the archive names, if it is not in the archive itself: its folder. May be given
    /// more than once
    #[arg(long, value_name = "FOLDER", help_heading = "Machine")]
    pub(crate) adapter: Vec<PathBuf>,
    /// The profile of messages, if it is none that a model's default settings make
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub(crate) profile: Option<PathBuf>,
    /// What of the machine may be used.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// More threads than any machine has use for: each costs memory, and the system has an end of them.
const MOST_THREADS: i64 = 1024;

/// What may be used of the machine.
#[derive(Args, Clone, Debug)]
pub(crate) struct MachineArguments {
    /// Threads to compute with; 0 for one a core. The result does not depend on it
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, help_heading = "Machine")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=MOST_THREADS))]
    pub(crate) threads: u16,
    /// The most memory that lanes may take, such as 2G
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, help_heading = "Machine")]
    pub(crate) memory: Option<u64>,
}
