//! One door to the instruction sets: plain loops, compiled once for each and chosen at run time.
//!
//! A kernel is a struct of its arguments whose `run` is `#[inline(always)]`, and so is all it
//! calls. A closure or a function handed over by name would not do: what is not inlined into the
//! function that has the instruction set enabled is compiled for the build's baseline.

use pulp::{Arch, Simd, WithSimd};

/// Plain loops over slices, to be compiled for each instruction set.
pub(crate) trait Kernel {
    /// What they compute, the same in each.
    type Output;

    /// Runs them; must be `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

/// Runs a kernel in the widest instruction set of this machine.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    Arch::new().dispatch(Dispatched(kernel))
}

/// Runs a kernel in each instruction set this machine has, the build's baseline first.
#[cfg(test)]
pub(crate) fn run_in_each<K: Kernel>(kernel: impl Fn() -> K) -> Vec<K::Output> {
    let mut outputs = vec![kernel().run(), dispatch(kernel())];
    #[cfg(target_arch = "x86_64")]
    {
        outputs
            .extend(pulp::x86::V3::try_new().map(|isa| Simd::vectorize(isa, Dispatched(kernel()))));
        outputs
            .extend(pulp::x86::V4::try_new().map(|isa| Simd::vectorize(isa, Dispatched(kernel()))));
    }
    outputs
}

struct Dispatched<K>(K);

impl<K: Kernel> WithSimd for Dispatched<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _isa: S) -> K::Output {
        self.0.run()
    }
}
