//! Mixing over a language model: a [`Coder`] that corrects the model's distributions by what the
//! text itself has shown so far.

mod calibration;
mod coding;
mod contexts;
mod distribution;
mod followers;
mod lane;
mod matches;
mod model;
#[doc(hidden)]
pub mod replay;
mod settings;
mod trie;

pub use settings::{DEFAULT_LEVEL, Settings, VERSION};

use std::sync::Arc;

use finezip_core::{
    Coder, Decoder, Encoder, FrameShape, Record, Result, Rows, StepEntry, TokenId,
    coder::check_step,
};

use coding::{FrameDecoder, FrameEncoder};
use distribution::Distribution;
use trie::Trie;

/// The name of the token mixer, and in archives of what always codes as its settings say.
pub const NAME: &str = "mixer";

/// The name in archives of what may code a frame without mixing. It stands in the description that
/// every archive begins with, so it is short: context mixing.
pub const SHORT_NAME: &str = "cm";

/// Whether a record is one of the token mixer's, by its name.
pub fn is_named_in(record: &Record) -> bool {
    [NAME, SHORT_NAME].contains(&record.name.as_str())
}

/// The vocabulary, prepared once and shared by all frames.
#[derive(Debug)]
struct Vocabulary {
    table: Vec<Vec<u8>>,
    trie: Trie,
}

impl Vocabulary {
    /// A vocabulary, bytes by id.
    fn new(table: Vec<Vec<u8>>) -> Result<Self> {
        let trie = Trie::new(&table)?;
        Ok(Self { table, trie })
    }
}

/// Codes tokens under mixed distributions.
#[derive(Clone, Debug)]
pub struct MixerCoder {
    vocabulary: Arc<Vocabulary>,
    settings: Settings,
}

impl MixerCoder {
    /// A coder for a vocabulary, given the bytes of each token by id (none for special tokens).
    pub fn new(table: Vec<Vec<u8>>, settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { vocabulary: Arc::new(Vocabulary::new(table)?), settings })
    }
}

impl Coder for MixerCoder {
    fn record(&self) -> Record {
        self.settings.record()
    }

    fn memory_bytes(&self, shape: FrameShape) -> u64 {
        model::memory_bytes(self.settings, shape)
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        Ok(Box::new(MixerEncoder {
            frame: FrameEncoder::new(&self.vocabulary, self.settings, shape)?,
            distribution: Distribution::new(&self.vocabulary.trie),
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        Ok(Box::new(MixerDecoder {
            frame: FrameDecoder::new(&self.vocabulary, self.settings, shape, payload)?,
            distribution: Distribution::new(&self.vocabulary.trie),
        }))
    }
}

/// One frame on its way in.
struct MixerEncoder<'a> {
    frame: FrameEncoder<'a>,
    distribution: Distribution<'a>,
}

impl Encoder for MixerEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        check_step(NAME, entries, rows, tokens.len())?;
        for (i, (entry, &token)) in entries.iter().zip(tokens).enumerate() {
            self.distribution.fill(rows.row(i), rows.maximum(i))?;
            self.frame.encode(entry, &mut self.distribution, token)?;
        }
        Ok(())
    }

    fn coded_bytes(&self) -> usize {
        self.frame.len()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.frame.finish())
    }
}

/// One frame on its way out.
struct MixerDecoder<'a> {
    frame: FrameDecoder<'a>,
    distribution: Distribution<'a>,
}

impl Decoder for MixerDecoder<'_> {
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        check_step(NAME, entries, rows, tokens.len())?;
        for (i, (entry, token)) in entries.iter().zip(tokens).enumerate() {
            self.distribution.fill(rows.row(i), rows.maximum(i))?;
            *token = self.frame.decode(entry, &mut self.distribution)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.frame.finish()
    }
}
