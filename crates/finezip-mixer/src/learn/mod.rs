//! Learning while coding: a [`Coder`] that corrects the model's last matrix after every token, by
//! the gradient of what the token cost, and codes with another coder under the corrected logits.
//!
//! Nothing of it is stored: the decoder sees the same rows and tokens in the same order and makes
//! the same corrections. All of it is `f32` arithmetic in one written order, so an archive is as
//! exact as the engine that gave the rows. `docs/learn.md` is the specification.

mod candidates;
mod head;
mod settings;

pub use settings::{Settings, VERSION, from_record};

use std::sync::Arc;

use finezip_core::{
    Coder, Decoder, Encoder, Error, FrameShape, Logits, Record, Result, Rows, StepEntry, TokenId,
    coder::check_step,
};

use head::Head;

/// What this coder calls itself in errors.
const NAME: &str = "learn";

/// Features that a model may have at most, for bounds on memory: shapes of frames do not say how
/// many there are.
const MOST_FEATURES: usize = 8192;

/// Codes with another coder under logits that a learning head has corrected.
///
/// It needs an engine that gives features
/// ([`LanguageModel::feature_width`](finezip_core::LanguageModel::feature_width)).
#[derive(Clone)]
pub struct LearningCoder {
    coder: Arc<dyn Coder>,
    settings: Settings,
}

impl LearningCoder {
    /// A head with these settings over `coder`.
    ///
    /// # Errors
    /// [`Error::Settings`] if a setting is out of range, or if `coder` wants features itself.
    pub fn new(coder: Arc<dyn Coder>, settings: Settings) -> Result<Self> {
        settings.check()?;
        if coder.needs_features() {
            return Err(Error::Settings(format!(
                "expected a coder that does not learn from features, found {}",
                coder.record()
            )));
        }
        Ok(Self { coder, settings })
    }
}

impl Coder for LearningCoder {
    fn record(&self) -> Record {
        self.settings.record(&self.coder.record())
    }

    fn memory_bytes(&self, shape: FrameShape) -> u64 {
        // A token's entry makes rows for its candidates and for the token itself, at most.
        let made = (shape.tokens as u64).saturating_mul(self.settings.candidates + 1);
        let rows = self.settings.rows.min(shape.vocab_size as u64).min(made);
        self.coder.memory_bytes(shape).saturating_add(rows * MOST_FEATURES as u64 * 4)
    }

    fn needs_features(&self) -> bool {
        true
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        let coder = self.coder.encoder(shape)?;
        Ok(Box::new(Learning { coder, lesson: Lesson::new(self.settings, shape) }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        let coder = self.coder.decoder(shape, payload)?;
        Ok(Box::new(Learning { coder, lesson: Lesson::new(self.settings, shape) }))
    }
}

/// One frame on its way in or out: the coder underneath and what corrects its rows.
struct Learning<C: ?Sized> {
    lesson: Lesson,
    coder: Box<C>,
}

/// The head and the row of logits at hand.
struct Lesson {
    head: Head,
    row: Logits,
}

/// The place of the one row that the coder underneath is given at a time.
const ONE_ROW: [usize; 1] = [0];

impl Lesson {
    fn new(settings: Settings, shape: FrameShape) -> Self {
        Self { head: Head::new(settings, shape.vocab_size), row: Logits::new() }
    }

    /// The corrected row of entry `i`.
    fn correct(&mut self, rows: Rows<'_>, i: usize) -> Result<Rows<'_>> {
        let row = rows.row(i);
        self.head.correct(row, rows.features(i), self.row.resize(1, row.len()))?;
        Ok(Rows::new(&self.row, &ONE_ROW))
    }

    /// Learns the token that was coded under the row last corrected.
    fn learn(&mut self, token: TokenId) -> Result<()> {
        self.head.learn(token, self.row.row(0))
    }
}

impl Encoder for Learning<dyn Encoder + '_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        check_step(NAME, entries, rows, tokens.len())?;
        for (i, (entry, token)) in entries.iter().zip(tokens).enumerate() {
            let row = self.lesson.correct(rows, i)?;
            self.coder.encode(std::slice::from_ref(entry), row, std::slice::from_ref(token))?;
            self.lesson.learn(*token)?;
        }
        Ok(())
    }

    fn coded_bytes(&self) -> usize {
        self.coder.coded_bytes()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        self.coder.finish()
    }
}

impl Decoder for Learning<dyn Decoder + '_> {
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        check_step(NAME, entries, rows, tokens.len())?;
        for (i, (entry, token)) in entries.iter().zip(tokens).enumerate() {
            let row = self.lesson.correct(rows, i)?;
            self.coder.decode(std::slice::from_ref(entry), row, std::slice::from_mut(token))?;
            self.lesson.learn(*token)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.coder.finish()
    }
}
