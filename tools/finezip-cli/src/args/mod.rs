//! The command line as it is written: names, values and help, without their meaning.
//!
//! Here are the commands, and in the files beside this one what their options are about.
//! [`crate::settings`] resolves them; nothing else reads these types.

mod adapter;
mod coding;
mod files;
mod machine;
mod models;
mod short;

pub(crate) use adapter::{AdapterArguments, AdapterPrecision};
pub(crate) use coding::{
    CoderName, CodingArguments, Engine, Precision, RankBackendName, ScheduleName,
};
pub(crate) use files::OutputArguments;
pub(crate) use machine::{MachineArguments, ReadingArguments};
pub(crate) use models::{ModelsArguments, ModelsCommand};
pub(crate) use short::ShortArguments;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::units::{parse_range, parse_records};

/// Compresses text with a language model, losslessly.
#[derive(Debug, Parser)]
#[command(
    name = "finezip-cli",
    version,
    about = "Compresses text with a language model, losslessly",
    long_about = "Compresses text with a language model, losslessly.\n\n\
        An archive names the model that wrote it by its hash; the same model is needed to read \
        it. Without FILE, or where FILE is -, standard input is read and standard output written.",
    after_help = "Exit codes: 0 done, 1 a file could not be read or written, 2 wrong usage, \
        3 damaged archive, 4 model or adapter missing or another one, 130 interrupted, 141 output \
        closed."
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compress files to archives (FILE to FILE.fz)
    Compress(CompressArguments),
    /// Bring back what archives hold (FILE.fz to FILE)
    Decompress(DecompressArguments),
    /// Decode archives and check every byte, writing nothing
    Test(TestArguments),
    /// Show what archives hold and what they need
    List(ListArguments),
    /// Write a range of an archive's text to standard output, decoding only the frames that hold it
    Cat(CatArguments),
    /// Names, places and hashes of language models
    Models(ModelsArguments),
    /// Write shell completions to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual page to standard output, or those of all commands to a folder
    Man {
        /// Folder for one page a command
        #[arg(long, value_name = "FOLDER")]
        out_dir: Option<PathBuf>,
    },
}

/// How much is said.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct VerbosityArguments {
    /// Say nothing but errors
    #[arg(short, long, help_heading = "Messages")]
    pub(crate) quiet: bool,
    /// Say more: parts, frames, time in engine and coder
    #[arg(short, long, help_heading = "Messages", conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// `compress`.
#[derive(Args, Debug)]
pub(crate) struct CompressArguments {
    /// Files to compress; - or none for standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Which files are written.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// How text is coded.
    #[command(flatten)]
    pub(crate) coding: CodingArguments,
    /// How short texts are treated.
    #[command(flatten)]
    pub(crate) short: ShortArguments,
    /// What of the machine may be used.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    /// Decode each archive again, from its bytes, before it appears under its name
    #[arg(long, help_heading = "Files")]
    pub(crate) verify: bool,
    /// Report the ideal code length of the model's distributions beside the coder's (slower)
    #[arg(long, help_heading = "Messages")]
    pub(crate) ideal: bool,
    /// Write sizes, times and what --ideal measures to this file, a line of JSON for each input
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub(crate) statistics: Option<PathBuf>,
    /// How much is said.
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArguments,
}

/// `decompress`.
#[derive(Args, Debug)]
pub(crate) struct DecompressArguments {
    /// Archives; - or none for standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Which files are written.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// Read past damage: write every frame that is whole and say what is lost
    #[arg(long, help_heading = "Files")]
    pub(crate) recover: bool,
    /// Where the model is and what of the machine may be used.
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
    /// How much is said.
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArguments,
}

/// `test`.
#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Archives; - or none for standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the model is and what of the machine may be used.
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
    /// How much is said.
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArguments,
}

/// `list`.
#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// Archives
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// As JSON, one array with an object an archive
    #[arg(long)]
    pub(crate) json: bool,
}

/// `cat`.
#[derive(Args, Debug)]
pub(crate) struct CatArguments {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Byte offsets of the text: A..B (B not included), A.. or ..B
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "..")]
    pub(crate) range: std::ops::Range<u64>,
    /// Numbers of records, from 0, in an archive made with --lines or --records: N, or A..B
    #[arg(long, value_name = "N|A..B", value_parser = parse_records, conflicts_with = "range")]
    pub(crate) record: Option<std::ops::Range<u64>>,
    /// Where the model is and what of the machine may be used.
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
    /// How much is said.
    #[command(flatten)]
    pub(crate) verbosity: VerbosityArguments,
}
