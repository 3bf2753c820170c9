//! Adapters: one that is given, or one that is trained on each input.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Precisions of embedded adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdapterPrecision {
    /// 3 to 4 bits a value
    Int4,
    /// 7 to 8 bits a value
    Int8,
    /// 16-bit floats
    F16,
}

/// An adapter that is merged into the model, given or trained.
#[derive(Args, Clone, Debug)]
pub(crate) struct AdapterArguments {
    /// An adapter to merge into the model: a folder in PEFT's format, such as finezip-finetune
    /// writes. The archive names it by its hash; reading needs it again
    #[arg(long, value_name = "FOLDER", help_heading = "Adapter")]
    pub(crate) adapter: Option<PathBuf>,
    /// Store the adapter in the archive, rounded and coded, so that reading needs nothing but the
    /// model [default: int4]
    #[arg(long, value_name = "PRECISION", num_args = 0..=1, require_equals = true,
        default_missing_value = "int4", help_heading = "Adapter")]
    pub(crate) embed_adapter: Option<AdapterPrecision>,
    /// Fine-tune on each input, and compress it with the adapter embedded, if that is smaller than
    /// without (slow)
    #[arg(long, help_heading = "Adapter")]
    pub(crate) memorize: bool,
    /// Training steps of --memorize [default: a pass over the text, at most 200]
    #[arg(long, value_name = "STEPS", help_heading = "Adapter")]
    pub(crate) memorize_steps: Option<usize>,
    /// The rank of the adapter of --memorize, on all linears [default: rank and linears by size]
    #[arg(long, value_name = "RANK", help_heading = "Adapter")]
    pub(crate) memorize_rank: Option<usize>,
}
