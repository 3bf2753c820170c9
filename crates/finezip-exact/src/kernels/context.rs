//! Where kernels run: the instruction set and the threads.
//!
//! A kernel cuts its work into tasks that write disjoint outputs; which thread runs which task
//! does not change a bit. Tasks are taken by work stealing: a thread that the system takes away
//! delays the task it holds and no other, and idle threads sleep instead of spinning.

use rayon::prelude::*;

use super::error::KernelError;
use super::isa::Isa;

/// Tasks a thread, so that a slow one can be helped.
const TASKS_PER_THREAD: usize = 4;

/// Elements below which work is not worth waking a second thread: about ten microseconds.
const ELEMENTS_PER_TASK: usize = 8192;

/// Thread counts that tests of kernels go through; under Miri, which is slow, the caller alone.
#[cfg(test)]
pub(super) const TEST_THREADS: &[usize] = if cfg!(miri) { &[1] } else { &[1, 2, 3, 7] };

/// The instruction set and the thread pool that kernels run on.
#[derive(Debug)]
pub struct Context {
    isa: Isa,
    threads: usize,
    pool: Option<rayon::ThreadPool>,
}

impl Context {
    /// A context of `threads` threads (at least one); with one, everything runs on the caller.
    ///
    /// # Errors
    /// If the system does not give the threads.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, KernelError> {
        let threads = threads.max(1);
        let pool = (threads > 1)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("finezip-{index}"))
                    .build()
            })
            .transpose()
            .map_err(|error| KernelError::Threads { threads, message: error.to_string() })?;
        Ok(Self { isa, threads, pool })
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` inside the pool. Kernels called from there start their tasks without waking
    /// the pool from outside, which saves some microseconds a call: wrap a whole step in it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `task` with 0 to `tasks - 1`, each once, in any order and on any thread.
    pub fn for_each_task(&self, tasks: usize, task: impl Fn(usize) + Sync + Send) {
        match &self.pool {
            Some(pool) if tasks > 1 => {
                pool.install(|| (0..tasks).into_par_iter().with_max_len(1).for_each(task));
            }
            _ => (0..tasks).for_each(task),
        }
    }

    /// Calls `task` with each item; with one item or one thread, on the caller or inside the pool.
    pub fn for_each_item<T: Send>(&self, items: &mut [T], task: impl Fn(&mut T) + Sync + Send) {
        match &self.pool {
            Some(pool) if items.len() > 1 => {
                pool.install(|| items.par_iter_mut().with_max_len(1).for_each(task));
            }
            Some(pool) => pool.install(|| items.iter_mut().for_each(task)),
            None => items.iter_mut().for_each(task),
        }
    }

    /// Cuts `count` items into ranges, several a thread, and calls `task` with each of them.
    pub fn for_each_range(
        &self,
        count: usize,
        task: impl Fn(std::ops::Range<usize>) + Sync + Send,
    ) {
        if self.threads == 1 {
            if count > 0 {
                task(0..count);
            }
            return;
        }
        let tasks = count.min(self.threads * TASKS_PER_THREAD);
        self.for_each_task(tasks, |index| {
            task(index * count / tasks..(index + 1) * count / tasks);
        });
    }

    /// The pool and how many tasks to cut element-wise work into, if it is worth a second thread.
    pub(super) fn pool_for(&self, elements: usize) -> Option<(&rayon::ThreadPool, usize)> {
        self.pool
            .as_ref()
            .filter(|_| elements > ELEMENTS_PER_TASK)
            .map(|pool| (pool, self.threads * TASKS_PER_THREAD))
    }

    /// Calls `task` with each row of `rows`, `[len / width][width]`, and its number.
    ///
    /// # Panics
    /// If `width` is 0 or does not divide the length.
    pub fn for_each_row(
        &self,
        rows: &mut [f32],
        width: usize,
        task: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) {
        assert!(width > 0 && rows.len().is_multiple_of(width), "rows are not of the width given");
        match self.pool_for(rows.len()) {
            Some((pool, tasks)) => {
                let chunk = (rows.len() / width).div_ceil(tasks);
                pool.install(|| {
                    rows.par_chunks_mut(chunk * width).enumerate().for_each(|(index, rows)| {
                        for (inner, row) in rows.chunks_exact_mut(width).enumerate() {
                            task(index * chunk + inner, row);
                        }
                    });
                });
            }
            None => {
                for (index, row) in rows.chunks_exact_mut(width).enumerate() {
                    task(index, row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let context = Context::new(Isa::scalar(), threads).unwrap();
            for tasks in [0, 1, 2, 5, 100] {
                let runs: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                context.for_each_task(tasks, |index| {
                    runs[index].fetch_add(1, Ordering::Relaxed);
                });
                context.for_each_range(tasks, |range| {
                    for index in range {
                        runs[index].fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(runs.iter().all(|run| run.load(Ordering::Relaxed) == 2));
            }
        }
    }

    #[test]
    fn rows_get_their_numbers() {
        for threads in [1, 2, 3, 7] {
            let context = Context::new(Isa::scalar(), threads).unwrap();
            for (count, width) in [(0, 3), (1, 5), (100, 400), (3, 9000)] {
                let mut rows = vec![0.0; count * width];
                context.for_each_row(&mut rows, width, |index, row| row.fill(index as f32));
                for (index, row) in rows.chunks_exact(width).enumerate() {
                    assert!(row.iter().all(|&value| value == index as f32));
                }
            }
        }
    }
}
