//! Asking for memory before it is read.

use super::aligned::LINE;

/// How far ahead a stream of panels asks for memory, in bytes.
#[cfg(target_arch = "x86_64")]
pub(super) const STREAM_AHEAD: usize = 4096;

/// Asks for the cache line at an address. Nothing is read and no result changes.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    let _ = address;
}

/// How many stretches an [`Ahead`] has.
const STRETCHES: usize = 5;

/// Stretches of memory to be asked for a little at a time, while something else is computed.
pub(super) struct Ahead {
    /// What is left, in the order of asking.
    stretches: [Lines; STRETCHES],
}

impl Ahead {
    /// All of these, in this order.
    pub(super) fn new(stretches: [Lines; STRETCHES]) -> Self {
        Self { stretches }
    }

    /// Takes neighbouring lines for a loop to ask for, at most so many.
    pub(super) fn take(&mut self, lines: usize) -> Lines {
        let left = self.stretches.iter_mut().find(|stretch| stretch.start < stretch.end);
        left.map_or(Lines::of::<u8>(&[]), |stretch| {
            let end = stretch.start.wrapping_add(lines * LINE).min(stretch.end);
            let start = std::mem::replace(&mut stretch.start, end);
            Lines { start, end }
        })
    }
}

/// Neighbouring lines that a loop asks for.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    start: *const u8,
    end: *const u8,
}

// SAFETY: addresses that are asked for and never read through.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

impl Lines {
    /// The lines of these values.
    pub(super) fn of<T>(values: &[T]) -> Self {
        let range = values.as_ptr_range();
        Self { start: range.start.cast(), end: range.end.cast() }
    }

    /// Asks for the line this many bytes after the first, if it is one of these.
    #[inline(always)]
    pub(super) fn ask_at(&self, offset: usize) {
        let address = self.start.wrapping_add(offset);
        if address < self.end {
            prefetch(address);
        }
    }

    /// Asks for the next line, if there is one.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        if self.start < self.end {
            prefetch(self.start);
            self.start = self.start.wrapping_add(LINE);
        }
    }
}
