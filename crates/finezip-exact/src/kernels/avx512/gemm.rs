//! Tiles of up to 8 rows by 3 or 4 panels (48 or 64 channels), their sums in 24 registers.

use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::int8::{Int8Job, OFFSET, PANEL, panels_together, tile_rows};
use super::super::prefetch::STREAM_AHEAD;

/// Bytes of a panel for one group of four along the depth.
const STEP: usize = 64;

/// Up to so many rows, memory is the bound and panels are read one after the other.
pub(in super::super) const STREAMED_ROWS: usize = 3;

/// All rows of the job times the channels of these panels.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL and VNNI, and no other task may have these panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn gemm_int8(job: &Int8Job<'_>, panels: Range<usize>) {
    let mut maxima = job.maxima.map(|maxima| vec![[i32::MIN; PANEL]; maxima.len()]);
    let rows = job.x.rows();
    let together = panels_together(rows);
    let mut first = panels.start;
    while first < panels.end {
        if rows <= STREAMED_ROWS {
            // SAFETY: the CPU has the instructions and the panels are this task's.
            unsafe {
                match rows {
                    1 => streamed::<1>(job, first, &mut maxima.as_deref_mut()),
                    2 => streamed::<2>(job, first, &mut maxima.as_deref_mut()),
                    _ => streamed::<3>(job, first, &mut maxima.as_deref_mut()),
                }
            }
            first += 1;
            continue;
        }
        let count = together.min(panels.end - first);
        // SAFETY: the CPU has the instructions and the panels are this task's.
        unsafe {
            match count {
                1 => columns::<1>(job, first, maxima.as_deref_mut()),
                2 => columns::<2>(job, first, maxima.as_deref_mut()),
                3 => columns::<3>(job, first, maxima.as_deref_mut()),
                _ => columns::<4>(job, first, maxima.as_deref_mut()),
            }
        }
        first += count;
    }
    if let (Some(shared), Some(maxima)) = (job.maxima, maxima) {
        for (shared, lanes) in shared.iter().zip(maxima) {
            shared.fetch_max(lanes.into_iter().fold(i32::MIN, i32::max), Ordering::Relaxed);
        }
    }
}

/// All rows times `PANELS` panels from `first` on.
///
/// What the next call will read is asked for while this one computes, in even parts by all tiles,
/// or by the first ones where there are more tiles than panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn columns<const PANELS: usize>(
    job: &Int8Job<'_>,
    first: usize,
    mut maxima: Option<&mut [[i32; PANEL]]>,
) {
    let rows = job.x.rows();
    let panel_bytes = job.weights.panel(first).len();
    let next = job.weights.panel(first).as_ptr().wrapping_add(PANELS * panel_bytes);
    let asking = rows.div_ceil(8).min(PANELS);
    for (index, tile) in tile_rows(rows, 8).enumerate() {
        let asked = index.min(asking) * PANELS / asking;
        let ahead = (index + 1).min(asking) * PANELS / asking - asked;
        let next = next.wrapping_add(asked * panel_bytes);
        macro_rules! product {
            ($rows:literal) => {
                match ahead {
                    0 => tile_product::<$rows, PANELS, 0>(job, first, tile, next, &mut maxima),
                    1 => tile_product::<$rows, PANELS, 1>(job, first, tile, next, &mut maxima),
                    2 => tile_product::<$rows, PANELS, 2>(job, first, tile, next, &mut maxima),
                    _ => tile_product::<$rows, PANELS, PANELS>(job, first, tile, next, &mut maxima),
                }
            };
        }
        // SAFETY: as this function's.
        unsafe {
            match tile.len() {
                1 => product!(1),
                2 => product!(2),
                3 => product!(3),
                4 => product!(4),
                5 => product!(5),
                6 => product!(6),
                7 => product!(7),
                _ => product!(8),
            }
        }
    }
}

/// All rows times one panel: a single stream of memory, whose prefetchers then run far ahead. Four
/// sums a row take turns along the depth, so that none waits for itself.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn streamed<const ROWS: usize>(
    job: &Int8Job<'_>,
    panel: usize,
    maxima: &mut Option<&mut [[i32; PANEL]]>,
) {
    const TURNS: usize = 4;
    let weights = job.weights.panel(panel);
    let (groups, stride) = (job.weights.groups(), job.x.stride());
    let x = job.x.padded();
    assert!(x.len() == ROWS * stride && groups * 4 <= stride && weights.len() == groups * STEP);
    let mut sums: [[__m512i; TURNS]; ROWS] = std::array::from_fn(|row| {
        let mut turns = [_mm512_setzero_si512(); TURNS];
        turns[0] = surplus_taken_back(job.x.sums()[row]);
        turns
    });
    // SAFETY: groups are within the panel and the rows, as asserted; a prefetch of any address
    // is harmless.
    let mut step = |group: usize, turn: usize| unsafe {
        let weights = weights.as_ptr().wrapping_add(group * STEP);
        _mm_prefetch::<_MM_HINT_T1>(weights.wrapping_add(STREAM_AHEAD).cast());
        let columns = _mm512_loadu_si512(weights.cast());
        for (row, sums) in sums.iter_mut().enumerate() {
            let four = x.as_ptr().add(row * stride + group * 4).cast::<i32>().read_unaligned();
            sums[turn] = _mm512_dpbusd_epi32(sums[turn], columns, _mm512_set1_epi32(four));
        }
    };
    let whole = groups / TURNS * TURNS;
    for group in (0..whole).step_by(TURNS) {
        for turn in 0..TURNS {
            step(group + turn, turn);
        }
    }
    for group in whole..groups {
        step(group, 0);
    }
    for (row, [a, b, c, d]) in sums.into_iter().enumerate() {
        let sum = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
        // SAFETY: the panel is this task's.
        unsafe { finish(job, row, panel, [sum], maxima) };
    }
}

/// `ROWS` rows times `PANELS` panels from `first` on, asking for `AHEAD` panels from `next` on, a
/// line of each a step.
///
/// Sums are indexed by constants alone: whatever the compiler does not unroll or inline would move
/// them all through memory.
#[expect(clippy::needless_range_loop, reason = "iterators move the sums through memory")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile_product<const ROWS: usize, const PANELS: usize, const AHEAD: usize>(
    job: &Int8Job<'_>,
    first: usize,
    tile: Range<usize>,
    next: *const u8,
    maxima: &mut Option<&mut [[i32; PANEL]]>,
) {
    let stride = job.x.stride();
    let x = job.x.padded()[tile.start * stride..tile.end * stride].as_ptr();
    let groups = job.weights.groups();
    let panel_bytes = groups * STEP;
    let mut weights = [std::ptr::null(); PANELS];
    for (panel, weights) in weights.iter_mut().enumerate() {
        let bytes = job.weights.panel(first + panel);
        assert!(bytes.len() == panel_bytes);
        *weights = bytes.as_ptr();
    }
    assert!(tile.len() == ROWS && groups * 4 <= stride);
    // Sums begin at what the offset of 128 adds to them, taken back.
    let row_sums = &job.x.sums()[tile.clone()];
    let mut sums = [[_mm512_setzero_si512(); PANELS]; ROWS];
    for row in 0..ROWS {
        sums[row] = [surplus_taken_back(row_sums[row]); PANELS];
    }
    let mut columns = [_mm512_setzero_si512(); PANELS];
    for group in 0..groups {
        let at = group * STEP;
        // SAFETY: rows and panels are as long as asserted; a prefetch of any address is harmless.
        unsafe {
            for panel in 0..AHEAD {
                let address = next.wrapping_add(panel * panel_bytes + at);
                _mm_prefetch::<_MM_HINT_T1>(address.cast());
            }
            for panel in 0..PANELS {
                columns[panel] = _mm512_loadu_si512(weights[panel].add(at).cast());
            }
            for row in 0..ROWS {
                let four = x.add(row * stride + group * 4).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                for panel in 0..PANELS {
                    sums[row][panel] = _mm512_dpbusd_epi32(sums[row][panel], columns[panel], four);
                }
            }
        }
    }
    let channels = first * PANEL..(first + PANELS) * PANEL;
    if maxima.is_none() && channels.end <= job.weights.channels() {
        let channel_scales = &job.weights.scales()[channels.clone()];
        let row_scales = &job.x.scales()[tile.clone()];
        let mut scales = [_mm512_setzero_ps(); PANELS];
        for panel in 0..PANELS {
            // SAFETY: the slice holds the panels' scales.
            scales[panel] = unsafe { _mm512_loadu_ps(channel_scales.as_ptr().add(16 * panel)) };
        }
        for row in 0..ROWS {
            let scale = _mm512_set1_ps(row_scales[row]);
            // SAFETY: the panels are this task's, which takes one segment at a time and stays
            // within it.
            unsafe {
                let out = job.out.segment(tile.start + row, channels.start, channels.len());
                let out = out.as_mut_ptr();
                for panel in 0..PANELS {
                    let out = out.add(16 * panel);
                    let mut product = scaled(sums[row][panel], scale, scales[panel]);
                    if job.add {
                        product = _mm512_add_ps(_mm512_loadu_ps(out), product);
                    }
                    _mm512_storeu_ps(out, product);
                }
            }
        }
        return;
    }
    for row in 0..ROWS {
        // SAFETY: the panels are this task's.
        unsafe { finish(job, tile.start + row, first, sums[row], maxima) };
    }
}

/// What a row's sums begin at.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn surplus_taken_back(sum: i32) -> __m512i {
    _mm512_set1_epi32(OFFSET.wrapping_mul(sum).wrapping_neg())
}

/// A sum as the product it stands for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn scaled(sum: __m512i, scale: __m512, channel_scales: __m512) -> __m512 {
    _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), channel_scales)
}

/// Stores a row's outputs of some panels from their sums, where the last may be in part filling
/// and maxima may be asked for.
///
/// # Safety
/// No other task may have these panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline(never)]
unsafe fn finish<const PANELS: usize>(
    job: &Int8Job<'_>,
    row: usize,
    first: usize,
    sums: [__m512i; PANELS],
    maxima: &mut Option<&mut [[i32; PANEL]]>,
) {
    let scale = _mm512_set1_ps(job.x.scales()[row]);
    for (panel, sum) in (first..).zip(sums) {
        let channels = job.weights.panel_channels(panel);
        let mask = 0xffff_u16 >> (PANEL - channels.len());
        let scales = &job.weights.scales()[channels.clone()];
        // SAFETY: the panel is this task's, which takes one segment at a time; the masks end
        // loads and stores where the slices end.
        unsafe {
            let out = job.out.segment(row, channels.start, channels.len());
            let channel_scales = _mm512_maskz_loadu_ps(mask, scales.as_ptr());
            let mut product = scaled(sum, scale, channel_scales);
            if job.add {
                product = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out.as_ptr()), product);
            }
            _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, product);
            if let Some(maxima) = maxima {
                let bits = _mm512_castps_si512(product);
                let flip = _mm512_srli_epi32::<1>(_mm512_srai_epi32::<31>(bits));
                let keys = _mm512_xor_si512(bits, flip);
                let lanes = maxima[row].as_mut_ptr().cast();
                let largest = _mm512_mask_max_epi32(
                    _mm512_loadu_si512(lanes),
                    mask,
                    _mm512_loadu_si512(lanes),
                    keys,
                );
                _mm512_storeu_si512(lanes, largest);
            }
        }
    }
}
