//! Root-mean-square norm with a frozen gain (Zhang and Sennrich 2019, arXiv 1910.07467).

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::simd::{self, Kernel, dispatch};
use super::{Real, TASK_ROWS, for_dtype, like, values, with_values};

/// `x * gain / sqrt(mean(x^2) + epsilon)` over the last dimension, whose size is the gain's.
#[derive(Clone)]
pub(crate) struct RmsNorm {
    /// `[width]`.
    pub(crate) gain: Arc<Vec<f32>>,
    /// Added to the mean square.
    pub(crate) epsilon: f32,
}

impl RmsNorm {
    fn check<T>(&self, values: &[T]) -> Result<usize> {
        let width = self.gain.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            bail!("rms-norm: {} values are not rows of {width}", values.len());
        }
        Ok(width)
    }

    fn forward<T: Real>(&self, x: &[T]) -> Result<Vec<T>> {
        let width = self.check(x)?;
        let mut y = vec![T::zero(); x.len()];
        let task = width * TASK_ROWS;
        y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
            dispatch(Forward { gain: &self.gain, epsilon: self.epsilon, x, y });
        });
        Ok(y)
    }

    fn backward<T: Real>(&self, x: &[T], dy: &[T]) -> Result<Vec<T>> {
        let width = self.check(x)?;
        let mut dx = vec![T::zero(); x.len()];
        let task = width * TASK_ROWS;
        let rows = dx.par_chunks_mut(task).zip(x.par_chunks(task).zip(dy.par_chunks(task)));
        rows.for_each(|(dx, (x, dy))| {
            dispatch(Backward { gain: &self.gain, epsilon: self.epsilon, x, dy, dx });
        });
        Ok(dx)
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_dtype!(candle_core::backend::BackendStorage::dtype(storage), T => {
            let y = self.forward::<T>(values(storage, layout)?)?;
            Ok((candle_core::WithDType::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        for_dtype!(x.dtype(), T => with_values::<T, _>(x, |xs| {
            with_values::<T, _>(dy, |dys| like(self.backward(xs, dys)?, x).map(Some))
        }))
    }
}

/// `1 / sqrt(mean(x^2) + epsilon)`.
#[inline(always)]
fn inverse_root_mean_square<T: Real>(x: &[T], epsilon: f32) -> T {
    let squares = simd::sum(x.len(), |i| x[i] * x[i]);
    T::one() / (squares / T::from_f64(x.len() as f64) + T::from_f32(epsilon)).root()
}

struct Forward<'a, T> {
    gain: &'a [f32],
    epsilon: f32,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.gain.len();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let inverse = inverse_root_mean_square(x, self.epsilon);
            for ((y, x), gain) in y.iter_mut().zip(x).zip(self.gain) {
                *y = *x * inverse * T::from_f32(*gain);
            }
        }
    }
}

struct Backward<'a, T> {
    gain: &'a [f32],
    epsilon: f32,
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();

    /// With `s` the inverse root mean square and `g = gain * dy`:
    /// `dx = s * g - x * s^3 / width * sum(g * x)`.
    #[inline(always)]
    fn run(self) {
        let width = self.gain.len();
        let gain = &self.gain[..width];
        let rows = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
        for ((x, dy), dx) in rows.zip(self.dx.chunks_exact_mut(width)) {
            let inverse = inverse_root_mean_square(x, self.epsilon);
            let along = simd::sum(width, |i| T::from_f32(gain[i]) * dy[i] * x[i]);
            let factor = inverse * inverse * inverse * along / T::from_f64(width as f64);
            for i in 0..width {
                dx[i] = inverse * T::from_f32(gain[i]) * dy[i] - x[i] * factor;
            }
        }
    }
}
