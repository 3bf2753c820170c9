//! `--ideal`: a coder that also adds up the ideal code length of the distributions it is given.

use std::sync::{Arc, Mutex, PoisonError};

use finezip_coder::ideal_bits;
use finezip_core::{Coder, Decoder, Encoder, FrameShape, Record, Result, Rows, StepEntry, TokenId};

/// What was measured since the last [`IdealLength::take`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Sum of `-log2 p(token)`, in bytes.
    pub(crate) ideal_bytes: f64,
    /// Bytes of the coder's payloads for the same tokens.
    pub(crate) payload_bytes: u64,
}

/// Where measuring coders add up.
#[derive(Clone, Default)]
pub(crate) struct IdealLength(Arc<Mutex<Measured>>);

impl IdealLength {
    /// What was measured, and begins anew.
    pub(crate) fn take(&self) -> Measured {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, ideal_bits: f64, payload_bytes: usize) {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.ideal_bytes += ideal_bits / 8.0;
        measured.payload_bytes += payload_bytes as u64;
    }
}

/// A coder whose encoder measures.
pub(crate) struct MeasuringCoder {
    /// Does the coding.
    pub(crate) coder: Arc<dyn Coder>,
    /// Where the sums go.
    pub(crate) length: IdealLength,
}

impl Coder for MeasuringCoder {
    fn record(&self) -> Record {
        self.coder.record()
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        Ok(Box::new(MeasuringEncoder {
            encoder: self.coder.encoder(shape)?,
            length: &self.length,
            bits: 0.0,
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        self.coder.decoder(shape, payload)
    }
}

struct MeasuringEncoder<'a> {
    encoder: Box<dyn Encoder + 'a>,
    length: &'a IdealLength,
    bits: f64,
}

impl Encoder for MeasuringEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        for (i, &token) in tokens.iter().enumerate().take(rows.len()) {
            self.bits += ideal_bits(rows.row(i), token as usize);
        }
        self.encoder.encode(entries, rows, tokens)
    }

    fn coded_bytes(&self) -> usize {
        self.encoder.coded_bytes()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        let payload = self.encoder.finish()?;
        self.length.add(self.bits, payload.len());
        Ok(payload)
    }
}
