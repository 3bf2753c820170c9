//! Ablations without an engine: what the model said of each decision, recorded once, and the size
//! any settings give on it. Not part of the archive format.

use finezip_core::{Feed, FrameShape, Result, StepEntry, TokenId};

use super::distribution::{Distribution, Opinion};
use super::model::Mixer;
use super::settings::Settings;
use super::trie::{LEAF, Trie};
use crate::binary::BinaryEncoder;

/// What the model said on the way to one token.
#[derive(Clone, Debug)]
struct Recorded {
    top: u32,
    doubt: f32,
    splits: Vec<(u64, u64)>,
}

/// A frame's tokens with the model's opinions on them.
#[derive(Debug)]
pub struct Recording {
    table: Vec<Vec<u8>>,
    trie: Trie,
    tokens: Vec<TokenId>,
    recorded: Vec<Recorded>,
}

/// Gives out the splits of one token in order.
struct Replay<'a> {
    recorded: &'a Recorded,
    at: usize,
}

impl Opinion for Replay<'_> {
    #[inline(always)]
    fn split(&mut self, _low: u32, _middle: u32, _high: u32) -> (u64, u64) {
        self.at += 1;
        self.recorded.splits[self.at - 1]
    }

    fn top(&self) -> u32 {
        self.recorded.top
    }

    fn doubt(&self) -> f32 {
        self.recorded.doubt
    }
}

impl Recording {
    /// An empty recording for a vocabulary, bytes by id.
    pub fn new(table: Vec<Vec<u8>>) -> Result<Self> {
        let trie = Trie::new(&table)?;
        Ok(Self { table, trie, tokens: Vec::new(), recorded: Vec::new() })
    }

    /// Records the row `[vocab]` of the frame's next token, in the frame's order.
    pub fn push(&mut self, row: &[f32], token: TokenId) -> Result<()> {
        let mut distribution = Distribution::new(&self.trie);
        distribution.fill(row, None)?;
        let place = self.trie.places[token as usize];
        let (mut low, mut high) = (0, self.table.len() as u32);
        let mut at = if self.trie.decisions.is_empty() { LEAF } else { 0 };
        let mut splits = Vec::new();
        while at != LEAF {
            let decision = self.trie.decisions[at as usize];
            splits.push(distribution.split(low, decision.middle, high));
            let outcome = place >= decision.middle;
            if outcome {
                low = decision.middle
            } else {
                high = decision.middle
            }
            at = decision.next[usize::from(outcome)];
        }
        let (top, doubt) = (distribution.top(), distribution.doubt());
        self.recorded.push(Recorded { top, doubt, splits });
        self.tokens.push(token);
        Ok(())
    }

    /// Adds another recording's tokens behind this one's.
    pub fn append(&mut self, other: Self) {
        self.tokens.extend(other.tokens);
        self.recorded.extend(other.recorded);
    }

    /// Bytes the frame takes in `lanes` contiguous lanes that never restart.
    pub fn size(&self, settings: Settings, lanes: usize) -> Result<usize> {
        let tokens = self.tokens.len();
        let bytes = self.tokens.iter().map(|&token| self.table[token as usize].len()).sum();
        let shape = FrameShape { vocab_size: self.table.len(), lanes, tokens, bytes };
        let mut mixer = Mixer::new(&self.trie, &self.table, settings, shape)?;
        let mut coder = BinaryEncoder::new();
        let lane_tokens = tokens.div_ceil(lanes.max(1));
        for step in 0..lane_tokens {
            for lane in 0..lanes {
                let index = lane * lane_tokens + step;
                if index >= tokens.min((lane + 1) * lane_tokens) {
                    continue;
                }
                let feed = if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
                let entry = StepEntry { lane, index, feed };
                let place = self.trie.places[self.tokens[index] as usize];
                let mut replay = Replay { recorded: &self.recorded[index], at: 0 };
                mixer.code(&entry, &mut replay, |one, middle| {
                    let outcome = place >= middle;
                    coder.encode(outcome, one);
                    outcome
                })?;
            }
        }
        Ok(coder.finish().len())
    }
}
