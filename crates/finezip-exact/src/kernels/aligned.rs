//! Bytes that start at a cache line, so that no vector load straddles two, in memory that the
//! system may back with huge pages.

use std::sync::Arc;

/// Bytes of a cache line, and of the widest vector.
pub(super) const LINE: usize = 64;

/// The huge page of x86-64 and of most AArch64 systems.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes from which a buffer is moved to the start of a huge page.
const LARGE: usize = 2 * HUGE_PAGE;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A growable buffer of bytes whose first byte is aligned to [`LINE`]. A copy shares memory until
/// one of the two is written.
#[derive(Clone, Default)]
pub(crate) struct AlignedBytes {
    memory: Arc<Vec<Line>>,
    /// The line of `memory` at which this buffer starts; `length` bytes from there are within it.
    first: usize,
    length: usize,
}

impl AlignedBytes {
    /// `length` bytes of this value. They start at a huge page where there are enough of them, so
    /// that all but the last of their pages can be huge.
    pub(super) fn filled(length: usize, value: u8) -> Self {
        let count = length.div_ceil(LINE);
        let (mut lines, first) = match length {
            LARGE.. => {
                let lines = lines_for(count.saturating_add(HUGE_PAGE / LINE));
                let before = lines.as_ptr().cast::<u8>().align_offset(HUGE_PAGE) / LINE;
                (lines, before.min(HUGE_PAGE / LINE))
            }
            _ => (lines_for(count), 0),
        };
        lines.resize(first + count, Line([value; LINE]));
        Self { memory: Arc::new(lines), first, length }
    }

    /// A copy.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::filled(bytes.len(), 0);
        copy.copy_from_slice(bytes);
        copy
    }

    /// Moves buffers into one piece of memory, one after the other: pieces of a few hundred
    /// kilobytes are too small for huge pages, all of a model's are not.
    ///
    /// Each is freed as soon as it is copied, and the new memory takes pages only as they are
    /// written, so that the peak is what all of them take and the largest once more.
    pub(super) fn gather(buffers: &mut [&mut Self]) {
        let count = buffers.iter().map(|buffer| buffer.length.div_ceil(LINE)).sum();
        let mut lines = lines_for(count);
        let places: Vec<(usize, usize)> = buffers
            .iter_mut()
            .map(|buffer| {
                let Self { memory, first, length } = std::mem::take(&mut **buffer);
                let start = lines.len();
                lines.extend_from_slice(&memory[first..first + length.div_ceil(LINE)]);
                (start, length)
            })
            .collect();
        let memory = Arc::new(lines);
        for (buffer, (first, length)) in buffers.iter_mut().zip(places) {
            **buffer = Self { memory: Arc::clone(&memory), first, length };
        }
    }

    /// Buffers of these lengths in one piece of memory, one after the other. `fill` writes each of
    /// them, in order.
    ///
    /// # Errors
    /// The first of `fill`.
    pub(crate) fn filled_together<E>(
        lengths: &[usize],
        mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Vec<Self>, E> {
        let count = lengths.iter().map(|length| length.div_ceil(LINE)).sum();
        let mut memory = Self { memory: Arc::new(lines_for(count)), first: 0, length: 0 };
        let mut starts = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let start = memory.length;
            memory.resize(start + length.next_multiple_of(LINE));
            fill(&mut memory[start..start + length])?;
            starts.push(start / LINE);
        }
        let part = |(first, &length)| Self { memory: Arc::clone(&memory.memory), first, length };
        Ok(starts.into_iter().zip(lengths).map(part).collect())
    }

    /// Makes it `length` bytes long; new lines are zero, old ones stay as they are to their end.
    pub(super) fn resize(&mut self, length: usize) {
        let lines = Arc::make_mut(&mut self.memory);
        // What follows may have been another buffer's.
        lines.truncate(self.first + self.length.div_ceil(LINE));
        lines.resize(self.first + length.div_ceil(LINE), Line([0; LINE]));
        self.length = length;
    }

    /// The bytes as floats.
    pub(super) fn as_floats(&self) -> &[f32] {
        let start: *const f32 = self.memory[self.first..].as_ptr().cast();
        // SAFETY: as in `deref`; the start is aligned and every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(start, self.length / size_of::<f32>()) }
    }

    /// The bytes as floats, for writing.
    pub(super) fn as_floats_mut(&mut self) -> &mut [f32] {
        let start: *mut f32 = Arc::make_mut(&mut self.memory)[self.first..].as_mut_ptr().cast();
        // SAFETY: as in `as_floats`, and the memory is this buffer's alone.
        unsafe { std::slice::from_raw_parts_mut(start, self.length / size_of::<f32>()) }
    }
}

/// An empty list with room for `count` lines.
fn lines_for(count: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(count);
    ask_for_huge_pages(&mut lines);
    lines
}

/// Asks the system to back a large buffer, not yet written, with huge pages: one row of
/// activations against all weights reads memory 10 to 30 % faster with them.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_huge_pages(lines: &mut Vec<Line>) {
    let spare = lines.spare_capacity_mut();
    let start = spare.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(HUGE_PAGE);
    let bytes = size_of_val(spare);
    if bytes < before.saturating_add(HUGE_PAGE) {
        return;
    }
    let length = (bytes - before) / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: the range lies in the buffer, which this borrow owns, and the advice changes how it
    // is backed and not what it holds.
    let advised = unsafe {
        let advice = rustix::mm::Advice::LinuxHugepage;
        rustix::mm::madvise(start.add(before).cast(), length, advice)
    };
    // A system without huge pages goes on with small ones.
    let _ = advised;
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn ask_for_huge_pages(_: &mut Vec<Line>) {}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start: *const u8 = self.memory[self.first..].as_ptr().cast();
        // SAFETY: from `first` on, `memory` holds at least `length` initialised bytes, as `Line`
        // is plain bytes without padding; the borrow of `self` keeps them in place.
        unsafe { std::slice::from_raw_parts(start, self.length) }
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start: *mut u8 = Arc::make_mut(&mut self.memory)[self.first..].as_mut_ptr().cast();
        // SAFETY: as in `deref`, and the memory is this buffer's alone.
        unsafe { std::slice::from_raw_parts_mut(start, self.length) }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_line_and_keeps_its_bytes() {
        // Long enough for huge pages, where that is not too slow.
        let long = if cfg!(miri) { 2000 } else { 5 << 20 };
        for length in [0, 1, 63, 64, 65, 1000, long] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut aligned = AlignedBytes::copy_of(&bytes);
            assert_eq!(&*aligned, &bytes[..]);
            assert_eq!(aligned.as_ptr() as usize % LINE, 0);
            aligned.resize(length + 70);
            assert_eq!(&aligned[..length], &bytes[..]);
            assert_eq!(aligned.len(), length + 70);
        }
    }

    #[test]
    fn buffers_filled_together_keep_their_bytes_and_stay_apart() {
        let lengths = [3, 0, 64, 100];
        let mut seen = Vec::new();
        let filled = AlignedBytes::filled_together(&lengths, |bytes| {
            assert!(bytes.iter().all(|&byte| byte == 0));
            seen.push(bytes.len());
            bytes.fill(bytes.len() as u8);
            Ok::<(), ()>(())
        });
        let mut buffers = filled.unwrap();
        assert_eq!(seen, lengths);
        buffers[2].fill(7);
        for (buffer, (length, value)) in buffers.iter().zip([(3, 3), (0, 0), (64, 7), (100, 100)]) {
            assert_eq!(**buffer, vec![value; length][..]);
            assert_eq!(buffer.as_ptr() as usize % LINE, 0);
        }
        let refused = AlignedBytes::filled_together(&[1, 2, 3], |bytes| match bytes.len() {
            2 => Err("the second"),
            _ => Ok(()),
        });
        assert_eq!(refused.unwrap_err(), "the second");
    }

    #[test]
    fn gathered_buffers_keep_their_bytes_and_stay_apart() {
        let mut buffers: Vec<_> =
            [3, 0, 64, 100].map(|length| AlignedBytes::filled(length, length as u8)).into();
        AlignedBytes::gather(&mut buffers.iter_mut().collect::<Vec<_>>());
        let copy = buffers[3].clone();
        buffers[2].fill(7);
        buffers[3][99] = 9;
        buffers[0].resize(200);
        assert_eq!(*buffers[0], [[3; 64].as_slice(), &[0; 136]].concat()[..]);
        assert!(buffers[1].is_empty());
        assert_eq!(*buffers[2], [7; 64]);
        assert_eq!((buffers[3][98], buffers[3][99]), (100, 9));
        assert_eq!(*copy, [100; 100]);
    }
}
