//! From what an archive names to the parts that read it.

use std::path::PathBuf;
use std::sync::Arc;

use finezip_core::{
    Components, Descriptor, Error, Exactness, Language, LanguageDescriptor, Resolver, Result,
};
use finezip_models::hub;

use crate::adapters::Source;
use crate::compose::Workshop;
use crate::{coders, store};

/// Finds models and adapters by their hash, and the other parts by their records.
pub(crate) struct ArchiveResolver {
    workshop: Arc<Workshop>,
    model: Option<PathBuf>,
    adapters: Vec<PathBuf>,
    tells_parts: bool,
}

impl ArchiveResolver {
    /// A resolver that takes the model at `model`, if it is given and the one that is needed, and
    /// looks for others in the cache, and for adapters among `adapters`.
    pub(crate) fn new(
        workshop: Arc<Workshop>,
        model: Option<PathBuf>,
        adapters: Vec<PathBuf>,
    ) -> Self {
        Self { workshop, model, adapters, tells_parts: false }
    }

    /// The same resolver, which says with `-v` what parts it finds: where they are not those that
    /// something was just compressed with.
    pub(crate) fn telling(self) -> Self {
        Self { tells_parts: true, ..self }
    }

    fn language(&self, needed: &LanguageDescriptor, stored: Option<&[u8]>) -> Result<Language> {
        let cached = || store::find(&needed.model.name, needed.model.fingerprint);
        let adapter = Source { stored, folders: &self.adapters };
        let described = match &self.model {
            Some(path) => self.workshop.described(needed, || Ok(path.clone()), adapter),
            None => self.workshop.described(needed, cached, adapter),
        };
        let language = match described {
            // It is for another of the members or archives.
            Err(Error::Mismatch { part: "model", expected, found }) => {
                let other = || Error::Mismatch { part: "model", expected, found };
                let path = match cached() {
                    Ok(path) => path,
                    // What to do about that is said.
                    Err(missing) if is_of_catalog(needed) => return Err(missing),
                    Err(_) => return Err(other()),
                };
                match self.workshop.described(needed, || Ok(path), adapter) {
                    Err(Error::Mismatch { .. }) => return Err(other()),
                    described => described?,
                }
            }
            described => described?,
        };
        self.warn_of_other_machines(needed, &language);
        // All but names and machine kinds must be what the archive says.
        let held = Components { language: Some(language.clone()), byte_coder: None }.descriptor();
        if let Some(held) = held.language {
            held.expect(needed)?;
        }
        if self.tells_parts {
            self.workshop.report.parts(needed, self.workshop.threads_to_use());
        }
        Ok(language)
    }

    fn components(&self, descriptor: &Descriptor, stored: Option<&[u8]>) -> Result<Components> {
        let language =
            descriptor.language.as_ref().map(|needed| self.language(needed, stored)).transpose()?;
        let byte_coder =
            descriptor.byte_coder.as_ref().map(coders::recorded_byte_coder).transpose()?;
        Ok(Components { language, byte_coder })
    }

    /// An engine may be exact on one kind of machine only, and this may be another.
    fn warn_of_other_machines(&self, needed: &LanguageDescriptor, language: &Language) {
        let Exactness::SameMachineKind(written_on) = &needed.model.exactness else { return };
        let here = match &language.model.identity().exactness {
            Exactness::SameMachineKind(kind) => kind.as_str(),
            Exactness::Everywhere => return,
        };
        if here != written_on {
            self.workshop.report.warning(format_args!(
                "engine {} repeats its results on the same kind of machine only; the archive was \
                 written on {written_on:?}, this is {here:?}: decoding may fail",
                needed.model.engine
            ));
        }
    }
}

/// Whether the needed model is one that can be fetched.
fn is_of_catalog(needed: &LanguageDescriptor) -> bool {
    hub::find_by_fingerprint(needed.model.fingerprint).is_some()
}

impl Resolver for ArchiveResolver {
    fn resolve(&self, descriptor: &Descriptor) -> Result<Components> {
        self.components(descriptor, None)
    }

    fn resolve_with_adapter(&self, descriptor: &Descriptor, adapter: &[u8]) -> Result<Components> {
        self.components(descriptor, Some(adapter))
    }
}
