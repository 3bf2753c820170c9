//! The Hadamard transform of 64 values in eight registers.

use std::arch::x86_64::*;

/// The blocks of 64 of `x`, transformed; see [`super::super::hadamard_64`].
///
/// Within a register a stage is a permutation plus the value with its sign turned where the index
/// has the stage's bit: `a - b` is `a + (-b)`, and sums do not depend on the order of two.
#[target_feature(enable = "avx2")]
pub(in super::super) fn hadamard_64(x: &mut [f32]) {
    let signs = [
        _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0),
        _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0),
        _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0),
    ];
    let eighth = _mm256_set1_ps(0.125);
    for block in x.chunks_exact_mut(64) {
        let (parts, _) = block.as_chunks_mut::<8>();
        let mut registers = [_mm256_setzero_ps(); 8];
        for (register, part) in registers.iter_mut().zip(&*parts) {
            // SAFETY: the array has eight values.
            let x = unsafe { _mm256_loadu_ps(part.as_ptr()) };
            let other = _mm256_permute_ps::<0b10_11_00_01>(x);
            let x = _mm256_add_ps(other, _mm256_xor_ps(x, signs[0]));
            let other = _mm256_permute_ps::<0b01_00_11_10>(x);
            let x = _mm256_add_ps(other, _mm256_xor_ps(x, signs[1]));
            let other = _mm256_permute2f128_ps::<1>(x, x);
            *register = _mm256_add_ps(other, _mm256_xor_ps(x, signs[2]));
        }
        for distance in [1, 2, 4] {
            for low in (0..8).filter(|register| register & distance == 0) {
                let (a, b) = (registers[low], registers[low + distance]);
                registers[low] = _mm256_add_ps(a, b);
                registers[low + distance] = _mm256_sub_ps(a, b);
            }
        }
        for (part, x) in parts.iter_mut().zip(registers) {
            // SAFETY: the array has eight values.
            unsafe { _mm256_storeu_ps(part.as_mut_ptr(), _mm256_mul_ps(x, eighth)) };
        }
    }
}
