//! Which tokens of a row are worth correcting: the probable ones, at most so many.

use finezip_core::TokenId;
use finezip_core::softmax::row_maximum;

use crate::vector::Loop;

/// Logits that are looked at together for one that is large enough.
const BLOCK: usize = 64;

/// Finds the tokens whose logits are at least the largest less `reach`, ids ascending, and copies
/// the row; answers false, with no tokens, where the largest is not a finite number.
pub(super) struct Gather<'a> {
    /// The row, `[vocab]`.
    pub(super) row: &'a [f32],
    /// Where it is copied to, `[vocab]`.
    pub(super) copy: &'a mut [f32],
    /// How far below the largest logit a token's may lie.
    pub(super) reach: f32,
    /// The tokens found.
    pub(super) tokens: &'a mut Vec<TokenId>,
}

impl Loop for Gather<'_> {
    type Answer = bool;

    #[inline(always)]
    fn run(self) -> bool {
        self.tokens.clear();
        self.copy.copy_from_slice(self.row);
        let Some(maximum) = row_maximum(self.row) else { return false };
        let least = maximum - self.reach;
        for (number, block) in self.row.chunks(BLOCK).enumerate() {
            if !block.iter().fold(false, |found, &logit| found | (logit >= least)) {
                continue;
            }
            let first = number * BLOCK;
            for (place, &logit) in block.iter().enumerate() {
                if logit >= least {
                    self.tokens.push((first + place) as TokenId);
                }
            }
        }
        true
    }
}

/// Keeps the `most` tokens with the largest logits, of equal ones those with smaller ids; ids
/// ascending.
pub(super) fn keep_largest(tokens: &mut Vec<TokenId>, row: &[f32], most: usize) {
    if tokens.len() <= most {
        return;
    }
    let order = |a: &TokenId, b: &TokenId| {
        let [left, right] = [a, b].map(|&token| row[token as usize]);
        // Zero of either sign is the same logit, and NaN is not among the tokens.
        right.partial_cmp(&left).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
    };
    tokens.select_nth_unstable_by(most, order);
    tokens.truncate(most);
    tokens.sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::{run_on, units};

    fn gathered(unit: pulp::Arch, row: &[f32], reach: f32, most: usize) -> (bool, Vec<TokenId>) {
        let (mut tokens, mut copy) = (vec![7; 3], vec![0.0; row.len()]);
        let gather = Gather { row, copy: &mut copy, reach, tokens: &mut tokens };
        let found = run_on(unit, gather);
        assert!(copy.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()));
        keep_largest(&mut tokens, row, most);
        (found, tokens)
    }

    proptest! {
        #[test]
        fn the_largest_are_found_whatever_the_order(
            row in prop::collection::vec(
                prop_oneof![
                    9 => (-40i32..40).prop_map(|x| x as f32 * 0.25),
                    1 => prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, -0.0, 1e30]),
                ],
                1..400,
            ),
            reach in 0u8..12,
            most in 1usize..70,
        ) {
            let (found, tokens) = gathered(pulp::Arch::new(), &row, f32::from(reach), most);
            let Some(maximum) = row_maximum(&row) else {
                prop_assert!(!found && tokens.is_empty());
                return Ok(());
            };
            // By the definition: sort all, take the first, sort by id.
            let mut wanted: Vec<TokenId> = (0..row.len() as TokenId)
                .filter(|&token| row[token as usize] >= maximum - f32::from(reach))
                .collect();
            wanted.sort_by(|&a, &b| {
                let [a, b] = [a, b].map(|token| row[token as usize]);
                b.partial_cmp(&a).unwrap()
            });
            wanted.truncate(most);
            wanted.sort_unstable();
            prop_assert!(found);
            prop_assert_eq!(&tokens, &wanted);
            for unit in units() {
                let found = gathered(unit, &row, f32::from(reach), most);
                prop_assert_eq!(&found, &(true, wanted.clone()));
            }
        }
    }
}
