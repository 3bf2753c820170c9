//! Where a lane's keys stand, and which of them a position sees.
//!
//! A lane of a rolling session has a ring of places for its last tokens and, before it, one place
//! for each attention sink (Xiao et al. 2023, arXiv 2309.17453): the lane's first tokens, which
//! stay visible when they have left the window. Keys are stored rotated to their absolute
//! positions; a score depends on the difference of two positions alone. For sinks that have left
//! the window the query is rotated to a position of its own, at most `window + sinks - 1`, so
//! that they stay where the model would see them at the end of a longer window.

use std::ops::Range;

/// The geometry of one lane in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Tokens a position sees, itself included.
    window: usize,
    /// First tokens of the lane that stay visible.
    sinks: usize,
    /// Places of the ring.
    capacity: usize,
}

/// What one position sees: slots in the order of their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    /// Sinks that have left the window, to be met by the sink query.
    pub(crate) sinks: Range<usize>,
    /// The window, up to the end of the ring.
    pub(crate) first: Range<usize>,
    /// The rest of the window, from the ring's start.
    pub(crate) second: Range<usize>,
}

impl Visible {
    /// Slots of the window, in the order of their positions.
    pub(crate) fn window(&self) -> impl Iterator<Item = usize> {
        self.first.clone().chain(self.second.clone())
    }

    /// All slots, in the order of their positions.
    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        self.sinks.clone().chain(self.window())
    }
}

impl Ring {
    /// A ring for a window of this many tokens, in which at most `lane_rows` tokens of a lane are
    /// written before the first of them is read. A window that an archive merely claims may be of
    /// any size: what it would take is asked before it is refused.
    pub(crate) fn new(window: usize, sinks: usize, lane_rows: usize) -> Self {
        Self { window, sinks, capacity: window.saturating_add(lane_rows - 1) }
    }

    /// Slots a lane: sinks, then the ring.
    pub(crate) fn slots(&self) -> usize {
        self.sinks.saturating_add(self.capacity)
    }

    /// Slots that a lane which was fed `fed` tokens may have written: these are the first ones.
    pub(crate) fn slots_used(&self, fed: u64) -> usize {
        self.sinks + fed.min(self.capacity as u64) as usize
    }

    /// Whether the first `fed` tokens of a lane stand in the same slots as with `other`, and all
    /// that either would look for are there.
    pub(crate) fn agrees_with(&self, other: Self, fed: u64) -> bool {
        *self == other || self.sinks == other.sinks && fed <= self.window.min(other.window) as u64
    }

    /// The slot of a position in the ring.
    pub(crate) fn slot(&self, position: u64) -> usize {
        self.sinks + (position % self.capacity as u64) as usize
    }

    /// The slot in which a position is kept as a sink, if it is one.
    pub(crate) fn sink_slot(&self, position: u64) -> Option<usize> {
        (position < self.sinks as u64).then_some(position as usize)
    }

    /// Whether a position sees sinks beyond its window.
    pub(crate) fn sees_sinks(&self, position: u64) -> bool {
        self.sinks > 0 && position >= self.window as u64
    }

    /// The position to which the query of a position is rotated for sinks beyond its window.
    pub(crate) fn sink_position(&self, position: u64) -> u64 {
        position.min((self.window + self.sinks) as u64 - 1)
    }

    /// What a position sees.
    pub(crate) fn visible(&self, position: u64) -> Visible {
        let start = (position + 1).saturating_sub(self.window as u64);
        let count = (position + 1 - start) as usize;
        let first = self.slot(start);
        let end = self.slots().min(first + count);
        Visible {
            sinks: 0..start.min(self.sinks as u64) as usize,
            first: first..end,
            second: self.sinks..self.sinks + (first + count - end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Tokens written block by block are all there when a position of the block looks.
        #[test]
        fn a_position_sees_its_window_and_the_sinks(
            window in 1usize..40,
            sinks in 0usize..5,
            lane_rows in 1usize..20,
            counts in prop::collection::vec(1usize..20, 1..30),
        ) {
            let sinks = sinks.min(window);
            let ring = Ring::new(window, sinks, lane_rows);
            let mut slots = vec![u64::MAX; ring.slots()];
            let mut next = 0u64;
            for count in counts.into_iter().map(|count| count.min(lane_rows) as u64) {
                for position in next..next + count {
                    slots[ring.slot(position)] = position;
                    if let Some(slot) = ring.sink_slot(position) {
                        slots[slot] = position;
                    }
                }
                for position in next..next + count {
                    let start = (position + 1).saturating_sub(window as u64);
                    let expected: Vec<u64> =
                        (0..start.min(sinks as u64)).chain(start..=position).collect();
                    let visible = ring.visible(position);
                    prop_assert_eq!(!visible.sinks.is_empty(), ring.sees_sinks(position));
                    let seen: Vec<u64> = visible.slots().map(|slot| slots[slot]).collect();
                    prop_assert_eq!(seen, expected);
                }
                next += count;
            }
        }
    }
}
