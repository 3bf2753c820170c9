//! The order of a row: which token has which rank.
//!
//! Tokens are ordered by descending logit, equal logits by ascending id; NaN is the smallest
//! logit, and both zeros are equal. A rank is a token's place in that order, from 0. Neither
//! direction sorts a row: ranking counts, and selecting looks at the few tokens that can be meant.

use std::cmp::Reverse;

use crate::simd::{self, Kernel};

/// Tokens that share one maximum when a rank is searched.
const BLOCK_TOKENS: usize = 64;

/// A number that orders like the logit; `i32::MIN` for NaN.
#[inline(always)]
fn order_key(logit: f32) -> i32 {
    // Adding zero makes the negative zero positive. The bits of a positive float order like
    // integers; those of a negative one the other way round, but for the sign.
    let bits = (logit + 0.0).to_bits() as i32;
    let key = bits ^ (((bits >> 31) as u32) >> 1) as i32;
    if logit.is_nan() { i32::MIN } else { key }
}

/// The rank of `token` in the row of logits `[vocab]`, from 0: how many tokens have a greater logit,
/// or an equal one and a smaller id. `None` where it is not in the row.
///
/// ```
/// assert_eq!(finezip_coder::rank_of(&[0.5, 2.0, 0.5], 2), Some(2));
/// ```
pub fn rank_of(row: &[f32], token: usize) -> Option<u32> {
    let (before, rest) = row.split_at_checked(token)?;
    let (&logit, after) = rest.split_first()?;
    Some(simd::dispatch(CountAhead { before, key: order_key(logit), after }))
}

/// Kernel of [`rank_of`]: tokens with a greater logit, or an equal one and a smaller id.
struct CountAhead<'a> {
    before: &'a [f32],
    key: i32,
    after: &'a [f32],
}

impl Kernel for CountAhead<'_> {
    type Output = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let mut ahead = 0_u32;
        for &logit in self.before {
            ahead = ahead.wrapping_add(u32::from(order_key(logit) >= self.key));
        }
        for &logit in self.after {
            ahead = ahead.wrapping_add(u32::from(order_key(logit) > self.key));
        }
        ahead
    }
}

/// Kernel of [`Selector::select`]: the greatest key of each block.
struct BlockMaxima<'a> {
    row: &'a [f32],
    maxima: &'a mut [i32],
}

impl Kernel for BlockMaxima<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (block, maximum) in self.row.chunks(BLOCK_TOKENS).zip(self.maxima) {
            let mut greatest = i32::MIN;
            for &logit in block {
                greatest = greatest.max(order_key(logit));
            }
            *maximum = greatest;
        }
    }
}

/// Finds tokens by rank; holds memory that is used again from row to row.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    maxima: Vec<i32>,
    sorted: Vec<i32>,
    candidates: Vec<(Reverse<i32>, u32)>,
}

impl Selector {
    /// The token of a rank in the row of logits `[vocab]`; `None` where the row has none.
    ///
    /// Takes a time proportional to the row's length.
    pub(crate) fn select(&mut self, row: &[f32], rank: usize) -> Option<u32> {
        if rank >= row.len() {
            return None;
        }
        self.maxima.resize(row.len().div_ceil(BLOCK_TOKENS), 0);
        simd::dispatch(BlockMaxima { row, maxima: &mut self.maxima });
        if rank == 0 {
            let greatest = *self.maxima.iter().max()?;
            let number = self.maxima.iter().position(|&maximum| maximum == greatest)?;
            let (start, block) = self.block(row, number)?;
            let place = block.iter().position(|&logit| order_key(logit) == greatest)?;
            return Some((start + place) as u32);
        }
        // The greatest tokens of `rank + 1` blocks are as many tokens, so that the one sought is
        // not below the least of them.
        let threshold = if rank < self.maxima.len() {
            self.sorted.clear();
            self.sorted.extend_from_slice(&self.maxima);
            *self.sorted.select_nth_unstable_by_key(rank, |&maximum| Reverse(maximum)).1
        } else {
            i32::MIN
        };
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        for (number, _) in
            self.maxima.iter().enumerate().filter(|&(_, &maximum)| maximum >= threshold)
        {
            let (start, block) = self.block(row, number)?;
            let keys = block.iter().map(|&logit| order_key(logit)).zip(start as u32..);
            candidates.extend(
                keys.filter(|&(key, _)| key >= threshold).map(|(key, id)| (Reverse(key), id)),
            );
        }
        self.candidates = candidates;
        if rank >= self.candidates.len() {
            return None;
        }
        Some(self.candidates.select_nth_unstable(rank).1.1)
    }

    /// A block of the row and the id of its first token.
    fn block<'a>(&self, row: &'a [f32], number: usize) -> Option<(usize, &'a [f32])> {
        let start = number * BLOCK_TOKENS;
        row.get(start..row.len().min(start + BLOCK_TOKENS)).map(|block| (start, block))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word.
    fn sorted(row: &[f32]) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..row.len() as u32).collect();
        ids.sort_by(|&a, &b| {
            let (left, right) = (row[a as usize], row[b as usize]);
            match (left.is_nan(), right.is_nan()) {
                (false, false) => right.partial_cmp(&left).unwrap(),
                (left, right) => left.cmp(&right),
            }
            .then(a.cmp(&b))
        });
        ids
    }

    fn logits() -> impl Strategy<Value = f32> {
        prop_oneof![
            2 => any::<u32>().prop_map(f32::from_bits),
            2 => -4.0_f32..4.0,
            3 => prop::sample::select(vec![
                0.0, -0.0, 1.0, -1.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY,
                f32::MAX, f32::MIN, 1e-45, -1e-45,
            ]),
        ]
    }

    #[test]
    fn keys_order_like_logits() {
        let ascending =
            [f32::NAN, f32::NEG_INFINITY, f32::MIN, -1.0, -1e-45, 0.0, 1e-45, 1.0, f32::INFINITY];
        assert!(ascending.map(order_key).is_sorted_by(|a, b| a < b));
        assert_eq!(order_key(-0.0), order_key(0.0));
        assert_eq!(order_key(-f32::NAN), i32::MIN);
    }

    proptest! {
        #[test]
        fn ranks_are_places_in_the_sorted_row(
            row in prop::collection::vec(logits(), 1..400),
        ) {
            let mut selector = Selector::default();
            for (rank, &token) in sorted(&row).iter().enumerate() {
                prop_assert_eq!(rank_of(&row, token as usize), Some(rank as u32));
                prop_assert_eq!(selector.select(&row, rank), Some(token));
            }
            prop_assert_eq!(selector.select(&row, row.len()), None);
            prop_assert_eq!(rank_of(&row, row.len()), None);
        }

        #[test]
        fn instruction_sets_agree(row in prop::collection::vec(logits(), 1..400)) {
            let kernel = || CountAhead { before: &row, key: 0, after: &row };
            let counts = simd::run_in_each(kernel);
            prop_assert!(counts.iter().all(|&count| count == counts[0]));
        }
    }

    #[test]
    fn a_large_row() {
        let row: Vec<f32> =
            (0..49_152_u32).map(|id| (id.wrapping_mul(2_654_435_761) >> 17) as f32).collect();
        let order = sorted(&row);
        let mut selector = Selector::default();
        for rank in [0, 1, 2, 63, 64, 700, 767, 768, 769, 5000, 49_151] {
            assert_eq!(selector.select(&row, rank), Some(order[rank]), "rank {rank}");
        }
        let flat = vec![1.5; 49_152];
        for rank in [0, 1, 767, 768, 49_151] {
            assert_eq!(selector.select(&flat, rank), Some(rank as u32));
        }
    }
}
