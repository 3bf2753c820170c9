//! Long lanes over a window that rolls, with attention sinks.
//!
//! Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks" (arXiv
//! 2309.17453): a model goes on predicting past its window if the stream's first tokens stay
//! visible. Keys and values are never computed again, so that what a position knows reaches
//! back further than the window.

use finezip_core::{Error, Feed, Plan, Record, Result, Schedule, StepEntry, Window};

use crate::lanes::LanePolicy;
use crate::regions::Regions;

/// Name of this schedule in archives.
pub(crate) const NAME: &str = "rolling";

/// Tokens of a frame with one lane; the number of lanes grows as the square root from there.
const FIRST_LANE_TOKENS: usize = 400;

/// Lanes are contiguous regions of nearly equal length; each restarts once, at its beginning, and
/// goes on to its end.
///
/// Record: `rolling/1 window=512 sinks=1`.
#[derive(Clone, Copy, Debug)]
pub struct Rolling {
    window_tokens: usize,
    sink_tokens: usize,
    lanes: LanePolicy,
}

impl Rolling {
    /// Lanes whose tokens see `window_tokens` tokens (at least 1), themselves included, and the
    /// lane's first `sink_tokens` (fewer than the window; the start token is the first).
    ///
    /// # Errors
    /// [`Error::Settings`] for a window of 0, or as many sinks as window.
    pub fn new(window_tokens: usize, sink_tokens: usize, lanes: LanePolicy) -> Result<Self> {
        if sink_tokens >= window_tokens {
            return Err(Error::Settings(format!(
                "schedule rolling: a window of {window_tokens} tokens with {sink_tokens} sinks"
            )));
        }
        Ok(Self { window_tokens, sink_tokens, lanes })
    }
}

impl Schedule for Rolling {
    fn record(&self) -> Record {
        Record::new(NAME, 1)
            .with("window", self.window_tokens as u64)
            .with("sinks", self.sink_tokens as u64)
    }

    fn window(&self) -> Window {
        Window { tokens: self.window_tokens, sinks: self.sink_tokens, rolling: true }
    }

    /// `sqrt(tokens / 400)`, rounded down, within the limits: the least of a size that grows by
    /// 47 tokens' share a lane and a time that falls with the lanes; `docs/schedule.md` derives
    /// it.
    fn lanes(&self, tokens: usize) -> usize {
        self.lanes.choose((tokens / FIRST_LANE_TOKENS).isqrt(), tokens)
    }

    fn max_lanes(&self) -> usize {
        self.lanes.most()
    }

    fn plan(&self, tokens: usize, lanes: usize) -> Box<dyn Plan> {
        Box::new(Turns { regions: Regions::new(tokens, lanes), place: 0 })
    }
}

/// The plan of [`Rolling`].
struct Turns {
    regions: Regions,
    place: usize,
}

impl Plan for Turns {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        let place = self.place;
        self.place += 1;
        entries.clear();
        entries.extend((0..self.regions.lanes_at(place)).map(|lane| {
            let index = self.regions.of(lane).start + place;
            let feed = if place == 0 { Feed::Restart { from: index } } else { Feed::Continue };
            StepEntry { lane, index, feed }
        }));
        !entries.is_empty()
    }
}
