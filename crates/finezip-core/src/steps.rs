//! One frame through schedule, engine and coder: the same road in both directions.
//!
//! The road does not know which way it is used: it feeds each entry of a step with the tokens
//! before it and hands the rows to a [`StepCoder`], which either codes the entries' tokens or
//! puts decoded ones in their place. Where all tokens are known beforehand and the engine's
//! logits do not depend on the shape of a batch, several steps are computed in one call; the
//! rows still reach the coder step by step.

use std::time::Instant;

use crate::coder::{Decoder, Encoder};
use crate::components::Language;
use crate::error::Result;
use crate::logits::{Logits, Rows};
use crate::model::{Exactness, LaneFeed, Session, SessionShape};
use crate::progress::{FrameProgress, Timing};
use crate::schedule::{Feed, Plan, StepEntry};
use crate::tokenizer::TokenId;

/// Rows that make a batch large enough to keep the processor's units busy.
const LOOKAHEAD_ROWS: usize = 64;

/// One direction of the road.
pub(crate) trait StepCoder {
    /// Whether all tokens are known before the first step.
    fn tokens_are_known(&self) -> bool;

    /// Codes one step. `tokens` are those of the frame; those of `entries` are known or to be
    /// filled in.
    fn step(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &mut [TokenId])
    -> Result<()>;

    /// Bytes of payload so far.
    fn payload_bytes(&self) -> usize;
}

/// Tokens to payload.
pub(crate) struct Encoding<'a> {
    pub(crate) encoder: Box<dyn Encoder + 'a>,
    pub(crate) step_tokens: Vec<TokenId>,
}

impl StepCoder for Encoding<'_> {
    fn tokens_are_known(&self) -> bool {
        true
    }

    fn step(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        self.step_tokens.clear();
        self.step_tokens.extend(entries.iter().map(|entry| tokens[entry.index]));
        self.encoder.encode(entries, rows, &self.step_tokens)
    }

    fn payload_bytes(&self) -> usize {
        self.encoder.coded_bytes()
    }
}

/// Payload to tokens.
pub(crate) struct Decoding<'a> {
    pub(crate) decoder: Box<dyn Decoder + 'a>,
    pub(crate) step_tokens: Vec<TokenId>,
    pub(crate) payload_bytes: usize,
}

impl StepCoder for Decoding<'_> {
    fn tokens_are_known(&self) -> bool {
        false
    }

    fn step(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        self.step_tokens.clear();
        self.step_tokens.resize(entries.len(), 0);
        self.decoder.decode(entries, rows, &mut self.step_tokens)?;
        for (entry, &token) in entries.iter().zip(&self.step_tokens) {
            tokens[entry.index] = token;
        }
        Ok(())
    }

    fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }
}

/// Runs a frame of `tokens` over `lanes` lanes.
pub(crate) fn run(
    language: &Language,
    lanes: usize,
    tokens: &mut [TokenId],
    coder: &mut dyn StepCoder,
    progress: &mut FrameProgress<'_>,
) -> Result<Timing> {
    let shape = SessionShape { lanes, window: language.schedule.window() };
    let mut session = language.model.open_session(shape)?;
    let lookahead =
        coder.tokens_are_known() && language.model.identity().exactness == Exactness::Everywhere;
    let mut batches = Batches {
        plan: language.schedule.plan(tokens.len(), lanes),
        lookahead_rows: if lookahead { LOOKAHEAD_ROWS } else { 0 },
        held: None,
    };
    let start_token = language.model.start_token();
    let mut feeding = Feeding::new(start_token, lanes);
    let mut batch = Batch::default();
    let mut logits = Logits::new();
    let mut timing = Timing::default();
    while batches.next_batch(&mut batch) {
        let begun = Instant::now();
        feeding.feed(session.as_mut(), &batch, tokens, &mut logits)?;
        let computed = Instant::now();
        for step in 0..batch.steps() {
            let entries = batch.step(step);
            let rows = Rows::new(&logits, feeding.rows_of(&batch, step));
            coder.step(entries, rows, tokens)?;
        }
        timing.engine += computed - begun;
        timing.coder += computed.elapsed();
        progress.tokens(&batch.entries, tokens, coder.payload_bytes());
    }
    Ok(timing)
}

/// Consecutive steps that are computed in one call.
#[derive(Default)]
struct Batch {
    entries: Vec<StepEntry>,
    /// Where each step ends in `entries`.
    ends: Vec<usize>,
}

impl Batch {
    fn steps(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, step: usize) -> std::ops::Range<usize> {
        let start = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[step]
    }

    fn step(&self, step: usize) -> &[StepEntry] {
        &self.entries[self.range(step)]
    }
}

/// Takes steps from a plan, as many at a time as may be computed together.
struct Batches {
    plan: Box<dyn Plan>,
    lookahead_rows: usize,
    /// A step taken from the plan that belongs to the next batch.
    held: Option<Vec<StepEntry>>,
}

impl Batches {
    fn next_batch(&mut self, batch: &mut Batch) -> bool {
        batch.entries.clear();
        batch.ends.clear();
        loop {
            let mut step = self.held.take().unwrap_or_default();
            if step.is_empty() && !self.plan.next_step(&mut step) {
                break;
            }
            let first = batch.entries.is_empty();
            let joins = step.iter().all(|entry| entry.feed == Feed::Continue)
                && batch.entries.len() + step.len() <= self.lookahead_rows;
            if !first && !joins {
                self.held = Some(step);
                break;
            }
            batch.entries.extend_from_slice(&step);
            batch.ends.push(batch.entries.len());
        }
        !batch.entries.is_empty()
    }
}

/// Turns a batch into what a session is fed, and remembers which row is whose.
struct Feeding {
    start_token: TokenId,
    /// Tokens of each lane of the batch, one lane after another.
    tokens: Vec<TokenId>,
    /// Per lane: its entries in the batch.
    lanes: Vec<Vec<usize>>,
    /// Row of the block for each entry of the batch.
    rows: Vec<usize>,
}

impl Feeding {
    fn new(start_token: TokenId, lanes: usize) -> Self {
        Self { start_token, tokens: Vec::new(), lanes: vec![Vec::new(); lanes], rows: Vec::new() }
    }

    fn rows_of(&self, batch: &Batch, step: usize) -> &[usize] {
        &self.rows[batch.range(step)]
    }

    fn feed(
        &mut self,
        session: &mut dyn Session,
        batch: &Batch,
        tokens: &[TokenId],
        logits: &mut Logits,
    ) -> Result<()> {
        for lane in &mut self.lanes {
            lane.clear();
        }
        for (i, entry) in batch.entries.iter().enumerate() {
            self.lanes[entry.lane].push(i);
        }
        self.tokens.clear();
        self.rows.clear();
        self.rows.resize(batch.entries.len(), 0);
        let mut spans = Vec::with_capacity(self.lanes.len());
        let mut row = 0;
        for (lane, entries) in self.lanes.iter().enumerate() {
            if entries.is_empty() {
                continue;
            }
            let start = self.tokens.len();
            for &i in entries {
                let entry = batch.entries[i];
                match entry.feed {
                    Feed::Restart { from } => {
                        session.reset(lane)?;
                        self.tokens.push(self.start_token);
                        self.tokens.extend_from_slice(&tokens[from..entry.index]);
                    }
                    Feed::Continue => self.tokens.push(tokens[entry.index - 1]),
                }
                self.rows[i] = row;
                row += 1;
            }
            spans.push((lane, start..self.tokens.len(), entries.len()));
        }
        let feeds: Vec<LaneFeed<'_>> = spans
            .into_iter()
            .map(|(lane, span, rows)| LaneFeed { lane, tokens: &self.tokens[span], rows })
            .collect();
        session.feed(&feeds, logits)
    }
}
