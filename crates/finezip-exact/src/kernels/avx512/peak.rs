//! What the multiply-add of bytes gives at best.

use std::arch::x86_64::*;
use std::hint::black_box;

/// Runs 24 independent chains of `vpdpbusd`, `steps` instructions each, and gives the number of
/// multiply-adds.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(in super::super) fn multiply_adds(steps: u64) -> u64 {
    const CHAINS: usize = 24;
    let factor = black_box(_mm512_set1_epi8(3));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
        }
    }
    black_box(sums);
    steps * CHAINS as u64 * 64
}
