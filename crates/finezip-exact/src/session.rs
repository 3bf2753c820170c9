//! A session: the keys and values of several lanes, and how far each has come.
//!
//! Lanes know nothing of one another. Where there are enough of them for every thread, each thread
//! has lanes of its own and runs all layers for them alone: threads then meet once a call instead
//! of several times a layer. Otherwise all threads share each product. The bits are the same.

use std::ops::Range;

use finezip_core::{Error, LaneFeed, Logits, Session, SessionShape};

use crate::blocks::{Block, Blocks};
use crate::error::Result;
use crate::forward::{self, Workspace};
use crate::kernels::Context;
use crate::kv_store::KvStore;
use crate::model::{ENGINE, ExactModel};

/// Lanes a thread from which on threads have lanes of their own. Each thread then reads all weights
/// for its lanes, which costs more than it saves when they are fewer.
const LANES_A_THREAD: usize = 4;

/// The state of all lanes.
#[derive(Debug)]
pub(crate) struct ExactSession<'a> {
    model: &'a ExactModel,
    shape: SessionShape,
    /// Tokens that each lane was fed since its last reset.
    fed: Vec<u64>,
    /// Neighbouring lanes in equal numbers, but for the last.
    parts: Vec<Part>,
}

/// Lanes that are computed together.
#[derive(Debug)]
struct Part {
    lanes: Range<usize>,
    /// Keys and values, one store a layer.
    stores: Vec<KvStore>,
    workspace: Workspace,
    block: Block,
}

/// A part and what a call asks of it.
struct Work<'s, 'f> {
    part: &'s mut Part,
    /// Feeds with lanes counted from the part's first.
    feeds: Vec<LaneFeed<'f>>,
    /// The row of `logits` of each feed's first requested token.
    first_output: Vec<usize>,
    logits: &'s mut [f32],
    result: Result<()>,
}

impl Work<'_, '_> {
    /// Runs the feeds through the model.
    fn run(&mut self, model: &ExactModel, context: &Context, lane_rows: usize, fed: &[u64]) {
        let Part { lanes, stores, workspace, block } = &mut *self.part;
        let fed = &fed[lanes.clone()];
        let mut blocks =
            Blocks::new(&self.feeds, std::mem::take(&mut self.first_output), lane_rows);
        while self.result.is_ok() && blocks.next(block, |lane| fed[lane]) {
            self.result = forward::run(model, context, stores, workspace, block, self.logits);
        }
    }
}

impl<'a> ExactSession<'a> {
    /// A session with all lanes empty. The memory of all lanes is set aside here.
    pub(crate) fn new(model: &'a ExactModel, shape: SessionShape) -> finezip_core::Result<Self> {
        model.check_window(shape.window)?;
        let threads = model.context().threads();
        let parts = if shape.lanes >= threads * LANES_A_THREAD { threads } else { 1 };
        let lanes_a_part = shape.lanes.div_ceil(parts).max(1);
        let parts = (0..shape.lanes)
            .step_by(lanes_a_part)
            .map(|first| {
                let lanes = first..shape.lanes.min(first + lanes_a_part);
                let stores = (0..model.config().layers)
                    .map(|layer| {
                        let ring = model.ring_of(layer, shape.window);
                        KvStore::new(model.precision(), model.config(), lanes.len(), ring)
                    })
                    .collect::<Result<_>>()?;
                let (workspace, block) = Default::default();
                Ok(Part { lanes, stores, workspace, block })
            })
            .collect::<Result<_>>()
            .map_err(engine_error)?;
        Ok(Self { model, shape, fed: vec![0; shape.lanes], parts })
    }

    /// Runs checked feeds; `logits` has a row for each requested token, in the order of the feeds.
    fn run(&mut self, feeds: &[LaneFeed<'_>], logits: &mut [f32]) -> Result<()> {
        let Self { model, shape, fed, parts } = self;
        let vocab = model.config().vocab_size;
        let lane_rows = model.lane_rows(shape.window);
        let lanes_a_part = parts.first().map_or(1, |part| part.lanes.len());
        let part_of = |feed: &LaneFeed<'_>| feed.lane / lanes_a_part;
        let of_part = |part: usize, base: usize| {
            let mut next = 0;
            let (mut own, mut first_output) = (Vec::new(), Vec::new());
            for feed in feeds {
                if part_of(feed) == part {
                    own.push(LaneFeed { lane: feed.lane % lanes_a_part, ..*feed });
                    first_output.push(next - base);
                }
                next += feed.rows;
            }
            (own, first_output)
        };
        // Feeds in the order of lanes, as schedules give them: each part's rows are neighbours.
        if feeds.is_sorted_by_key(part_of) {
            let mut rest = logits;
            let mut base = 0;
            let mut work = Vec::with_capacity(parts.len());
            for (index, part) in parts.iter_mut().enumerate() {
                let (feeds, first_output) = of_part(index, base);
                let rows: usize = feeds.iter().map(|feed| feed.rows).sum();
                let (logits, others) = rest.split_at_mut(rows * vocab);
                (rest, base) = (others, base + rows);
                work.push(Work { part, feeds, first_output, logits, result: Ok(()) });
            }
            let context = if work.len() > 1 { model.serial_context() } else { model.context() };
            model.context().for_each_item(&mut work, |work| {
                work.run(model, context, lane_rows, fed);
            });
            return work.into_iter().try_for_each(|work| work.result);
        }
        for (index, part) in parts.iter_mut().enumerate() {
            let (feeds, first_output) = of_part(index, 0);
            let mut work = Work { part, feeds, first_output, logits, result: Ok(()) };
            model.context().run(|| work.run(model, model.context(), lane_rows, fed));
            work.result?;
        }
        Ok(())
    }

    /// Checks feeds before anything is computed.
    fn check(&self, feeds: &[LaneFeed<'_>]) -> finezip_core::Result<()> {
        let vocab = self.model.config().vocab_size;
        let window = self.shape.window;
        let mut seen = vec![false; self.shape.lanes];
        for feed in feeds {
            match seen.get_mut(feed.lane) {
                None => return Err(self.wrong_lane(feed.lane)),
                Some(true) => {
                    let message = format!("lane {}: expected once a call, found twice", feed.lane);
                    return Err(engine_error(message));
                }
                Some(seen) => *seen = true,
            }
            if feed.rows > feed.tokens.len() {
                return Err(engine_error(format!(
                    "rows of lane {}: expected at most {}, found {}",
                    feed.lane,
                    feed.tokens.len(),
                    feed.rows
                )));
            }
            if let Some(token) = feed.tokens.iter().find(|&&token| token as usize >= vocab) {
                return Err(engine_error(format!("token: expected below {vocab}, found {token}")));
            }
            let after = self.fed[feed.lane] + feed.tokens.len() as u64;
            if !window.rolling && after > window.tokens as u64 {
                return Err(engine_error(format!(
                    "lane {}: expected at most {} tokens before a reset, found {after}",
                    feed.lane, window.tokens
                )));
            }
        }
        Ok(())
    }

    fn wrong_lane(&self, lane: usize) -> Error {
        engine_error(format!("lane: expected below {}, found {lane}", self.shape.lanes))
    }
}

impl Session for ExactSession<'_> {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> finezip_core::Result<()> {
        self.check(feeds)?;
        let rows = feeds.iter().map(|feed| feed.rows).sum();
        let logits = logits.resize(rows, self.model.config().vocab_size);
        self.run(feeds, logits).map_err(engine_error)?;
        for feed in feeds {
            self.fed[feed.lane] += feed.tokens.len() as u64;
        }
        Ok(())
    }

    fn reset(&mut self, lane: usize) -> finezip_core::Result<()> {
        match self.fed.get_mut(lane) {
            Some(fed) => *fed = 0,
            None => return Err(self.wrong_lane(lane)),
        }
        Ok(())
    }
}

fn engine_error(message: impl ToString) -> Error {
    Error::engine(ENGINE, message)
}
