//! Tiles of up to 8 rows by 3 or 4 panels (48 or 64 channels), their sums in 24 registers.

use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::int8::{Int8Job, OFFSET, PANEL, panels_together, tile_rows};

/// Bytes of a panel for one group of four along the depth.
const STEP: usize = 64;

/// Up to so many rows, memory is the bound and panels are read one after the other.
const STREAMED_ROWS: usize = 3;

/// How far ahead a stream of panels asks for memory, in bytes.
const STREAM_AHEAD: usize = 4096;

/// All rows of the job times the channels of these panels.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI, and no other task may have these panels.
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn columns<const PANELS: usize>(
    job: &Int8Job<'_>,
    first: usize,
    mut maxima: Option<&mut [[i32; PANEL]]>,
) {
    let weights: [&[u8]; PANELS] = std::array::from_fn(|p| job.weights.panel(first + p));
    let rows = job.x.rows();
    let tiles = tile_rows(rows);
    let tile_count = rows.div_ceil(8);
    // What the next call will read is asked for while this one computes.
    let ahead = PANELS * weights[0].len();
    for (index, tile) in tiles.enumerate() {
        let lines = match (index, tile_count >= PANELS) {
            (_, true) if index < PANELS => Ahead::One(index),
            (0, false) => Ahead::All,
            _ => Ahead::None,
        };
        // SAFETY: as this function's.
        unsafe {
            match tile.len() {
                1 => {
                    tile_product::<1, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                2 => {
                    tile_product::<2, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                3 => {
                    tile_product::<3, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                4 => {
                    tile_product::<4, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                5 => {
                    tile_product::<5, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                6 => {
                    tile_product::<6, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                7 => {
                    tile_product::<7, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
                _ => {
                    tile_product::<8, PANELS>(job, first, &weights, tile, lines, ahead, &mut maxima)
                }
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
        let columns = _mm512_load_si512(weights.cast());
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

/// Which of the next panels a tile asks for, a line a step.
#[derive(Clone, Copy)]
enum Ahead {
    None,
    One(usize),
    All,
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn tile_product<const ROWS: usize, const PANELS: usize>(
    job: &Int8Job<'_>,
    first: usize,
    weights: &[&[u8]; PANELS],
    tile: Range<usize>,
    lines: Ahead,
    ahead: usize,
    maxima: &mut Option<&mut [[i32; PANEL]]>,
) {
    let stride = job.x.stride();
    let x = job.x.padded()[tile.start * stride..tile.end * stride].as_ptr();
    let groups = job.weights.groups();
    assert!(tile.len() == ROWS && groups * 4 <= stride && weights[0].len() == groups * STEP);
    // Sums begin at what the offset of 128 adds to them, taken back.
    let start: [__m512i; ROWS] =
        std::array::from_fn(|row| surplus_taken_back(job.x.sums()[tile.start + row]));
    // SAFETY: rows and panels are as long as asserted.
    let sums = unsafe {
        match lines {
            Ahead::None => sums::<ROWS, PANELS, 0>(x, stride, weights, groups, ahead, start),
            Ahead::One(panel) => {
                let ahead = ahead + panel * weights[0].len();
                sums::<ROWS, PANELS, 1>(x, stride, weights, groups, ahead, start)
            }
            Ahead::All => sums::<ROWS, PANELS, PANELS>(x, stride, weights, groups, ahead, start),
        }
    };
    let channels = first * PANEL..(first + PANELS) * PANEL;
    if maxima.is_none() && channels.end <= job.weights.channels() {
        let scales = &job.weights.scales()[channels.clone()];
        // SAFETY: the slice holds the panels' scales.
        let scales: [__m512; PANELS] = std::array::from_fn(|panel| unsafe {
            _mm512_loadu_ps(scales.as_ptr().add(16 * panel))
        });
        for (row, sums) in tile.zip(sums) {
            // SAFETY: the panels are this task's, which takes one segment at a time and stays
            // within it.
            unsafe {
                let out = job.out.segment(row, channels.start, channels.len()).as_mut_ptr();
                let scale = _mm512_set1_ps(job.x.scales()[row]);
                for (panel, sum) in sums.into_iter().enumerate() {
                    let out = out.add(16 * panel);
                    let mut product = scaled(sum, scale, scales[panel]);
                    if job.add {
                        product = _mm512_add_ps(_mm512_loadu_ps(out), product);
                    }
                    _mm512_storeu_ps(out, product);
                }
            }
        }
        return;
    }
    for (row, sums) in tile.zip(sums) {
        // SAFETY: the panels are this task's.
        unsafe { finish(job, row, first, sums, maxima) };
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

/// Sums, from `start` on, of `ROWS` rows of signed bytes at `x` with the columns of `PANELS` panels,
/// asking for `AHEAD` lines a step, `ahead` bytes past the first panels.
///
/// # Safety
/// `x` must point to `ROWS` rows, `stride` bytes apart, of `4 * groups` bytes; panels must have
/// `groups` steps.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) unsafe fn sums<const ROWS: usize, const PANELS: usize, const AHEAD: usize>(
    x: *const u8,
    stride: usize,
    weights: &[&[u8]; PANELS],
    groups: usize,
    ahead: usize,
    start: [__m512i; ROWS],
) -> [[__m512i; PANELS]; ROWS] {
    let mut sums = start.map(|start| [start; PANELS]);
    let weights: [*const u8; PANELS] = std::array::from_fn(|panel| weights[panel].as_ptr());
    for group in 0..groups {
        // SAFETY: in range by the caller's promise; a prefetch of any address is harmless.
        unsafe {
            for weights in weights.iter().take(AHEAD) {
                let address = weights.wrapping_add(ahead.wrapping_add(group * STEP));
                _mm_prefetch::<_MM_HINT_T1>(address.cast());
            }
            let columns: [__m512i; PANELS] = std::array::from_fn(|panel| {
                _mm512_load_si512(weights[panel].add(group * STEP).cast())
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = x.add(row * stride + group * 4).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, columns, four);
                }
            }
        }
    }
    sums
}
