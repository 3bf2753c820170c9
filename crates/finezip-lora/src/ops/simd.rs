//! One door to the instruction sets: plain loops, compiled once for each and chosen at run time.
//!
//! A kernel is a struct of its arguments whose `run` is `#[inline(always)]`, and so is all it
//! calls.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums a reduction keeps, so that it fills vectors; the order of addition is fixed.
const LANES: usize = 16;

/// Plain loops over slices, to be compiled for each instruction set.
pub(crate) trait Kernel {
    /// What they compute.
    type Output;

    /// Runs them; must be `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

/// Runs a kernel in the widest instruction set of this machine.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    Arch::new().dispatch(Dispatched(kernel))
}

struct Dispatched<K>(K);

impl<K: Kernel> WithSimd for Dispatched<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _isa: S) -> K::Output {
        self.0.run()
    }
}

/// The sum of `term` over the indices below `length`, in 16 partial sums.
#[inline(always)]
pub(crate) fn sum<T: super::Real>(length: usize, term: impl Fn(usize) -> T) -> T {
    let mut partial = [T::zero(); LANES];
    let whole = length / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, partial) in partial.iter_mut().enumerate() {
            *partial += term(start + lane);
        }
    }
    let mut total = T::zero();
    for partial in partial {
        total += partial;
    }
    for index in whole..length {
        total += term(index);
    }
    total
}

/// The largest of `values`, or `start`.
#[inline(always)]
pub(crate) fn largest<T: super::Real>(values: &[T], start: T) -> T {
    let mut partial = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (partial, value) in partial.iter_mut().zip(chunk) {
            *partial = if *value > *partial { *value } else { *partial };
        }
    }
    let tail = rest.iter().chain(&partial);
    tail.fold(start, |largest, value| if *value > largest { *value } else { largest })
}
