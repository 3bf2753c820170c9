//! Plain loops, compiled for the widest vector unit the machine turns out to have.
//!
//! A loop is a struct whose `run` and everything it calls is `#[inline(always)]`: only what is
//! inlined into the function that has the unit enabled is compiled for it (a closure is not). The
//! two loops that networks and heads are made of are here: sums in one order whatever the unit.

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

/// Number of running sums of a dot product; lengths of weight vectors are multiples of it.
pub(crate) const SUM_LANES: usize = 16;

/// Sum of products over two slices of equal length, a multiple of [`SUM_LANES`].
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; SUM_LANES];
    for (a, b) in a.as_chunks::<SUM_LANES>().0.iter().zip(b.as_chunks::<SUM_LANES>().0) {
        for lane in 0..SUM_LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    // Without this the compiler sees the tree below, and sums pairs of lanes where it could sum
    // vectors.
    let mut sums = std::hint::black_box(sums);
    let mut width = SUM_LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// `weights += step * inputs`, elementwise.
#[inline(always)]
pub(crate) fn adjust(weights: &mut [f32], inputs: &[f32], step: f32) {
    for (w, x) in
        weights.as_chunks_mut::<SUM_LANES>().0.iter_mut().zip(inputs.as_chunks::<SUM_LANES>().0)
    {
        // A copy, so that nothing is stored before everything is read.
        let mut moved = *w;
        for lane in 0..SUM_LANES {
            moved[lane] += step * x[lane];
        }
        *w = moved;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_is_summed_in_sixteen_lanes() {
        let a: Vec<f32> = (0..48).map(|i| 1.0 + i as f32 * 1e-7).collect();
        let b: Vec<f32> = (0..48).map(|i| (i as f32 - 20.0) * 0.37).collect();
        let mut lanes: Vec<f32> = (0..16)
            .map(|lane| {
                0.0 + a[lane] * b[lane] + a[lane + 16] * b[lane + 16] + a[lane + 32] * b[lane + 32]
            })
            .collect();
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        assert_eq!(dot(&a, &b).to_bits(), lanes[0].to_bits());
    }
}
