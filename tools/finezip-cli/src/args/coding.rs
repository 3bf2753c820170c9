//! How text is coded: the model, its engine, the coder, and how tokens are laid out.

use clap::{Args, ValueEnum};

use super::adapter::AdapterArguments;
use super::models::DEFAULT_MODEL;
use crate::units::{parse_bytes, parse_part};

/// Engines by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The same bits on every machine
    Exact,
    /// candle-transformers models; exact on the same kind of machine only
    Candle,
}

/// Precisions of the exact engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// Rotated 8-bit weights
    Int8,
    /// 4-bit blocks
    Int4,
    /// 32-bit floating point in one fixed order
    F32,
}

/// Coders by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoderName {
    /// Mixing, then arithmetic coding
    Mixer,
    /// Arithmetic coding
    Ac,
    /// Ranks through a byte compressor
    Rank,
}

/// The level, as users of compressors know it; one at most.
#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
pub(crate) struct LevelArguments {
    /// Level 1: no mixing, fastest.
    #[arg(short = '1', help_heading = "Coding", hide_short_help = false)]
    pub(crate) level_1: bool,
    /// Level 2.
    #[arg(short = '2', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_2: bool,
    /// Level 3.
    #[arg(short = '3', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_3: bool,
    /// Level 4.
    #[arg(short = '4', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_4: bool,
    /// Level 5.
    #[arg(short = '5', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_5: bool,
    /// Level 6: the default.
    #[arg(short = '6', help_heading = "Coding", hide_short_help = false)]
    pub(crate) level_6: bool,
    /// Level 7.
    #[arg(short = '7', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_7: bool,
    /// Level 8.
    #[arg(short = '8', help_heading = "Coding", hide_short_help = true)]
    pub(crate) level_8: bool,
    /// Level 9: everything, smallest.
    #[arg(short = '9', help_heading = "Coding", hide_short_help = false)]
    pub(crate) level_9: bool,
}

impl LevelArguments {
    /// The level that was given.
    pub(crate) fn given(self) -> Option<u32> {
        let levels = [
            self.level_1,
            self.level_2,
            self.level_3,
            self.level_4,
            self.level_5,
            self.level_6,
            self.level_7,
            self.level_8,
            self.level_9,
        ];
        (1..).zip(levels).find(|(_, given)| *given).map(|(level, _)| level)
    }
}

/// Byte compressors of the rank coder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RankBackendName {
    /// DEFLATE
    Zlib,
    /// Zstandard
    Zstd,
    /// Brotli
    Brotli,
    /// bzip2, the paper's
    Bzip2,
}

/// Schedules by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleName {
    /// Windows that roll over few long lanes, with an attention sink
    Rolling,
    /// Chunks of the context's length coded apart, many at a time: FineZip's dynamic context
    ChunkReset,
    /// The whole window computed again for each token: LLMZip's, slow
    FixedWindow,
}

/// How text is coded. All of it is written into the archive.
#[derive(Args, Clone, Debug)]
pub(crate) struct CodingArguments {
    /// The language model: a name of `models list`, the path of a GGUF file or of a folder with
    /// safetensors, or `none`
    #[arg(long, value_name = "NAME|PATH|none", default_value = DEFAULT_MODEL, help_heading = "Coding")]
    pub(crate) model: String,
    /// What computes the model: `exact` decodes on every machine, `candle` on the same kind only
    #[arg(long, value_name = "ENGINE", help_heading = "Coding")]
    pub(crate) engine: Option<Engine>,
    /// How the exact engine rounds weights: `int8` is fastest in batches, `int4` takes half the
    /// memory, `f32` is slow and the reference
    #[arg(long, value_name = "PRECISION", help_heading = "Coding")]
    pub(crate) precision: Option<Precision>,
    /// What turns distributions into bytes: `mixer` also learns from the text as it goes, `ac` is
    /// plain arithmetic coding, `rank` codes ranks through a byte compressor (FineZip's method)
    /// [default: mixer; ac for messages and records]
    #[arg(long, value_name = "CODER", help_heading = "Coding")]
    pub(crate) coder: Option<CoderName>,
    /// How much is mixed.
    #[command(flatten)]
    pub(crate) level: LevelArguments,
    /// Parts of the mixer that differ from the level's, such as `matches=0,refinements=0`: for
    /// measurements
    #[arg(long, value_name = "PART=N,…", value_delimiter = ',', value_parser = parse_part,
        help_heading = "Coding", hide_short_help = true)]
    pub(crate) mixer: Vec<(String, u64)>,
    /// Learn while coding: correct the model's last matrix after each token, as decoding will
    #[arg(long, help_heading = "Coding")]
    pub(crate) learn: bool,
    /// The byte compressor behind `--coder rank` [default: zlib]
    #[arg(long, value_name = "NAME", help_heading = "Coding")]
    pub(crate) rank_backend: Option<RankBackendName>,
    /// Tokens the model sees at most
    #[arg(long, value_name = "TOKENS", help_heading = "Coding")]
    pub(crate) context: Option<usize>,
    /// How tokens become lanes and windows [default: rolling where the engine can, else chunk-reset]
    #[arg(long, value_name = "NAME", help_heading = "Coding")]
    pub(crate) schedule: Option<ScheduleName>,
    /// Lanes that are computed together; chosen from size and memory unless given
    #[arg(long, value_name = "LANES", help_heading = "Coding")]
    pub(crate) batch: Option<usize>,
    /// Which adapter is merged into the model.
    #[command(flatten)]
    pub(crate) adapter: AdapterArguments,
    /// Do not fetch a model that is not on this machine
    #[arg(long, help_heading = "Coding")]
    pub(crate) offline: bool,
    /// Bytes of text in a frame: small frames for random access, large ones for the ratio
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, help_heading = "Coding")]
    pub(crate) frame_size: Option<u64>,
}
