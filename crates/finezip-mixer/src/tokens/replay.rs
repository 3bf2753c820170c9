//! Ablations without an engine: what the model said of each decision, recorded once, and the size
//! any settings give on it. Not part of the archive format.

use finezip_core::{Feed, FrameShape, Result, StepEntry, TokenId};

use super::Vocabulary;
use super::coding::FrameEncoder;
use super::distribution::{Distribution, Opinion};
use super::settings::Settings;
use super::trie::LEAF;

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
    vocabulary: Vocabulary,
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
        let vocabulary = Vocabulary::new(table)?;
        Ok(Self { vocabulary, tokens: Vec::new(), recorded: Vec::new() })
    }

    /// Records the row `[vocab]` of the frame's next token, in the frame's order.
    pub fn push(&mut self, row: &[f32], token: TokenId) -> Result<()> {
        let trie = &self.vocabulary.trie;
        let mut distribution = Distribution::new(trie);
        distribution.fill(row, None)?;
        let place = trie.places[token as usize];
        let (mut low, mut high, mut at) = (0, trie.tokens.len() as u32, trie.root());
        let mut splits = Vec::new();
        while at != LEAF {
            let decision = trie.decisions[at as usize];
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
        let table = &self.vocabulary.table;
        let bytes = self.tokens.iter().map(|&token| table[token as usize].len()).sum();
        let shape = FrameShape { vocab_size: table.len(), lanes, tokens, bytes };
        settings.check()?;
        let mut frame = FrameEncoder::new(&self.vocabulary, settings, shape)?;
        let lane_tokens = tokens.div_ceil(lanes.max(1));
        for step in 0..lane_tokens {
            for lane in 0..lanes {
                let index = lane * lane_tokens + step;
                if index >= tokens.min((lane + 1) * lane_tokens) {
                    continue;
                }
                let feed = if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
                let entry = StepEntry { lane, index, feed };
                let mut replay = Replay { recorded: &self.recorded[index], at: 0 };
                frame.encode(&entry, &mut replay, self.tokens[index])?;
            }
        }
        Ok(frame.finish().len())
    }
}
