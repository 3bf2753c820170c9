//! 4-bit blocks: nibbles are unpacked once for a tile of rows and multiplied by `vpdpbusd`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::int4::{BLOCK, Int4Job, RECORD};
use super::super::int8::{PANEL, tile_rows};
use super::super::prefetch::STREAM_AHEAD;

/// All rows of the job times the channels of these panels.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL and VNNI, and no other task may have these panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn gemm_int4(job: &Int4Job<'_>, panels: Range<usize>) {
    for panel in panels {
        for tile in tile_rows(job.x.rows(), 8) {
            let first = tile.start;
            // SAFETY: the CPU has the instructions and the panel is this task's.
            unsafe {
                match tile.len() {
                    1 => tile_product::<1>(job, panel, first),
                    2 => tile_product::<2>(job, panel, first),
                    3 => tile_product::<3>(job, panel, first),
                    4 => tile_product::<4>(job, panel, first),
                    5 => tile_product::<5>(job, panel, first),
                    6 => tile_product::<6>(job, panel, first),
                    7 => tile_product::<7>(job, panel, first),
                    _ => tile_product::<8>(job, panel, first),
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile_product<const ROWS: usize>(job: &Int4Job<'_>, panel: usize, first: usize) {
    let values: [&[u8]; ROWS] = std::array::from_fn(|row| job.x.values(first + row));
    let factors: [&[[f32; 2]]; ROWS] = std::array::from_fn(|row| job.x.factors(first + row));
    let low_half = _mm512_set1_epi8(15);
    let mut products = [_mm512_setzero_ps(); ROWS];
    for (block, record) in job.weights.panel(panel).chunks_exact(RECORD).enumerate() {
        let start = record.as_ptr();
        // SAFETY: a record has 320 bytes: two factors of 32 bytes and four lines of 64; a
        // prefetch of any address is harmless.
        let (d, m, lines): (_, _, [__m512i; 4]) = unsafe {
            for line in 0..RECORD / 64 {
                let ahead = start.wrapping_add(STREAM_AHEAD + 64 * line);
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
            }
            (
                _mm512_cvtph_ps(_mm256_loadu_si256(start.cast())),
                _mm512_cvtph_ps(_mm256_loadu_si256(start.add(2 * PANEL).cast())),
                std::array::from_fn(|j| _mm512_loadu_si512(start.add((j + 1) * 4 * PANEL).cast())),
            )
        };
        let low = lines.map(|line| _mm512_and_si512(line, low_half));
        let high = lines.map(|line| _mm512_and_si512(_mm512_srli_epi16::<4>(line), low_half));
        for row in 0..ROWS {
            let x = &values[row][block * BLOCK..][..BLOCK];
            let [scale, sum] = factors[row][block];
            let (mut low_dot, mut high_dot) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for j in 0..4 {
                // SAFETY: groups 0 to 7 of the block's 32 bytes.
                let (first, second) = unsafe {
                    let fours = x.as_ptr().cast::<i32>();
                    (fours.add(j).read_unaligned(), fours.add(j + 4).read_unaligned())
                };
                low_dot = _mm512_dpbusd_epi32(low_dot, low[j], _mm512_set1_epi32(first));
                high_dot = _mm512_dpbusd_epi32(high_dot, high[j], _mm512_set1_epi32(second));
            }
            let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(low_dot, high_dot));
            let scaled = _mm512_mul_ps(d, dot);
            let shifted = _mm512_mul_ps(m, _mm512_set1_ps(sum));
            let part = _mm512_mul_ps(_mm512_add_ps(scaled, shifted), _mm512_set1_ps(scale));
            products[row] = _mm512_add_ps(products[row], part);
        }
    }
    for (row, product) in products.into_iter().enumerate() {
        let mut lanes = [0.0; PANEL];
        // SAFETY: sixteen lanes; the panel is this task's.
        unsafe {
            _mm512_storeu_ps(lanes.as_mut_ptr(), product);
            job.store(first + row, panel, &lanes);
        }
    }
}
