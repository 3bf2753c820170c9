//! Threads for groups of lanes, with candle kept to one thread inside each.
//!
//! candle has no setting for threads: its matrix product always asks for as many as the machine
//! has cores (or `RAYON_NUM_THREADS` says), as tasks of the rayon pool it is called from. Its own
//! fan-out collapses when cores are busy with other work. Called from inside a pool of one thread
//! those tasks run one after another, right there; groups of lanes are spread over several such
//! pools instead. How a product is cut into tasks does not change a sum: it is cut along rows
//! and columns of the result, never along the sum.

use std::sync::{Mutex, PoisonError};
use std::thread;

use finezip_core::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::failure;

/// Pools of one thread each.
#[derive(Debug)]
pub(crate) struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// So many threads; 0 for as many as the machine has.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let machine = thread::available_parallelism().map_or(1, |count| count.get());
        let threads = if threads == 0 { machine } else { threads };
        let named = |number| move |_| format!("finezip-candle-{number}");
        let pools = (0..threads)
            .map(|number| {
                ThreadPoolBuilder::new().num_threads(1).thread_name(named(number)).build()
            })
            .collect::<Result<_, _>>()
            .map_err(failure)?;
        Ok(Self { pools })
    }

    /// Runs all jobs, each once, in any order and on any of the threads.
    ///
    /// # Errors
    /// The first error a job gave.
    pub(crate) fn run<J: Send>(
        &self,
        jobs: Vec<J>,
        work: impl Fn(J) -> Result<()> + Sync,
    ) -> Result<()> {
        let threads = self.pools.len().min(jobs.len());
        let queue = Mutex::new(jobs.into_iter());
        let outcome = Mutex::new(Ok(()));
        let drain = || {
            loop {
                // The lock is released before the job begins.
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(job) = job else { return };
                if let Err(error) = work(job) {
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    if outcome.is_ok() {
                        *outcome = Err(error);
                    }
                    return;
                }
            }
        };
        match &self.pools[..threads] {
            [] => {}
            [pool] => pool.install(drain),
            pools => thread::scope(|scope| {
                for pool in pools {
                    scope.spawn(|| pool.install(drain));
                }
            }),
        }
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_job_runs_once_inside_a_pool_of_one_thread() {
        let workers = Workers::new(3).unwrap();
        let counts: Vec<AtomicUsize> = (0..20).map(|_| AtomicUsize::new(0)).collect();
        let work = |job: usize| {
            assert_eq!(rayon::current_num_threads(), 1);
            counts[job].fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        workers.run((0..20).collect(), work).unwrap();
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        workers.run(Vec::new(), work).unwrap();
    }

    #[test]
    fn the_first_error_comes_out() {
        let workers = Workers::new(2).unwrap();
        let work = |job: usize| if job == 5 { Err(failure("five")) } else { Ok(()) };
        let error = workers.run((0..10).collect(), work).unwrap_err();
        assert_eq!(error.to_string(), "engine candle: five");
    }
}
