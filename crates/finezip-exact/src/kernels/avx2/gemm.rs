//! Rows times panels of weights.

use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::int8::{Int8Job, OFFSET, PANEL, tile_rows};
use super::super::prefetch::{STREAM_AHEAD, prefetch};
use super::super::scalar;
use super::tile::{LINE, Sums, TILE, Tile};

/// The largest key of each row so far, in eight lanes.
type Maxima = [[i32; PANEL / 2]];

/// All rows of the job times the channels of these panels; `pairs` are the job's rows
/// [`super::widened`], once for all tasks.
///
/// # Safety
/// The CPU must have AVX2 and F16C, and no other task may have these panels.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn gemm_int8(
    job: &Int8Job<'_>,
    pairs: &[[i32; 2]],
    panels: Range<usize>,
) {
    let mut maxima = job.maxima.map(|maxima| vec![[i32::MIN; PANEL / 2]; maxima.len()]);
    let (rows, groups) = (job.x.rows(), job.weights.groups());
    let tiles = rows.div_ceil(TILE);
    for panel in panels {
        let columns = job.weights.panel(panel);
        for (index, rows) in tile_rows(rows, TILE).enumerate() {
            // The tiles ask for the next panel in even parts. One tile alone waits for nothing but
            // memory and asks further ahead.
            let distance = match tiles {
                1 => STREAM_AHEAD,
                _ => columns.len() + index * columns.len() / tiles,
            };
            let tile = Tile {
                pairs: &pairs[rows.start * groups..],
                stride: groups,
                columns,
                step: LINE,
                groups,
                ahead: columns.as_ptr().wrapping_add(distance),
                ahead_step: LINE / tiles,
            };
            // What the tile writes.
            for row in rows.clone() {
                prefetch(job.out.address(row, panel * PANEL));
            }
            let maxima = maxima.as_deref_mut();
            // SAFETY: the panel is this task's.
            unsafe {
                match rows.len() {
                    1 => finish(job, rows.start, panel, tile.sums::<1>(), maxima),
                    2 => finish(job, rows.start, panel, tile.sums::<2>(), maxima),
                    3 => finish(job, rows.start, panel, tile.sums::<3>(), maxima),
                    _ => finish(job, rows.start, panel, tile.sums::<TILE>(), maxima),
                }
            }
        }
    }
    if let (Some(shared), Some(maxima)) = (job.maxima, maxima) {
        for (shared, lanes) in shared.iter().zip(maxima) {
            shared.fetch_max(lanes.into_iter().fold(i32::MIN, i32::max), Ordering::Relaxed);
        }
    }
}

/// Stores the outputs of rows from `first` on in a panel from their sums.
///
/// # Safety
/// No other task may have this panel.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn finish<const ROWS: usize>(
    job: &Int8Job<'_>,
    first: usize,
    panel: usize,
    sums: Sums<ROWS>,
    maxima: Option<&mut Maxima>,
) {
    let channels = job.weights.panel_channels(panel);
    if channels.len() < PANEL {
        for (row, sums) in (first..).zip(sums) {
            // SAFETY: the panel is this task's.
            unsafe { finish_part(job, row, panel, sums) };
        }
        return;
    }
    let channel_scales = &job.weights.scales()[channels.clone()];
    // SAFETY: sixteen scales.
    let channel_scales = unsafe {
        let start = channel_scales.as_ptr();
        [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(PANEL / 2))]
    };
    let row_sums = &job.x.sums()[first..first + ROWS];
    let row_scales = &job.x.scales()[first..first + ROWS];
    let mut maxima = maxima.map(|maxima| maxima[first..first + ROWS].iter_mut());
    for (index, sums) in sums.into_iter().enumerate() {
        let surplus = _mm256_set1_epi32(OFFSET.wrapping_mul(row_sums[index]));
        let scale = _mm256_set1_ps(row_scales[index]);
        // SAFETY: the panel is this task's, which takes one segment at a time.
        let out = unsafe { job.out.segment(first + index, channels.start, PANEL) };
        let mut products = [_mm256_setzero_ps(); 2];
        for (half, product) in products.iter_mut().enumerate() {
            let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[half], surplus));
            *product = _mm256_mul_ps(_mm256_mul_ps(sum, scale), channel_scales[half]);
            // SAFETY: sixteen outputs in two halves.
            unsafe {
                let out = out.as_mut_ptr().add(half * PANEL / 2);
                if job.add {
                    *product = _mm256_add_ps(_mm256_loadu_ps(out), *product);
                }
                _mm256_storeu_ps(out, *product);
            }
        }
        if let Some(lanes) = maxima.as_mut().and_then(Iterator::next) {
            let largest = _mm256_max_epi32(keys(products[0]), keys(products[1]));
            let lanes = lanes.as_mut_ptr().cast();
            // SAFETY: eight lanes.
            unsafe {
                _mm256_storeu_si256(lanes, _mm256_max_epi32(_mm256_loadu_si256(lanes), largest));
            }
        }
    }
}

/// Stores the outputs of a row in a panel that is in part filling.
///
/// # Safety
/// No other task may have this panel.
#[target_feature(enable = "avx2,f16c")]
#[inline(never)]
unsafe fn finish_part(job: &Int8Job<'_>, row: usize, panel: usize, sums: [__m256i; 2]) {
    let mut lanes = [0; PANEL];
    // SAFETY: sixteen lanes in two halves; the panel is this task's.
    unsafe {
        _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums[0]);
        _mm256_storeu_si256(lanes.as_mut_ptr().add(PANEL / 2).cast(), sums[1]);
        scalar::finish(job, row, panel, lanes);
    }
}

/// [`super::super::order::order_key`] of each lane.
#[target_feature(enable = "avx2")]
#[inline]
fn keys(values: __m256) -> __m256i {
    let bits = _mm256_castps_si256(values);
    _mm256_xor_si256(bits, _mm256_srli_epi32::<1>(_mm256_srai_epi32::<31>(bits)))
}
