//! Seeded numbers that follow from where they are used, not from what was drawn before.
//!
//! Every choice of a training run (first values, dropped inputs, the order of texts) is a function
//! of the run's seed and a place, so a resumed run draws what an undisturbed one draws.

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that mixes all bits.
#[inline(always)]
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// A key for a place, from the key of what it lies in.
#[inline(always)]
pub(crate) fn key(outer: u64, place: u64) -> u64 {
    mix(outer ^ mix(place))
}

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    key: u64,
    drawn: u64,
}

impl Random {
    /// The stream of a key.
    pub(crate) fn new(key: u64) -> Self {
        Self { key, drawn: 0 }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.drawn += 1;
        key(self.key, self.drawn)
    }

    /// Uniform in -1..1.
    pub(crate) fn symmetric(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Uniform below `bound`, which is above 0; the bias of the multiplication is below 2^-32
    /// for what is shuffled here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A random order of the numbers below `count` (Fisher and Yates).
    pub(crate) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_each_number_once_and_follows_from_its_key() {
        let order = Random::new(7).permutation(100);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order, Random::new(7).permutation(100));
        assert_ne!(order, Random::new(8).permutation(100));
    }

    #[test]
    fn symmetric_numbers_fill_their_range_evenly() {
        let mut random = Random::new(3);
        let drawn: Vec<f32> = (0..10_000).map(|_| random.symmetric()).collect();
        assert!(drawn.iter().all(|value| (-1.0..1.0).contains(value)));
        let mean = drawn.iter().sum::<f32>() / drawn.len() as f32;
        let square = drawn.iter().map(|value| value * value).sum::<f32>() / drawn.len() as f32;
        assert!(mean.abs() < 0.03 && (square - 1.0 / 3.0).abs() < 0.02, "{mean} {square}");
    }
}
