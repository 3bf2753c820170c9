//! A row of logits as integer weights, summed over the sorted vocabulary.
//!
//! The weights are the ones every coder of FineZip uses ([`finezip_core::softmax`]); sums are
//! whole numbers in 64 bits. So the probability of a decision is the ratio of two exact integers.
//!
//! Summing over the sorted vocabulary reads the weights in no order, which takes most of the time
//! of a row. Nearly all of them are below 2^16 (their tokens lie 9.7 nats and more below the most
//! probable one), so they are gathered from a table of 16 bits a token by ids of 16 bits, and the
//! few that are larger are added one by one. Whole numbers have one sum in any order.

use finezip_core::softmax::{WEIGHT_BITS, row_maximum, weight};
use finezip_core::{Error, Result, TokenId};

use super::trie::{NARROW, Trie};
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

/// Logits and weights that are looked at together for one of interest.
const BLOCK: usize = 64;

/// The largest weight that 16 bits hold.
const SMALL: u32 = u16::MAX as u32;

/// Sums of a distribution over the sorted vocabulary.
#[derive(Debug)]
pub(crate) struct Distribution<'a> {
    unit: pulp::Arch,
    /// Token at each place.
    tokens: &'a [TokenId],
    /// The same in 16 bits; empty where `narrow` is none.
    narrow_tokens: &'a [u16],
    places: &'a [u32],
    /// Weight of each token, by id.
    weights: Vec<u32>,
    /// The weights once more; none where there are more than [`NARROW`].
    narrow: Option<Narrow>,
    /// `sums[i]` is the weight of the places below `BLOCK_PLACES * i`.
    sums: Vec<u64>,
    total: u64,
    /// Ends of the last ranges asked for and the weights below them: a walk asks again for two of
    /// its three.
    known: [(u32, u64); 3],
    top: u32,
}

/// Weights told apart by their size.
#[derive(Debug)]
struct Narrow {
    /// Weight of each token, by id; 0 if it is 2^16 or more.
    small: Box<[u16; NARROW]>,
    /// Tokens whose weights are 2^16 or more; not all of them once there are more than `most`.
    large: Vec<TokenId>,
    /// Where so many weights are large, adding them one by one would take longer than it saves.
    most: usize,
}

impl<'a> Distribution<'a> {
    /// For a vocabulary.
    pub(crate) fn new(trie: &'a Trie) -> Self {
        let size = trie.tokens.len();
        let narrow = (size <= NARROW).then(|| Narrow {
            small: Box::new([0; NARROW]),
            large: Vec::new(),
            most: size / 8,
        });
        Self {
            unit: pulp::Arch::new(),
            tokens: &trie.tokens,
            narrow_tokens: &trie.narrow_tokens,
            places: &trie.places,
            weights: vec![0; size],
            narrow,
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
        let narrow = self.narrow.as_mut();
        let weigh = Weigh { row, maximum, weights: &mut self.weights, narrow };
        let Some(token) = run_on(self.unit, weigh) else {
            return Err(Error::payload(super::NAME, "a row of logits has no finite maximum"));
        };
        self.top = self.places[token];
        self.total = match &self.narrow {
            Some(narrow) if narrow.large.len() <= narrow.most => {
                narrow.sum(self.narrow_tokens, self.places, &self.weights, &mut self.sums)
            }
            _ => sum_all(self.tokens, &self.weights, &mut self.sums),
        };
        self.known = [(0, 0), (0, 0), (self.tokens.len() as u32, self.total)];
        Ok(())
    }
}

/// Writes the weight of the places below each block, given the token at each place; returns the
/// weight of all.
fn sum_all(tokens: &[TokenId], weights: &[u32], sums: &mut [u64]) -> u64 {
    let mut sum = 0u64;
    let (blocks, rest) = tokens.as_chunks::<BLOCK_PLACES>();
    for (below, block) in sums.iter_mut().zip(blocks) {
        *below = sum;
        // Two chains, so that one addition need not wait for the other.
        let mut pair = [0u64; 2];
        for [a, b] in block.as_chunks::<2>().0 {
            pair[0] += u64::from(weights[*a as usize]);
            pair[1] += u64::from(weights[*b as usize]);
        }
        sum += pair[0] + pair[1];
    }
    sums[blocks.len()] = sum;
    sum + rest.iter().map(|&token| u64::from(weights[token as usize])).sum::<u64>()
}

impl Narrow {
    /// Writes the weights of a row, and tells them apart.
    #[inline(always)]
    fn weigh(&mut self, row: &[f32], maximum: f32, weights: &mut [u32]) {
        for ((weight_of, small), &logit) in weights.iter_mut().zip(self.small.iter_mut()).zip(row) {
            let whole = weight(logit - maximum);
            *weight_of = whole;
            *small = if whole <= SMALL { whole as u16 } else { 0 };
        }
        self.large.clear();
        for (number, block) in weights.chunks(BLOCK).enumerate() {
            if block.iter().fold(0, |bits, &weight| bits | weight) <= SMALL {
                continue;
            }
            if self.large.len() > self.most {
                break;
            }
            let first = number * BLOCK;
            for (place, &weight) in block.iter().enumerate() {
                if weight > SMALL {
                    self.large.push((first + place) as TokenId);
                }
            }
        }
    }

    /// Does what [`sum_all`] does, given the tokens in 16 bits, the place of each token and the
    /// weights as they are.
    fn sum(&self, tokens: &[u16], places: &[u32], weights: &[u32], sums: &mut [u64]) -> u64 {
        // The sum of a block is less than 2^20.
        let add = |sum: u32, token: &u16| sum + u32::from(self.small[usize::from(*token)]);
        let (blocks, rest) = tokens.as_chunks::<BLOCK_PLACES>();
        for (of_block, block) in sums.iter_mut().zip(blocks) {
            *of_block = u64::from(block.iter().fold(0, add));
        }
        sums[blocks.len()] = u64::from(rest.iter().fold(0, add));
        for &token in &self.large {
            let place = places[token as usize] as usize;
            sums[place / BLOCK_PLACES] += u64::from(weights[token as usize]);
        }
        let mut total = 0;
        for sum in sums {
            let of_block = *sum;
            *sum = total;
            total += of_block;
        }
        total
    }
}

/// Turns a row of logits into weights; answers the first token with the largest logit.
struct Weigh<'a> {
    row: &'a [f32],
    maximum: Option<f32>,
    weights: &'a mut [u32],
    narrow: Option<&'a mut Narrow>,
}

impl Loop for Weigh<'_> {
    type Answer = Option<usize>;

    #[inline(always)]
    fn run(self) -> Option<usize> {
        let maximum = match self.maximum {
            Some(maximum) => maximum,
            None => row_maximum(self.row)?,
        };
        match self.narrow {
            Some(narrow) => narrow.weigh(self.row, maximum, self.weights),
            None => {
                for (weight_of, &logit) in self.weights.iter_mut().zip(self.row) {
                    *weight_of = weight(logit - maximum);
                }
            }
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

    /// A vocabulary whose places are in no order of the ids.
    fn scattered(size: usize) -> Trie {
        let bytes = |id: u32| id.wrapping_mul(2_654_435_761).to_le_bytes().to_vec();
        let table: Vec<Vec<u8>> = (0..size as u32).map(bytes).collect();
        Trie::new(&table).unwrap()
    }

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

    #[test]
    fn sums_are_exact_however_many_weights_are_large() {
        for size in [1, 15, 16, 17, 1000, NARROW - 1, NARROW, NARROW + 1] {
            let trie = scattered(size);
            assert_eq!(trie.narrow_tokens.len(), if size <= NARROW { size } else { 0 });
            for unit in units() {
                let mut distribution = Distribution { unit, ..Distribution::new(&trie) };
                // Up to an eighth they are added one by one.
                let counts = [1, size / 8, size / 8 + 1, size / 2, size, 1];
                for (number, large) in counts.into_iter().enumerate() {
                    let logit = |id: usize| match id {
                        0 => 4.0,
                        // Takes each number below the size once.
                        _ if id * 7919 % size < large => 3.0 - (id % 50) as f32 * 0.1,
                        // Weights about 2^16.
                        _ if number == 0 && id % 50 == 7 => {
                            4.0 - 9.69 - (id / 50 % 40) as f32 * 0.001
                        }
                        _ => -8.0 - (id % 100) as f32 * 0.1,
                    };
                    let row: Vec<f32> = (0..size).map(logit).collect();
                    assert_sums_of(&mut distribution, &row, number % 2 == 0);
                }
            }
        }
    }
}
