//! The machine's limit: what benchmarks give their figures as a part of.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::{Isa, Kind};

/// Runs `steps` rounds of the instruction set's multiply-add of bytes on registers alone, without
/// loads, and gives the number of multiply-adds done: time it to know the peak of one core.
///
/// With AVX-512 these are 24 independent chains of `vpdpbusd`. Other instruction sets have no
/// such instruction; there the answer is none.
pub fn peak_multiply_adds(isa: Isa, steps: u64) -> Option<u64> {
    match isa.kind() {
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => Some(unsafe { avx512::multiply_adds(steps) }),
        _ => {
            let _ = steps;
            None
        }
    }
}
