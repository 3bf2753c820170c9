//! AVX2: products of 16-bit pairs (`vpmaddwd`), which cannot saturate.
//!
//! AVX2's own multiply-add of bytes (`vpmaddubsw`) cuts sums of two products at 16 bits, so that
//! with bytes up to 255 its result would depend on the values. Here the even and the odd bytes of
//! 32 packed bytes are widened to 16 bits, and each is multiplied with a pair of activations,
//! widened beforehand: one instruction gives eight columns' sums of two products in 32 bits. Values
//! of 4 bits are too small to be cut, so `int4` does multiply bytes.

mod attention;
mod gemm;
mod hadamard;
mod int4;
mod peak;
mod tile;

use std::arch::x86_64::*;

pub(super) use self::attention::{score_sums, value_sums, whole_value_sums, whole_weights};
pub(super) use self::gemm::gemm_int8;
pub(super) use self::hadamard::hadamard_64;
pub(super) use self::int4::gemm_int4;
pub(super) use self::peak::multiply_adds;
use super::quantize::QuantizedRows;

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
