//! What turns distributions and tokens into a payload, and a payload back into tokens.
//!
//! A coder works a step at a time, on all lanes of the step together, so that an implementation
//! may share the work over threads; the order within a step is that of its entries, in both
//! directions. A step may be handed over in several parts, in order: the payload is the same.

pub mod reference;

pub use reference::{ReferenceCoder, arithmetic_record};

use crate::error::{Error, Result};
use crate::logits::Rows;
use crate::record::Record;
use crate::schedule::StepEntry;
use crate::tokenizer::TokenId;

/// What a coder knows of a frame before its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameShape {
    /// Logits a row.
    pub vocab_size: usize,
    /// Lanes of the plan.
    pub lanes: usize,
    /// Tokens in the frame.
    pub tokens: usize,
    /// Bytes of text the frame's tokens stand for.
    pub bytes: usize,
}

/// A way of coding tokens under the distributions a model gives them.
pub trait Coder: Send + Sync {
    /// Name, version and every parameter: enough to make the same coder again.
    fn record(&self) -> Record;

    /// The most bytes that a decoder of a frame of this shape takes beyond a few dozen for each
    /// token and logit: tables whose size the archive decides. Readers hold it against
    /// [`Limits::coder_bytes`](crate::Limits) before they open one.
    fn memory_bytes(&self, _shape: FrameShape) -> u64 {
        0
    }

    /// Whether each row of logits must have its features beside it
    /// ([`LanguageModel::feature_width`](crate::LanguageModel::feature_width)).
    fn needs_features(&self) -> bool {
        false
    }

    /// Opens an encoder for one frame.
    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>>;

    /// Opens a decoder for one frame's payload.
    fn decoder<'a>(&'a self, shape: FrameShape, payload: &'a [u8])
    -> Result<Box<dyn Decoder + 'a>>;
}

/// Codes the tokens of one frame.
pub trait Encoder: Send {
    /// Codes one step or a part of it: `tokens[i]` under `rows.row(i)` for `entries[i]`.
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()>;

    /// Bytes the payload has so far, for progress reports; 0 where that is not known yet.
    fn coded_bytes(&self) -> usize {
        0
    }

    /// Ends the frame and returns its payload.
    fn finish(self: Box<Self>) -> Result<Vec<u8>>;
}

/// Decodes the tokens of one frame.
pub trait Decoder: Send {
    /// Decodes one step or a part of it: writes the token of `entries[i]`, given `rows.row(i)`, to `tokens[i]`.
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()>;

    /// Ends the frame; an error if the payload does not end where its tokens do.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// An error unless a step has as many rows of logits as entries and tokens: what every coder
/// checks before it works on one.
pub fn check_step(coder: &str, entries: &[StepEntry], rows: Rows<'_>, tokens: usize) -> Result<()> {
    if rows.len() == tokens && entries.len() == tokens {
        return Ok(());
    }
    let (entries, rows) = (entries.len(), rows.len());
    Err(Error::payload(
        coder,
        format!("a step of {entries} entries has {rows} rows of logits and {tokens} tokens"),
    ))
}
