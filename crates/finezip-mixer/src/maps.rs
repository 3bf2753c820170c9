//! Adaptive probabilities in integers: maps from small contexts to the odds of a decision.

use std::sync::LazyLock;

/// Fraction bits of a stored probability; the ten bits below count how often it was used.
const PROBABILITY_BITS: u32 = 22;
const COUNT_BITS: u32 = 32 - PROBABILITY_BITS;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// 65536 / (n + 1.5) for each count n.
static RECIPROCALS: LazyLock<Box<[u32; 1 << COUNT_BITS]>> = LazyLock::new(|| {
    let mut table = Box::new([0; 1 << COUNT_BITS]);
    for (n, value) in table.iter_mut().enumerate() {
        *value = (131_072 / (2 * n + 3)) as u32;
    }
    table
});

/// Probabilities of a one by context, each an average over its past that ages ever more slowly
/// until the `limit`-th use, and by 1 / `limit` from then on.
#[derive(Debug)]
pub(crate) struct AdaptiveMap {
    entries: Vec<u32>,
    limit: u32,
    reciprocals: &'static [u32; 1 << COUNT_BITS],
}

impl AdaptiveMap {
    /// `size` even odds; `limit` is at most 1023.
    pub(crate) fn new(size: usize, limit: u32) -> Self {
        Self {
            entries: vec![1 << 31; size],
            limit: limit.min(COUNT_MASK),
            reciprocals: &RECIPROCALS,
        }
    }

    /// Sets the probability of an entry to `one` in 65536ths, as if seen `count` times.
    pub(crate) fn preset(&mut self, at: usize, one: u32, count: u32) {
        let one = one.clamp(1, 65_535);
        self.entries[at] = one << 16 | count.min(self.limit);
    }

    /// This map `times` over, one after another.
    pub(crate) fn repeat(self, times: usize) -> Self {
        Self { entries: self.entries.repeat(times), ..self }
    }

    /// Probability of a one in 4096ths, 0 to 4095.
    #[inline(always)]
    pub(crate) fn step(&self, at: usize) -> usize {
        (self.entries[at] >> 20) as usize
    }

    /// Learns an outcome.
    #[inline(always)]
    pub(crate) fn learn(&mut self, at: usize, bit: bool) {
        let entry = &mut self.entries[at];
        let count = *entry & COUNT_MASK;
        let one = i64::from(*entry >> COUNT_BITS);
        let target = if bit { (1i64 << PROBABILITY_BITS) - 1 } else { 0 };
        let moved = one + (((target - one) * i64::from(self.reciprocals[count as usize])) >> 16);
        *entry = (moved as u32) << COUNT_BITS | (count + u32::from(count < self.limit));
    }
}
