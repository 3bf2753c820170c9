//! The Hadamard transform of 64 values in four registers.

use std::arch::x86_64::*;

/// The blocks of 64 of `x`, transformed; see [`super::super::hadamard_64`].
///
/// Within a register a stage is a permutation plus the value with its sign turned where the index
/// has the stage's bit: `a - b` is `a + (-b)`, and sums do not depend on the order of two.
#[target_feature(enable = "avx512f,avx512dq")]
pub(in super::super) fn hadamard_64(x: &mut [f32]) {
    let signs = |distance: i32| {
        let mask = (0..16).filter(|i| i & distance != 0).fold(0u16, |mask, i| mask | 1 << i);
        _mm512_maskz_set1_epi32(mask, i32::MIN)
    };
    let signs = [signs(1), signs(2), signs(4), signs(8)].map(|s| _mm512_castsi512_ps(s));
    let eighth = _mm512_set1_ps(0.125);
    for block in x.chunks_exact_mut(64) {
        let (first, _) = block.as_chunks_mut::<16>();
        let stages = |part: &[f32; 16]| {
            // SAFETY: the array has sixteen values.
            let x = unsafe { _mm512_loadu_ps(part.as_ptr()) };
            let other = _mm512_permute_ps::<0b10_11_00_01>(x);
            let x = _mm512_add_ps(other, _mm512_xor_ps(x, signs[0]));
            let other = _mm512_permute_ps::<0b01_00_11_10>(x);
            let x = _mm512_add_ps(other, _mm512_xor_ps(x, signs[1]));
            let other = _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x);
            let x = _mm512_add_ps(other, _mm512_xor_ps(x, signs[2]));
            let other = _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x);
            _mm512_add_ps(other, _mm512_xor_ps(x, signs[3]))
        };
        let [a, b, c, d] = [&first[0], &first[1], &first[2], &first[3]].map(stages);
        let (a, b) = (_mm512_add_ps(a, b), _mm512_sub_ps(a, b));
        let (c, d) = (_mm512_add_ps(c, d), _mm512_sub_ps(c, d));
        let (a, c) = (_mm512_add_ps(a, c), _mm512_sub_ps(a, c));
        let (b, d) = (_mm512_add_ps(b, d), _mm512_sub_ps(b, d));
        for (part, x) in first.iter_mut().zip([a, b, c, d]) {
            // SAFETY: the array has sixteen values.
            unsafe { _mm512_storeu_ps(part.as_mut_ptr(), _mm512_mul_ps(x, eighth)) };
        }
    }
}
