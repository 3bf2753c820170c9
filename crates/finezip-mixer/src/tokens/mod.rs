//! Mixing over a language model: a [`Coder`] that corrects the model's distributions by what the
//! text itself has shown so far.

mod calibration;
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
    Coder, Decoder, Encoder, Error, FrameShape, Record, Result, Rows, StepEntry, TokenId,
    coder::check_step,
};

use crate::binary::{BinaryDecoder, BinaryEncoder};
use distribution::Distribution;
use model::Mixer;
use trie::Trie;

/// The name of the token mixer in archives.
pub const NAME: &str = "mixer";

/// The vocabulary, prepared once and shared by all frames.
#[derive(Debug)]
struct Vocabulary {
    table: Vec<Vec<u8>>,
    trie: Trie,
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
        let trie = Trie::new(&table)?;
        Ok(Self { vocabulary: Arc::new(Vocabulary { table, trie }), settings })
    }

    fn mixer(&self, shape: FrameShape) -> Result<Mixer<'_>> {
        Mixer::new(&self.vocabulary.trie, &self.vocabulary.table, self.settings, shape)
    }

    fn distribution(&self) -> Distribution<'_> {
        Distribution::new(&self.vocabulary.trie)
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
            mixer: self.mixer(shape)?,
            distribution: self.distribution(),
            places: &self.vocabulary.trie.places,
            coder: BinaryEncoder::new(),
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        Ok(Box::new(MixerDecoder {
            mixer: self.mixer(shape)?,
            distribution: self.distribution(),
            coder: BinaryDecoder::new(payload),
        }))
    }
}

/// One frame on its way in.
struct MixerEncoder<'a> {
    mixer: Mixer<'a>,
    distribution: Distribution<'a>,
    places: &'a [u32],
    coder: BinaryEncoder,
}

impl Encoder for MixerEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        check_step(NAME, entries, rows, tokens.len())?;
        for (i, (entry, &token)) in entries.iter().zip(tokens).enumerate() {
            let Some(&place) = self.places.get(token as usize) else {
                return Err(Error::payload(
                    NAME,
                    format!("token {token} in a vocabulary of {}", self.places.len()),
                ));
            };
            self.distribution.fill(rows.row(i), rows.maximum(i))?;
            let coder = &mut self.coder;
            self.mixer.code(entry, &mut self.distribution, |one, middle| {
                let outcome = place >= middle;
                coder.encode(outcome, one);
                outcome
            })?;
        }
        Ok(())
    }

    fn coded_bytes(&self) -> usize {
        self.coder.len()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.coder.finish())
    }
}

/// One frame on its way out.
struct MixerDecoder<'a> {
    mixer: Mixer<'a>,
    distribution: Distribution<'a>,
    coder: BinaryDecoder<'a>,
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
            let coder = &mut self.coder;
            *token = self.mixer.code(entry, &mut self.distribution, |one, _| coder.decode(one))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match self.coder.unread() {
            0 => Ok(()),
            unread => Err(Error::payload(
                NAME,
                format!("the payload goes on for {unread} bytes after its last token"),
            )),
        }
    }
}
