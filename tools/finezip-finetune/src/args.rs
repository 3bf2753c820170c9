//! The command line as it is written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::options::RunOptions;

/// Fine-tunes a language model on text: LoRA and QLoRA adapters in PEFT's format.
#[derive(Debug, Parser)]
#[command(
    name = "finezip-finetune",
    version,
    about = "Fine-tunes a language model on text: LoRA and QLoRA adapters in PEFT's format",
    long_about = "Fine-tunes a language model on text: LoRA and QLoRA adapters in PEFT's format.\n\n\
        A run writes a folder: config.json, metrics.jsonl, plot.svg and plot.png, summary.json, \
        and the adapter of the best evaluation in adapter/. A run that was stopped goes on when \
        the same command is given again, and ends with the same adapter, bit for bit.",
    after_help = "The environment variable RAYON_NUM_THREADS sets the number of threads; without it \
        every core is used.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Arguments {
    /// What to do other than one run.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// One run.
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// What to do other than one run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make every run of a grid of models and settings, and say which is best
    Sweep(SweepArguments),
}

/// A sweep.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// Models, texts, settings and the grid, in TOML (see docs/finetune.md)
    pub(crate) file: PathBuf,
    /// Never download a model
    #[arg(long)]
    pub(crate) offline: bool,
}

/// One run.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The model: a name of `finezip-cli models list`, a GGUF file, or a folder with safetensors
    #[arg(long, default_value = "smollm2-135m", value_name = "NAME|PATH")]
    pub(crate) model: String,
    /// Text to learn from: files, folders (with all files below), or patterns such as 'docs/**/*.md'
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub(crate) data: Vec<String>,
    /// Text to measure on; without it a part of the data is set aside
    #[arg(long, num_args = 1.., value_name = "PATH")]
    pub(crate) held_out: Vec<String>,
    /// Share of the data that is set aside where --held-out is not given
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) held_out_share: f64,
    /// The run's folder
    #[arg(long, required = true, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Never download a model
    #[arg(long)]
    pub(crate) offline: bool,
    /// What decides the run.
    #[command(flatten)]
    pub(crate) options: RunOptions,
}
