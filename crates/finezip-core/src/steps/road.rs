//! Computing and coding side by side.
//!
//! Each session has a thread that computes its lanes, batch by batch. The entries of a step that
//! one session computes are a *piece*; pieces are coded in the plan's order, step by step and
//! within each from the first session to the last, by one thread at a time. Where tokens are known
//! any thread may code any piece, and the one that is furthest ahead does, so that none waits for
//! another. Where they are not, each thread codes its own pieces, and goes on as soon as it has:
//! while one session's tokens are decoded the others are computed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::StepCoder;
use super::batch::{Batch, Batches};
use super::feeding::Feeding;
use crate::error::{Error, Result};
use crate::logits::{Logits, Rows};
use crate::model::LaneGroup;
use crate::progress::{FrameProgress, Timing};
use crate::tokenizer::TokenId;

/// Batches a thread may have computed that are not yet coded, where tokens are known.
const MOST_AHEAD: usize = 3;

/// What all threads share.
pub(super) struct Road<'r, 'p> {
    tokens_are_known: bool,
    /// Whether one thread does nothing but code.
    own_coder: bool,
    /// Whether the coder needs features beside logits.
    with_features: bool,
    tokens: Mutex<&'r mut [TokenId]>,
    state: Mutex<State<'r, 'p>>,
    changed: Condvar,
}

/// Where the work stands.
struct State<'r, 'p> {
    /// The piece that is coded next.
    step: usize,
    group: usize,
    groups: Vec<Group>,
    /// What it takes to code; gone while somebody does.
    desk: Option<Desk<'r, 'p>>,
    timing: Timing,
    failure: Option<Error>,
}

/// What one session's thread has done.
#[derive(Default)]
struct Group {
    /// Batches not yet coded to their end, in order.
    computed: VecDeque<Job>,
    /// Jobs to be used again.
    spare: Vec<Job>,
    /// Whether its plan is at its end.
    ended: bool,
}

/// A batch, what it is fed, and its rows.
struct Job {
    batch: Batch,
    feeding: Feeding,
    logits: Logits,
    /// How many of its steps are coded.
    coded: usize,
}

impl Job {
    fn new(with_features: bool) -> Self {
        let logits = if with_features { Logits::with_features() } else { Logits::new() };
        Self { batch: Batch::default(), feeding: Feeding::default(), logits, coded: 0 }
    }
}

/// The coder, and who is told of its progress.
struct Desk<'r, 'p> {
    coder: &'r mut dyn StepCoder,
    progress: &'r mut FrameProgress<'p>,
    /// Tokens of the piece at hand.
    tokens: Vec<TokenId>,
}

impl<'r, 'p> State<'r, 'p> {
    /// Whether the next piece can be coded now, by the thread of a session or by another.
    fn may_code(&self, by: Option<usize>, tokens_are_known: bool) -> bool {
        let allowed = tokens_are_known || by == Some(self.group);
        allowed && self.desk.is_some() && !self.groups[self.group].computed.is_empty()
    }

    /// The next piece's job, and the desk, if this thread may code it now.
    fn take_piece(
        &mut self,
        by: Option<usize>,
        tokens_are_known: bool,
    ) -> Option<(Job, Desk<'r, 'p>)> {
        if !self.may_code(by, tokens_are_known) {
            return None;
        }
        Some((self.groups[self.group].computed.pop_front()?, self.desk.take()?))
    }

    /// Whether no session is further ahead of the coder than this one.
    fn is_furthest(&self, group: usize) -> bool {
        let own = self.groups[group].computed.len();
        self.groups.iter().all(|other| other.computed.len() <= own)
    }

    fn all_is_coded(&self) -> bool {
        let done = |group: &Group| group.ended && group.computed.is_empty();
        self.desk.is_some() && self.groups.iter().all(done)
    }
}

impl<'r, 'p> Road<'r, 'p> {
    /// The road of one frame; `own_coder` says that a thread will be in [`Road::code_all`].
    pub(super) fn new(
        groups: usize,
        own_coder: bool,
        with_features: bool,
        tokens: &'r mut [TokenId],
        coder: &'r mut dyn StepCoder,
        progress: &'r mut FrameProgress<'p>,
    ) -> Self {
        let tokens_are_known = coder.tokens_are_known();
        let state = State {
            step: 0,
            group: 0,
            groups: (0..groups).map(|_| Group::default()).collect(),
            desk: Some(Desk { coder, progress, tokens: Vec::new() }),
            timing: Timing::default(),
            failure: None,
        };
        Self {
            tokens_are_known,
            own_coder,
            with_features,
            tokens: Mutex::new(tokens),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Computes the batches of one session, and codes where that is this thread's part.
    pub(super) fn compute(
        &self,
        number: usize,
        mut group: LaneGroup<'_>,
        mut batches: Batches,
        start_token: TokenId,
    ) {
        let _guard = Leaving(self);
        loop {
            let spare = self.state().groups[number].spare.pop();
            let mut job = spare.unwrap_or_else(|| Job::new(self.with_features));
            if !batches.next_batch(&mut job.batch) {
                break;
            }
            if !self.wait_for_tokens(&job.batch) {
                return;
            }
            let tokens = lock(&self.tokens);
            job.feeding.prepare(&job.batch, group.lanes.start, &tokens, start_token);
            drop(tokens);
            let begun = Instant::now();
            let fed = job.feeding.feed(group.session.as_mut(), &mut job.logits);
            if let Err(error) = fed {
                return self.fail(error);
            }
            if !self.hand_over(number, job, begun.elapsed()) {
                return;
            }
        }
        let mut state = self.state();
        state.groups[number].ended = true;
        self.changed.notify_all();
        self.code_until(state, Some(number), State::all_is_coded);
    }

    /// Codes whatever is computed until all is.
    pub(super) fn code_all(&self) {
        let _guard = Leaving(self);
        self.code_until(self.state(), None, State::all_is_coded);
    }

    /// Where the time went, or what went wrong.
    pub(super) fn finish(self) -> Result<Timing> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(error) => Err(error),
            None => {
                let threads = state.groups.len().max(1) as u32;
                Ok(Timing { engine: state.timing.engine / threads, ..state.timing })
            }
        }
    }

    /// Waits until the tokens that a batch is fed are there; false if they never will be.
    fn wait_for_tokens(&self, batch: &Batch) -> bool {
        if self.tokens_are_known || !batch.reads_other_lanes() {
            return self.state().failure.is_none();
        }
        // This thread's own pieces are coded.
        let coded = |state: &State<'_, '_>| state.step >= batch.first_step();
        self.code_until(self.state(), None, coded)
    }

    /// Puts a computed batch in line, and codes until the next may be computed; false if there is
    /// no point in going on.
    fn hand_over(&self, number: usize, mut job: Job, time: Duration) -> bool {
        job.coded = 0;
        let mut state = self.state();
        state.timing.engine += time;
        state.groups[number].computed.push_back(job);
        self.changed.notify_all();
        let may_compute = |state: &State<'_, '_>| {
            let ahead = state.groups[number].computed.len();
            if !self.tokens_are_known {
                return ahead == 0;
            }
            let others_code =
                self.own_coder || !state.is_furthest(number) || !state.may_code(None, true);
            ahead < MOST_AHEAD && others_code
        };
        self.code_until(state, Some(number), may_compute)
    }

    /// Codes pieces, and waits where there is none for this thread, until `enough`; false if
    /// something went wrong.
    fn code_until<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<'r, 'p>>,
        by: Option<usize>,
        enough: impl Fn(&State<'r, 'p>) -> bool,
    ) -> bool {
        loop {
            if state.failure.is_some() {
                return false;
            }
            if enough(&state) {
                return true;
            }
            state = match state.take_piece(by, self.tokens_are_known) {
                Some((job, desk)) => {
                    drop(state);
                    self.code_piece(job, desk)
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Codes the next piece, which is the first of `job` that is not coded.
    fn code_piece(&self, mut job: Job, mut desk: Desk<'r, 'p>) -> MutexGuard<'_, State<'r, 'p>> {
        let begun = Instant::now();
        let coded = self.code_at(&job, &mut desk);
        let mut state = self.state();
        state.timing.coder += begun.elapsed();
        if let Err(error) = coded {
            state.failure.get_or_insert(error);
        }
        job.coded += 1;
        let number = state.group;
        let group = &mut state.groups[number];
        if job.coded < job.batch.steps() {
            group.computed.push_front(job);
        } else {
            group.spare.push(job);
        }
        state.group += 1;
        if state.group == state.groups.len() {
            (state.step, state.group) = (state.step + 1, 0);
        }
        state.desk = Some(desk);
        self.changed.notify_all();
        state
    }

    fn code_at(&self, job: &Job, desk: &mut Desk<'r, 'p>) -> Result<()> {
        let entries = job.batch.step(job.coded);
        if entries.is_empty() {
            return Ok(());
        }
        let rows = Rows::new(&job.logits, job.feeding.rows_of(&job.batch, job.coded));
        desk.tokens.clear();
        let tokens = lock(&self.tokens);
        desk.tokens.extend(entries.iter().map(|entry| tokens[entry.index]));
        drop(tokens);
        desk.coder.step(entries, rows, &mut desk.tokens)?;
        if !self.tokens_are_known {
            let mut tokens = lock(&self.tokens);
            for (entry, &token) in entries.iter().zip(&desk.tokens) {
                tokens[entry.index] = token;
            }
        }
        desk.progress.tokens(&desk.tokens, desk.coder.payload_bytes());
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<'r, 'p>> {
        lock(&self.state)
    }

    fn fail(&self, error: Error) {
        self.state().failure.get_or_insert(error);
        self.changed.notify_all();
    }
}

/// Tells the others when a thread panics: they would wait for it for ever.
struct Leaving<'a, 'r, 'p>(&'a Road<'r, 'p>);

impl Drop for Leaving<'_, '_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Error::engine("engine", "its thread stopped"));
        }
    }
}

/// A thread that panicked has said so; what it held is not used again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
