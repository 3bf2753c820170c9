//! How text is coded with a language model: the model, its engine, the coder, lanes and windows.

use std::path::Path;

use finezip_mixer::tokens;
use finezip_models::hub::ModelChoice;

use super::adapter::{AdapterSettings, MemorizeSettings, adapter, memorize};
use super::{Product, at_least_one};
use crate::args::{
    CoderName, CodingArguments, Engine, Precision, RankBackendName, ScheduleName, ShortArguments,
};
use crate::exit::{Failure, Outcome};
use crate::store;

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

impl LanguageSettings {
    /// Resolves the options of `compress` that have to do with a model.
    pub(super) fn new(
        arguments: &CodingArguments,
        short: &ShortArguments,
        product: Product,
        ideal: bool,
    ) -> Outcome<Self> {
        Ok(Self {
            model: ModelChoice::new(&arguments.model).map_err(store::failure)?,
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
pub(super) fn refuse_without_model(
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
