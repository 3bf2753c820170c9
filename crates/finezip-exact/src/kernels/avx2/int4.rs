//! 4-bit blocks: nibbles are unpacked once for a tile of rows and multiplied as 16-bit pairs.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::int4::{BLOCK, Int4Job, RECORD};
use super::super::int8::PANEL;
use super::{TILE, widen};

/// All rows of the job times the channels of these panels.
///
/// # Safety
/// The CPU must have AVX2 and F16C, and no other task may have these panels.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn gemm_int4(job: &Int4Job<'_>, panels: Range<usize>) {
    let (rows, groups) = (job.x.rows(), job.x.depth() / 4);
    let mut pairs = Vec::with_capacity(rows * groups);
    for row in 0..rows {
        widen(job.x.values(row), &mut pairs);
    }
    for panel in panels {
        for first in (0..rows).step_by(TILE) {
            let pairs = &pairs[first * groups..];
            // SAFETY: the CPU has the instructions and the panel is this task's.
            unsafe {
                match rows - first {
                    1 => tile_product::<1>(job, panel, first, pairs),
                    2 => tile_product::<2>(job, panel, first, pairs),
                    3 => tile_product::<3>(job, panel, first, pairs),
                    _ => tile_product::<4>(job, panel, first, pairs),
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,f16c")]
unsafe fn tile_product<const ROWS: usize>(
    job: &Int4Job<'_>,
    panel: usize,
    first: usize,
    pairs: &[[i32; 2]],
) {
    let groups = job.x.depth() / 4;
    let factors: [&[[f32; 2]]; ROWS] = std::array::from_fn(|row| job.x.factors(first + row));
    let low_half = _mm256_set1_epi8(15);
    let low_bytes = _mm256_set1_epi16(0xff);
    let mut products = [[_mm256_setzero_ps(); ROWS]; 2];
    for (block, record) in job.weights.panel(panel).chunks_exact(RECORD).enumerate() {
        for (half, products) in products.iter_mut().enumerate() {
            let mut dots = [_mm256_setzero_si256(); ROWS];
            let lines = record[4 * PANEL..].chunks_exact(4 * PANEL);
            for (j, line) in lines.enumerate() {
                // SAFETY: a line has 64 bytes.
                let packed = unsafe { _mm256_loadu_si256(line.as_ptr().add(32 * half).cast()) };
                let low = _mm256_and_si256(packed, low_half);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low_half);
                for (values, group) in [(low, j), (high, j + 4)] {
                    let even = _mm256_and_si256(values, low_bytes);
                    let odd = _mm256_srli_epi16::<8>(values);
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let [pair, other] = pairs[row * groups + block * BLOCK / 4 + group];
                        let sum = _mm256_add_epi32(
                            _mm256_madd_epi16(even, _mm256_set1_epi32(pair)),
                            _mm256_madd_epi16(odd, _mm256_set1_epi32(other)),
                        );
                        *dot = _mm256_add_epi32(*dot, sum);
                    }
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
