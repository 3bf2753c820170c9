//! Sums of attention: query bytes over blocks of keys, weight bytes over blocks of values.

use std::arch::x86_64::*;

use super::super::int8::PANEL;
use super::gemm::sums;

/// Query bytes times blocks of keys; see [`super::super::attention`]. Asks for half as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn score_sums(
    queries: &[u8],
    keys: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    dots: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let block_bytes = PANEL * width;
    assert!(width.is_multiple_of(4) && queries.len() == rows * width);
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(if (rows - row) % 6 == 0 { 6 } else { 8 });
        let queries = &queries[row * width..][..count * width];
        let mut block = 0;
        let blocks = keys.len() / block_bytes;
        while block < blocks {
            let together = (blocks - block).min(if count > 6 { 3 } else { 4 });
            let keys = &keys[block * block_bytes..][..together * block_bytes];
            // One block is asked for in the time of four.
            let ahead = ahead.wrapping_add(block / 4 * block_bytes);
            let ahead = (ahead as usize).wrapping_sub(keys.as_ptr() as usize);
            let dots = &mut dots[row * stride + block * PANEL..];
            // SAFETY: the CPU has the instructions.
            unsafe {
                match together {
                    1 => score_tile::<1>(count, queries, keys, ahead, shape, dots),
                    2 => score_tile::<2>(count, queries, keys, ahead, shape, dots),
                    3 => score_tile::<3>(count, queries, keys, ahead, shape, dots),
                    _ => score_tile::<4>(count, queries, keys, ahead, shape, dots),
                }
            }
            block += together;
        }
        row += count;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn score_tile<const BLOCKS: usize>(
    rows: usize,
    queries: &[u8],
    keys: &[u8],
    ahead: usize,
    shape: [usize; 3],
    dots: &mut [i32],
) {
    let [_, width, stride] = shape;
    macro_rules! tile {
        ($rows:literal) => {{
            let blocks: [&[u8]; BLOCKS] =
                std::array::from_fn(|block| &keys[block * PANEL * width..][..PANEL * width]);
            // SAFETY: `queries` holds this many rows and each block `width / 4` steps.
            let sums = unsafe {
                sums::<$rows, BLOCKS, 1>(queries.as_ptr(), width, &blocks, width / 4, ahead)
            };
            for (row, sums) in sums.into_iter().enumerate() {
                let dots = dots[row * stride..][..BLOCKS * PANEL].chunks_exact_mut(PANEL);
                for (dots, sum) in dots.zip(sums) {
                    // SAFETY: the chunk has sixteen elements.
                    unsafe { _mm512_storeu_si512(dots.as_mut_ptr().cast(), sum) };
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

/// Weight bytes times blocks of values; see [`super::super::attention`]. Asks for half as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI.
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
    assert!(values.len() == quads * 4 * width && sums.len() == rows * width);
    assert!(rows == 0 || weights.len() >= (rows - 1) * stride + 4 * quads);
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(if (rows - row) % 6 == 0 { 6 } else { 8 });
        let mut column = 0;
        while column < width {
            let columns = (width - column).min(if count > 6 { 48 } else { 64 });
            let weights = &weights[row * stride..];
            let values = &values[4 * column..];
            let ahead = ahead.wrapping_add(2 * column);
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
                    for line in 0..PANELS / 2 {
                        let address = ahead.wrapping_add(quad * 2 * width + 64 * line);
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
