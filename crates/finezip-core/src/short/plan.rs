//! Which lane computes which text, and when.
//!
//! Texts are of all lengths. Each follows the plan that the schedule has for it alone; a lane
//! whose text is over takes the next one, so that all lanes have work until the texts run out.
//! Nothing of this is in the format: a text's bytes are the same whatever is computed beside it.

use std::ops::Range;
use std::sync::Arc;

use crate::schedule::{Feed, Plan, Schedule, StepEntry};

/// The plan of many texts whose tokens stand one after another.
pub(super) struct TextsPlan {
    schedule: Arc<dyn Schedule>,
    /// Tokens of each text, in the order in which they are taken.
    texts: Arc<[Range<usize>]>,
    next: usize,
    lanes: Vec<Option<Open>>,
    step: Vec<StepEntry>,
}

/// A text in a lane.
struct Open {
    first: usize,
    plan: Box<dyn Plan>,
}

impl TextsPlan {
    /// A plan over `lanes` lanes for texts none of which is empty.
    pub(super) fn new(
        schedule: Arc<dyn Schedule>,
        texts: Arc<[Range<usize>]>,
        lanes: usize,
    ) -> Self {
        let lanes = (0..lanes).map(|_| None).collect();
        Self { schedule, texts, next: 0, lanes, step: Vec::new() }
    }
}

impl Plan for TextsPlan {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        entries.clear();
        for (lane, open) in self.lanes.iter_mut().enumerate() {
            loop {
                if let Some(text) = open {
                    if text.plan.next_step(&mut self.step) {
                        entries.extend(self.step.iter().map(|entry| StepEntry {
                            lane,
                            index: text.first + entry.index,
                            feed: match entry.feed {
                                Feed::Restart { from } => Feed::Restart { from: text.first + from },
                                Feed::Continue => Feed::Continue,
                            },
                        }));
                        break;
                    }
                    *open = None;
                }
                let Some(text) = self.texts.get(self.next) else { break };
                self.next += 1;
                let plan = self.schedule.plan(text.len(), 1);
                *open = Some(Open { first: text.start, plan });
            }
        }
        !entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::SingleLane;

    proptest! {
        #[test]
        fn every_token_is_coded_once_in_its_text_s_order(
            lengths in prop::collection::vec(1_usize..20, 0..30),
            lanes in 1_usize..9,
        ) {
            let mut end = 0;
            let texts: Arc<[Range<usize>]> = lengths
                .iter()
                .map(|length| {
                    end += length;
                    end - length..end
                })
                .collect();
            let mut plan =
                TextsPlan::new(Arc::new(SingleLane::new(100)), texts.clone(), lanes);
            let mut seen = vec![None; end];
            let mut entries = Vec::new();
            let mut steps = 0;
            while plan.next_step(&mut entries) {
                prop_assert!(entries.is_sorted_by(|a, b| a.lane < b.lane));
                for entry in &entries {
                    prop_assert!(entry.lane < lanes && seen[entry.index].is_none());
                    let first = texts.iter().any(|text| text.start == entry.index);
                    match entry.feed {
                        Feed::Restart { from } => prop_assert!(first && from == entry.index),
                        Feed::Continue => prop_assert_eq!(
                            seen[entry.index - 1],
                            Some((steps - 1, entry.lane))
                        ),
                    }
                    seen[entry.index] = Some((steps, entry.lane));
                }
                steps += 1;
            }
            prop_assert!(seen.iter().all(Option::is_some));
        }
    }
}
