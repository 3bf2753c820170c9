//! A frame cut into contiguous regions of nearly equal length, one a lane.

use std::ops::Range;

/// `lanes` regions of `tokens` tokens; the first ones are one longer where they do not divide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regions {
    lanes: usize,
    /// Length of a shorter region.
    shorter: usize,
    /// How many regions are one longer.
    longer: usize,
}

impl Regions {
    pub(crate) fn new(tokens: usize, lanes: usize) -> Self {
        let lanes = lanes.max(1);
        Self { lanes, shorter: tokens / lanes, longer: tokens % lanes }
    }

    /// The tokens of a lane's region.
    pub(crate) fn of(&self, lane: usize) -> Range<usize> {
        let start = lane * self.shorter + lane.min(self.longer);
        start..start + self.shorter + usize::from(lane < self.longer)
    }

    /// How many lanes have a token at `place` of their region: these are the first ones.
    pub(crate) fn lanes_at(&self, place: usize) -> usize {
        match place.cmp(&self.shorter) {
            std::cmp::Ordering::Less => self.lanes,
            std::cmp::Ordering::Equal => self.longer,
            std::cmp::Ordering::Greater => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_one_another_and_differ_by_one_at_most() {
        for tokens in 0..40 {
            for lanes in 1..12 {
                let regions = Regions::new(tokens, lanes);
                let mut end = 0;
                for lane in 0..lanes {
                    let region = regions.of(lane);
                    assert_eq!(region.start, end);
                    assert!(
                        region.len() == tokens / lanes || region.len() == tokens.div_ceil(lanes)
                    );
                    for place in 0..=tokens {
                        assert_eq!(place < region.len(), lane < regions.lanes_at(place));
                    }
                    end = region.end;
                }
                assert_eq!(end, tokens);
            }
        }
    }
}
