//! A row of logits as a distribution of integer weights, without storing the weights.
//!
//! [`softmax`] defines a token's weight. Coding needs sums of weights only: the total, what comes
//! before a token, and in decoding the place where a running sum passes a target. So a row is
//! read once for sums of [`BLOCK_TOKENS`] weights, and before that for its maximum unless the
//! engine has left it; the weights of the one block that matters are computed again. Weights are whole numbers, whose sums are the same in
//! any order, so vector width and grouping change nothing.
//!
//! The loops are plain code; [`simd`] compiles them for each instruction set.

use std::ops::Range;

use crate::simd::{self, Kernel};
use finezip_core::softmax;

/// Tokens whose weights share one stored sum.
pub(crate) const BLOCK_TOKENS: usize = 256;

/// What narrows a coder's interval for one token: it owns the parts `start..start + size` of
/// `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) total: u64,
}

/// The share of `token` in the distribution of `row`, whose maximum may be known; `None` where
/// that is not finite or the token is not in the row.
pub(crate) fn share_of(row: &[f32], maximum: Option<f32>, token: usize) -> Option<Share> {
    let (before, rest) = row.split_at_checked(token)?;
    let (&logit, after) = rest.split_first()?;
    simd::dispatch(ShareOf { row, maximum, before, logit, after })
}

/// Fills `sums` (one a block of the row) with the sums of the blocks' weights and returns the
/// row's maximum, which may be known; `None` where that is not finite.
pub(crate) fn sum_blocks(row: &[f32], maximum: Option<f32>, sums: &mut [u64]) -> Option<f32> {
    simd::dispatch(SumBlocks { row, maximum, sums })
}

/// The token of `block` (at most [`BLOCK_TOKENS`] logits) that owns the part `target` of the
/// block's sum, with the parts it owns; `None` where the sum does not go so far.
pub(crate) fn find_in_block(
    block: &[f32],
    maximum: f32,
    target: u64,
) -> Option<(usize, Range<u64>)> {
    let mut weights = [0_u32; BLOCK_TOKENS];
    simd::dispatch(Weigh { block, maximum, weights: &mut weights });
    let mut end = 0;
    for (place, &weight) in weights.iter().enumerate().take(block.len()) {
        let start = end;
        end += u64::from(weight);
        if target < end {
            return Some((place, start..end));
        }
    }
    None
}

/// Kernel of [`share_of`]; `row` is `before`, `logit`, `after`.
struct ShareOf<'a> {
    row: &'a [f32],
    maximum: Option<f32>,
    before: &'a [f32],
    logit: f32,
    after: &'a [f32],
}

impl Kernel for ShareOf<'_> {
    type Output = Option<Share>;

    #[inline(always)]
    fn run(self) -> Option<Share> {
        let maximum = known_or_found(self.maximum, self.row)?;
        let start = sum(self.before, maximum);
        let size = u64::from(softmax::weight(self.logit - maximum));
        Some(Share { start, size, total: start + size + sum(self.after, maximum) })
    }
}

/// Kernel of [`sum_blocks`].
struct SumBlocks<'a> {
    row: &'a [f32],
    maximum: Option<f32>,
    sums: &'a mut [u64],
}

impl Kernel for SumBlocks<'_> {
    type Output = Option<f32>;

    #[inline(always)]
    fn run(self) -> Option<f32> {
        let maximum = known_or_found(self.maximum, self.row)?;
        for (block, total) in self.row.chunks(BLOCK_TOKENS).zip(self.sums) {
            *total = sum(block, maximum);
        }
        Some(maximum)
    }
}

/// (A closure would not be compiled for the kernel's instruction set.)
#[inline(always)]
fn known_or_found(maximum: Option<f32>, row: &[f32]) -> Option<f32> {
    match maximum {
        Some(maximum) => Some(maximum),
        None => softmax::row_maximum(row),
    }
}

/// Kernel of [`find_in_block`].
struct Weigh<'a> {
    block: &'a [f32],
    maximum: f32,
    weights: &'a mut [u32],
}

impl Kernel for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (weight, &logit) in self.weights.iter_mut().zip(self.block) {
            *weight = softmax::weight(logit - self.maximum);
        }
    }
}

/// The sum of the weights of `logits`.
///
/// Halves of the weights are summed apart, so that a block needs no wider numbers than `u32`:
/// 256 halves of 16 bits fit in 24.
#[inline(always)]
fn sum(logits: &[f32], maximum: f32) -> u64 {
    let mut sum = 0_u64;
    for block in logits.chunks(BLOCK_TOKENS) {
        let (mut low, mut high) = (0_u32, 0_u32);
        for &logit in block {
            let weight = softmax::weight(logit - maximum);
            low = low.wrapping_add(weight & 0xFFFF);
            high = high.wrapping_add(weight >> 16);
        }
        sum += (u64::from(high) << 16) + u64::from(low);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of `vocab` logits with ties, NaN and negative infinity among them.
    fn row(vocab: usize) -> Vec<f32> {
        (0..vocab)
            .map(|id| match id % 97 {
                13 => f32::NAN,
                14 => f32::NEG_INFINITY,
                15 => -1e30,
                place => ((id * 7919) % 1000) as f32 * -0.03 + place as f32 * 0.01,
            })
            .collect()
    }

    fn weights(row: &[f32]) -> Vec<u64> {
        let maximum = softmax::row_maximum(row).unwrap();
        row.iter().map(|&logit| u64::from(softmax::weight(logit - maximum))).collect()
    }

    #[test]
    fn shares_are_those_of_the_definition_in_each_instruction_set() {
        for vocab in [1, 2, 15, 16, 17, 255, 256, 257, 1000, 49_152] {
            let row = row(vocab);
            let weights = weights(&row);
            for token in [0, vocab / 3, vocab - 1] {
                let expected = Share {
                    start: weights[..token].iter().sum(),
                    size: weights[token],
                    total: weights.iter().sum(),
                };
                let kernel = || ShareOf {
                    row: &row,
                    maximum: None,
                    before: &row[..token],
                    logit: row[token],
                    after: &row[token + 1..],
                };
                for found in simd::run_in_each(kernel) {
                    assert_eq!(found, Some(expected), "token {token} of {vocab}");
                }
                assert_eq!(share_of(&row, None, token), Some(expected));
                let maximum = softmax::row_maximum(&row);
                assert_eq!(share_of(&row, maximum, token), Some(expected));
            }
            assert_eq!(share_of(&row, None, vocab), None);
        }
    }

    #[test]
    fn block_sums_and_searches_are_those_of_the_definition() {
        for vocab in [1, 255, 256, 257, 1000, 4096] {
            let row = row(vocab);
            let weights = weights(&row);
            let mut sums = vec![0; vocab.div_ceil(BLOCK_TOKENS)];
            let maximum = sum_blocks(&row, None, &mut sums).unwrap();
            let mut again = vec![0; sums.len()];
            assert_eq!(sum_blocks(&row, Some(maximum), &mut again), Some(maximum));
            assert_eq!(again, sums);
            for (number, block) in row.chunks(BLOCK_TOKENS).enumerate() {
                let weights = &weights[number * BLOCK_TOKENS..][..block.len()];
                assert_eq!(sums[number], weights.iter().sum::<u64>());
                let mut start = 0;
                for (place, &weight) in weights.iter().enumerate() {
                    let expected = Some((place, start..start + weight));
                    assert_eq!(find_in_block(block, maximum, start), expected);
                    assert_eq!(find_in_block(block, maximum, start + weight - 1), expected);
                    start += weight;
                }
                assert_eq!(find_in_block(block, maximum, start), None);
            }
        }
    }

    #[test]
    fn a_row_without_a_finite_maximum_has_no_distribution() {
        for logit in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(share_of(&[logit; 300], None, 7), None);
            assert_eq!(sum_blocks(&[logit; 300], None, &mut [0; 2]), None);
        }
        assert_eq!(share_of(&[], None, 0), None);
    }
}
