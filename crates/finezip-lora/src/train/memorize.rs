//! Learning a text by heart: an adapter for the one text that is about to be compressed.
//!
//! This is the "online memorization" of the FineZip paper (Mittu et al. 2024, section 3). The
//! adapter travels with the archive, so it has to earn its own bytes: its size is chosen by what a
//! text of that length can give back, not by what learns best. There is nothing to hold out (text
//! that is learned by heart cannot be overfitted), so a sample of the text itself says how far the
//! learning is.

use std::path::Path;

use finezip_core::Tokenizer;
use finezip_models::{Checkpoint, ModelConfig};

use super::{Decay, Duration, Event, LearningRate, Outcome, Trainer, TrainingSettings};
use crate::data::{Dataset, Text};
use crate::embedded::{check_size, check_total};
use crate::error::{Error, Result};
use crate::network::LoraSettings;
use crate::target::{Linear, Targets};

/// Tokens of a row, where the model's context is as long.
const ROW_TOKENS: usize = 512;
/// Rows a step.
const BATCH: usize = 2;
/// The most steps unless others are asked for: 200,000 tokens, 20 to 30 minutes of a small model
/// on two cores.
const MOST_STEPS: usize = 200;
/// Tokens that are measured.
const MEASURED_TOKENS: usize = 4096;
/// Bytes of text that can pay for a value of the adapter. A model that codes a byte in about a
/// bit, made a twelfth better, saves 0.09 bits a byte; a value stored in `int4` takes three.
const BYTES_A_VALUE: usize = 40;

/// What may be spent on a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memorizing {
    /// Optimizer steps; none for a pass over the text, at most 200 steps.
    pub steps: Option<usize>,
    /// The rank of an adapter of all linears; none for rank and linears that fit the text's size.
    pub rank: Option<usize>,
    /// Threads to compute with; 0 for one a core.
    pub threads: usize,
}

impl Memorizing {
    /// Checks that an adapter of the rank that is asked for can be embedded in an archive.
    ///
    /// # Errors
    /// [`Error::Embedded`].
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        self.rank.map_or(Ok(()), |rank| check_ranks(rank, &Targets::all(), config))
    }
}

/// Learns a text: trains an adapter on it, with the base model in the blocks of its file. `folder`
/// takes the states of the run, and the adapter.
///
/// # Errors
/// [`Error::Data`] for a text too short to learn from, else those of [`Trainer::run`].
pub fn memorize(
    checkpoint: &Checkpoint,
    tokenizer: &dyn Tokenizer,
    text: Vec<u8>,
    memorizing: Memorizing,
    folder: &Path,
    observer: &mut (dyn FnMut(&Event) -> Result<()> + Send),
) -> Result<Outcome> {
    let config = checkpoint.config();
    let lora = adapter_for(config, text.len(), memorizing.rank);
    // What could not be embedded is not trained.
    check_ranks(lora.rank, &lora.targets, config)?;
    let length = ROW_TOKENS.min(config.context_length);
    let texts = [Text { name: "text".into(), bytes: text }];
    let training =
        Dataset::new("text to memorize", &texts, tokenizer, config.start_token(), length)?;
    drop(texts);
    let measured = training.clone().sample(MEASURED_TOKENS, lora.seed);
    let settings = settings(lora, memorizing.steps, training.rows());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(memorizing.threads)
        .build()
        .map_err(|error| Error::setting("threads", "as many as the system gives", error))?;
    pool.install(|| {
        let mut trainer = Trainer::new(checkpoint, training, measured, settings)?;
        trainer.run(folder, observer)
    })
}

/// The largest adapter that a text of so many bytes can pay for, else the smallest.
fn adapter_for(config: &ModelConfig, text_bytes: usize, rank: Option<usize>) -> LoraSettings {
    let single = |linear: Linear| Targets::of([linear]);
    let sizes = [16, 8, 4, 2, 1].map(|rank| (rank, Targets::all()));
    let small = [(1, Targets::attention()), (1, single(Linear::VProj))];
    let choice = match rank {
        Some(rank) => (rank, Targets::all()),
        None => {
            let fits = |size: &(usize, Targets)| {
                values(size.0, &size.1, config) <= text_bytes / BYTES_A_VALUE
                    && check_ranks(size.0, &size.1, config).is_ok()
            };
            let all = sizes.into_iter().chain(small);
            all.clone().find(fits).or_else(|| all.last()).unwrap_or((1, Targets::all()))
        }
    };
    let (rank, targets) = choice;
    LoraSettings { rank, alpha: 2.0 * rank as f32, targets, ..LoraSettings::default() }
}

/// An error unless adapters of this rank can be embedded.
fn check_ranks(rank: usize, targets: &Targets, config: &ModelConfig) -> Result<()> {
    targets
        .iter()
        .try_for_each(|linear| check_size(&linear.path(0), rank, linear.shape(config)))?;
    check_total(values(rank, targets, config))
}

/// Values of an adapter of these linears in every layer.
fn values(rank: usize, targets: &Targets, config: &ModelConfig) -> usize {
    let shapes = targets.iter().map(|linear| linear.shape(config));
    let width: usize = shapes.map(|[rows, columns]| rows + columns).sum();
    rank.saturating_mul(config.layers).saturating_mul(width)
}

fn settings(lora: LoraSettings, steps: Option<usize>, rows: usize) -> TrainingSettings {
    let steps = steps.unwrap_or_else(|| rows.div_ceil(BATCH).min(MOST_STEPS));
    TrainingSettings {
        lora,
        qlora: true,
        batch: BATCH,
        duration: Duration::Steps(steps),
        learning_rate: LearningRate {
            peak: 2e-3,
            warmup_steps: (steps / 10).min(10),
            decay: Decay::Cosine,
            final_share: 0.1,
        },
        // In the middle and at the end.
        evaluate_every: steps.div_ceil(2).max(1),
        // The folder is a temporary one: nothing will go on from a state in it.
        save_every: usize::MAX,
        ..TrainingSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use finezip_models::ModelTokenizer;
    use finezip_models::seeded::SeededModel;

    use super::*;

    #[test]
    fn the_adapter_grows_with_what_the_text_can_pay() {
        let config = SeededModel::default().checkpoint().unwrap().config().clone();
        let mut last = 0;
        for (bytes, rank, targets) in [
            (1_000, 1, "v_proj"),
            (45_000, 1, "attention"),
            (90_000, 1, "all"),
            (400_000, 4, "all"),
            (10_000_000, 16, "all"),
        ] {
            let lora = adapter_for(&config, bytes, None);
            assert_eq!((lora.rank, lora.targets.to_string().as_str()), (rank, targets), "{bytes}");
            let shapes = lora.targets.iter().map(|linear| linear.shape(&config));
            let values = rank * 2 * shapes.map(|[rows, columns]| rows + columns).sum::<usize>();
            assert!(values > last && (values * BYTES_A_VALUE <= bytes || bytes == 1_000));
            last = values;
        }
        let lora = adapter_for(&config, 10, Some(3));
        assert_eq!((lora.rank, lora.targets.to_string().as_str()), (3, "all"));
        let check = |rank| Memorizing { rank, ..Memorizing::default() }.check(&config);
        assert!(check(None).is_ok() && check(Some(3)).is_ok());
        assert!(check(Some(1000)).unwrap_err().to_string().contains("rank"));
    }

    #[test]
    fn steps_are_a_pass_over_the_text_and_not_too_many() {
        let steps = |given, rows| settings(LoraSettings::default(), given, rows).steps(rows);
        assert_eq!((steps(None, 7), steps(None, 100_000), steps(Some(3), 7)), (4, 200, 3));
        for given in 1..30 {
            settings(LoraSettings::default(), Some(given), 7).check().unwrap();
        }
    }

    #[test]
    fn a_text_is_learned_and_a_short_one_refused() {
        let checkpoint = SeededModel::default().checkpoint().unwrap();
        let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let memorizing = Memorizing { steps: Some(12), rank: Some(4), threads: 2 };
        let mut events = 0;
        let mut observer = |_: &Event| {
            events += 1;
            Ok(())
        };
        let text = b"the same words again and again, ".repeat(200);
        let outcome =
            memorize(&checkpoint, &tokenizer, text, memorizing, folder.path(), &mut observer)
                .unwrap();
        assert!(outcome.best_bits_per_byte < outcome.base_bits_per_byte);
        assert_eq!(outcome.steps, 12);
        // The start, three measurements, and every step.
        assert_eq!(events, 1 + 3 + 12);
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &[u8], folder: &Path| {
            memorize(&checkpoint, &tokenizer, text.to_vec(), memorizing, folder, &mut |_| Ok(()))
        };
        for text in [&b""[..], b"short"] {
            let error = refused(text, folder.path()).unwrap_err();
            assert!(matches!(error, Error::Data { .. }), "{error}");
        }
    }
}
