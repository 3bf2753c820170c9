//! Arithmetic coding of tokens under the softmax of their logits, batched over the lanes of a
//! step.
//!
//! The bytes are those of [`ReferenceCoder`](finezip_core::ReferenceCoder), and so is the record,
//! `ac/1`; `docs/coder.md` defines both. What is done here is the work per row (its maximum and
//! sums of its weights), shared over threads; then the tokens narrow the range one after another.

use finezip_core::coder::reference::{ARITHMETIC, arithmetic_record};
use finezip_core::range::{MAX_TOTAL, RangeDecoder, RangeEncoder};
use finezip_core::softmax::MAX_WEIGHT;
use finezip_core::{
    Coder, Decoder, Encoder, Error, FrameShape, Record, Result, Rows, StepEntry, TokenId,
};

use crate::distribution::{self, BLOCK_TOKENS, Share};
use crate::step::check_step;
use crate::threads::Threads;

/// The largest vocabulary whose weights can never sum to more than [`MAX_TOTAL`].
pub const MAX_VOCAB_SIZE: usize = (MAX_TOTAL / MAX_WEIGHT as u64) as usize;

/// The arithmetic coder, `ac/1`.
///
/// ```
/// use finezip_coder::ArithmeticCoder;
/// use finezip_core::{Coder, Feed, FrameShape, Logits, Rows, StepEntry};
///
/// // Two lanes, a vocabulary of three tokens.
/// let mut logits = Logits::new();
/// logits.resize(2, 3).copy_from_slice(&[2.0, 0.0, 0.0, -1.0, 5.0, 1.0]);
/// let rows = Rows::new(&logits, &[0, 1]);
/// let entries = [0, 1].map(|lane| StepEntry { lane, index: lane, feed: Feed::Restart { from: lane } });
///
/// let coder = ArithmeticCoder::default();
/// let shape = FrameShape { vocab_size: 3, lanes: 2, tokens: 2, bytes: 8 };
/// let mut encoder = coder.encoder(shape)?;
/// encoder.encode(&entries, rows, &[0, 1])?;
/// let payload = encoder.finish()?;
/// assert_eq!(payload.len(), 1);
///
/// let mut tokens = [0; 2];
/// let mut decoder = coder.decoder(shape, &payload)?;
/// decoder.decode(&entries, rows, &mut tokens)?;
/// decoder.finish()?;
/// assert_eq!(tokens, [0, 1]);
/// # Ok::<(), finezip_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ArithmeticCoder {
    threads: Threads,
}

impl ArithmeticCoder {
    /// A coder that shares the rows of a step over `threads`, which change no byte.
    pub fn new(threads: Threads) -> Self {
        Self { threads }
    }
}

impl Coder for ArithmeticCoder {
    fn record(&self) -> Record {
        arithmetic_record()
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        check_vocab_size(shape)?;
        Ok(Box::new(ArithmeticEncoder {
            threads: &self.threads,
            vocab_size: shape.vocab_size,
            range: RangeEncoder::new(),
            shares: Vec::new(),
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        check_vocab_size(shape)?;
        Ok(Box::new(ArithmeticDecoder {
            threads: &self.threads,
            vocab_size: shape.vocab_size,
            range: RangeDecoder::new(payload),
            rows: Vec::new(),
        }))
    }
}

fn check_vocab_size(shape: FrameShape) -> Result<()> {
    if (1..=MAX_VOCAB_SIZE).contains(&shape.vocab_size) {
        return Ok(());
    }
    Err(Error::Settings(format!(
        "coder {ARITHMETIC}: a vocabulary of 1 to {MAX_VOCAB_SIZE} tokens is needed, the model has {}",
        shape.vocab_size
    )))
}

fn no_distribution() -> Error {
    Error::payload(ARITHMETIC, "the engine gave a row of logits without a finite maximum")
}

struct ArithmeticEncoder<'a> {
    threads: &'a Threads,
    vocab_size: usize,
    range: RangeEncoder,
    /// Those of the step's tokens; kept for its memory.
    shares: Vec<Option<Share>>,
}

impl Encoder for ArithmeticEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        check_step(ARITHMETIC, self.vocab_size, entries, rows, tokens.len())?;
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.vocab_size) {
            return Err(Error::payload(
                ARITHMETIC,
                format!("token {token} in a vocabulary of {}", self.vocab_size),
            ));
        }
        self.shares.clear();
        self.shares.resize(tokens.len(), None);
        self.threads.for_each_row(&mut self.shares, self.vocab_size, |i, share| {
            let token = tokens.get(i).copied().unwrap_or_default();
            *share = distribution::share_of(rows.row(i), rows.maximum(i), token as usize);
        });
        for share in &self.shares {
            let Share { start, size, total } = share.ok_or_else(no_distribution)?;
            self.range.encode(start, size, total);
        }
        Ok(())
    }

    fn coded_bytes(&self) -> usize {
        self.range.len()
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.range.finish())
    }
}

/// What decoding needs of a row besides its logits.
#[derive(Default)]
struct RowSums {
    maximum: Option<f32>,
    /// Sums of the weights of each block of [`BLOCK_TOKENS`] tokens.
    blocks: Vec<u64>,
}

struct ArithmeticDecoder<'a> {
    threads: &'a Threads,
    vocab_size: usize,
    range: RangeDecoder<'a>,
    /// Those of the step; kept for their memory.
    rows: Vec<RowSums>,
}

impl ArithmeticDecoder<'_> {
    /// The token of `row` that the code names, with its share.
    fn find(&self, row: &[f32], sums: &RowSums) -> Option<(usize, Share)> {
        let maximum = sums.maximum?;
        let total = sums.blocks.iter().sum();
        let target = self.range.target(total);
        let mut before = 0;
        let mut blocks = row.chunks(BLOCK_TOKENS).zip(&sums.blocks).enumerate();
        let (number, (block, _)) = blocks.find(|(_, (_, sum))| {
            let holds = target < before + **sum;
            before += if holds { 0 } else { **sum };
            holds
        })?;
        let (place, parts) = distribution::find_in_block(block, maximum, target - before)?;
        let share = Share { start: before + parts.start, size: parts.end - parts.start, total };
        Some((number * BLOCK_TOKENS + place, share))
    }
}

impl Decoder for ArithmeticDecoder<'_> {
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        check_step(ARITHMETIC, self.vocab_size, entries, rows, tokens.len())?;
        let blocks = self.vocab_size.div_ceil(BLOCK_TOKENS);
        if self.rows.len() < tokens.len() {
            self.rows.resize_with(tokens.len(), RowSums::default);
        }
        let (sums, _) = self.rows.split_at_mut(tokens.len());
        self.threads.for_each_row(sums, self.vocab_size, |i, sums| {
            sums.blocks.resize(blocks, 0);
            let (row, maximum) = (rows.row(i), rows.maximum(i));
            sums.maximum = distribution::sum_blocks(row, maximum, &mut sums.blocks);
        });
        for (i, token) in tokens.iter_mut().enumerate() {
            let sums = self.rows.get(i).ok_or_else(no_distribution)?;
            let (id, share) = self.find(rows.row(i), sums).ok_or_else(no_distribution)?;
            self.range.consume(share.start, share.size, share.total);
            *token = id as TokenId;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.range.finish()
    }
}
