//! Sums of attention: query bytes over blocks of keys, weight bytes over blocks of values.

use std::arch::x86_64::*;

use super::super::int8::{PANEL, tile_rows};
use super::super::prefetch::Lines;
use super::tile::{LINE, Sums, TILE, Tile};
use super::widen;

/// Query bytes times blocks of keys; see [`super::super::attention`]. Asks for half as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn score_sums(
    queries: &[u8],
    keys: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    dots: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let groups = width / 4;
    let mut pairs = Vec::with_capacity(rows * groups);
    widen(&queries[..rows * width], &mut pairs);
    let tiles = rows.div_ceil(TILE);
    for (block, columns) in keys.chunks_exact(PANEL * width).enumerate() {
        for (index, rows) in tile_rows(rows, TILE).enumerate() {
            let part = block * tiles + index;
            let tile = Tile {
                pairs: &pairs[rows.start * groups..],
                stride: groups,
                columns,
                step: LINE,
                groups,
                ahead: ahead.wrapping_add(part * columns.len() / (2 * tiles)),
                ahead_step: LINE / (2 * tiles),
            };
            let dots = &mut dots[rows.start * stride + block * PANEL..];
            match rows.len() {
                1 => store(tile.sums::<1>(), stride, dots),
                2 => store(tile.sums::<2>(), stride, dots),
                3 => store(tile.sums::<3>(), stride, dots),
                _ => store(tile.sums::<TILE>(), stride, dots),
            }
        }
    }
}

/// Weight bytes times blocks of values; see [`super::super::attention`]. Asks for as many bytes at
/// `ahead`, which is only an address.
///
/// # Safety
/// The CPU must have AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn value_sums(
    weights: &[u8],
    values: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let quads = values.len() / (4 * width);
    let mut pairs = Vec::with_capacity(rows * quads);
    for row in 0..rows {
        widen(&weights[row * stride..][..4 * quads], &mut pairs);
    }
    // SAFETY: the CPU has what this function asks for.
    unsafe { whole_value_sums(&pairs, values, ahead, [rows, width, quads], sums) };
}

/// Weights as pairs of 16 bits, in the order of [`widen`], times blocks of values: half the products
/// of their bytes. `shape` is rows, head width, and pairs from row to row. Asks for as many bytes at
/// `ahead` as there are values.
///
/// # Safety
/// The CPU must have AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn whole_value_sums(
    pairs: &[[i32; 2]],
    values: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let quads = values.len() / (4 * width);
    let parts = rows.div_ceil(TILE) * (width / PANEL);
    let mut part = 0;
    for column in (0..width).step_by(PANEL) {
        for rows in tile_rows(rows, TILE) {
            let tile = Tile {
                pairs: &pairs[rows.start * stride..],
                stride,
                columns: &values[4 * column..],
                step: 4 * width,
                groups: quads,
                ahead: ahead.wrapping_add(part * values.len() / parts),
                ahead_step: 4 * width / parts,
            };
            part += 1;
            let sums = &mut sums[rows.start * width + column..];
            match rows.len() {
                1 => add(tile.sums::<1>(), width, sums),
                2 => add(tile.sums::<2>(), width, sums),
                3 => add(tile.sums::<3>(), width, sums),
                _ => add(tile.sums::<TILE>(), width, sums),
            }
        }
    }
}

/// Cuts weights of whole blocks to integers, `round(u * inverse)` of at most 15 bits, and writes
/// them in the order of [`widen`]; gives their sum and that of the magnitudes of their low bytes.
///
/// # Safety
/// The CPU must have AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) unsafe fn whole_weights(
    weights: &[f32],
    inverse: f32,
    mut ahead: Lines,
    pairs: &mut [[i32; 2]],
) -> [i64; 2] {
    let inverse = _mm256_set1_ps(inverse);
    // Of each four: 0, 2, 1, 3.
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
    ));
    let mut totals = _mm256_setzero_si256();
    let mut lows = _mm256_setzero_si256();
    let blocks = weights.as_chunks::<PANEL>().0.iter().zip(pairs.as_chunks_mut::<4>().0);
    for (weights, pairs) in blocks {
        ahead.ask();
        ahead.ask();
        // SAFETY: sixteen weights in two halves.
        let [first, last] = [0, PANEL / 2].map(|half| unsafe {
            let weights = _mm256_loadu_ps(weights.as_ptr().add(half));
            _mm256_cvtps_epi32(_mm256_mul_ps(weights, inverse))
        });
        totals = _mm256_add_epi32(totals, _mm256_add_epi32(first, last));
        // Quads 0 and 2, and quads 1 and 3.
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(first, last));
        // SAFETY: four pairs of 32-bit numbers are a vector.
        unsafe {
            let ordered = _mm256_shuffle_epi8(packed, order);
            _mm256_storeu_si256(pairs.as_mut_ptr().cast(), ordered);
        }
        let low = _mm256_abs_epi16(_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(packed)));
        lows = _mm256_add_epi32(lows, _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
    }
    [totals, lows].map(|sums| {
        let mut lanes = [0i32; 8];
        // SAFETY: eight numbers.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
        lanes.into_iter().map(i64::from).sum()
    })
}

/// Stores sixteen sums a row; rows are `stride` apart.
#[target_feature(enable = "avx2")]
#[inline]
fn store<const ROWS: usize>(tile: Sums<ROWS>, stride: usize, to: &mut [i32]) {
    for (row, [low, high]) in tile.into_iter().enumerate() {
        let to = &mut to[row * stride..][..PANEL];
        // SAFETY: sixteen values in two halves.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(to.as_mut_ptr().add(PANEL / 2).cast(), high);
        }
    }
}

/// Adds sixteen sums a row to what is there; rows are `stride` apart.
#[target_feature(enable = "avx2")]
#[inline]
fn add<const ROWS: usize>(tile: Sums<ROWS>, stride: usize, to: &mut [i32]) {
    for (row, halves) in tile.into_iter().enumerate() {
        let to = &mut to[row * stride..][..PANEL];
        for (to, half) in to.chunks_exact_mut(PANEL / 2).zip(halves) {
            let to = to.as_mut_ptr().cast();
            // SAFETY: eight values.
            unsafe { _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), half)) };
        }
    }
}
