//! The rotation that spreads outliers over a block before it is rounded to 8 bits (QuaRot,
//! Ashkboos et al. 2024, section 3).

use super::isa::{Isa, Kind};
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Multiplies each block of 64 values by the Hadamard matrix of Sylvester's construction over 8, its
/// own inverse.
///
/// Six stages, with distances 1, 2, 4, 8, 16 and 32: at distance `h`, `a` at an index without bit `h`
/// and `b` at the index with it become `a + b` and `a - b`; then times 0.125.
///
/// # Panics
/// If the length is no multiple of 64.
pub fn hadamard_64(isa: Isa, x: &mut [f32]) {
    assert!(x.len().is_multiple_of(64), "whole blocks of 64");
    match isa.kind() {
        Kind::Scalar => scalar::hadamard_64(x),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::hadamard_64(x) },
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::hadamard_64(x) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_matrix_product() {
        let x: Vec<f32> = (0..192).map(|i| ((i * 7919) % 1013) as f32 / 7.3 - 60.0).collect();
        let mut expected = x.clone();
        hadamard_64(Isa::scalar(), &mut expected);
        for (block, found) in x.chunks(64).zip(expected.chunks(64)) {
            for (row, found) in found.iter().enumerate() {
                let sum: f64 = block
                    .iter()
                    .enumerate()
                    .map(|(column, x)| {
                        let sign = if (row & column).count_ones() % 2 == 0 { 1.0 } else { -1.0 };
                        sign * f64::from(*x)
                    })
                    .sum();
                assert!((sum / 8.0 - f64::from(*found)).abs() < 1e-4);
            }
        }
        for isa in Isa::available() {
            for blocks in 0..=3 {
                let mut found = x[..64 * blocks].to_vec();
                hadamard_64(isa, &mut found);
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                assert!(found.iter().zip(&expected).all(same), "{isa}");
                hadamard_64(isa, &mut found);
                assert!(found.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }
}
