//! AVX2: products of 16-bit pairs (`vpmaddwd`), which cannot saturate.
//!
//! AVX2's own multiply-add of bytes (`vpmaddubsw`) cuts sums of two products at 16 bits, so that
//! with bytes up to 255 its result would depend on the values. Here the even and the odd bytes of
//! 32 packed bytes are widened to 16 bits, and each is multiplied with a pair of activations,
//! widened beforehand: one instruction gives eight columns' sums of two products in 32 bits. Values
//! of 4 bits are too small to be cut, so `int4` does multiply bytes.

mod hadamard;
mod int4;

use std::arch::x86_64::*;
use std::ops::Range;

pub(super) use self::hadamard::hadamard_64;
pub(super) use self::int4::gemm_int4;
use super::int8::{Int8Job, PANEL};
use super::quantize::QuantizedRows;
use super::scalar;

/// Rows a tile: with two vectors of sums each, they and the factors fit sixteen registers.
const TILE: usize = 4;

/// Bytes that are widened at a time.
const WIDE: usize = 32;

/// Four signed bytes as two pairs of 16 bits: bytes 0 and 2, bytes 1 and 3.
#[target_feature(enable = "avx2")]
fn widen(bytes: &[u8], pairs: &mut Vec<[i32; 2]>) {
    let (blocks, rest) = bytes.as_chunks::<WIDE>();
    for block in blocks {
        // SAFETY: a block has 32 bytes.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
        let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
        let odd = _mm256_srai_epi16::<8>(bytes);
        // Each holds two groups of either half of the block.
        let first_two = _mm256_unpacklo_epi32(even, odd);
        let last_two = _mm256_unpackhi_epi32(even, odd);
        let mut eight = [[0i32; 2]; WIDE / 4];
        // SAFETY: eight pairs of 32-bit numbers are two vectors.
        unsafe {
            let to = eight.as_mut_ptr().cast::<__m256i>();
            _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(first_two, last_two));
            _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x31>(first_two, last_two));
        }
        pairs.extend_from_slice(&eight);
    }
    let pair = |low: u8, high: u8| i32::from(low as i8) & 0xffff | (i32::from(high as i8) << 16);
    pairs.extend(rest.chunks_exact(4).map(|b| [pair(b[0], b[2]), pair(b[1], b[3])]));
}

/// Rows as [`gemm_int8`] multiplies them, `[rows][groups of four]`.
#[target_feature(enable = "avx2")]
pub(super) fn widened(x: &QuantizedRows) -> Vec<[i32; 2]> {
    let groups = x.depth().div_ceil(4);
    let mut pairs = Vec::with_capacity(x.rows() * groups);
    for row in 0..x.rows() {
        widen(&x.padded()[row * x.stride()..][..4 * groups], &mut pairs);
    }
    pairs
}

/// All rows of the job times the channels of these panels; `pairs` are the job's rows [`widened`],
/// once for all tasks.
///
/// # Safety
/// The CPU must have AVX2, and no other task may have these panels.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn gemm_int8(job: &Int8Job<'_>, pairs: &[[i32; 2]], panels: Range<usize>) {
    let (rows, groups) = (job.x.rows(), job.weights.groups());
    for panel in panels {
        for first in (0..rows).step_by(TILE) {
            let count = TILE.min(rows - first);
            let mut sums = [[0; PANEL]; TILE];
            // SAFETY: the CPU has the instructions.
            unsafe {
                let columns = Columns { bytes: job.weights.panel(panel), step: 4 * PANEL };
                columns.sums(count, &pairs[first * groups..], groups, groups, &mut sums);
            }
            for (row, sums) in (first..first + count).zip(sums) {
                // SAFETY: the panel is this task's, which takes one segment at a time.
                unsafe { scalar::finish(job, row, panel, sums) };
            }
        }
    }
}

/// Query bytes times blocks of keys; see [`super::attention`].
///
/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn score_sums(queries: &[u8], keys: &[u8], shape: [usize; 3], dots: &mut [i32]) {
    let [rows, width, stride] = shape;
    let groups = width / 4;
    let mut pairs = Vec::with_capacity(rows * groups);
    widen(&queries[..rows * width], &mut pairs);
    for (block, keys) in keys.chunks_exact(PANEL * width).enumerate() {
        for first in (0..rows).step_by(TILE) {
            let count = TILE.min(rows - first);
            let mut sums = [[0; PANEL]; TILE];
            // SAFETY: the CPU has the instructions.
            unsafe {
                let columns = Columns { bytes: keys, step: 4 * PANEL };
                columns.sums(count, &pairs[first * groups..], groups, groups, &mut sums);
            }
            for (row, sums) in (first..first + count).zip(sums) {
                dots[row * stride + block * PANEL..][..PANEL].copy_from_slice(&sums);
            }
        }
    }
}

/// Weight bytes times blocks of values; see [`super::attention`].
///
/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn value_sums(
    weights: &[u8],
    values: &[u8],
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let [rows, width, stride] = shape;
    let quads = values.len() / (4 * width);
    let mut pairs = Vec::with_capacity(rows * quads);
    for row in 0..rows {
        widen(&weights[row * stride..][..4 * quads], &mut pairs);
    }
    for column in (0..width).step_by(PANEL) {
        for first in (0..rows).step_by(TILE) {
            let count = TILE.min(rows - first);
            let mut tile = [[0; PANEL]; TILE];
            // SAFETY: the CPU has the instructions.
            unsafe {
                let columns = Columns { bytes: &values[4 * column..], step: 4 * width };
                columns.sums(count, &pairs[first * quads..], quads, quads, &mut tile);
            }
            for (row, tile) in (first..first + count).zip(tile) {
                let sums = &mut sums[row * width + column..][..PANEL];
                for (sum, part) in sums.iter_mut().zip(tile) {
                    *sum = sum.wrapping_add(part);
                }
            }
        }
    }
}

/// Packed bytes of sixteen columns, 64 every `step` bytes.
struct Columns<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Columns<'_> {
    /// Sums of `rows` rows of pairs, `stride` apart, over this many groups of four.
    ///
    /// # Safety
    /// The CPU must have AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn sums(
        &self,
        rows: usize,
        pairs: &[[i32; 2]],
        stride: usize,
        groups: usize,
        sums: &mut [[i32; PANEL]; TILE],
    ) {
        if groups == 0 {
            return;
        }
        assert!(self.bytes.len() >= (groups - 1) * self.step + 4 * PANEL);
        assert!(pairs.len() >= (rows - 1) * stride + groups);
        // SAFETY: as this function's, and the lengths are asserted.
        unsafe {
            match rows {
                1 => self.tile::<1>(pairs, stride, groups, sums),
                2 => self.tile::<2>(pairs, stride, groups, sums),
                3 => self.tile::<3>(pairs, stride, groups, sums),
                _ => self.tile::<4>(pairs, stride, groups, sums),
            }
        }
    }

    /// # Safety
    /// The CPU must have AVX2, and lengths must be as asserted above.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const ROWS: usize>(
        &self,
        pairs: &[[i32; 2]],
        stride: usize,
        groups: usize,
        sums: &mut [[i32; PANEL]; TILE],
    ) {
        let low_bytes = _mm256_set1_epi16(0xff);
        let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
        for group in 0..groups {
            // SAFETY: in range by the caller's assertions.
            unsafe {
                let bytes = self.bytes.as_ptr().add(group * self.step);
                for half in 0..2 {
                    let packed = _mm256_loadu_si256(bytes.add(32 * half).cast());
                    let even = _mm256_and_si256(packed, low_bytes);
                    let odd = _mm256_srli_epi16::<8>(packed);
                    for (row, tile) in tile.iter_mut().enumerate() {
                        let [first, second] = *pairs.get_unchecked(row * stride + group);
                        let products = _mm256_add_epi32(
                            _mm256_madd_epi16(even, _mm256_set1_epi32(first)),
                            _mm256_madd_epi16(odd, _mm256_set1_epi32(second)),
                        );
                        tile[half] = _mm256_add_epi32(tile[half], products);
                    }
                }
            }
        }
        for (sums, tile) in sums.iter_mut().zip(tile) {
            let (low, high) = sums.split_at_mut(PANEL / 2);
            // SAFETY: each half has eight elements.
            unsafe {
                _mm256_storeu_si256(low.as_mut_ptr().cast(), tile[0]);
                _mm256_storeu_si256(high.as_mut_ptr().cast(), tile[1]);
            }
        }
    }
}
