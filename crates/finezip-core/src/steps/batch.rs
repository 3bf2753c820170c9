//! Which steps are computed in one call.

use crate::schedule::{Feed, Plan, StepEntry};

use super::Job;

/// Consecutive steps that are computed in one call.
#[derive(Default)]
pub(super) struct Batch {
    entries: Vec<StepEntry>,
    /// Where each step ends in `entries`.
    ends: Vec<usize>,
}

impl Batch {
    pub(super) fn steps(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn range(&self, step: usize) -> std::ops::Range<usize> {
        let start = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[step]
    }

    pub(super) fn step(&self, step: usize) -> &[StepEntry] {
        &self.entries[self.range(step)]
    }

    pub(super) fn entries(&self) -> &[StepEntry] {
        &self.entries
    }

    /// Whether feeding this batch takes tokens that `other` codes.
    pub(super) fn needs(&self, other: &Batch) -> bool {
        self.entries.iter().any(|entry| {
            let needed = match entry.feed {
                Feed::Restart { from } => from..entry.index,
                Feed::Continue => entry.index - 1..entry.index,
            };
            other.entries.iter().any(|coded| needed.contains(&coded.index))
        })
    }
}

/// Takes steps from a plan, as many at a time as may be computed together.
pub(super) struct Batches {
    plan: Box<dyn Plan>,
    lookahead_rows: usize,
    /// A step taken from the plan that belongs to the next batch.
    held: Option<Vec<StepEntry>>,
}

impl Batches {
    /// Batches of a single step, or of more that have at most `lookahead_rows` entries together.
    pub(super) fn new(plan: Box<dyn Plan>, lookahead_rows: usize) -> Self {
        Self { plan, lookahead_rows, held: None }
    }

    /// Puts the next batch in `job`, or gives nothing at the plan's end.
    pub(super) fn next_batch(&mut self, mut job: Job) -> Option<Job> {
        let batch = &mut job.batch;
        batch.entries.clear();
        batch.ends.clear();
        loop {
            let mut step = self.held.take().unwrap_or_default();
            if step.is_empty() && !self.plan.next_step(&mut step) {
                break;
            }
            let joins = step.iter().all(|entry| entry.feed == Feed::Continue)
                && batch.entries.len() + step.len() <= self.lookahead_rows;
            if !batch.entries.is_empty() && !joins {
                self.held = Some(step);
                break;
            }
            batch.entries.extend_from_slice(&step);
            batch.ends.push(batch.entries.len());
            if self.lookahead_rows == 0 {
                break;
            }
        }
        (!batch.entries.is_empty()).then_some(job)
    }
}
