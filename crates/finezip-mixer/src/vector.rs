//! Plain loops, compiled for the widest vector unit the machine turns out to have.
//!
//! A loop is a struct whose `run` and everything it calls is `#[inline(always)]`: only what is
//! inlined into the function that has the unit enabled is compiled for it (a closure is not).

use pulp::{Arch, Simd, WithSimd};

/// A loop with its arguments.
pub(crate) trait Loop {
    /// What it answers, the same on every unit.
    type Answer;

    /// Runs it; `#[inline(always)]`.
    fn run(self) -> Self::Answer;
}

struct On<L>(L);

impl<L: Loop> WithSimd for On<L> {
    type Output = L::Answer;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _unit: S) -> L::Answer {
        self.0.run()
    }
}

/// Runs a loop on `unit`.
#[inline(always)]
pub(crate) fn run_on<L: Loop>(unit: Arch, on: L) -> L::Answer {
    unit.dispatch(On(on))
}

/// Every unit this machine has, for tests: the widest, and on x86-64 each by itself.
#[cfg(test)]
pub(crate) fn units() -> Vec<Arch> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut units = vec![Arch::new()];
    #[cfg(target_arch = "x86_64")]
    {
        units.push(Arch::Scalar);
        units.extend(pulp::x86::V3::try_new().map(Arch::V3));
        units.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    units
}
