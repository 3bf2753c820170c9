//! One frame through schedule, engine and coder: the same road in both directions.
//!
//! The road does not know which way it is used: it feeds each entry of a step with the tokens
//! before it and hands the rows to a [`StepCoder`], which either codes the entries' tokens or
//! puts decoded ones in their place.
//!
//! Two things make it fast and change no byte. Where all tokens are known beforehand and the
//! engine's logits do not depend on the shape of a batch, several steps are computed in one call.
//! And the engine has a thread of its own: while one batch is coded the next is computed, if it
//! needs none of the tokens being coded. Rows reach the coder step by step in either case.

mod batch;
mod feeding;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use batch::{Batch, Batches};
use feeding::Feeding;

use crate::coder::{Decoder, Encoder};
use crate::components::Language;
use crate::error::{Error, Result};
use crate::logits::{Logits, Rows};
use crate::model::{Exactness, Session, SessionShape};
use crate::progress::{FrameProgress, Timing};
use crate::schedule::StepEntry;
use crate::tokenizer::TokenId;

/// Rows that make a batch large enough to keep the processor's units busy.
const LOOKAHEAD_ROWS: usize = 128;

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

/// What travels to the engine's thread and back: a batch, its tokens, its rows.
#[derive(Default)]
struct Job {
    batch: Batch,
    feeding: Feeding,
    logits: Logits,
    time: Duration,
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
    let session = language.model.open_session(shape)?;
    let known = coder.tokens_are_known();
    let together = known && language.model.identity().exactness == Exactness::Everywhere;
    let plan = language.schedule.plan(tokens.len(), lanes);
    let mut batches = Batches::new(plan, if together { LOOKAHEAD_ROWS } else { 0 });
    let start_token = language.model.start_token();
    let stopped = || Error::engine(&language.model.identity().name, "its thread stopped");
    thread::scope(|scope| {
        let (to_engine, jobs) = mpsc::channel();
        let (done, from_engine) = mpsc::channel();
        scope.spawn(move || compute(session, &jobs, &done));
        let mut timing = Timing::default();
        let mut spare = Some(Job::default());
        let mut next = batches.next_batch(Job::default());
        let mut computing = false;
        loop {
            if !computing {
                let Some(mut job) = next.take() else { return Ok(timing) };
                job.feeding.prepare(&job.batch, tokens, start_token);
                to_engine.send(job).map_err(|_| stopped())?;
            }
            let job: Job = from_engine.recv().map_err(|_| stopped())??;
            timing.engine += job.time;
            next = batches.next_batch(spare.take().unwrap_or_default());
            computing = next.as_ref().is_some_and(|next| known || !next.batch.needs(&job.batch));
            if let Some(mut job) = next.take_if(|_| computing) {
                job.feeding.prepare(&job.batch, tokens, start_token);
                to_engine.send(job).map_err(|_| stopped())?;
            }
            let begun = Instant::now();
            for step in 0..job.batch.steps() {
                let rows = Rows::new(&job.logits, job.feeding.rows_of(&job.batch, step));
                coder.step(job.batch.step(step), rows, tokens)?;
            }
            timing.coder += begun.elapsed();
            progress.tokens(job.batch.entries(), tokens, coder.payload_bytes());
            spare = Some(job);
        }
    })
}

/// The engine's thread: feeds the session until there are no more jobs.
fn compute(
    mut session: Box<dyn Session + '_>,
    jobs: &mpsc::Receiver<Job>,
    done: &mpsc::Sender<Result<Job>>,
) {
    for mut job in jobs {
        let begun = Instant::now();
        let fed = job.feeding.feed(session.as_mut(), &mut job.logits);
        job.time = begun.elapsed();
        if done.send(fed.map(|()| job)).is_err() {
            return;
        }
    }
}
