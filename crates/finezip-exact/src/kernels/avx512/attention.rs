//! Sums of attention: query bytes over blocks of keys, weight bytes over blocks of values.

use std::arch::x86_64::*;

use super::super::int8::PANEL;
use super::gemm::scaled;

/// Query rows and what they meet.
struct Scores<'a> {
    /// `[rows][head_width]`
    queries: &'a [u8],
    /// Blocks of 16 keys.
    keys: &'a [u8],
    /// Where half as many bytes are asked for; only an address.
    ahead: *const u8,
    /// Rows, head width and the distance from row to row of the result.
    shape: [usize; 3],
}

/// What becomes of the sums of a tile.
enum Finish<'a> {
    /// They are stored.
    Store(&'a mut [i32]),
    /// They become scores.
    Scale(Scale<'a>),
}

/// What makes scores of sums; see [`super::super::attention`], step 2.
struct Scale<'a> {
    /// `scale_q` and the surplus of each row.
    rows: (&'a [f32], &'a [i32]),
    key_scales: &'a [f32],
    scores: &'a mut [f32],
}

/// Query bytes times blocks of keys; see [`super::super::attention`]. Asks for half as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn score_sums(
    queries: &[u8],
    keys: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    dots: &mut [i32],
) {
    // SAFETY: the CPU has the instructions.
    unsafe { tiles(&Scores { queries, keys, ahead, shape }, &mut Finish::Store(dots)) };
}

/// Scores of query bytes and blocks of keys, `rows` being the scale and the surplus of each query;
/// otherwise as [`score_sums`].
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn scores(
    queries: &[u8],
    rows: (&[f32], &[i32]),
    keys: &[u8],
    key_scales: &[f32],
    ahead: *const u8,
    shape: [usize; 3],
    scores: &mut [f32],
) {
    let job = Scores { queries, keys, ahead, shape };
    // SAFETY: the CPU has the instructions.
    unsafe { tiles(&job, &mut Finish::Scale(Scale { rows, key_scales, scores })) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tiles(job: &Scores<'_>, to: &mut Finish<'_>) {
    let [rows, width, _] = job.shape;
    let block_bytes = PANEL * width;
    assert!(width.is_multiple_of(16) && job.queries.len() == rows * width);
    let blocks = job.keys.len() / block_bytes;
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(if (rows - row) % 6 == 0 { 6 } else { 8 });
        for block in 0..blocks {
            let at = (row, block);
            // SAFETY: the CPU has the instructions.
            unsafe {
                match count {
                    1 => tile::<1, 4>(job, at, to),
                    2 => tile::<2, 4>(job, at, to),
                    3 => tile::<3, 4>(job, at, to),
                    4 => tile::<4, 4>(job, at, to),
                    5 => tile::<5, 4>(job, at, to),
                    6 => tile::<6, 4>(job, at, to),
                    7 => tile::<7, 2>(job, at, to),
                    _ => tile::<8, 2>(job, at, to),
                }
            }
        }
        row += count;
    }
}

/// Rows times one block of keys: a single stream of memory, which the machine's own prefetchers
/// follow. `TURNS` sums a row take turns along the width, so that none waits for itself.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn tile<const ROWS: usize, const TURNS: usize>(
    job: &Scores<'_>,
    (row, block): (usize, usize),
    to: &mut Finish<'_>,
) {
    let [_, width, stride] = job.shape;
    let block_bytes = PANEL * width;
    let queries = job.queries[row * width..][..ROWS * width].as_ptr();
    let keys = job.keys[block * block_bytes..][..block_bytes].as_ptr();
    // A line is asked for in the time of two.
    let ahead = job.ahead.wrapping_add(block * block_bytes / 2);
    let mut sums = [[_mm512_setzero_si512(); TURNS]; ROWS];
    for first in (0..width / 4).step_by(TURNS) {
        for turn in 0..TURNS {
            let step = first + turn;
            // SAFETY: there are `width / 4` steps, a multiple of `TURNS`, in the block and in
            // each row; a prefetch of any address is harmless.
            unsafe {
                if turn % 2 == 0 {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(32 * step).cast());
                }
                let columns = _mm512_loadu_si512(keys.add(4 * PANEL * step).cast());
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = queries.add(row * width + 4 * step).cast::<i32>();
                    let four = _mm512_set1_epi32(four.read_unaligned());
                    sums[turn] = _mm512_dpbusd_epi32(sums[turn], columns, four);
                }
            }
        }
    }
    let columns = block * PANEL..(block + 1) * PANEL;
    for (row, turns) in (row..).zip(sums) {
        let mut sum = turns[0];
        for &turn in &turns[1..] {
            sum = _mm512_add_epi32(sum, turn);
        }
        // SAFETY: the slices have sixteen elements.
        unsafe {
            match to {
                Finish::Store(dots) => {
                    let dots = &mut dots[row * stride..][columns.clone()];
                    _mm512_storeu_si512(dots.as_mut_ptr().cast(), sum);
                }
                Finish::Scale(Scale { rows, key_scales, scores }) => {
                    let key_scales = _mm512_loadu_ps(key_scales[columns.clone()].as_ptr());
                    let sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(rows.1[row]));
                    let score = scaled(sum, _mm512_set1_ps(rows.0[row]), key_scales);
                    let scores = &mut scores[row * stride..][columns.clone()];
                    _mm512_storeu_ps(scores.as_mut_ptr(), score);
                }
            }
        }
    }
}

/// Weight bytes times blocks of values; see [`super::super::attention`]. Asks for as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn value_sums(
    weights: &[u8],
    values: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let quads = values.len() / (4 * width);
    assert!(width.is_multiple_of(PANEL) && values.len() == quads * 4 * width);
    assert!(sums.len() == rows * width);
    assert!(rows == 0 || weights.len() >= (rows - 1) * stride + 4 * quads);
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(if (rows - row) % 6 == 0 { 6 } else { 8 });
        let mut column = 0;
        while column < width {
            let columns = (width - column).min(if count > 6 { 48 } else { 64 });
            let weights = &weights[row * stride..];
            let values = &values[4 * column..];
            let ahead = ahead.wrapping_add(4 * column);
            let sums = &mut sums[row * width + column..];
            // SAFETY: the CPU has the instructions; the tile is within what was asserted.
            unsafe {
                match columns / 16 {
                    1 => value_tile::<1>(count, weights, values, ahead, quads, shape, sums),
                    2 => value_tile::<2>(count, weights, values, ahead, quads, shape, sums),
                    3 => value_tile::<3>(count, weights, values, ahead, quads, shape, sums),
                    _ => value_tile::<4>(count, weights, values, ahead, quads, shape, sums),
                }
            }
            column += columns;
        }
        row += count;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn value_tile<const PANELS: usize>(
    rows: usize,
    weights: &[u8],
    values: &[u8],
    ahead: *const u8,
    quads: usize,
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let [_, width, stride] = shape;
    macro_rules! tile {
        ($rows:literal) => {{
            let mut tile = [[_mm512_setzero_si512(); PANELS]; $rows];
            for quad in 0..quads {
                // SAFETY: the caller asserted that all rows, quads and columns are there.
                unsafe {
                    let values = values.as_ptr().add(quad * 4 * width);
                    for line in 0..PANELS {
                        let address = ahead.wrapping_add(quad * 4 * width + 64 * line);
                        _mm_prefetch::<_MM_HINT_T1>(address.cast());
                    }
                    let columns: [__m512i; PANELS] = std::array::from_fn(|panel| {
                        _mm512_loadu_si512(values.add(64 * panel).cast())
                    });
                    for (row, sums) in tile.iter_mut().enumerate() {
                        let four = weights.as_ptr().add(row * stride + 4 * quad).cast::<i32>();
                        let four = _mm512_set1_epi32(four.read_unaligned());
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_dpbusd_epi32(*sum, columns, four);
                        }
                    }
                }
            }
            for (row, tile) in tile.into_iter().enumerate() {
                let sums = sums[row * width..][..PANELS * PANEL].chunks_exact_mut(PANEL);
                for (sums, tile) in sums.zip(tile) {
                    // SAFETY: the chunk has sixteen elements.
                    unsafe {
                        let sum = _mm512_loadu_si512(sums.as_ptr().cast());
                        let sum = _mm512_add_epi32(sum, tile);
                        _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum);
                    }
                }
            }
        }};
    }
    match rows {
        1 => tile!(1),
        2 => tile!(2),
        3 => tile!(3),
        4 => tile!(4),
        5 => tile!(5),
        6 => tile!(6),
        7 => tile!(7),
        _ => tile!(8),
    }
}
