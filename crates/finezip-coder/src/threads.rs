//! Where the work on the rows of a step is done.
//!
//! Rows are independent until their tokens narrow the one range of a frame, so that each row's
//! sums may be taken on any thread. Which thread takes which row changes nothing in the result.

use std::sync::Arc;

use finezip_core::{Error, Result};
use rayon::prelude::*;

/// Logits in a step below which waking other threads costs more than it brings: five rows of
/// 49,152, about a tenth of a millisecond of work.
const PARALLEL_LOGITS: usize = 5 * 49_152;

/// The threads a coder may use.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// The caller's alone.
    #[default]
    Inline,
    /// Those of a pool, which may be shared with an engine.
    Pool(Arc<rayon::ThreadPool>),
}

impl Threads {
    /// `count` threads: the caller's alone for 1, else a pool of its own.
    ///
    /// # Errors
    /// [`Error::Settings`] for a count of 0, and where the system starts no threads.
    pub fn new(count: usize) -> Result<Self> {
        match count {
            0 => Err(Error::Settings("a coder needs at least one thread, 0 were given".into())),
            1 => Ok(Self::Inline),
            _ => rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(|number| format!("finezip-coder-{number}"))
                .build()
                .map(|pool| Self::Pool(Arc::new(pool)))
                .map_err(|error| Error::Settings(format!("{count} threads for a coder: {error}"))),
        }
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        match self {
            Self::Inline => 1,
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// Calls `work` for each row's state with the row's number; `vocab_size` logits are read for
    /// each.
    pub(crate) fn for_each_row<State: Send>(
        &self,
        states: &mut [State],
        vocab_size: usize,
        work: impl Fn(usize, &mut State) + Send + Sync,
    ) {
        match self {
            Self::Pool(pool)
                if states.len() > 1 && states.len() * vocab_size >= PARALLEL_LOGITS =>
            {
                pool.install(|| {
                    states.par_iter_mut().enumerate().for_each(|(row, state)| work(row, state));
                });
            }
            _ => states.iter_mut().enumerate().for_each(|(row, state)| work(row, state)),
        }
    }
}
