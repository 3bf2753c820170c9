//! Frames of made-up logits, and driving a coder over them.

use finezip_core::{Coder, Feed, FrameShape, Logits, Result, Rows, StepEntry, TokenId};

/// What the logits of a row look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Like a language model's: a few likely tokens above a broad floor.
    Peaked,
    /// All but equal.
    Flat,
    /// Few different values, with both zeros, NaN, negative infinity and the largest numbers.
    Hostile,
}

/// A generator of numbers (SplitMix64), so that a seed names a frame.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number in `0..1`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// A frame: for each step the logits of its lanes and their tokens.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) vocab_size: usize,
    pub(crate) lanes: usize,
    pub(crate) steps: Vec<(Logits, Vec<TokenId>)>,
}

impl Frame {
    /// A frame whose lanes are contiguous regions, in lockstep; the last lane lacks its last
    /// token where there are several.
    pub(crate) fn new(
        seed: u64,
        vocab_size: usize,
        lanes: usize,
        steps: usize,
        profile: Profile,
    ) -> Self {
        let mut random = Random(seed);
        let steps = (0..steps)
            .map(|step| {
                let rows = if step + 1 == steps && lanes > 1 { lanes - 1 } else { lanes };
                let mut logits = Logits::new();
                for row in logits.resize(rows, vocab_size).chunks_mut(vocab_size) {
                    fill(row, profile, &mut random);
                }
                let tokens = (0..rows).map(|row| draw(logits.row(row), &mut random)).collect();
                (logits, tokens)
            })
            .collect();
        Self { vocab_size, lanes, steps }
    }

    pub(crate) fn shape(&self) -> FrameShape {
        let tokens = self.tokens().len();
        FrameShape { vocab_size: self.vocab_size, lanes: self.lanes, tokens, bytes: tokens * 4 }
    }

    /// The frame's tokens in the order of its steps.
    pub(crate) fn tokens(&self) -> Vec<TokenId> {
        self.steps.iter().flat_map(|(_, tokens)| tokens.iter().copied()).collect()
    }

    /// Each row with its token.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[f32], TokenId)> {
        self.steps.iter().flat_map(|(logits, tokens)| {
            tokens.iter().enumerate().map(|(row, &token)| (logits.row(row), token))
        })
    }

    fn entries(&self, step: usize) -> Vec<StepEntry> {
        let rows = self.steps[step].1.len();
        let feed = |index| if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
        (0..rows)
            .map(|lane| {
                let index = lane * self.steps.len() + step;
                StepEntry { lane, index, feed: feed(index) }
            })
            .collect()
    }

    pub(crate) fn encode(&self, coder: &dyn Coder) -> Result<Vec<u8>> {
        let mut encoder = coder.encoder(self.shape())?;
        for (step, (logits, tokens)) in self.steps.iter().enumerate() {
            let order: Vec<usize> = (0..tokens.len()).collect();
            encoder.encode(&self.entries(step), Rows::new(logits, &order), tokens)?;
        }
        encoder.finish()
    }

    /// The tokens in the order of the frame's steps.
    pub(crate) fn decode(&self, coder: &dyn Coder, payload: &[u8]) -> Result<Vec<TokenId>> {
        let mut decoder = coder.decoder(self.shape(), payload)?;
        let mut found = Vec::new();
        for (step, (logits, tokens)) in self.steps.iter().enumerate() {
            let order: Vec<usize> = (0..tokens.len()).collect();
            let mut decoded = vec![0; tokens.len()];
            decoder.decode(&self.entries(step), Rows::new(logits, &order), &mut decoded)?;
            found.extend(decoded);
        }
        decoder.finish()?;
        Ok(found)
    }
}

fn fill(row: &mut [f32], profile: Profile, random: &mut Random) {
    const HOSTILE: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MIN,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        1e-45,
        -87.5,
        3.0,
        f32::MAX,
    ];
    for logit in row.iter_mut() {
        *logit = match profile {
            Profile::Peaked => random.unit() * 6.0 - 4.0,
            Profile::Flat => random.unit() * 1e-3,
            Profile::Hostile => HOSTILE[random.below(HOSTILE.len())],
        };
    }
    if profile == Profile::Peaked {
        for height in 1..=8 {
            row[random.below(row.len())] = 4.0 + 1.5 * height as f32;
        }
    }
    // A row needs one finite logit.
    let place = random.below(row.len());
    if !row[place].is_finite() {
        row[place] = -2.0;
    }
}

/// A token drawn from the row's softmax, or (one time in eight) any token.
fn draw(row: &[f32], random: &mut Random) -> TokenId {
    if random.below(8) == 0 {
        return random.below(row.len()) as TokenId;
    }
    let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| if logit.is_nan() { 0.0 } else { (logit - maximum).exp() };
    let total: f32 = row.iter().copied().map(weight).sum();
    let mut left = random.unit() * total;
    for (token, &logit) in row.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return token as TokenId;
        }
    }
    row.len() as TokenId - 1
}
