//! `--memorize`: an adapter trained on the input, and of two archives the smaller.

use finezip_core::{Compressor, Summary};
use finezip_lora::train::{self, Event, Memorizing, memorize};
use finezip_lora::{EmbeddedAdapter, Error};

use crate::adapters::{self, Merged};
use crate::compose::{Base, Workshop};
use crate::exit::{Failure, Outcome};
use crate::interrupt::TemporaryFolder;
use crate::progress::Meter;
use crate::settings::{CodingSettings, LanguageSettings, MemorizeSettings};
use crate::units::grouped;

/// An archive in memory.
pub(crate) struct Archive {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What is in it.
    pub(crate) summary: Summary,
}

/// What memorizing works with.
pub(crate) struct Memorizer<'a> {
    /// Makes compressors.
    pub(crate) workshop: &'a Workshop,
    /// How text is coded.
    pub(crate) coding: &'a CodingSettings,
    /// How it is coded with a model.
    pub(crate) language: &'a LanguageSettings,
    /// The model.
    pub(crate) base: &'a Base,
    /// The compressor without an adapter.
    pub(crate) plain: &'a Compressor,
}

/// How many times the bytes that are expected an adapter may save after all.
const DOUBT: f64 = 1.5;

/// The bytes that an adapter saves by the sample that was measured while it was trained. It is
/// rather too many: each row of the sample begins anew, and a mixer, which learns part of what the
/// adapter knows by itself, has no part in it.
fn expected_saving(outcome: &train::Outcome, text_bytes: usize) -> f64 {
    (outcome.base_bits_per_byte - outcome.best_bits_per_byte) / 8.0 * text_bytes as f64
}

impl Memorizer<'_> {
    /// The smaller of the text's archives: with an adapter of its own inside, or without. Says
    /// which it is, and by how much.
    pub(crate) fn smaller(
        &self,
        settings: MemorizeSettings,
        name: &str,
        text: Vec<u8>,
    ) -> Outcome<Archive> {
        let report = &self.workshop.report;
        let memorizing = Memorizing {
            steps: settings.steps,
            rank: settings.rank,
            threads: self.workshop.threads_to_use(),
        };
        // What cannot be trained, or not here, is not found out after all of the text was coded.
        memorizing.check(self.base.checkpoint.config()).map_err(adapters::failure)?;
        let folder = TemporaryFolder::new()
            .map_err(|error| Failure::from(error).about("a folder to train in"))?;
        let plain = self.compress(self.plain, name, &text)?;
        let plain_bytes = grouped(plain.summary.archive_bytes);
        let outcome = match self.learn(memorizing, name, text.clone(), &folder)? {
            Ok(outcome) => outcome,
            Err(why) => {
                report.note(format_args!("{name} : {why}: kept without"));
                return Ok(plain);
            }
        };
        let config = self.base.checkpoint.config();
        let embedded = EmbeddedAdapter::new(&outcome.adapter, settings.precision, config)
            .map_err(adapters::failure)?;
        let adapter_bytes = embedded.bytes().len();
        if adapter_bytes >= plain.bytes.len() {
            report.note(format_args!(
                "{name} : without an adapter {plain_bytes} bytes; the adapter alone takes {}: kept \
                 without",
                grouped(adapter_bytes as u64),
            ));
            return Ok(plain);
        }
        let saved = expected_saving(&outcome, text.len());
        if saved * DOUBT < adapter_bytes as f64 {
            report.note(format_args!(
                "{name} : without an adapter {plain_bytes} bytes; the adapter takes {}, and by a \
                 sample of the text saves about {}: kept without",
                grouped(adapter_bytes as u64),
                grouped(saved.max(0.0) as u64),
            ));
            return Ok(plain);
        }
        let merged = Merged::embedded(embedded);
        let adapted =
            self.workshop.compressor_with(self.coding, self.language, self.base, merged)?;
        let adapted = self.compress(&adapted, name, &text)?;
        let is_smaller = adapted.summary.archive_bytes < plain.summary.archive_bytes;
        report.note(format_args!(
            "{name} : without an adapter {plain_bytes} bytes; with it {}, {} of them the adapter: \
             kept {}",
            grouped(adapted.summary.archive_bytes),
            grouped(adapted.summary.adapter_bytes),
            if is_smaller { "with it" } else { "without" },
        ));
        Ok(if is_smaller { adapted } else { plain })
    }

    /// Trains on the text; where nothing comes of it, why.
    fn learn(
        &self,
        memorizing: Memorizing,
        name: &str,
        text: Vec<u8>,
        folder: &TemporaryFolder,
    ) -> Outcome<Result<train::Outcome, String>> {
        let report = &self.workshop.report;
        let mut meter = None;
        let mut hear = |event: &Event| {
            match event {
                Event::Started { steps, parameters, .. } => {
                    report.note(format_args!(
                        "{name} : memorizing in {steps} steps, {} values",
                        grouped(*parameters as u64)
                    ));
                    meter = Some(Meter::steps(report, name, *steps as u64));
                }
                Event::Step(step) => {
                    if let Some(meter) = &meter {
                        meter.step(step.step as u64, step.bits_per_byte);
                    }
                }
                Event::Evaluation(measured) => report.detail(format_args!(
                    "  after step {}: {:.4} bits per byte of a sample",
                    measured.step, measured.bits_per_byte
                )),
            }
            Ok(())
        };
        let (checkpoint, tokenizer) = (&self.base.checkpoint, self.base.tokenizer()?.as_ref());
        let learned = memorize(checkpoint, tokenizer, text, memorizing, folder.path(), &mut hear);
        gained(learned)
    }

    fn compress(&self, compressor: &Compressor, name: &str, text: &[u8]) -> Outcome<Archive> {
        let meter = Meter::start(&self.workshop.report, name, Some(text.len() as u64));
        let mut bytes = Vec::new();
        let summary = compressor.compress_stream(&mut &text[..], &mut bytes, meter.observer())?;
        Ok(Archive { bytes, summary })
    }
}

/// What was learned; or, where an archive without an adapter is the answer, why.
fn gained(
    learned: finezip_lora::Result<train::Outcome>,
) -> Outcome<Result<train::Outcome, String>> {
    Ok(match learned {
        Ok(outcome) if outcome.best_step == 0 => {
            Err(format!("nothing was gained in {} steps", outcome.steps))
        }
        Ok(outcome) => Ok(outcome),
        Err(error @ Error::Data { .. }) => Err(format!("nothing to memorize ({error})")),
        // There is an archive without an adapter, whole as it is.
        Err(Error::NotFinite { step, what, value, .. }) => {
            Err(format!("training has diverged (step {step}: {what} is {value})"))
        }
        Err(error @ Error::Io { .. }) => Err(format!("training failed ({error})")),
        Err(error) => return Err(adapters::failure(error)),
    })
}

#[cfg(test)]
mod tests {
    use finezip_lora::{Adapter, AdapterConfig, LoraMatrices};

    use super::*;

    fn outcome(best_step: usize) -> train::Outcome {
        let (rank, alpha) = (1, 2.0);
        let module = LoraMatrices {
            rank,
            in_features: 1,
            out_features: 1,
            alpha,
            a: vec![1.0],
            b: vec![1.0],
        };
        let config = AdapterConfig {
            rank,
            alpha,
            use_rslora: false,
            dropout: 0.0,
            base_model: None,
            base_fingerprint: None,
        };
        let modules = [("model.layers.0.self_attn.q_proj".to_owned(), module)].into();
        train::Outcome {
            base_bits_per_byte: 1.0,
            best_bits_per_byte: 0.9,
            best_step,
            steps: 7,
            adapter: Adapter::new(config, modules).unwrap(),
        }
    }

    #[test]
    fn training_that_comes_to_nothing_leaves_the_archive_without_an_adapter() {
        assert_eq!(gained(Ok(outcome(3))).unwrap().unwrap().best_step, 3);
        let why = |learned| gained(learned).unwrap().unwrap_err();
        assert_eq!(why(Ok(outcome(0))), "nothing was gained in 7 steps");
        let diverged = Error::NotFinite {
            step: 5,
            what: "loss",
            value: f64::NAN,
            last_saved: 4,
            best_step: 0,
        };
        assert_eq!(why(Err(diverged)), "training has diverged (step 5: loss is NaN)");
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = Error::Io { path: "state".into(), source };
        assert!(why(Err(full)).starts_with("training failed (state: "));
        let failed = finezip_core::Error::Settings("a mistake".into());
        assert!(gained(Err(failed.into())).is_err());
    }
}
