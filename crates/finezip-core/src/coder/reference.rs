//! The arithmetic coder as its definition reads: one row, one token, one thread at a time.
//!
//! `finezip-coder` has the coder to use with real vocabularies; it writes the same bytes, from
//! the same record, many times faster. This one is what it is tested against, and is all that a
//! model of a few hundred tokens needs.

use super::{Coder, Decoder, Encoder, FrameShape};
use crate::error::{Error, Result};
use crate::logits::Rows;
use crate::range::{RangeDecoder, RangeEncoder};
use crate::record::Record;
use crate::schedule::StepEntry;
use crate::softmax;
use crate::tokenizer::TokenId;

/// Name of the arithmetic coder in archives.
pub const ARITHMETIC: &str = "ac";

/// The record of the arithmetic coder: `ac/1`.
pub fn arithmetic_record() -> Record {
    Record::new(ARITHMETIC, 1)
}

/// Arithmetic coding of tokens under the softmax of their logits, written plainly.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceCoder;

impl Coder for ReferenceCoder {
    fn record(&self) -> Record {
        arithmetic_record()
    }

    fn encoder<'a>(&'a self, _shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        Ok(Box::new(ReferenceEncoder(RangeEncoder::new())))
    }

    fn decoder<'a>(
        &'a self,
        _shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        Ok(Box::new(ReferenceDecoder(RangeDecoder::new(payload))))
    }
}

/// The weights of a row, `[vocab]`.
fn weights(row: &[f32]) -> Result<Vec<u64>> {
    let maximum = softmax::row_maximum(row).ok_or_else(|| {
        Error::payload(ARITHMETIC, "the engine gave a row of logits without a finite maximum")
    })?;
    Ok(row.iter().map(|&logit| u64::from(softmax::weight(logit - maximum))).collect())
}

struct ReferenceEncoder(RangeEncoder);

impl Encoder for ReferenceEncoder {
    fn encode(&mut self, _entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        for (i, &token) in tokens.iter().enumerate() {
            let weights = weights(rows.row(i))?;
            let token = token as usize;
            let size = *weights.get(token).ok_or_else(|| {
                Error::payload(
                    ARITHMETIC,
                    format!("token {token} in a vocabulary of {}", weights.len()),
                )
            })?;
            self.0.encode(weights[..token].iter().sum(), size, weights.iter().sum());
        }
        Ok(())
    }

    fn coded_bytes(&self) -> usize {
        self.0.len()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.0.finish())
    }
}

struct ReferenceDecoder<'a>(RangeDecoder<'a>);

impl Decoder for ReferenceDecoder<'_> {
    fn decode(
        &mut self,
        _entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        for (i, token) in tokens.iter_mut().enumerate() {
            let weights = weights(rows.row(i))?;
            let total = weights.iter().sum();
            let target = self.0.target(total);
            let mut start = 0;
            for (id, &size) in weights.iter().enumerate() {
                if target < start + size {
                    *token = id as TokenId;
                    self.0.consume(start, size, total);
                    break;
                }
                start += size;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish()
    }
}
