//! Which files are written.

use std::path::PathBuf;

use clap::Args;

/// Which files are written, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArguments {
    /// Write to this file
    #[arg(short, long, value_name = "FILE", help_heading = "Files")]
    pub(crate) output: Option<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long, help_heading = "Files", conflicts_with = "output")]
    pub(crate) stdout: bool,
    /// Replace existing files; when compressing, also write to a terminal, and compress a .fz file
    /// once more
    #[arg(short, long, help_heading = "Files")]
    pub(crate) force: bool,
    /// Keep input files (the default)
    #[arg(short, long, help_heading = "Files", overrides_with = "rm")]
    pub(crate) keep: bool,
    /// Remove each input file once its output stands
    #[arg(long, help_heading = "Files", overrides_with = "keep")]
    pub(crate) rm: bool,
}
