//! How a given probability and what then happened differ, by context.
//!
//! An entry sums, over its past decisions, the ones that came and the ones that were predicted,
//! and the same of the zeros. The correction in the logistic domain is the ratio of the two odds,
//! both sums smoothed by one constant: an entry that has seen nothing corrects nothing, and one
//! surprise among certain predictions moves it by no more than the constant allows. That is what
//! lets decisions of one in a million be corrected safely.

use crate::arithmetic::ln;

/// Sums of one context: ones and zeros that came, ones and zeros that were predicted.
///
/// An array, not a structure: the standard library takes a vector of zeroed arrays as the system
/// gives it, where it writes one of zeroed structures, and most entries are never used.
type Entry = [f32; 4];

/// Corrections by context.
#[derive(Debug)]
pub(crate) struct Calibration {
    entries: Vec<Entry>,
    smoothing: f32,
    keep: f32,
}

impl Calibration {
    /// `size` contexts; the past fades by `1 / horizon` a decision.
    pub(crate) fn new(size: usize, smoothing: f32, horizon: f32) -> Self {
        Self { entries: vec![[0.0; 4]; size], smoothing, keep: 1.0 - 1.0 / horizon }
    }

    /// What to add to a prediction in the logistic domain.
    #[inline(always)]
    pub(crate) fn correction(&self, at: usize) -> f32 {
        let [ones, zeros, predicted_ones, predicted_zeros] = self.entries[at];
        let a = self.smoothing;
        ln((ones + a) * (predicted_zeros + a) / ((predicted_ones + a) * (zeros + a)))
    }

    /// Learns what came where `predicted` was the probability of a one.
    #[inline(always)]
    pub(crate) fn learn(&mut self, at: usize, one: f32, predicted: f32) {
        let keep = self.keep;
        let [ones, zeros, predicted_ones, predicted_zeros] = &mut self.entries[at];
        *ones = *ones * keep + one;
        *zeros = *zeros * keep + (1.0 - one);
        *predicted_ones = *predicted_ones * keep + predicted;
        *predicted_zeros = *predicted_zeros * keep + (1.0 - predicted);
    }
}

/// Frequencies of ones by context.
#[derive(Debug)]
pub(crate) struct Average {
    entries: Vec<[f32; 2]>,
    keep: f32,
}

impl Average {
    /// `size` contexts at even odds; the past fades by `1 / horizon` a decision.
    pub(crate) fn new(size: usize, horizon: f32) -> Self {
        Self { entries: vec![[0.4; 2]; size], keep: 1.0 - 1.0 / horizon }
    }

    /// The frequency in the logistic domain.
    #[inline(always)]
    pub(crate) fn stretched(&self, at: usize) -> f32 {
        let [zeros, ones] = self.entries[at];
        ln((ones + 0.02) / (zeros + 0.02))
    }

    /// Learns what came.
    #[inline(always)]
    pub(crate) fn learn(&mut self, at: usize, one: f32) {
        let [zeros, ones] = &mut self.entries[at];
        *zeros = *zeros * self.keep + (1.0 - one);
        *ones = *ones * self.keep + one;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_corrects_nothing_and_bias_is_found() {
        let mut map = Calibration::new(2, 0.4, 1000.0);
        assert_eq!(map.correction(1), 0.0);
        for i in 0..3000 {
            map.learn(1, if i % 2 == 0 { 1.0 } else { 0.0 }, 0.2);
        }
        // Even odds where one in five was predicted: ln 4.
        assert!((map.correction(1) - 4.0f32.ln()).abs() < 0.02, "{}", map.correction(1));
        map.learn(0, 0.0, 0.999_999);
        assert!(map.correction(0) < -0.5 && map.correction(0) > -3.0);
    }
}
