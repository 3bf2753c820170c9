//! `--ideal`: a coder that also measures the distributions it is given: their ideal code length,
//! the ranks of the tokens, and what a token costs by how much its lane has seen before it.

use std::sync::{Arc, Mutex, PoisonError};

use finezip_coder::{ideal_bits, rank_of};
use finezip_core::{
    Coder, Decoder, Encoder, Feed, FrameShape, Record, Result, Rows, StepEntry, TokenId,
};

/// Ranks up to this one are counted as near hits.
const NEAR_RANK: u32 = 15;

/// What the tokens at positions of one power of two cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// How many tokens there are.
    pub(crate) tokens: u64,
    /// Sum of `-log2 p(token)`.
    pub(crate) ideal_bits: f64,
}

/// What was measured since the last [`IdealLength::take`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Sum of `-log2 p(token)`, in bytes.
    pub(crate) ideal_bytes: f64,
    /// Bytes of the coder's payloads for the same tokens.
    pub(crate) payload_bytes: u64,
    /// How many tokens were measured.
    pub(crate) tokens: u64,
    /// How many had rank 0, the model's first guess.
    pub(crate) first_guesses: u64,
    /// How many had ranks 0 to 15.
    pub(crate) near_guesses: u64,
    /// By the number of tokens before it since its lane was emptied: 0, 1, 2 to 3, 4 to 7, and so
    /// on in powers of two.
    pub(crate) positions: Vec<Position>,
}

impl Measured {
    /// Adds one token, seen at `position` of its lane.
    fn add_token(&mut self, row: &[f32], token: usize, position: usize) {
        let bits = ideal_bits(row, token);
        let rank = rank_of(row, token);
        self.ideal_bytes += bits / 8.0;
        self.tokens += 1;
        self.first_guesses += u64::from(rank == Some(0));
        self.near_guesses += u64::from(rank.is_some_and(|rank| rank <= NEAR_RANK));
        let number = position.checked_ilog2().map_or(0, |power| power as usize + 1);
        if self.positions.len() <= number {
            self.positions.resize(number + 1, Position::default());
        }
        if let Some(bucket) = self.positions.get_mut(number) {
            bucket.tokens += 1;
            bucket.ideal_bits += bits;
        }
    }

    fn add(&mut self, other: &Self) {
        self.ideal_bytes += other.ideal_bytes;
        self.payload_bytes += other.payload_bytes;
        self.tokens += other.tokens;
        self.first_guesses += other.first_guesses;
        self.near_guesses += other.near_guesses;
        if self.positions.len() < other.positions.len() {
            self.positions.resize(other.positions.len(), Position::default());
        }
        for (bucket, more) in self.positions.iter_mut().zip(&other.positions) {
            bucket.tokens += more.tokens;
            bucket.ideal_bits += more.ideal_bits;
        }
    }
}

/// Where measuring coders add up.
#[derive(Clone, Default)]
pub(crate) struct IdealLength(Arc<Mutex<Measured>>);

impl IdealLength {
    /// What was measured, and begins anew.
    pub(crate) fn take(&self) -> Measured {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, measured: &Measured) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(measured);
    }
}

/// A coder whose encoder measures.
pub(crate) struct MeasuringCoder {
    /// Does the coding.
    pub(crate) coder: Arc<dyn Coder>,
    /// Where the sums go.
    pub(crate) length: IdealLength,
}

impl Coder for MeasuringCoder {
    fn record(&self) -> Record {
        self.coder.record()
    }

    fn needs_features(&self) -> bool {
        self.coder.needs_features()
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        Ok(Box::new(MeasuringEncoder {
            encoder: self.coder.encoder(shape)?,
            length: &self.length,
            measured: Measured::default(),
            positions: Vec::new(),
        }))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        self.coder.decoder(shape, payload)
    }
}

struct MeasuringEncoder<'a> {
    encoder: Box<dyn Encoder + 'a>,
    length: &'a IdealLength,
    measured: Measured,
    /// By lane, where its last token stood.
    positions: Vec<usize>,
}

impl MeasuringEncoder<'_> {
    /// How many tokens the lane of `entry` has seen before it.
    fn position(&mut self, entry: &StepEntry) -> usize {
        if self.positions.len() <= entry.lane {
            self.positions.resize(entry.lane + 1, 0);
        }
        let Some(position) = self.positions.get_mut(entry.lane) else { return 0 };
        *position = match entry.feed {
            Feed::Restart { from } => entry.index - from,
            Feed::Continue => *position + 1,
        };
        *position
    }
}

impl Encoder for MeasuringEncoder<'_> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        for (i, (entry, &token)) in entries.iter().zip(tokens).enumerate().take(rows.len()) {
            let position = self.position(entry);
            self.measured.add_token(rows.row(i), token as usize, position);
        }
        self.encoder.encode(entries, rows, tokens)
    }

    fn coded_bytes(&self) -> usize {
        self.encoder.coded_bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        let payload = self.encoder.finish()?;
        self.measured.payload_bytes += payload.len() as u64;
        self.length.add(&self.measured);
        Ok(payload)
    }
}
