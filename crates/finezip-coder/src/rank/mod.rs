//! FineZip's coder: the ranks of tokens, through a byte compressor.
//!
//! Mittu et al. 2024 (arXiv 2409.17141): where the model predicts well most tokens have rank 0,
//! and a byte compressor makes little of the rest. It costs a tenth to a half more bytes than
//! arithmetic coding of the same distributions, since a rank does not say how likely it was; but
//! all ranks are known before the first row is decoded, so that a step's rows are worked on
//! together to the end.

mod backend;
mod layout;
mod order;

use finezip_core::{
    Coder, Decoder, Encoder, Error, FrameShape, Record, Result, Rows, StepEntry, TokenId,
};

pub use backend::Backend;
use order::Selector;
pub use order::rank_of;

use crate::step::check_step;
use crate::threads::Threads;

/// Name of the rank coder in archives.
pub(crate) const RANK: &str = "rank";

/// What stands for a rank that is not known yet; no vocabulary is as large.
const UNKNOWN: u32 = u32::MAX;

/// The rank coder, `rank/1 backend=0 level=9`.
#[derive(Clone, Debug, Default)]
pub struct RankCoder {
    backend: Backend,
    level: Option<u32>,
    threads: Threads,
}

impl RankCoder {
    /// A coder that hands its ranks to `backend` at the highest sensible level and shares the
    /// rows of a step over `threads`, which change no byte.
    pub fn new(backend: Backend, threads: Threads) -> Self {
        Self { backend, level: None, threads }
    }

    /// The same with the backend at another level.
    ///
    /// # Errors
    /// [`Error::Settings`] for a level the backend does not have.
    pub fn with_level(self, level: u32) -> Result<Self> {
        let levels = self.backend.levels();
        if !levels.contains(&level) {
            return Err(Error::Settings(format!(
                "coder rank: {} has levels {} to {}, {level} was given",
                self.backend.name(),
                levels.start(),
                levels.end()
            )));
        }
        Ok(Self { level: Some(level), ..self })
    }

    /// The payload of a frame with these ranks, in the order of its tokens.
    ///
    /// # Errors
    /// Where the backend fails.
    pub fn pack(&self, ranks: &[u32]) -> Result<Vec<u8>> {
        self.backend.compress(&layout::to_bytes(ranks), self.level())
    }

    /// The ranks of a payload's `tokens` tokens, each below `vocab_size`.
    ///
    /// # Errors
    /// [`Error::Payload`] where the payload is damaged or holds anything else. No more memory is
    /// taken than ranks of `tokens` tokens need.
    pub fn unpack(&self, payload: &[u8], tokens: usize, vocab_size: usize) -> Result<Vec<u32>> {
        let limit = tokens.saturating_mul(layout::longest(vocab_size));
        let bytes = self.backend.decompress(payload, limit)?;
        layout::from_bytes(&bytes, tokens, vocab_size)
    }

    fn level(&self) -> u32 {
        self.level.unwrap_or(self.backend.default_level())
    }
}

impl Coder for RankCoder {
    fn record(&self) -> Record {
        Record::new(RANK, 1).with("backend", self.backend as u64).with("level", self.level().into())
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        check_vocab_size(shape)?;
        Ok(Box::new(RankEncoder {
            coder: self,
            vocab_size: shape.vocab_size,
            ranks: vec![UNKNOWN; shape.tokens],
            step: Vec::new(),
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        check_vocab_size(shape)?;
        Ok(Box::new(RankDecoder {
            threads: &self.threads,
            vocab_size: shape.vocab_size,
            ranks: self.unpack(payload, shape.tokens, shape.vocab_size)?,
            step: Vec::new(),
        }))
    }
}

fn check_vocab_size(shape: FrameShape) -> Result<()> {
    if (1..UNKNOWN as usize).contains(&shape.vocab_size) {
        return Ok(());
    }
    Err(Error::Settings(format!("coder rank: a vocabulary of {} tokens", shape.vocab_size)))
}

fn outside(index: usize, tokens: usize) -> Error {
    Error::payload(RANK, format!("token {index} of a frame of {tokens}"))
}

struct RankEncoder<'a> {
    coder: &'a RankCoder,
    vocab_size: usize,
    /// By the tokens' place in the frame.
    ranks: Vec<u32>,
    /// Those of the step; kept for its memory.
    step: Vec<Option<u32>>,
}

impl Encoder for RankEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        check_step(RANK, self.vocab_size, entries, rows, tokens.len())?;
        self.step.clear();
        self.step.resize(tokens.len(), None);
        self.coder.threads.for_each_row(&mut self.step, self.vocab_size, |i, rank| {
            *rank = tokens.get(i).and_then(|&token| rank_of(rows.row(i), token as usize));
        });
        let frame_tokens = self.ranks.len();
        for ((entry, &rank), token) in entries.iter().zip(&self.step).zip(tokens) {
            let place = self.ranks.get_mut(entry.index);
            *place.ok_or_else(|| outside(entry.index, frame_tokens))? = rank.ok_or_else(|| {
                Error::payload(
                    RANK,
                    format!("token {token} in a vocabulary of {}", self.vocab_size),
                )
            })?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        if let Some(index) = self.ranks.iter().position(|&rank| rank == UNKNOWN) {
            return Err(Error::payload(RANK, format!("token {index} of the frame was not coded")));
        }
        self.coder.pack(&self.ranks)
    }
}

/// A row of a step: the rank sought, and the token found.
#[derive(Default)]
struct Search {
    rank: u32,
    token: Option<TokenId>,
    selector: Selector,
}

struct RankDecoder<'a> {
    threads: &'a Threads,
    vocab_size: usize,
    /// By the tokens' place in the frame.
    ranks: Vec<u32>,
    /// Those of the step; kept for their memory.
    step: Vec<Search>,
}

impl Decoder for RankDecoder<'_> {
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        check_step(RANK, self.vocab_size, entries, rows, tokens.len())?;
        if self.step.len() < tokens.len() {
            self.step.resize_with(tokens.len(), Search::default);
        }
        let (step, _) = self.step.split_at_mut(tokens.len());
        for (search, entry) in step.iter_mut().zip(entries) {
            let rank = self.ranks.get(entry.index);
            search.rank = *rank.ok_or_else(|| outside(entry.index, self.ranks.len()))?;
        }
        self.threads.for_each_row(step, self.vocab_size, |i, search| {
            search.token = search.selector.select(rows.row(i), search.rank as usize);
        });
        for (token, search) in tokens.iter_mut().zip(step) {
            *token = search
                .token
                .ok_or_else(|| Error::payload(RANK, format!("no token of rank {}", search.rank)))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // The payload was read whole before the first step.
        Ok(())
    }
}
