//! FineZip's dynamic context: chunks of a fixed number of tokens, coded independently in batch.
//!
//! Mittu et al. 2024 (arXiv 2409.17141), section 3: token `i` of a chunk sees the `i - 1` before
//! it, so that one token a step is computed and many chunks go in lockstep.

use finezip_core::{Error, Feed, Plan, Record, Result, Schedule, StepEntry, Window};

use crate::lanes::LanePolicy;

/// Name of this schedule in archives.
pub(crate) const NAME: &str = "chunk-reset";

/// Chunks of `context_tokens` tokens, each begun without context, a lane each.
///
/// Where there are more chunks than lanes they go in waves, and all lanes restart together. The
/// last chunk may be shorter; it is the last lane of the last wave and is not padded. The number
/// of lanes changes no token's context and thus no size.
///
/// Record: `chunk-reset/1 context=512`.
#[derive(Clone, Copy, Debug)]
pub struct ChunkReset {
    context_tokens: usize,
    lanes: LanePolicy,
}

impl ChunkReset {
    /// Chunks of `context_tokens` tokens, at least 1. A chunk feeds the start token and all its
    /// tokens but the last, `context_tokens` positions.
    ///
    /// # Errors
    /// [`Error::Settings`] for a context of 0.
    pub fn new(context_tokens: usize, lanes: LanePolicy) -> Result<Self> {
        if context_tokens == 0 {
            return Err(Error::Settings("schedule chunk-reset: a context of 0 tokens".into()));
        }
        Ok(Self { context_tokens, lanes })
    }
}

impl Schedule for ChunkReset {
    fn record(&self) -> Record {
        Record::new(NAME, 1).with("context", self.context_tokens as u64)
    }

    fn window(&self) -> Window {
        Window { tokens: self.context_tokens, sinks: 0, rolling: false }
    }

    /// As many as there are chunks, within the limits; where that takes several waves, as few as
    /// take no more waves.
    fn lanes(&self, tokens: usize) -> usize {
        let chunks = tokens.div_ceil(self.context_tokens).max(1);
        let lanes = self.lanes.choose(chunks, chunks);
        match self.lanes {
            LanePolicy::Fixed(_) => lanes,
            LanePolicy::Automatic { .. } => chunks.div_ceil(chunks.div_ceil(lanes)),
        }
    }

    fn max_lanes(&self) -> usize {
        self.lanes.most()
    }

    fn plan(&self, tokens: usize, lanes: usize) -> Box<dyn Plan> {
        Box::new(Waves {
            tokens,
            lanes: lanes.max(1),
            context_tokens: self.context_tokens,
            first: 0,
            place: 0,
        })
    }
}

/// The plan of [`ChunkReset`].
struct Waves {
    tokens: usize,
    lanes: usize,
    context_tokens: usize,
    /// First token of the wave's first chunk.
    first: usize,
    /// Place in the chunks that the next step codes.
    place: usize,
}

impl Plan for Waves {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        entries.clear();
        let feed = |index| {
            if self.place == 0 { Feed::Restart { from: index } } else { Feed::Continue }
        };
        // Chunks are as long as the context but for the frame's last.
        let indices = (self.first.saturating_add(self.place)..self.tokens)
            .step_by(self.context_tokens)
            .take(self.lanes);
        entries.extend(indices.enumerate().map(|(lane, index)| StepEntry {
            lane,
            index,
            feed: feed(index),
        }));
        if entries.is_empty() {
            return false;
        }
        self.place += 1;
        // A wave ends with its chunks; a wave of one short chunk is the last.
        if self.place == self.context_tokens {
            self.place = 0;
            let wave_tokens = self.context_tokens.saturating_mul(self.lanes);
            self.first = self.first.saturating_add(wave_tokens);
        }
        true
    }
}
