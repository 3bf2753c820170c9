//! Memory that runs share: one waits until what it takes is free.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Memory for runs at the same time.
#[derive(Debug)]
pub(crate) struct Budget {
    /// None for as much as there may be.
    bytes: Option<u64>,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    runs: usize,
    bytes: u64,
}

/// A run's part of the memory, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// So many bytes.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        Self { bytes, taken: Mutex::default(), freed: Condvar::new() }
    }

    /// Takes so many bytes, as soon as they are free. More than there are is given to one run
    /// alone: it may well do with less than is reckoned, and else nothing would come of it.
    pub(crate) fn take(&self, bytes: u64) -> Share<'_> {
        let fits = |taken: &Taken| {
            let after = taken.bytes.saturating_add(bytes);
            taken.runs == 0 || self.bytes.is_none_or(|all| after <= all)
        };
        let waited = self.freed.wait_while(self.lock(), |taken| !fits(taken));
        let mut taken = waited.unwrap_or_else(PoisonError::into_inner);
        taken.runs += 1;
        taken.bytes = taken.bytes.saturating_add(bytes);
        Share { budget: self, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.budget.lock();
        taken.runs -= 1;
        taken.bytes = taken.bytes.saturating_sub(self.bytes);
        self.budget.freed.notify_all();
    }
}

/// What Linux says could be had without swapping.
pub(crate) fn available_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;

    /// The most bytes and the most runs at once when runs of these sizes share a budget.
    fn most_at_once(budget: Option<u64>, sizes: &[u64]) -> (u64, usize) {
        let budget = Budget::new(budget);
        let (bytes, runs) = (AtomicU64::new(0), AtomicUsize::new(0));
        let (most_bytes, most_runs) = (AtomicU64::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for &size in sizes {
                let (budget, bytes, runs) = (&budget, &bytes, &runs);
                let (most_bytes, most_runs) = (&most_bytes, &most_runs);
                scope.spawn(move || {
                    let _share = budget.take(size);
                    most_bytes.fetch_max(
                        bytes.fetch_add(size, Ordering::SeqCst) + size,
                        Ordering::SeqCst,
                    );
                    most_runs.fetch_max(runs.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    bytes.fetch_sub(size, Ordering::SeqCst);
                    runs.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        (most_bytes.into_inner(), most_runs.into_inner())
    }

    #[test]
    fn runs_wait_until_they_fit_and_a_large_one_is_alone() {
        let (bytes, runs) = most_at_once(Some(10), &[4, 4, 4, 4, 3, 3]);
        assert!(bytes <= 10 && runs <= 3, "{bytes} bytes of {runs} runs");
        assert_eq!(most_at_once(Some(10), &[25, 25, 25]), (25, 1));
        let (_, runs) = most_at_once(None, &[25, 25, 25]);
        assert!(runs > 1, "{runs}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_is_available() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
