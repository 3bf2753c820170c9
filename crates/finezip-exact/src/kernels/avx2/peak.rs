//! What the multiply-add of 16-bit pairs gives at best.

use std::arch::x86_64::*;
use std::hint::black_box;

/// Runs twelve independent chains of `vpmaddwd` and `vpaddd`, `steps` of both each, and gives the
/// number of multiply-adds.
#[target_feature(enable = "avx2")]
pub(in super::super) fn multiply_adds(steps: u64) -> u64 {
    const CHAINS: usize = 12;
    let factor = black_box(_mm256_set1_epi16(3));
    let mut sums = black_box([factor; CHAINS]);
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, factor));
        }
    }
    black_box(sums);
    steps * CHAINS as u64 * 16
}
