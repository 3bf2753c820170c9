//! Sums of a few rows of pairs times sixteen columns, in registers.

use std::arch::x86_64::*;

use super::super::int8::PANEL;
use super::super::prefetch::prefetch;

/// Rows a tile: two vectors of sums each, the four vectors of a step's bytes, a factor and two
/// products fill the sixteen registers but one.
pub(super) const TILE: usize = 4;

/// Packed bytes of sixteen columns for one group of four.
pub(super) const LINE: usize = 4 * PANEL;

/// Sums of `ROWS` rows: columns 0 to 7 and 8 to 15.
pub(super) type Sums<const ROWS: usize> = [[__m256i; 2]; ROWS];

/// What a tile multiplies, over a depth of `groups` groups of four.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// Rows of pairs; see [`super::widen`].
    pub(super) pairs: &'a [[i32; 2]],
    /// Pairs from one row to the next.
    pub(super) stride: usize,
    /// [`LINE`] bytes of the columns every `step` bytes.
    pub(super) columns: &'a [u8],
    /// Bytes from one group of the columns to the next.
    pub(super) step: usize,
    /// Number of groups.
    pub(super) groups: usize,
    /// What is asked for meanwhile: only an address.
    pub(super) ahead: *const u8,
    /// How far that goes on each group.
    pub(super) ahead_step: usize,
}

impl Tile<'_> {
    /// The sums of `ROWS` rows, at most [`TILE`].
    ///
    /// Each factor is used for both halves of the columns before the next is loaded: with more of
    /// them at a time, sums no longer fit the registers and wait for memory.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn sums<const ROWS: usize>(&self) -> Sums<ROWS> {
        let low_bytes = _mm256_set1_epi16(0xff);
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        if self.groups == 0 {
            return sums;
        }
        assert!(self.columns.len() >= (self.groups - 1) * self.step + LINE);
        // A closure of `from_fn` would be called, not inlined.
        let mut rows = [&self.pairs[..0]; ROWS];
        for (row, pairs) in rows.iter_mut().enumerate() {
            *pairs = &self.pairs[row * self.stride..][..self.groups];
        }
        let mut ahead = self.ahead;
        for group in 0..self.groups {
            prefetch(ahead);
            ahead = ahead.wrapping_add(self.ahead_step);
            // SAFETY: a line of the columns, in range by the assertion.
            let packed: [__m256i; 2] = unsafe {
                let line = self.columns.as_ptr().add(group * self.step);
                [_mm256_loadu_si256(line.cast()), _mm256_loadu_si256(line.add(LINE / 2).cast())]
            };
            let even = packed.map(|packed| _mm256_and_si256(packed, low_bytes));
            let odd = packed.map(|packed| _mm256_srli_epi16::<8>(packed));
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: each row has a pair for each group.
                let [first, second] = unsafe { *row.get_unchecked(group) };
                for (columns, factor) in [(even, first), (odd, second)] {
                    let factor = _mm256_set1_epi32(factor);
                    for (sum, columns) in sums.iter_mut().zip(columns) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(columns, factor));
                    }
                }
            }
        }
        sums
    }
}
