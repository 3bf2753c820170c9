//! 4-bit blocks: nibbles are unpacked once for a tile of rows and multiplied as bytes.
//!
//! `vpmaddubsw` cuts sums of two products at 16 bits, but none gets that far: a value is at most 15
//! and an activation's byte at least -128 (rounding gives -127 to 127), so that a sum of two
//! products is within 2 * 15 * 128 = 3840, and the sixteen products of a block that meet in a lane
//! of 16 bits are within 30,720, below 32,767. So a block is summed in 16 bits before two lanes are
//! added in 32: the same integer as in any other order.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::int4::{BLOCK, Int4Job, RECORD};
use super::super::int8::PANEL;
use super::super::prefetch::{STREAM_AHEAD, prefetch};
use super::tile::{LINE, TILE};

/// All rows of the job times the channels of these panels.
///
/// # Safety
/// The CPU must have AVX2 and F16C, and no other task may have these panels.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn gemm_int4(job: &Int4Job<'_>, panels: Range<usize>) {
    let rows = job.x.rows();
    for panel in panels {
        for first in (0..rows).step_by(TILE) {
            // SAFETY: the CPU has the instructions and the panel is this task's.
            unsafe {
                match rows - first {
                    1 => tile_product::<1>(job, panel, first),
                    2 => tile_product::<2>(job, panel, first),
                    3 => tile_product::<3>(job, panel, first),
                    _ => tile_product::<4>(job, panel, first),
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,f16c")]
unsafe fn tile_product<const ROWS: usize>(job: &Int4Job<'_>, panel: usize, first: usize) {
    let values: [&[u8]; ROWS] = std::array::from_fn(|row| job.x.values(first + row));
    let factors: [&[[f32; 2]]; ROWS] = std::array::from_fn(|row| job.x.factors(first + row));
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut products = [[_mm256_setzero_ps(); ROWS]; 2];
    for (block, record) in job.weights.panel(panel).chunks_exact(RECORD).enumerate() {
        if first == 0 {
            for line in 0..RECORD / LINE {
                prefetch(record.as_ptr().wrapping_add(STREAM_AHEAD + LINE * line));
            }
        }
        let fours = values.map(|values| values[block * BLOCK..][..BLOCK].as_ptr().cast::<i32>());
        for (half, products) in products.iter_mut().enumerate() {
            // Sums of 16 bits, two a channel.
            let mut dots = [_mm256_setzero_si256(); ROWS];
            let lines = record[4 * PANEL..].chunks_exact(4 * PANEL);
            for (j, line) in lines.enumerate() {
                // SAFETY: a line has 64 bytes.
                let packed = unsafe { _mm256_loadu_si256(line.as_ptr().add(32 * half).cast()) };
                let low = _mm256_and_si256(packed, low_half);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low_half);
                for (dot, fours) in dots.iter_mut().zip(fours) {
                    // SAFETY: groups 0 to 7 of the block's 32 bytes: a record has four lines.
                    let (low_four, high_four) = unsafe {
                        (fours.add(j).read_unaligned(), fours.add(j + 4).read_unaligned())
                    };
                    let low_sums = _mm256_maddubs_epi16(low, _mm256_set1_epi32(low_four));
                    let high_sums = _mm256_maddubs_epi16(high, _mm256_set1_epi32(high_four));
                    *dot = _mm256_add_epi16(*dot, _mm256_add_epi16(low_sums, high_sums));
                }
            }
            // SAFETY: eight factors of each kind for this half of the panel.
            let (d, m) = unsafe {
                let d = record.as_ptr().add(PANEL * half);
                (
                    _mm256_cvtph_ps(_mm_loadu_si128(d.cast())),
                    _mm256_cvtph_ps(_mm_loadu_si128(d.add(2 * PANEL).cast())),
                )
            };
            for (row, dot) in dots.into_iter().enumerate() {
                let dot = _mm256_madd_epi16(dot, ones);
                let [scale, sum] = factors[row][block];
                let scaled = _mm256_mul_ps(d, _mm256_cvtepi32_ps(dot));
                let shifted = _mm256_mul_ps(m, _mm256_set1_ps(sum));
                let part = _mm256_mul_ps(_mm256_add_ps(scaled, shifted), _mm256_set1_ps(scale));
                products[row] = _mm256_add_ps(products[row], part);
            }
        }
    }
    let [low, high] = products;
    for (row, (low, high)) in low.into_iter().zip(high).enumerate() {
        let mut lanes = [0.0; PANEL];
        // SAFETY: sixteen lanes; the panel is this task's.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), low);
            _mm256_storeu_ps(lanes.as_mut_ptr().add(PANEL / 2), high);
            job.store(first + row, panel, &lanes);
        }
    }
}
