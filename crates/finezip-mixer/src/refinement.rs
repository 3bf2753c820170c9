//! Corrections of a mixed probability by a small context: secondary symbol estimation (Mahoney
//! 2005).

use crate::arithmetic::squash;
use crate::pages::{PageSize, Pages};

/// A map from (context, mixed probability) to a corrected one, linear between points a fixed
/// distance apart in the logistic domain.
#[derive(Debug)]
pub(crate) struct Refinement {
    points: usize,
    context_mask: usize,
    width: f32,
    /// Bits of each point's value, xor those it begins with: zeroed memory is a map that changes
    /// nothing, and what a short text never comes to is never touched.
    values: Pages<u32>,
    /// Bits of the values that the points of every context begin with.
    first: Vec<u32>,
    rate: f32,
    /// Where the lower of the two points in use lies, its number, and how much of the upper one is
    /// used.
    at: usize,
    whole: usize,
    part: f32,
}

impl Refinement {
    /// A map with `contexts` contexts (a power of 2) that changes nothing yet: `points` points
    /// (odd) `width` apart around even odds.
    pub(crate) fn new(
        contexts: usize,
        points: usize,
        width: f32,
        rate: f32,
        pages: PageSize,
    ) -> Self {
        assert!(contexts.is_power_of_two(), "{contexts} contexts");
        let middle = (points / 2) as f32;
        let value = |point: usize| squash((point as f32 - middle) * width);
        Self {
            points,
            context_mask: contexts - 1,
            width,
            values: Pages::zeroed(contexts * points, pages),
            first: (0..points).map(|point| value(point).to_bits()).collect(),
            rate,
            at: 0,
            whole: 0,
            part: 0.0,
        }
    }

    /// The value of the lower point in use (`up` is 0) or of the upper one (1).
    #[inline(always)]
    fn value(&self, up: usize) -> f32 {
        f32::from_bits(self.values[self.at + up] ^ self.first[self.whole + up])
    }

    #[inline(always)]
    fn set_value(&mut self, up: usize, value: f32) {
        self.values[self.at + up] = value.to_bits() ^ self.first[self.whole + up];
    }

    /// The corrected probability of `stretched` in `context` (reduced to the number of contexts).
    #[inline(always)]
    pub(crate) fn refine(&mut self, context: usize, stretched: f32) -> f32 {
        let last = (self.points - 1) as f32;
        let place = (stretched / self.width + 0.5 * last).clamp(0.0, last - 0.001);
        self.whole = place as usize;
        self.part = place - self.whole as f32;
        self.at = (context & self.context_mask) * self.points + self.whole;
        let low = self.value(0);
        low + (self.value(1) - low) * self.part
    }

    /// Learns the outcome of the decision last refined.
    #[inline(always)]
    pub(crate) fn learn(&mut self, bit: bool) {
        let target = f32::from(u8::from(bit));
        let low = self.value(0);
        self.set_value(0, low + (target - low) * self.rate * (1.0 - self.part));
        let high = self.value(1);
        self.set_value(1, high + (target - high) * self.rate * self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against values that are written out for every context: the same bits at every decision.
    #[test]
    fn refinements_are_those_of_a_plain_table() {
        const POINTS: usize = 9;
        let (width, rate) = (0.75f32, 0.04f32);
        for pages in [PageSize::Ordinary, PageSize::Large] {
            let mut map = Refinement::new(16, POINTS, width, rate, pages);
            let first: [f32; POINTS] =
                std::array::from_fn(|point| squash((point as f32 - 4.0) * width));
            let mut plain = [first; 16];
            let mut state = 3u32;
            let mut random = move || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 8
            };
            for _ in 0..5_000 {
                let context = random() as usize % 40;
                let stretched = (random() % 9001) as f32 * 0.001 - 4.5;
                let bit = random().is_multiple_of(5);
                let place = (stretched / width + 4.0).clamp(0.0, 8.0 - 0.001);
                let whole = place as usize;
                let part = place - whole as f32;
                let values = &mut plain[context % 16];
                let wanted = values[whole] + (values[whole + 1] - values[whole]) * part;
                assert_eq!(map.refine(context, stretched).to_bits(), wanted.to_bits());
                map.learn(bit);
                let target: f32 = if bit { 1.0 } else { 0.0 };
                values[whole] += (target - values[whole]) * rate * (1.0 - part);
                values[whole + 1] += (target - values[whole + 1]) * rate * part;
            }
        }
    }
}
