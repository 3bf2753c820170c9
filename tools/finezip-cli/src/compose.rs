//! The libraries' parts put together: as the settings say for a compressor, as an archive says
//! for a decompressor. Models stay open, so that `--verify` and further files find them again.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{panic, thread};

use finezip_coder::Threads;
use finezip_core::{
    Compressor, Error, Fingerprint, Language, LanguageDescriptor, LanguageModel, PrimedModel,
    Result, Schedule, Tokenizer,
};
use finezip_models::hub::ModelChoice;
use finezip_models::{Checkpoint, ModelTokenizer};
use finezip_schedule::{ChunkReset, FixedWindow, LanePolicy, Rolling};

use crate::adapters::{self, Merged, Source};
use crate::args::ScheduleName;
use crate::exit::{Code, Failure, Outcome};
use crate::ideal::{IdealLength, MeasuringCoder};
use crate::report::Report;
use crate::settings::{CodingSettings, LanguageSettings, MachineSettings, Product};
use crate::{coders, engines, lanes, store};

/// Tokens that stay visible where the window rolls.
const SINK_TOKENS: usize = 1;

/// Windows that roll and keep what stays visible, where there is room for it beside the token
/// that is coded.
pub(crate) fn rolling(window_tokens: usize, lanes: LanePolicy) -> Result<Rolling> {
    Rolling::new(window_tokens, SINK_TOKENS.min(window_tokens.saturating_sub(1)), lanes)
}

/// A model that is open, with its tokenizer.
#[derive(Clone)]
struct OpenModel {
    model: Arc<dyn LanguageModel>,
    tokenizer: Arc<dyn Tokenizer>,
}

/// The weights of a model, as its file has them, and its tokenizer.
pub(crate) struct Base {
    /// The weights.
    pub(crate) checkpoint: Checkpoint,
    /// The tokenizer, when it has been asked for.
    tokenizer: OnceLock<Arc<dyn Tokenizer>>,
    /// What archives call it.
    name: String,
}

impl Base {
    /// The tokenizer.
    pub(crate) fn tokenizer(&self) -> Outcome<&Arc<dyn Tokenizer>> {
        if let Some(made) = self.tokenizer.get() {
            return Ok(made);
        }
        let made = open_tokenizer(&self.checkpoint)?;
        Ok(self.tokenizer.get_or_init(|| made))
    }
}

/// Makes compressors, and finds again the parts that archives name.
pub(crate) struct Workshop {
    pub(crate) machine: MachineSettings,
    /// Where it speaks.
    pub(crate) report: Report,
    open: Mutex<Vec<OpenModel>>,
}

impl Workshop {
    /// A workshop with nothing open yet.
    pub(crate) fn new(machine: MachineSettings, report: Report) -> Self {
        Self { machine, report, open: Mutex::default() }
    }

    /// The compressor that was asked for, and where it adds up the ideal code length.
    pub(crate) fn compressor(
        &self,
        settings: &CodingSettings,
    ) -> Outcome<(Compressor, Option<IdealLength>)> {
        let Some(language) = &settings.language else {
            return self.compressor_on(settings, None);
        };
        let base = self.base(language)?;
        let chosen = |settings| adapters::chosen(settings, &base.checkpoint, &self.report);
        let merged = language.adapter.as_ref().map(chosen).transpose()?;
        self.compressor_on(settings, Some((language, &base, merged)))
    }

    /// The compressor of the settings with this model, and this adapter merged into it.
    pub(crate) fn compressor_with(
        &self,
        settings: &CodingSettings,
        language: &LanguageSettings,
        base: &Base,
        merged: Merged,
    ) -> Outcome<Compressor> {
        Ok(self.compressor_on(settings, Some((language, base, Some(merged))))?.0)
    }

    fn compressor_on(
        &self,
        settings: &CodingSettings,
        language: Option<(&LanguageSettings, &Base, Option<Merged>)>,
    ) -> Outcome<(Compressor, Option<IdealLength>)> {
        let mut builder = Compressor::builder().byte_coder(coders::byte_coder());
        if let Some(frame_bytes) = settings.frame_bytes {
            builder = builder.frame_bytes(frame_bytes);
        }
        if let Product::Records(rule) = settings.product {
            builder = builder.records(rule);
        }
        let mut length = None;
        if let Some((settings, base, merged)) = language {
            let mut language = self.language(settings, base, merged.as_ref())?;
            if let Some(stored) = merged.and_then(|merged| merged.stored) {
                builder = builder.embedded_adapter(stored);
            }
            if settings.ideal {
                let measured = length.get_or_insert_with(IdealLength::default).clone();
                language.coder =
                    Arc::new(MeasuringCoder { coder: language.coder, length: measured });
            }
            builder = builder.language(language);
        }
        let compressor = builder.build()?;
        self.detail(&compressor);
        Ok((compressor, length))
    }

    /// The model of the settings, fetched if need be.
    pub(crate) fn base(&self, settings: &LanguageSettings) -> Outcome<Base> {
        let (path, known_as) = match &settings.model {
            ModelChoice::At(path) => (path.clone(), None),
            ModelChoice::Named(entry) => {
                (store::path_of(entry, settings.offline, &self.report)?, Some(entry.name))
            }
        };
        let checkpoint = open_checkpoint(&path)?;
        let name = known_as.unwrap_or(checkpoint.name()).to_owned();
        Ok(Base { checkpoint, tokenizer: OnceLock::new(), name })
    }

    /// The language of the settings on this model.
    fn language(
        &self,
        settings: &LanguageSettings,
        base: &Base,
        merged: Option<&Merged>,
    ) -> Outcome<Language> {
        let Base { checkpoint, name, .. } = base;
        let open = || engines::open(checkpoint, name, merged, settings.engine, self.machine);
        let (model, tokenizer) = self.beside_each_other(open, || base.tokenizer());
        let (model, tokenizer) = (model?, Arc::clone(tokenizer?));
        let OpenModel { model, tokenizer } = self.keep(OpenModel { model, tokenizer }, merged);
        let model = primed(model, &tokenizer, settings.prime.as_deref().unwrap_or_default())?;
        let schedule = self.schedule(settings, model.as_ref())?;
        let coder = coders::chosen(
            settings.coder,
            tokenizer.as_ref(),
            model.vocab_size(),
            self.threads()?,
        )?;
        let coder = if settings.learn { coders::learning(coder)? } else { coder };
        Ok(Language { model, tokenizer, schedule, coder })
    }

    /// The schedule that was asked for, else rolling windows where the engine can roll, else chunks;
    /// lanes as memory allows.
    fn schedule(
        &self,
        settings: &LanguageSettings,
        model: &dyn LanguageModel,
    ) -> Outcome<Arc<dyn Schedule>> {
        let context = settings
            .context_tokens
            .unwrap_or_else(|| model.max_window().min(settings.usual_context_tokens));
        let usual = if model.can_roll() { ScheduleName::Rolling } else { ScheduleName::ChunkReset };
        let make = |lanes| -> Result<Arc<dyn Schedule>> {
            Ok(match settings.schedule.unwrap_or(usual) {
                ScheduleName::Rolling => Arc::new(rolling(context, lanes)?),
                ScheduleName::ChunkReset => Arc::new(ChunkReset::new(context, lanes)?),
                ScheduleName::FixedWindow => Arc::new(FixedWindow::new(context, lanes)?),
            })
        };
        // What a session takes follows from the window, which the schedule knows.
        let window = make(LanePolicy::default())?.window();
        model.check_window(window)?;
        let memory_bytes = self.machine.memory_bytes;
        Ok(make(lanes::policy(settings.lanes, memory_bytes, model, window)?)?)
    }

    /// The language an archive describes, with a model that is open already or lies at `path`.
    pub(crate) fn described(
        &self,
        needed: &LanguageDescriptor,
        path: impl FnOnce() -> Result<std::path::PathBuf>,
        adapter: Source<'_>,
    ) -> Result<Language> {
        // What travels in the archive is read from there, whatever else is at hand.
        let held = if adapter.stored.is_some() { None } else { self.held(needed) };
        let OpenModel { model, tokenizer } = match held {
            Some(open) => open,
            None => self.open_described(needed, &path()?, adapter)?,
        };
        let model = primed(model, &tokenizer, &needed.prime)?;
        let schedule = finezip_schedule::from_record(&needed.schedule)?;
        let coder = coders::recorded(
            &needed.coder,
            tokenizer.as_ref(),
            model.vocab_size(),
            &self.threads()?,
        )?;
        Ok(Language { model, tokenizer, schedule, coder })
    }

    fn open_described(
        &self,
        needed: &LanguageDescriptor,
        path: &Path,
        adapter: Source<'_>,
    ) -> Result<OpenModel> {
        let name = &needed.model.name;
        let read = |error: finezip_models::Error| Error::ModelMissing {
            name: name.clone(),
            fingerprint: needed.model.fingerprint,
            message: error.to_string(),
        };
        let checkpoint = Checkpoint::open(path).map_err(read)?;
        let open = || -> Result<_> {
            let found = checkpoint.fingerprint().map_err(read)?;
            if found != needed.model.fingerprint {
                return Err(other_model(needed, path, found));
            }
            let find = |hash| adapter.find(hash, &checkpoint);
            let merged = needed.model.adapter.map(find).transpose()?;
            let engine = &needed.model.engine;
            let model =
                engines::open_recorded(&checkpoint, name, merged.as_ref(), engine, self.machine)?;
            Ok((model, merged))
        };
        let tokenizer = || ModelTokenizer::from_checkpoint(&checkpoint).map_err(read);
        let (opened, tokenizer) = self.beside_each_other(open, tokenizer);
        let (model, merged) = opened?;
        let tokenizer = Arc::new(tokenizer?);
        Ok(self.keep(OpenModel { model, tokenizer }, merged.as_ref()))
    }

    /// What both give: at the same time, where there are threads for it.
    fn beside_each_other<A, B: Send>(
        &self,
        one: impl FnOnce() -> A,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        if self.machine.threads == 1 {
            return (one(), other());
        }
        thread::scope(|scope| {
            let other = scope.spawn(other);
            let one = one();
            (one, other.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
        })
    }

    /// Keeps a model for other files and archives, unless its adapter is that of one archive.
    fn keep(&self, open: OpenModel, merged: Option<&Merged>) -> OpenModel {
        if merged.is_none_or(|merged| merged.stored.is_none()) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(open.clone());
        }
        open
    }

    fn held(&self, needed: &LanguageDescriptor) -> Option<OpenModel> {
        let held = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |open: &&OpenModel| {
            let identity = open.model.identity();
            identity.fingerprint == needed.model.fingerprint
                && identity.adapter == needed.model.adapter
                && identity.engine == needed.model.engine
        };
        held.iter().find(serves).cloned()
    }

    /// The threads that may be used.
    pub(crate) fn threads_to_use(&self) -> usize {
        self.machine.threads
    }

    fn threads(&self) -> Result<Threads> {
        Threads::new(self.machine.threads)
    }

    fn detail(&self, compressor: &Compressor) {
        if let Some(language) = &compressor.components().descriptor().language {
            self.report.parts(language, self.machine.threads);
        }
    }
}

/// The model, with lanes that begin with `prime` if that is not empty.
fn primed(
    model: Arc<dyn LanguageModel>,
    tokenizer: &Arc<dyn Tokenizer>,
    prime: &[u8],
) -> Result<Arc<dyn LanguageModel>> {
    if prime.is_empty() {
        return Ok(model);
    }
    Ok(Arc::new(PrimedModel::new(model, tokenizer.as_ref(), prime.to_vec())?))
}

fn open_checkpoint(path: &Path) -> Outcome<Checkpoint> {
    Checkpoint::open(path).map_err(|error| {
        Failure::new(
            Code::Model,
            format!(
                "{error}; --model takes a name of `finezip-cli models list`, a GGUF file, or a \
                 folder with safetensors"
            ),
        )
    })
}

fn open_tokenizer(checkpoint: &Checkpoint) -> Outcome<Arc<dyn Tokenizer>> {
    match ModelTokenizer::from_checkpoint(checkpoint) {
        Ok(tokenizer) => Ok(Arc::new(tokenizer)),
        Err(error) => Err(Failure::new(Code::Model, error.to_string())),
    }
}

fn other_model(needed: &LanguageDescriptor, path: &Path, found: Fingerprint) -> Error {
    Error::Mismatch {
        part: "model",
        expected: format!("{} (BLAKE3 {})", needed.model.name, needed.model.fingerprint),
        found: format!("{} (BLAKE3 {found})", path.display()),
    }
}
