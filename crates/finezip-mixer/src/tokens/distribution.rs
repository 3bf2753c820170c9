//! A row of logits as integer weights, summed over the sorted vocabulary.
//!
//! The weights are the ones every coder of FineZip uses ([`finezip_core::softmax`]); sums are
//! whole numbers in 64 bits. So the probability of a decision is the ratio of two exact integers.

use finezip_core::softmax::{WEIGHT_BITS, row_maximum, weight};
use finezip_core::{Error, Result, TokenId};

use super::trie::Trie;
use crate::arithmetic::ln;
use crate::vector::{Loop, run_on};

/// Where the walk over the decisions of a token gets the model's opinion from.
pub(crate) trait Opinion {
    /// Weights of the places `low..middle` and `middle..high`, each at least 1.
    fn split(&mut self, low: u32, middle: u32, high: u32) -> (u64, u64);

    /// The most probable token's place.
    fn top(&self) -> u32;

    /// How uncertain the model is: -ln of the most probable token's probability, up to rounding.
    fn doubt(&self) -> f32;
}

/// Places that share one stored sum. Fewer would store more, more would add more at a decision.
const BLOCK_PLACES: usize = 16;

/// Sums of a distribution over the sorted vocabulary.
#[derive(Debug)]
pub(crate) struct Distribution<'a> {
    unit: pulp::Arch,
    /// Token at each place.
    tokens: &'a [TokenId],
    places: &'a [u32],
    /// Weight of each token, by id.
    weights: Vec<u32>,
    /// `sums[i]` is the weight of the places below `BLOCK_PLACES * i`.
    sums: Vec<u64>,
    total: u64,
    /// Ends of the last ranges asked for and the weights below them: a walk asks again for two of
    /// its three.
    known: [(u32, u64); 3],
    top: u32,
}

impl<'a> Distribution<'a> {
    /// For a vocabulary.
    pub(crate) fn new(trie: &'a Trie) -> Self {
        let size = trie.tokens.len();
        Self {
            unit: pulp::Arch::new(),
            tokens: &trie.tokens,
            places: &trie.places,
            weights: vec![0; size],
            sums: vec![0; size / BLOCK_PLACES + 1],
            total: 0,
            known: [(0, 0); 3],
            top: 0,
        }
    }

    /// Takes a row of logits `[vocab]`, whose maximum may be known.
    pub(crate) fn fill(&mut self, row: &[f32], maximum: Option<f32>) -> Result<()> {
        if row.len() != self.weights.len() {
            return Err(Error::payload(
                super::NAME,
                format!("expected rows of {} logits, found {}", self.weights.len(), row.len()),
            ));
        }
        let weigh = Weigh { row, maximum, weights: &mut self.weights };
        let Some(token) = run_on(self.unit, weigh) else {
            return Err(Error::payload(super::NAME, "a row of logits has no finite maximum"));
        };
        self.top = self.places[token];
        let weights = &self.weights[..];
        let mut sum = 0u64;
        let (blocks, rest) = self.tokens.as_chunks::<BLOCK_PLACES>();
        for (below, block) in self.sums.iter_mut().zip(blocks) {
            *below = sum;
            // Two chains, so that one addition need not wait for the other.
            let mut pair = [0u64; 2];
            for [a, b] in block.as_chunks::<2>().0 {
                pair[0] += u64::from(weights[*a as usize]);
                pair[1] += u64::from(weights[*b as usize]);
            }
            sum += pair[0] + pair[1];
        }
        self.sums[blocks.len()] = sum;
        self.total =
            sum + rest.iter().map(|&token| u64::from(weights[token as usize])).sum::<u64>();
        self.known = [(0, 0), (0, 0), (self.tokens.len() as u32, self.total)];
        Ok(())
    }
}

/// Turns a row of logits into weights; answers the first token with the largest logit.
struct Weigh<'a> {
    row: &'a [f32],
    maximum: Option<f32>,
    weights: &'a mut [u32],
}

impl Loop for Weigh<'_> {
    type Answer = Option<usize>;

    #[inline(always)]
    fn run(self) -> Option<usize> {
        const BLOCK: usize = 64;
        let maximum = match self.maximum {
            Some(maximum) => maximum,
            None => row_maximum(self.row)?,
        };
        for (weight_of, &logit) in self.weights.iter_mut().zip(self.row) {
            *weight_of = weight(logit - maximum);
        }
        let (blocks, rest) = self.row.as_chunks::<BLOCK>();
        let holds = |block: &[f32; BLOCK]| {
            block.iter().fold(false, |found, &logit| found | (logit == maximum))
        };
        let from = blocks.iter().position(holds).unwrap_or(blocks.len()) * BLOCK;
        let within = blocks.get(from / BLOCK).map_or(rest, |block| block);
        Some(from + within.iter().position(|&logit| logit == maximum)?)
    }
}

impl Distribution<'_> {
    /// Weight of the places below `place`.
    #[inline(always)]
    fn below(&self, place: u32) -> u64 {
        if let Some(&(_, sum)) = self.known.iter().find(|&&(known, _)| known == place) {
            return sum;
        }
        let block = place as usize / BLOCK_PLACES;
        let rest = &self.tokens[block * BLOCK_PLACES..place as usize];
        self.sums[block]
            + rest.iter().map(|&token| u64::from(self.weights[token as usize])).sum::<u64>()
    }
}

impl Opinion for Distribution<'_> {
    #[inline(always)]
    fn split(&mut self, low: u32, middle: u32, high: u32) -> (u64, u64) {
        let [below_low, below_middle, below_high] = [low, middle, high].map(|at| self.below(at));
        self.known = [(low, below_low), (middle, below_middle), (high, below_high)];
        (below_middle - below_low, below_high - below_middle)
    }

    fn top(&self) -> u32 {
        self.top
    }

    fn doubt(&self) -> f32 {
        ln(self.total as f32 * (1.0 / (1u64 << WEIGHT_BITS) as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::units;

    /// Asserts that `distribution` has the sums of a row, counted one by one.
    fn assert_sums_of(distribution: &mut Distribution<'_>, row: &[f32], told: bool) {
        let maximum = row_maximum(row).unwrap();
        distribution.fill(row, told.then_some(maximum)).unwrap();
        let size = row.len() as u32;
        let mut sum = 0;
        for place in 0..size {
            assert_eq!(distribution.below(place), sum, "place {place} of {size}");
            let token = distribution.tokens[place as usize];
            sum += u64::from(weight(row[token as usize] - maximum));
        }
        assert_eq!((distribution.below(size), distribution.total), (sum, sum));
        let first = row.iter().position(|&logit| logit == maximum).unwrap();
        assert_eq!(distribution.top(), distribution.places[first]);
        let [low, middle, high] = [size / 100, size / 6, size - size / 30];
        let wanted = [low, middle, high].map(|place| distribution.below(place));
        let (zeros, ones) = distribution.split(low, middle, high);
        assert_eq!([zeros, ones], [wanted[1] - wanted[0], wanted[2] - wanted[1]]);
    }

    #[test]
    fn weights_are_those_of_the_arithmetic_and_sums_are_exact() {
        let table: Vec<Vec<u8>> =
            (0..300u32).map(|i| vec![(i * 7 % 256) as u8, (i / 2) as u8]).collect();
        let trie = Trie::new(&table).unwrap();
        for unit in units() {
            let mut distribution = Distribution { unit, ..Distribution::new(&trie) };
            for seed in 0..20u32 {
                let row: Vec<f32> = (0..300u32)
                    .map(|i| (i.wrapping_mul(2_654_435_761 + 2 * seed) >> 20) as f32 * 0.007)
                    .collect();
                assert_sums_of(&mut distribution, &row, seed % 2 == 0);
            }
        }
    }
}
