//! One frame through schedule, engine and coder: the same road in both directions.
//!
//! The road does not know which way it is used: it feeds each entry of a step with the tokens
//! before it and hands the rows to a [`StepCoder`], which either codes the entries' tokens or
//! puts decoded ones in their place.
//!
//! Two things make it fast and change no byte. Where all tokens are known beforehand and the
//! engine's logits do not depend on the shape of a batch, several steps are computed in one call.
//! And coding goes on beside computing: see [`road`]. Rows reach the coder in the plan's order in
//! either case.

mod batch;
mod feeding;
mod road;

use std::thread;

use batch::Batches;
use road::Road;

use crate::coder::{Decoder, Encoder};
use crate::components::Language;
use crate::error::Result;
use crate::logits::Rows;
use crate::model::{Exactness, FeedLength, SessionShape};
use crate::progress::{FrameProgress, Timing};
use crate::schedule::{Plan, StepEntry};
use crate::tokenizer::TokenId;

/// Rows, in all sessions together, that make batches large enough to keep the processor's units
/// busy.
const LOOKAHEAD_ROWS: usize = 128;

/// One direction of the road.
pub(crate) trait StepCoder: Send {
    /// Whether all tokens are known before the first step.
    fn tokens_are_known(&self) -> bool;

    /// Codes one step or a part of it. `tokens[i]` is that of `entries[i]`, or is to be it.
    fn step(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &mut [TokenId])
    -> Result<()>;

    /// Bytes of payload so far, for progress.
    fn payload_bytes(&self) -> usize;
}

/// Tokens to payload.
pub(crate) struct Encoding<'a> {
    pub(crate) encoder: Box<dyn Encoder + 'a>,
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
        self.encoder.encode(entries, rows, tokens)
    }

    fn payload_bytes(&self) -> usize {
        self.encoder.coded_bytes()
    }
}

/// Payload to tokens.
pub(crate) struct Decoding<'a> {
    pub(crate) decoder: Box<dyn Decoder + 'a>,
    /// Bytes of the whole payload.
    pub(crate) payload_bytes: usize,
    /// Tokens in the whole payload.
    pub(crate) tokens: usize,
    /// Tokens decoded so far.
    pub(crate) decoded: usize,
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
        self.decoder.decode(entries, rows, tokens)?;
        self.decoded += tokens.len();
        Ok(())
    }

    /// Decoders do not say how much they have read: taken as even over the tokens.
    fn payload_bytes(&self) -> usize {
        let read = self.payload_bytes as u128 * self.decoded as u128;
        (read / self.tokens.max(1) as u128) as usize
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
    let count = tokens.len();
    let shape = SessionShape { lanes, window: language.schedule.window() };
    let plan = || language.schedule.plan(count, lanes);
    run_plan(language, shape, &plan, tokens, coder, progress)
}

/// Runs tokens by a plan of one's own, in sessions of `shape`.
pub(crate) fn run_plan(
    language: &Language,
    shape: SessionShape,
    plan: &dyn Fn() -> Box<dyn Plan>,
    tokens: &mut [TokenId],
    coder: &mut dyn StepCoder,
    progress: &mut FrameProgress<'_>,
) -> Result<Timing> {
    language.check_features()?;
    let with_features = language.coder.needs_features();
    let known = coder.tokens_are_known();
    let together = known && language.model.identity().exactness == Exactness::Everywhere;
    let feeds = if together { FeedLength::Several } else { FeedLength::One };
    let groups = language.model.open_sessions(shape, feeds)?;
    let lookahead_rows = if together { LOOKAHEAD_ROWS / groups.len().max(1) } else { 0 };
    let own_coder = known && groups.len() == 1;
    let start_token = language.model.start_token();
    let road = Road::new(groups.len(), own_coder, with_features, tokens, coder, progress);
    thread::scope(|scope| {
        for (number, group) in groups.into_iter().enumerate() {
            let batches = Batches::new(plan(), group.lanes.clone(), lookahead_rows);
            let road = &road;
            scope.spawn(move || road.compute(number, group, batches, start_token));
        }
        if own_coder {
            road.code_all();
        }
    });
    road.finish()
}
