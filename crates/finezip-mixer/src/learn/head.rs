//! The head that learns: for tokens that were probable once, what is to be added to the rows of
//! the model's last matrix, kept from token to token of a frame.
//!
//! The operations and their order are those of `docs/learn.md`; a vector unit of any width gives
//! the bits of the scalar loop, for every sum is one of sixteen parts or sequential.

use finezip_core::{Error, Result, TokenId};

use super::candidates::{Gather, keep_largest};
use super::{MOST_FEATURES, NAME, Settings};
use crate::arithmetic::exp;
use crate::vector::{Loop, SUM_LANES, adjust, dot, run_on};

/// No correction moves a logit further than this.
const LONGEST_CORRECTION: f32 = 24.0;

/// The unit of rates in the settings.
const RATE_UNIT: f32 = 1.0 / 64.0;

/// In [`Head::row_of`]: the token has no row.
const NO_ROW: u32 = u32::MAX;

/// What has been learned of one token besides its row.
#[derive(Clone, Copy, Debug, Default)]
struct Bias {
    /// What is added to its logit.
    value: f32,
    /// Squares of all errors it has learned from.
    squares: f32,
}

/// A token that is corrected in the row at hand.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: TokenId,
    logit: f32,
}

/// Everything learned of one frame, and the row at hand.
#[derive(Debug)]
pub(super) struct Head {
    settings: Settings,
    vocab: usize,
    unit: pulp::Arch,
    /// Row of each token, or [`NO_ROW`].
    row_of: Vec<u32>,
    /// `[rows][features]`.
    rows: Vec<f32>,
    /// `[rows]`.
    biases: Vec<Bias>,
    /// The features at hand, of length 1 or 0 as a vector, padded with zeros to a multiple of
    /// [`SUM_LANES`].
    features: Vec<f32>,
    /// Values the engine gives; 0 until it has given some.
    width: usize,
    tokens: Vec<TokenId>,
    /// The tokens corrected, ids ascending, with corrected logits.
    candidates: Vec<Candidate>,
    /// `e` to their logits, less the largest.
    powers: Vec<f32>,
}

impl Head {
    /// A head that has learned nothing.
    pub(super) fn new(settings: Settings, vocab: usize) -> Self {
        Self {
            settings,
            vocab,
            unit: pulp::Arch::new(),
            row_of: vec![NO_ROW; vocab],
            rows: Vec::new(),
            biases: Vec::new(),
            features: Vec::new(),
            width: 0,
            tokens: Vec::new(),
            candidates: Vec::new(),
            powers: Vec::new(),
        }
    }

    /// Writes the corrected `row`, `[vocab]`, to `corrected`, given the features behind it.
    pub(super) fn correct(
        &mut self,
        row: &[f32],
        features: &[f32],
        corrected: &mut [f32],
    ) -> Result<()> {
        self.check(row, features)?;
        let reach = self.settings.reach as f32;
        let gather = Gather { row, copy: corrected, reach, tokens: &mut self.tokens };
        // Without a finite maximum there is nothing to correct, and the coder underneath says so.
        run_on(self.unit, gather);
        keep_largest(&mut self.tokens, row, self.settings.candidates as usize);
        run_on(self.unit, Normalise { features, out: &mut self.features });
        self.candidates.clear();
        for &token in &self.tokens {
            self.candidates.push(Candidate { token, logit: row[token as usize] });
        }
        run_on(self.unit, Correct(self));
        for candidate in &self.candidates {
            corrected[candidate.token as usize] = candidate.logit;
        }
        Ok(())
    }

    /// Learns the token that came after the row last corrected.
    pub(super) fn learn(&mut self, token: TokenId, corrected: &[f32]) -> Result<()> {
        let Some(&logit) = corrected.get(token as usize) else {
            return Err(Error::payload(
                NAME,
                format!("token {token} in a vocabulary of {}", self.vocab),
            ));
        };
        if !logit.is_finite() {
            // What has no probability by the model has no gradient either.
            return Ok(());
        }
        if let Err(place) = self.candidates.binary_search_by_key(&token, |c| c.token) {
            self.candidates.insert(place, Candidate { token, logit });
        }
        run_on(self.unit, Learn(self, token));
        Ok(())
    }

    fn check(&mut self, row: &[f32], features: &[f32]) -> Result<()> {
        if row.len() != self.vocab {
            return Err(Error::payload(
                NAME,
                format!("expected rows of {} logits, found {}", self.vocab, row.len()),
            ));
        }
        if features.is_empty() || self.width != 0 && features.len() != self.width {
            let expected = if self.width == 0 { "some".into() } else { self.width.to_string() };
            return Err(Error::payload(
                NAME,
                format!("expected {expected} features with a row, found {}", features.len()),
            ));
        }
        if features.len() > MOST_FEATURES {
            return Err(Error::payload(
                NAME,
                format!(
                    "expected at most {MOST_FEATURES} features with a row, found {}",
                    features.len()
                ),
            ));
        }
        self.width = features.len();
        self.features.resize(self.width.next_multiple_of(SUM_LANES), 0.0);
        Ok(())
    }

    /// The row of a token, made if there is room for another.
    #[inline(always)]
    fn row_for(&mut self, token: TokenId) -> Option<usize> {
        let row = &mut self.row_of[token as usize];
        if *row == NO_ROW {
            if self.biases.len() as u64 >= self.settings.rows {
                return None;
            }
            *row = self.biases.len() as u32;
            self.biases.push(Bias::default());
            self.rows.resize(self.rows.len() + self.features.len(), 0.0);
        }
        Some(*row as usize)
    }

    #[inline(always)]
    fn correct_plainly(&mut self) {
        let width = self.features.len();
        for candidate in &mut self.candidates {
            let row = self.row_of[candidate.token as usize];
            if row != NO_ROW {
                let row = row as usize;
                let change = self.biases[row].value
                    + dot(&self.rows[row * width..(row + 1) * width], &self.features);
                candidate.logit += change.clamp(-LONGEST_CORRECTION, LONGEST_CORRECTION);
            }
        }
    }

    #[inline(always)]
    fn learn_plainly(&mut self, token: TokenId) {
        let width = self.features.len();
        let (rate, bias_rate) =
            (self.settings.rate as f32 * RATE_UNIT, self.settings.bias_rate as f32 * RATE_UNIT);
        let least_error = 1.0 / self.settings.sensitivity as f32;
        let mut largest = f32::NEG_INFINITY;
        for candidate in &self.candidates {
            largest = if candidate.logit > largest { candidate.logit } else { largest };
        }
        self.powers.clear();
        self.powers.resize(self.candidates.len(), 0.0);
        for (power, candidate) in self.powers.iter_mut().zip(&self.candidates) {
            *power = exp(candidate.logit - largest);
        }
        let mut sum = 0.0f32;
        for power in &self.powers {
            sum += power;
        }
        for at in 0..self.candidates.len() {
            let candidate = self.candidates[at].token;
            let came = candidate == token;
            let error = f32::from(u8::from(came)) - self.powers[at] / sum;
            if error.abs() < least_error {
                continue;
            }
            let Some(row) = self.row_for(candidate) else { continue };
            let bias = &mut self.biases[row];
            bias.squares += error * error;
            let step = error / (1.0 + bias.squares).sqrt();
            bias.value += bias_rate * step;
            adjust(&mut self.rows[row * width..(row + 1) * width], &self.features, rate * step);
        }
    }
}

/// Scales features to length 1; to zeros where they have no finite length.
struct Normalise<'a> {
    features: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for Normalise<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        self.out[..self.features.len()].copy_from_slice(self.features);
        let squares = dot(self.out, self.out);
        let scale =
            if squares > 0.0 && squares < f32::INFINITY { 1.0 / squares.sqrt() } else { 0.0 };
        for value in &mut *self.out {
            *value = if scale > 0.0 { *value * scale } else { 0.0 };
        }
    }
}

struct Correct<'a>(&'a mut Head);

impl Loop for Correct<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        self.0.correct_plainly();
    }
}

struct Learn<'a>(&'a mut Head, TokenId);

impl Loop for Learn<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        self.0.learn_plainly(self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::vector::units;

    const VOCAB: usize = 300;
    const WIDTH: usize = 37;

    /// What `docs/learn.md` says, word by word: one token's row, bias and sum of squares.
    #[derive(Clone)]
    struct Learned(Vec<f32>, f32, f32);

    struct Plain {
        settings: Settings,
        learned: BTreeMap<TokenId, Learned>,
    }

    impl Plain {
        fn dot(a: &[f32], b: &[f32]) -> f32 {
            let mut sums = [0.0f32; 16];
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                sums[i % 16] += a * b;
            }
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    sums[i] += sums[i + half];
                }
            }
            sums[0]
        }

        /// The corrected row of an entry, its token learned.
        fn code(&mut self, row: &[f32], features: &[f32], token: TokenId) -> Vec<f32> {
            let squares = Self::dot(features, features);
            let scale = 1.0 / squares.sqrt();
            let features: Vec<f32> = features.iter().map(|x| x * scale).collect();
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut candidates: Vec<TokenId> = (0..row.len() as TokenId)
                .filter(|&token| row[token as usize] >= most - self.settings.reach as f32)
                .collect();
            candidates.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
            candidates.truncate(self.settings.candidates as usize);
            candidates.sort_unstable();
            let mut corrected = row.to_vec();
            for &candidate in &candidates {
                if let Some(Learned(d, b, _)) = self.learned.get(&candidate) {
                    let change = *b + Self::dot(d, &features);
                    corrected[candidate as usize] += change.clamp(-24.0, 24.0);
                }
            }
            if !candidates.contains(&token) {
                candidates.push(token);
                candidates.sort_unstable();
            }
            let c = |token: &TokenId| corrected[*token as usize];
            let n = candidates.iter().map(c).fold(f32::NEG_INFINITY, f32::max);
            let z = candidates.iter().map(|token| exp(c(token) - n)).fold(0.0, |z, e| z + e);
            for candidate in &candidates {
                let y = if *candidate == token { 1.0 } else { 0.0 };
                let g = y - exp(c(candidate) - n) / z;
                if g.abs() < 1.0 / self.settings.sensitivity as f32 {
                    continue;
                }
                let full = self.learned.len() as u64 >= self.settings.rows;
                if full && !self.learned.contains_key(candidate) {
                    continue;
                }
                let empty = || Learned(vec![0.0; features.len()], 0.0, 0.0);
                let Learned(d, b, q) = self.learned.entry(*candidate).or_insert_with(empty);
                *q += g * g;
                let u = g / (1.0 + *q).sqrt();
                *b += self.settings.bias_rate as f32 / 64.0 * u;
                let step = self.settings.rate as f32 / 64.0 * u;
                for (d, f) in d.iter_mut().zip(&features) {
                    *d += step * f;
                }
            }
            corrected
        }
    }

    /// Entries as a model would give them: tokens that are often probable.
    fn entries() -> Vec<(Vec<f32>, Vec<f32>, TokenId)> {
        let mut state = 11u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let entry = |_| {
            let features = (0..WIDTH).map(|_| (random() % 2001) as f32 * 0.01 - 10.0).collect();
            let mut row: Vec<f32> = (0..VOCAB).map(|_| (random() % 1500) as f32 * 0.01).collect();
            let token = random() % 40 * 7;
            if random() % 3 > 0 {
                row[token as usize] += 6.0;
            }
            (row, features, token)
        };
        (0..400).map(entry).collect()
    }

    #[test]
    fn every_vector_unit_does_what_the_document_says() {
        let few = Settings { candidates: 20, rows: 25, reach: 5, ..Settings::default() };
        let fast = Settings { rate: 4096, bias_rate: 1000, sensitivity: 7, ..few };
        for settings in [Settings::default(), few, fast] {
            let mut plain = Plain { settings, learned: BTreeMap::new() };
            let head = |unit| Head { unit, ..Head::new(settings, VOCAB) };
            let mut heads: Vec<Head> = units().into_iter().map(head).collect();
            let mut changed = 0;
            for (row, features, token) in entries() {
                let wanted = plain.code(&row, &features, token);
                changed += usize::from(wanted != row);
                for head in &mut heads {
                    let mut found = vec![0.0; VOCAB];
                    head.correct(&row, &features, &mut found).unwrap();
                    assert!(found.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits()));
                    head.learn(token, &found).unwrap();
                }
            }
            assert!(changed > 300, "{changed} of 400");
            assert_eq!(heads[0].biases.len(), plain.learned.len());
        }
    }
}
