//! The command line as it is written: names, values and help, without their meaning.
//!
//! [`crate::settings`] resolves it; nothing else reads these types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::short_args::ShortArguments;
use crate::units::{parse_bytes, parse_part, parse_range, parse_records};

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

/// The model used where none is named.
pub(crate) const DEFAULT_MODEL: &str = "smollm2-135m";

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
    /// Do not fetch a model that is not on this machine
    #[arg(long, help_heading = "Coding")]
    pub(crate) offline: bool,
    /// Bytes of text in a frame: small frames for random access, large ones for the ratio
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, help_heading = "Coding")]
    pub(crate) frame_size: Option<u64>,
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

/// `models`.
#[derive(Args, Debug)]
pub(crate) struct ModelsArguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

/// What to do about models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Show the models known by name, and which are on this machine
    List {
        /// As JSON, one array with an object a model
        #[arg(long)]
        json: bool,
    },
    /// Fetch models into the cache and check their hashes
    Fetch {
        /// Names of `models list`
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// How much is said.
        #[command(flatten)]
        verbosity: VerbosityArguments,
    },
    /// Show where a model lies
    Path {
        /// A name of `models list`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Hash models on this machine and compare with what is known of them
    Verify {
        /// Names of `models list`, or paths; all in the cache where none is given
        #[arg(value_name = "NAME|PATH")]
        models: Vec<String>,
        /// How much is said.
        #[command(flatten)]
        verbosity: VerbosityArguments,
    },
}
