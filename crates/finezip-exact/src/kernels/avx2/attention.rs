//! Sums of attention: query bytes over blocks of keys, weight bytes over blocks of values.

use std::arch::x86_64::*;

use super::super::int8::{PANEL, tile_rows};
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
    let parts = rows.div_ceil(TILE) * (width / PANEL);
    let mut part = 0;
    for column in (0..width).step_by(PANEL) {
        for rows in tile_rows(rows, TILE) {
            let tile = Tile {
                pairs: &pairs[rows.start * quads..],
                stride: quads,
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
