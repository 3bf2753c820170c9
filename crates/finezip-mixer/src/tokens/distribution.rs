//! A row of logits as integer weights, summed over the sorted vocabulary.
//!
//! The weights are the ones every coder of FineZip uses ([`finezip_core::softmax`]); sums are
//! whole numbers in 64 bits. So the probability of a decision is the ratio of two exact integers.

use finezip_core::softmax::{WEIGHT_BITS, row_maximum, weight};
use finezip_core::{Error, Result};

use super::trie::Trie;
use crate::arithmetic::ln;

/// Where the walk over the decisions of a token gets the model's opinion from.
pub(crate) trait Opinion {
    /// Weights of the places `low..middle` and `middle..high`, each at least 1.
    fn split(&mut self, low: u32, middle: u32, high: u32) -> (u64, u64);

    /// The most probable token's place.
    fn top(&self) -> u32;

    /// How uncertain the model is: -ln of the most probable token's probability, up to rounding.
    fn doubt(&self) -> f32;
}

/// Prefix sums of a distribution.
#[derive(Debug)]
pub(crate) struct Distribution {
    unit: pulp::Arch,
    weights: Vec<u32>,
    /// `sums[i]` is the weight of the places below `i`.
    sums: Vec<u64>,
    top: u32,
}

impl Distribution {
    /// For a vocabulary of `size` tokens.
    pub(crate) fn new(size: usize) -> Self {
        Self { unit: pulp::Arch::new(), weights: vec![0; size], sums: vec![0; size + 1], top: 0 }
    }

    /// Takes a row of logits `[vocab]`.
    pub(crate) fn fill(&mut self, row: &[f32], trie: &Trie) -> Result<()> {
        if row.len() != self.weights.len() {
            return Err(Error::payload(
                super::NAME,
                format!("expected rows of {} logits, found {}", self.weights.len(), row.len()),
            ));
        }
        let unit = self.unit;
        let weights = &mut self.weights[..];
        let maximum = unit.dispatch(|| {
            let maximum = row_maximum(row)?;
            for (weight_of, &logit) in weights.iter_mut().zip(row) {
                *weight_of = weight(logit - maximum);
            }
            Some(maximum)
        });
        let Some(maximum) = maximum else {
            return Err(Error::payload(super::NAME, "a row of logits has no finite maximum"));
        };
        let token = row.iter().position(|&logit| logit == maximum).unwrap_or(0);
        self.top = trie.places[token];
        let mut sum = 0u64;
        for (below, &token) in self.sums[1..].iter_mut().zip(&trie.tokens) {
            sum += u64::from(self.weights[token as usize]);
            *below = sum;
        }
        Ok(())
    }
}

impl Opinion for Distribution {
    #[inline(always)]
    fn split(&mut self, low: u32, middle: u32, high: u32) -> (u64, u64) {
        let below_middle = self.sums[middle as usize];
        (below_middle - self.sums[low as usize], self.sums[high as usize] - below_middle)
    }

    fn top(&self) -> u32 {
        self.top
    }

    fn doubt(&self) -> f32 {
        let total = self.sums[self.sums.len() - 1];
        ln(total as f32 * (1.0 / (1u64 << WEIGHT_BITS) as f32))
    }
}
