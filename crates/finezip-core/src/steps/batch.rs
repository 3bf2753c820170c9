//! Which steps are computed in one call.

use std::ops::Range;

use crate::schedule::{Feed, Plan, StepEntry};

/// Consecutive steps whose entries in some lanes are computed in one call.
#[derive(Default)]
pub(super) struct Batch {
    first_step: usize,
    entries: Vec<StepEntry>,
    /// Where each step ends in `entries`.
    ends: Vec<usize>,
}

impl Batch {
    /// The number, in the plan, of the first step.
    pub(super) fn first_step(&self) -> usize {
        self.first_step
    }

    pub(super) fn steps(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn range(&self, step: usize) -> Range<usize> {
        let start = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[step]
    }

    pub(super) fn step(&self, step: usize) -> &[StepEntry] {
        &self.entries[self.range(step)]
    }

    pub(super) fn entries(&self) -> &[StepEntry] {
        &self.entries
    }

    /// Whether feeding it takes tokens that other lanes may have coded.
    pub(super) fn reads_other_lanes(&self) -> bool {
        let reads =
            |entry: &StepEntry| matches!(entry.feed, Feed::Restart { from } if from < entry.index);
        self.entries.iter().any(reads)
    }

    fn push(&mut self, step: &[StepEntry]) {
        self.entries.extend_from_slice(step);
        self.ends.push(self.entries.len());
    }
}

/// Takes the entries of some lanes from a plan, as many steps at a time as may be computed
/// together.
pub(super) struct Batches {
    plan: Box<dyn Plan>,
    lanes: Range<usize>,
    lookahead_rows: usize,
    /// The number of the step that follows.
    next_step: usize,
    /// It, if it was taken from the plan and belongs to the next batch.
    held: Option<Vec<StepEntry>>,
}

impl Batches {
    /// Batches of a single step, or of more that have at most `lookahead_rows` entries together.
    pub(super) fn new(plan: Box<dyn Plan>, lanes: Range<usize>, lookahead_rows: usize) -> Self {
        Self { plan, lanes, lookahead_rows, next_step: 0, held: None }
    }

    /// Replaces `batch` with the next one; false at the plan's end. A step that has no entry in
    /// these lanes is there all the same.
    pub(super) fn next_batch(&mut self, batch: &mut Batch) -> bool {
        batch.entries.clear();
        batch.ends.clear();
        batch.first_step = self.next_step;
        while let Some(step) = self.held.take().or_else(|| self.take_step()) {
            let joins = step.iter().all(|entry| entry.feed == Feed::Continue)
                && batch.entries.len() + step.len() <= self.lookahead_rows;
            if batch.steps() > 0 && !joins {
                self.held = Some(step);
                break;
            }
            batch.push(&step);
            self.next_step += 1;
            if self.lookahead_rows == 0 {
                break;
            }
        }
        batch.steps() > 0
    }

    fn take_step(&mut self) -> Option<Vec<StepEntry>> {
        let mut step = Vec::new();
        self.plan.next_step(&mut step).then(|| {
            step.retain(|entry| self.lanes.contains(&entry.lane));
            step
        })
    }
}
