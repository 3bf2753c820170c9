//! In which order the tokens of a frame are computed and coded.
//!
//! A schedule turns a frame of `n` tokens into *steps*. A step has at most one entry a lane; all
//! entries of a step are computed as one batch. The same plan drives both directions: an entry
//! never needs a token that its own or a later step codes.

use crate::model::Window;
use crate::record::Record;

/// What a lane is fed before the row that codes an entry's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// The lane is emptied, then fed the model's start token and the frame's tokens `from..index`.
    Restart {
        /// First token of the frame that is fed again (equal to the entry's index for none).
        from: usize,
    },
    /// The lane is fed the frame's token `index - 1`, which this lane coded in its last entry.
    Continue,
}

/// One token of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepEntry {
    /// The lane that computes it.
    pub lane: usize,
    /// The token's place in the frame, `0..tokens`.
    pub index: usize,
    /// What is fed before.
    pub feed: Feed,
}

/// A way of laying out a frame's tokens over lanes and steps.
pub trait Schedule: Send + Sync {
    /// Name, version and every parameter.
    fn record(&self) -> Record;

    /// What a token sees under this schedule.
    fn window(&self) -> Window;

    /// The number of lanes to use for a frame of `tokens` tokens: the compressor's choice, which
    /// the frame records.
    fn lanes(&self, tokens: usize) -> usize;

    /// The most lanes [`Schedule::lanes`] ever answers.
    fn max_lanes(&self) -> usize;

    /// The plan for a frame of `tokens` tokens over `lanes` lanes.
    fn plan(&self, tokens: usize, lanes: usize) -> Box<dyn Plan>;
}

/// The steps of one frame, in order.
///
/// Over a whole plan each index of the frame occurs exactly once.
pub trait Plan: Send {
    /// Replaces `entries` with those of the next step, lanes ascending; false when there is none.
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool;
}

/// One lane from the frame's first token to its last: the plainest schedule, for models that see
/// a whole frame and need no batch. `finezip-schedule` has the others.
#[derive(Clone, Copy, Debug)]
pub struct SingleLane {
    window_tokens: usize,
}

impl SingleLane {
    /// A lane whose tokens see `window_tokens` tokens, themselves included.
    pub fn new(window_tokens: usize) -> Self {
        Self { window_tokens }
    }
}

impl Schedule for SingleLane {
    fn record(&self) -> Record {
        Record::new("single-lane", 1).with("window", self.window_tokens as u64)
    }

    fn window(&self) -> Window {
        Window { tokens: self.window_tokens, sinks: 0, rolling: true }
    }

    fn lanes(&self, _tokens: usize) -> usize {
        1
    }

    fn max_lanes(&self) -> usize {
        1
    }

    fn plan(&self, tokens: usize, _lanes: usize) -> Box<dyn Plan> {
        Box::new(0..tokens)
    }
}

/// The plan of [`SingleLane`].
impl Plan for std::ops::Range<usize> {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        entries.clear();
        let Some(index) = self.next() else { return false };
        let feed = if index == 0 { Feed::Restart { from: 0 } } else { Feed::Continue };
        entries.push(StepEntry { lane: 0, index, feed });
        true
    }
}
