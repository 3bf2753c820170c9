//! The parts a pipeline is put together from, and how an archive's description finds them again.

use std::sync::Arc;

use crate::archive::content_hash;
use crate::archive::descriptor::{Descriptor, LanguageDescriptor, tokenizer_prefix};
use crate::bytes::ByteCoder;
use crate::coder::Coder;
use crate::error::{Error, Result};
use crate::model::{Exactness, LanguageModel, SessionShape};
use crate::schedule::Schedule;
use crate::tokenizer::Tokenizer;

/// Everything that codes text as tokens under a model.
#[derive(Clone)]
pub struct Language {
    /// Computes logits.
    pub model: Arc<dyn LanguageModel>,
    /// Bytes to tokens and back.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// Tokens to lanes and steps.
    pub schedule: Arc<dyn Schedule>,
    /// Distributions and tokens to a payload.
    pub coder: Arc<dyn Coder>,
}

impl Language {
    /// An error if the coder learns from features that the engine does not have.
    pub(crate) fn check_features(&self) -> Result<()> {
        if self.coder.needs_features() && self.model.feature_width().is_none() {
            return Err(Error::Settings(format!(
                "coder {} learns from the features behind the logits, which engine {} does not \
                 give",
                self.coder.record(),
                self.model.identity().engine
            )));
        }
        Ok(())
    }
}

impl Language {
    /// Bytes of memory that a session of so many lanes takes.
    pub(crate) fn session_bytes(&self, lanes: usize) -> u64 {
        self.model.session_bytes(SessionShape { lanes, window: self.schedule.window() })
    }

    /// Why what is whole may decode to something else, where its engine is one for which that can
    /// be.
    pub(crate) fn hint(&self) -> Option<String> {
        match &self.model.identity().exactness {
            Exactness::Everywhere => None,
            Exactness::SameMachineKind(kind) => Some(format!(
                "its engine repeats only on the kind of machine it was written on; this one is {kind}"
            )),
        }
    }
}

/// The parts of a compressor or decompressor.
///
/// With none of them it still compresses (Zstandard and stored frames).
#[derive(Clone, Default)]
pub struct Components {
    /// For frames coded with a language model.
    pub language: Option<Language>,
    /// For frames coded without one, where it does better than Zstandard.
    pub byte_coder: Option<Arc<dyn ByteCoder>>,
}

impl From<Language> for Components {
    fn from(language: Language) -> Self {
        Self { language: Some(language), byte_coder: None }
    }
}

impl Components {
    /// What an archive written with these parts says of them.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            language: self.language.as_ref().map(|language| LanguageDescriptor {
                model: language.model.identity().clone(),
                tokenizer: tokenizer_prefix(language.tokenizer.fingerprint()),
                schedule: language.schedule.record(),
                coder: language.coder.record(),
                prime: language.model.prime().to_vec(),
            }),
            byte_coder: self.byte_coder.as_ref().map(|coder| coder.record()),
        }
    }
}

/// Finds the parts an archive names.
///
/// It is asked when a frame takes them. A frame that takes no model asks for what its member's
/// descriptor names besides the language; one that does, for all of it, be it a second time.
pub trait Resolver {
    /// Parts that decode what `descriptor` describes, or an error that says what is missing.
    fn resolve(&self, descriptor: &Descriptor) -> Result<Components>;

    /// The same where the adapter that `descriptor` names travels in the archive: `adapter` is its
    /// stored form, which whoever merges adapters can read.
    ///
    /// A resolver that has the adapter already has no use for it, so unless this is overridden it
    /// is passed over; that the parts found have the adapter that is named, [`Resolver::resolve`]
    /// checks.
    fn resolve_with_adapter(&self, descriptor: &Descriptor, adapter: &[u8]) -> Result<Components> {
        let _ = adapter;
        self.resolve(descriptor)
    }
}

/// Parts given beforehand: they serve if they are what the archive names. What it does not name is
/// not given.
impl Resolver for Components {
    fn resolve(&self, needed: &Descriptor) -> Result<Components> {
        let held = self.descriptor();
        if let Some(needed) = &needed.language {
            let Some(held) = &held.language else {
                return Err(Error::ModelMissing {
                    name: needed.model.name.clone(),
                    fingerprint: needed.model.fingerprint,
                    message: "none was given".into(),
                });
            };
            held.expect(needed)?;
        }
        if let Some(needed) = &needed.byte_coder {
            match &held.byte_coder {
                Some(held) if held == needed => {}
                held => {
                    return Err(mismatch(
                        "byte coder",
                        needed,
                        held.as_ref().map_or_else(|| "none".into(), ToString::to_string),
                    ));
                }
            }
        }
        Ok(Self {
            language: self.language.clone().filter(|_| needed.language.is_some()),
            byte_coder: self.byte_coder.clone().filter(|_| needed.byte_coder.is_some()),
        })
    }
}

impl LanguageDescriptor {
    /// An error unless these parts decode what `needed` describes. Names and machine kinds may
    /// differ: the hash decides, and the content hash of each frame.
    pub fn expect(&self, needed: &LanguageDescriptor) -> Result<()> {
        let same = |part, needed: String, held: String| {
            if needed == held { Ok(()) } else { Err(mismatch(part, needed, held)) }
        };
        let name =
            |l: &LanguageDescriptor| format!("{} (BLAKE3 {})", l.model.name, l.model.fingerprint);
        if needed.model.fingerprint != self.model.fingerprint {
            return Err(mismatch("model", name(needed), name(self)));
        }
        let adapter = |l: &LanguageDescriptor| {
            l.model.adapter.map_or_else(|| "none".into(), |adapter| adapter.to_hex())
        };
        same("adapter", adapter(needed), adapter(self))?;
        same("engine", needed.model.engine.to_string(), self.model.engine.to_string())?;
        same("schedule", needed.schedule.to_string(), self.schedule.to_string())?;
        same("coder", needed.coder.to_string(), self.coder.to_string())?;
        same("prime", prime_name(&needed.prime), prime_name(&self.prime))?;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        same("tokenizer", hex(&needed.tokenizer), hex(&self.tokenizer))
    }
}

/// A prime in messages.
fn prime_name(prime: &[u8]) -> String {
    match prime.len() {
        0 => "none".into(),
        bytes => format!("of {bytes} bytes (XXH3 {:016x})", content_hash(prime)),
    }
}

fn mismatch(part: &'static str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Mismatch { part, expected: expected.to_string(), found: found.to_string() }
}
