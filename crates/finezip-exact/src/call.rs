//! One call's blocks: one after the other on all threads, or several side by side on one each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use finezip_core::{LaneFeed, Window, WritableRow, WritableRows};

use crate::blocks::{Block, Blocks};
use crate::error::{Error, Result};
use crate::forward::{self, Workspace};
use crate::kernels::Context;
use crate::kv_store::KvStore;
use crate::model::ExactModel;
use crate::turns::{Passage, Turns};

/// Rows for each thread from which on each has blocks of its own: threads then meet once a layer
/// instead of at every product. With fewer, reading all weights on each costs more than that.
const ROWS_A_THREAD: usize = 16;

/// What it takes to compute a block; memory is kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    workspace: Workspace,
    block: Block,
}

/// Lanes fed in a call, and how far they had come before it.
#[derive(Clone, Copy)]
pub(crate) struct Feeds<'a, 'b> {
    pub(crate) feeds: &'a [LaneFeed<'b>],
    /// Tokens that each lane was fed since its last reset.
    pub(crate) fed: &'a [u64],
    pub(crate) window: Window,
}

/// What no thread has begun.
struct Waiting<'a, 'b, 'o> {
    blocks: Blocks<'a, 'b>,
    /// The number of the next block.
    next: usize,
    /// Rows of the call that no block has taken.
    outputs: Vec<Option<WritableRow<'o>>>,
    desks: &'o mut Vec<Desk>,
    failure: Option<Error>,
}

/// Runs checked feeds; `outputs` has a row for each requested token, in the order of the feeds.
pub(crate) fn run(
    model: &ExactModel,
    context: &Context,
    feeds: Feeds<'_, '_>,
    stores: &mut [KvStore],
    desks: &mut Vec<Desk>,
    outputs: WritableRows<'_>,
) -> Result<()> {
    let Feeds { feeds, fed, window } = feeds;
    let rows: usize = feeds.iter().map(|feed| feed.tokens.len()).sum();
    let apart = rows >= ROWS_A_THREAD * context.threads();
    let (threads, of_block) = match apart {
        true => (context.threads(), model.serial_context()),
        false => (1, context),
    };
    let first_output = feeds.iter().scan(0, |next, feed| {
        let first = *next;
        *next += feed.rows;
        Some(first)
    });
    let lane_rows = model.lane_rows(window);
    let waiting = Mutex::new(Waiting {
        blocks: Blocks::new(feeds, first_output.collect(), lane_rows, threads),
        next: 0,
        outputs: outputs.into_rows().map(Some).collect(),
        desks,
        failure: None,
    });
    let turns = Turns::new(stores);
    let work = || {
        let mut desk = lock(&waiting).desks.pop().unwrap_or_default();
        loop {
            let begun = lock(&waiting).begin(&turns, &mut desk.block, fed);
            let Some((passage, outputs)) = begun else { break };
            let Desk { workspace, block } = &mut desk;
            let done = forward::run(model, of_block, passage, workspace, block, outputs);
            if let Err(error) = done {
                lock(&waiting).failure.get_or_insert(error);
            }
        }
        lock(&waiting).desks.push(desk);
    };
    context.run(|| match threads {
        1 => work(),
        _ => context.for_each_task(threads, |_| work()),
    });
    let waiting = waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
    waiting.failure.map_or(Ok(()), Err)
}

impl<'o> Waiting<'_, '_, 'o> {
    /// Replaces `block` with the next one, unless one has failed or there is none.
    fn begin<'t, 's>(
        &mut self,
        turns: &'t Turns<'s>,
        block: &mut Block,
        fed: &[u64],
    ) -> Option<(Passage<'t, 's>, Vec<WritableRow<'o>>)> {
        if self.failure.is_some() || !self.blocks.next(block, |lane| fed[lane]) {
            return None;
        }
        let passage = turns.of(self.next);
        self.next += 1;
        let outputs = block.outputs.iter().filter_map(|&(_, output)| self.outputs[output].take());
        Some((passage, outputs.collect()))
    }
}

/// A thread that panicked has said so; its call has no result.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
