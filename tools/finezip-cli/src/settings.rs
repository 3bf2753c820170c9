//! The command line resolved: what was meant, checked, with every default filled in.

use std::path::{Path, PathBuf};

use finezip_core::{Limits, RecordRule};
use finezip_lora::EmbeddedPrecision;
use finezip_mixer::tokens;

use crate::args::{
    AdapterArguments, AdapterPrecision, CoderName, CodingArguments, Engine, MachineArguments,
    Precision, RankBackendName, ReadingArguments, ScheduleName, ShortArguments, VerbosityArguments,
};
use crate::exit::{Failure, Outcome};
use crate::report::Report;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelChoice {
    /// A name in the catalog.
    Named(String),
    /// A GGUF file or a folder with safetensors.
    At(PathBuf),
}

impl ModelChoice {
    /// A path if it is written like one or lies there, else a name.
    pub(crate) fn new(text: &str) -> Self {
        let path = Path::new(text);
        let written_like_a_path = path.components().count() > 1
            || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if written_like_a_path || path.exists() {
            Self::At(path.to_owned())
        } else {
            Self::Named(text.to_owned())
        }
    }
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// finezip-exact.
    Exact(Precision),
    /// finezip-candle.
    Candle,
}

/// What codes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoderChoice {
    /// Arithmetic coding.
    Arithmetic,
    /// Ranks through a byte compressor.
    Rank(RankBackendName),
    /// Mixing, at a level or otherwise.
    Mixer(tokens::Settings),
}

/// An adapter that is merged into the model.
#[derive(Clone, Debug)]
pub(crate) struct AdapterSettings {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// How it is rounded to travel in the archive, if it does.
    pub(crate) embed: Option<EmbeddedPrecision>,
}

/// An adapter that is trained on each input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemorizeSettings {
    /// Steps, if they are chosen.
    pub(crate) steps: Option<usize>,
    /// The rank, if it is chosen.
    pub(crate) rank: Option<usize>,
    /// How the adapter is rounded.
    pub(crate) precision: EmbeddedPrecision,
}

/// How text is coded with a language model.
#[derive(Clone, Debug)]
pub(crate) struct LanguageSettings {
    /// The model.
    pub(crate) model: ModelChoice,
    /// An adapter that is merged into it.
    pub(crate) adapter: Option<AdapterSettings>,
    /// Whether an adapter is trained on each input, and how.
    pub(crate) memorize: Option<MemorizeSettings>,
    /// What computes it.
    pub(crate) engine: EngineChoice,
    /// What codes under its distributions.
    pub(crate) coder: CoderChoice,
    /// Whether the model's last matrix is learned while coding.
    pub(crate) learn: bool,
    /// Tokens seen at most; none for the usual number.
    pub(crate) context_tokens: Option<usize>,
    /// The usual number, where the model was made for as many.
    pub(crate) usual_context_tokens: usize,
    /// How tokens become lanes and windows; none for what the engine does best.
    pub(crate) schedule: Option<ScheduleName>,
    /// Lanes; none to choose from size and memory.
    pub(crate) lanes: Option<usize>,
    /// Text that every lane begins with.
    pub(crate) prime: Option<Vec<u8>>,
    /// Whether the ideal code length is measured.
    pub(crate) ideal: bool,
    /// Whether a missing model may not be fetched.
    pub(crate) offline: bool,
}

/// How text is coded.
#[derive(Clone, Debug)]
pub(crate) struct CodingSettings {
    /// With a language model, if any.
    pub(crate) language: Option<LanguageSettings>,
    /// Bytes of text in a frame; none for the usual number.
    pub(crate) frame_bytes: Option<usize>,
    /// What is made of an input.
    pub(crate) product: Product,
}

/// What `compress` makes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// An archive.
    Archive,
    /// An archive of records.
    Records(RecordRule),
    /// A message.
    Message,
}

impl Product {
    fn new(arguments: &ShortArguments) -> Self {
        match (arguments.compact, arguments.lines, arguments.records) {
            (true, ..) => Self::Message,
            (_, true, _) => Self::Records(RecordRule::LINES),
            (.., Some(rule)) => Self::Records(rule),
            _ => Self::Archive,
        }
    }
}

impl CodingSettings {
    /// Resolves the options of `compress`.
    pub(crate) fn new(
        arguments: &CodingArguments,
        short: &ShortArguments,
        ideal: bool,
    ) -> Outcome<Self> {
        let product = Product::new(short);
        let frame_bytes = match arguments.frame_size {
            Some(bytes) => Some(usize::try_from(bytes).map_err(|_| {
                Failure::usage(format!("a frame of {bytes} bytes does not fit in memory"))
            })?),
            None => None,
        };
        let language = if arguments.model == "none" {
            refuse_without_model(arguments, short, ideal)?;
            None
        } else {
            Some(LanguageSettings {
                model: ModelChoice::new(&arguments.model),
                adapter: adapter(&arguments.adapter)?,
                memorize: memorize(&arguments.adapter, ideal)?,
                engine: engine(arguments)?,
                coder: coder(arguments, product)?,
                learn: arguments.learn,
                context_tokens: at_least_one("--context", arguments.context)?,
                usual_context_tokens: usual_context_tokens(
                    arguments.level.given().unwrap_or(tokens::DEFAULT_LEVEL),
                ),
                schedule: arguments.schedule,
                lanes: at_least_one("--batch", arguments.batch)?,
                prime: short.prime.as_deref().map(prime).transpose()?,
                ideal,
                offline: arguments.offline,
            })
        };
        Ok(Self { language, frame_bytes, product })
    }
}

/// The text of a file that lanes are to begin with.
fn prime(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| Failure::from(error).about(path.display()))
}

/// Tokens that are seen at a level unless set otherwise: wider windows are slower and make smaller
/// archives, as higher levels do.
pub(crate) fn usual_context_tokens(level: u32) -> usize {
    match level {
        ..8 => 512,
        8 => 1024,
        9.. => 2048,
    }
}

fn at_least_one(option: &str, number: Option<usize>) -> Outcome<Option<usize>> {
    if number == Some(0) {
        return Err(Failure::usage(format!("{option} is at least 1, 0 was given")));
    }
    Ok(number)
}

fn precision(named: AdapterPrecision) -> EmbeddedPrecision {
    match named {
        AdapterPrecision::Int4 => EmbeddedPrecision::Int4,
        AdapterPrecision::Int8 => EmbeddedPrecision::Int8,
        AdapterPrecision::F16 => EmbeddedPrecision::F16,
    }
}

fn adapter(arguments: &AdapterArguments) -> Outcome<Option<AdapterSettings>> {
    if arguments.embed_adapter.is_some() && arguments.adapter.is_none() && !arguments.memorize {
        return Err(Failure::usage("--embed-adapter needs --adapter FOLDER, or --memorize"));
    }
    let embed = arguments.embed_adapter.map(precision);
    Ok(arguments.adapter.clone().map(|folder| AdapterSettings { folder, embed }))
}

fn memorize(arguments: &AdapterArguments, ideal: bool) -> Outcome<Option<MemorizeSettings>> {
    if !arguments.memorize {
        let given = [
            ("--memorize-steps", arguments.memorize_steps.is_some()),
            ("--memorize-rank", arguments.memorize_rank.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Failure::usage(format!("{option} needs --memorize"))),
            None => Ok(None),
        };
    }
    if arguments.adapter.is_some() {
        return Err(Failure::usage("--memorize makes an adapter; --adapter gives one: choose"));
    }
    if ideal {
        return Err(Failure::usage("--ideal measures one archive; --memorize makes two"));
    }
    Ok(Some(MemorizeSettings {
        steps: at_least_one("--memorize-steps", arguments.memorize_steps)?,
        rank: at_least_one("--memorize-rank", arguments.memorize_rank)?,
        precision: arguments.embed_adapter.map_or(EmbeddedPrecision::Int4, precision),
    }))
}

fn engine(arguments: &CodingArguments) -> Outcome<EngineChoice> {
    match (arguments.engine.unwrap_or(Engine::Exact), arguments.precision) {
        (Engine::Exact, precision) => Ok(EngineChoice::Exact(precision.unwrap_or(Precision::Int8))),
        (Engine::Candle, None) => Ok(EngineChoice::Candle),
        (Engine::Candle, Some(_)) => {
            Err(Failure::usage("--precision belongs to --engine exact; candle computes in f32"))
        }
    }
}

/// Level 1 mixes nothing, which is plain arithmetic coding. Short texts are over before a mixer
/// has learned anything.
fn coder(arguments: &CodingArguments, product: Product) -> Outcome<CoderChoice> {
    let level = arguments.level.given();
    let unmixed = level == Some(1)
        || product != Product::Archive && level.is_none() && arguments.mixer.is_empty();
    let usual = if unmixed { CoderName::Ac } else { CoderName::Mixer };
    let name = arguments.coder.unwrap_or(usual);
    if name != CoderName::Rank && arguments.rank_backend.is_some() {
        return Err(Failure::usage("--rank-backend needs --coder rank"));
    }
    if name != CoderName::Mixer && !arguments.mixer.is_empty() {
        return Err(Failure::usage("--mixer sets parts of --coder mixer"));
    }
    match (name, level) {
        (CoderName::Mixer, Some(1)) => Err(Failure::usage("--coder mixer has levels -2 to -9")),
        (CoderName::Mixer, level) => {
            Ok(CoderChoice::Mixer(mixer(level.unwrap_or(tokens::DEFAULT_LEVEL), &arguments.mixer)?))
        }
        (CoderName::Ac, None | Some(1)) => Ok(CoderChoice::Arithmetic),
        (CoderName::Rank, None) => {
            Ok(CoderChoice::Rank(arguments.rank_backend.unwrap_or(RankBackendName::Zlib)))
        }
        (_, Some(level)) => Err(Failure::usage(format!(
            "-{level} is a level of --coder mixer; ac and rank have none"
        ))),
    }
}

/// A level of the mixer with parts of its own.
fn mixer(level: u32, parts: &[(String, u64)]) -> Outcome<tokens::Settings> {
    let mut settings = tokens::Settings::level(level);
    for (name, number) in parts {
        let part = match name.as_str() {
            "contexts" => &mut settings.contexts,
            "matches" => &mut settings.matches,
            "weight_sets" => &mut settings.weight_sets,
            "refinements" => &mut settings.refinements,
            "table_bits" => &mut settings.table_bits,
            _ => {
                return Err(Failure::usage(format!(
                    "--mixer: {name} is no part of it; contexts, matches, weight_sets, \
                     refinements and table_bits are"
                )));
            }
        };
        *part = *number;
    }
    settings.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(settings)
}

/// What has no meaning without a model is a mistake, not something to pass over.
fn refuse_without_model(
    arguments: &CodingArguments,
    short: &ShortArguments,
    ideal: bool,
) -> Outcome {
    let given = [
        ("--engine", arguments.engine.is_some()),
        ("--precision", arguments.precision.is_some()),
        ("--coder", arguments.coder.is_some()),
        ("a level", arguments.level.given().is_some()),
        ("--mixer", !arguments.mixer.is_empty()),
        ("--learn", arguments.learn),
        ("--rank-backend", arguments.rank_backend.is_some()),
        ("--context", arguments.context.is_some()),
        ("--schedule", arguments.schedule.is_some()),
        ("--batch", arguments.batch.is_some()),
        ("--adapter", arguments.adapter.adapter.is_some()),
        ("--embed-adapter", arguments.adapter.embed_adapter.is_some()),
        ("--memorize", arguments.adapter.memorize),
        ("--memorize-steps", arguments.adapter.memorize_steps.is_some()),
        ("--memorize-rank", arguments.adapter.memorize_rank.is_some()),
        ("--prime", short.prime.is_some()),
        ("--ideal", ideal),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            Err(Failure::usage(format!("{option} needs a model; --model none was given")))
        }
        None => Ok(()),
    }
}

/// What of the machine may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineSettings {
    /// Threads, at least 1.
    pub(crate) threads: usize,
    /// Bytes that lanes may take; none for the usual bound.
    pub(crate) memory_bytes: Option<u64>,
}

impl MachineSettings {
    /// Resolves `-T` and `--memory`.
    pub(crate) fn new(arguments: &MachineArguments) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if arguments.threads == 0 { cores() } else { usize::from(arguments.threads) };
        Self { threads, memory_bytes: arguments.memory }
    }

    /// What an archive may ask for.
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits { session_bytes: self.memory_bytes.unwrap_or(usual.session_bytes), ..usual }
    }
}

/// What reading an archive may use.
#[derive(Clone, Debug)]
pub(crate) struct ReadingSettings {
    /// A model to use if it is the one the archive names.
    pub(crate) model: Option<PathBuf>,
    /// Adapters to use if they are the ones archives name.
    pub(crate) adapters: Vec<PathBuf>,
    /// The profile of messages.
    pub(crate) profile: Option<PathBuf>,
    /// What of the machine may be used.
    pub(crate) machine: MachineSettings,
}

impl ReadingSettings {
    /// Resolves what reading commands share.
    pub(crate) fn new(arguments: &ReadingArguments) -> Self {
        Self {
            model: arguments.model.clone(),
            adapters: arguments.adapter.clone(),
            profile: arguments.profile.clone(),
            machine: MachineSettings::new(&arguments.machine),
        }
    }
}

/// How much is said.
pub(crate) fn report(arguments: VerbosityArguments) -> Report {
    Report { quiet: arguments.quiet, verbose: arguments.verbose }
}
