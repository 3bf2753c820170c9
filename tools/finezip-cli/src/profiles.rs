//! The profiles of messages: what a message names by four bytes, found again.
//!
//! A profile that was written to a file is given with `--profile`. Those that `compress --compact`
//! makes of a model without other settings need no file: they are made again of each model that is
//! on this machine, and compared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use finezip_coder::ArithmeticCoder;
use finezip_core::archive::descriptor::tokenizer_prefix;
use finezip_core::message::ProfilePrefix;
use finezip_core::{
    Coder, Components, Descriptor, Error, Exactness, LanguageDescriptor, MessageCoder,
    ModelIdentity, Profile, Record, Resolver, Schedule, Tokenizer,
};
use finezip_mixer::tokens;
use finezip_models::hub;
use finezip_models::{Checkpoint, ModelTokenizer};
use finezip_schedule::LanePolicy;

use crate::compose::{Workshop, rolling};
use crate::exit::{Code, Failure, Outcome};
use crate::resolver::ArchiveResolver;
use crate::settings::{ReadingSettings, usual_context_tokens};
use crate::{coders, engines, store};

/// Names of profiles that need no model at hand to be known: what `compress --compact` makes
/// with the catalog's pinned models.
const KNOWN: [(ProfilePrefix, &str); 1] = [(ProfilePrefix(0x7f6a_a61b), "smollm2-135m")];

/// Finds the coders of messages.
pub(crate) struct Profiles {
    workshop: Arc<Workshop>,
    reading: ReadingSettings,
    /// What has been made, to be used for further messages.
    made: RefCell<HashMap<ProfilePrefix, MessageCoder>>,
}

impl Profiles {
    /// Profiles as the options of a reading command say.
    pub(crate) fn new(workshop: Arc<Workshop>, reading: ReadingSettings) -> Self {
        Self { workshop, reading, made: RefCell::default() }
    }

    /// The coder for messages that need a profile, or none.
    pub(crate) fn coder(&self, needed: Option<ProfilePrefix>) -> Outcome<MessageCoder> {
        let Some(needed) = needed else { return Ok(MessageCoder::new(Components::default())?) };
        if let Some(coder) = self.made.borrow().get(&needed) {
            return Ok(coder.clone());
        }
        let profile = match &self.reading.profile {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| Failure::from(error).about(path.display()).unnamed())?;
                let profile = Profile::from_bytes(&bytes)
                    .map_err(|error| Failure::from(error).about(path.display()).unnamed())?;
                if profile.id().prefix() != needed {
                    return Err(Error::Profile { needed, held: profile.id() }.into());
                }
                profile
            }
            None => self.usual(needed)?,
        };
        let resolver = self.resolver();
        let coder = MessageCoder::new(resolver.resolve(&profile.descriptor)?)?
            .with_limits(self.workshop.machine.limits());
        self.made.borrow_mut().insert(needed, coder.clone());
        Ok(coder)
    }

    fn resolver(&self) -> ArchiveResolver {
        let (model, adapters) = (self.reading.model.clone(), self.reading.adapters.clone());
        ArchiveResolver::new(self.workshop.clone(), model, adapters).telling()
    }

    /// The profile of this name among those that models make without other settings.
    fn usual(&self, needed: ProfilePrefix) -> Outcome<Profile> {
        let without_model = Profile {
            descriptor: Descriptor {
                language: None,
                byte_coder: Some(coders::byte_coder().record()),
            },
        };
        if without_model.id().prefix() == needed {
            return Ok(without_model);
        }
        let mut looked_at = Vec::new();
        for (name, path) in self.models()? {
            let profiles = Checkpoint::open(&path).map_err(store::failure).and_then(|checkpoint| {
                let name = name.unwrap_or(checkpoint.name()).to_owned();
                Ok((usual_profiles(&checkpoint, &name)?, name))
            });
            let (found, name) = match profiles {
                // What cannot be read is no candidate, unless it is the one that was given.
                Err(_) if name.is_some() => continue,
                profiles => profiles?,
            };
            if let Some(profile) = found.into_iter().find(|one| one.id().prefix() == needed) {
                return Ok(profile);
            }
            looked_at.push(name);
        }
        let hint = match KNOWN.iter().find(|(prefix, _)| *prefix == needed) {
            Some((_, name)) => format!(
                "it is that of {name}, which is not on this machine; fetch it with `finezip-cli \
                 models fetch {name}`, or give its file with --model PATH"
            ),
            None => format!(
                "it is none that the models here ({}) make without other settings; give the file \
                 that `compress --compact --write-profile FILE` wrote with --profile FILE, or the \
                 model with --model PATH",
                if looked_at.is_empty() { "there are none".into() } else { looked_at.join(", ") }
            ),
        };
        Err(Failure::new(Code::Model, format!("the message needs profile {needed}: {hint}")))
    }

    /// The models to try: the one that was given, else all of the catalog's that are here.
    fn models(&self) -> Outcome<Vec<(Option<&'static str>, PathBuf)>> {
        if let Some(path) = &self.reading.model {
            return Ok(vec![(None, path.clone())]);
        }
        let store = store::store()?;
        let here = hub::catalog().iter().filter_map(|entry| {
            // What cannot be read is no candidate; it is named when somebody asks for it.
            let path = store.locate(entry, &mut ()).ok()??;
            Some((Some(entry.name), path))
        });
        Ok(here.collect())
    }
}

/// What `compress --compact` makes of a model with all else left as it is, but for precision and
/// coder.
fn usual_profiles(checkpoint: &Checkpoint, name: &str) -> Outcome<Vec<Profile>> {
    let tokenizer = ModelTokenizer::from_checkpoint(checkpoint).map_err(store::failure)?;
    let fingerprint = checkpoint.fingerprint().map_err(store::failure)?;
    let longest = checkpoint.config().context_length;
    let schedule = |level: u32| -> Outcome<Record> {
        let context = longest.min(usual_context_tokens(level));
        Ok(rolling(context, LanePolicy::default())?.record())
    };
    let mut coders = vec![(ArithmeticCoder::default().record(), schedule(1)?)];
    for level in 2..=9 {
        let settings = tokens::Settings::level(level);
        for settings in [settings, settings.without_choice()] {
            coders.push((settings.record(), schedule(level)?));
        }
    }
    let language = |engine: &Record, (coder, schedule): &(Record, Record)| LanguageDescriptor {
        model: ModelIdentity {
            name: name.to_owned(),
            fingerprint,
            engine: engine.clone(),
            adapter: None,
            exactness: Exactness::Everywhere,
        },
        tokenizer: tokenizer_prefix(tokenizer.fingerprint()),
        schedule: schedule.clone(),
        coder: coder.clone(),
        prime: Vec::new(),
    };
    let byte_coder = Some(coders::byte_coder().record());
    let mut profiles = Vec::new();
    for engine in engines::exact_records() {
        profiles.extend(coders.iter().map(|coder| Profile {
            descriptor: Descriptor {
                language: Some(language(&engine, coder)),
                byte_coder: byte_coder.clone(),
            },
        }));
    }
    Ok(profiles)
}
