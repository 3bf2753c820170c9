//! LLMZip's schedule: every token sees a full window, computed again for each.
//!
//! Valmeekam et al. 2023 (arXiv 2306.04050): token `i` is predicted from the `M` tokens before it
//! and nothing else. The best use of a window and the dearest, `context_tokens` positions computed
//! for each token coded.

use finezip_core::{Error, Feed, Plan, Record, Result, Schedule, StepEntry, Window};

use crate::lanes::LanePolicy;
use crate::regions::Regions;

/// Name of this schedule in archives.
pub(crate) const NAME: &str = "fixed-window";

/// Each token's lane is emptied and fed the start token and the `context_tokens - 1` tokens
/// before it (those there are in its lane's region).
///
/// Lanes are contiguous regions in lockstep. A prediction computes `context_tokens` positions at
/// once, which keeps a processor busy without other lanes, so that automatic means one lane.
///
/// Record: `fixed-window/1 context=512`.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow {
    context_tokens: usize,
    lanes: LanePolicy,
}

impl FixedWindow {
    /// Windows of `context_tokens` positions (at least 1), that of the start token included.
    ///
    /// # Errors
    /// [`Error::Settings`] for a context of 0.
    pub fn new(context_tokens: usize, lanes: LanePolicy) -> Result<Self> {
        if context_tokens == 0 {
            return Err(Error::Settings("schedule fixed-window: a context of 0 tokens".into()));
        }
        Ok(Self { context_tokens, lanes })
    }
}

impl Schedule for FixedWindow {
    fn record(&self) -> Record {
        Record::new(NAME, 1).with("context", self.context_tokens as u64)
    }

    fn window(&self) -> Window {
        Window { tokens: self.context_tokens, sinks: 0, rolling: false }
    }

    fn lanes(&self, tokens: usize) -> usize {
        self.lanes.choose(1, tokens)
    }

    fn max_lanes(&self) -> usize {
        match self.lanes {
            LanePolicy::Fixed(_) => self.lanes.most(),
            LanePolicy::Automatic { .. } => 1,
        }
    }

    fn plan(&self, tokens: usize, lanes: usize) -> Box<dyn Plan> {
        Box::new(Windows {
            regions: Regions::new(tokens, lanes),
            context_tokens: self.context_tokens,
            place: 0,
        })
    }
}

/// The plan of [`FixedWindow`].
struct Windows {
    regions: Regions,
    context_tokens: usize,
    place: usize,
}

impl Plan for Windows {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        let seen = self.place.min(self.context_tokens - 1);
        entries.clear();
        entries.extend((0..self.regions.lanes_at(self.place)).map(|lane| {
            let index = self.regions.of(lane).start + self.place;
            StepEntry { lane, index, feed: Feed::Restart { from: index - seen } }
        }));
        self.place += 1;
        !entries.is_empty()
    }
}
