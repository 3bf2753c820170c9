//! The machine's limit: what benchmarks give their figures as a part of.

use super::isa::{Isa, Kind};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Runs `steps` rounds of the instruction set's multiply-add on registers alone, without loads, and
/// gives the number of multiply-adds done: time it to know the peak of one core.
///
/// With AVX-512 these are 24 independent chains of `vpdpbusd`, with AVX2 twelve of `vpmaddwd` and
/// the addition that it needs. The portable path has no such instruction; there the answer is none.
pub fn peak_multiply_adds(isa: Isa, steps: u64) -> Option<u64> {
    match isa.kind() {
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => Some(unsafe { avx512::multiply_adds(steps) }),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => Some(unsafe { avx2::multiply_adds(steps) }),
        Kind::Scalar => {
            let _ = steps;
            None
        }
    }
}
