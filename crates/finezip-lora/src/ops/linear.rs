//! Linear layers whose weight is frozen, with and without an adapter.
//!
//! The backward pass gives the gradients of the input, of A and of B; the gradient of the weight
//! is neither computed nor stored.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};
use rayon::prelude::*;

use super::simd::{Kernel, dispatch};
use super::{Matrix, Real, Stored, TASK_ROWS, for_dtype, like, product, values, with_storage};
use crate::frozen::FrozenMatrix;
use crate::random::mix;

/// The frozen part: `x W^T + bias`.
#[derive(Debug)]
pub(crate) struct LinearWeight {
    /// `[out, in]`.
    pub(crate) weight: FrozenMatrix,
    /// `[out]`, where the model has one.
    pub(crate) bias: Option<Vec<f32>>,
}

impl LinearWeight {
    fn forward<T: Real>(&self, x: Matrix<'_>) -> Result<Vec<T>> {
        let mut y = self.weight.with_all::<T, _>(|weight| product(x, weight.transposed()))?;
        if let Some(bias) = &self.bias {
            y.par_chunks_mut(bias.len()).for_each(|row| {
                row.iter_mut().zip(bias).for_each(|(y, bias)| *y += T::from_f32(*bias));
            });
        }
        Ok(y)
    }

    fn backward<T: Real>(&self, dy: Matrix<'_>) -> Result<Vec<T>> {
        self.weight.with_all::<T, _>(|weight| product(dy, weight))
    }

    /// The result's shape: the argument's with another last dimension.
    fn shape(&self, layout: &Layout) -> Result<Shape> {
        let mut sizes = layout.dims().to_vec();
        match sizes.last_mut() {
            Some(last) if *last == self.weight.columns() => *last = self.weight.rows(),
            _ => bail!("linear of {} inputs on {sizes:?}", self.weight.columns()),
        }
        Ok(Shape::from(sizes))
    }
}

/// A linear without an adapter, on `[.., in]`.
pub(crate) struct FrozenLinear(pub(crate) Arc<LinearWeight>);

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.0.shape(layout)?;
        for_dtype!(storage.dtype(), T => {
            let x = matrix::<T>((storage, layout), self.0.weight.columns())?;
            Ok((WithDType::to_cpu_storage_owned(self.0.forward::<T>(x)?), shape))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        for_dtype!(x.dtype(), T => {
            with_storage(dy, |dy| {
                let dy = matrix::<T>(dy, self.0.weight.rows())?;
                like(self.0.backward::<T>(dy)?, x).map(Some)
            })
        })
    }
}

/// Inputs of an adapter that are dropped in training: the same for the same key, so that a
/// recomputed forward pass and the backward pass see what the first forward pass saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    /// Share that is dropped, below 1.
    pub(crate) rate: f32,
    /// What the choice follows from.
    pub(crate) key: u64,
}

impl Dropout {
    /// Multiplies each value by 0, or by `1 / (1 - rate)`.
    fn apply<T: Real>(self, values: &mut [T]) {
        const CHUNK: usize = 1 << 12;
        let threshold = (f64::from(self.rate) * 2.0_f64.powi(64)) as u64;
        let kept = T::from_f64(1.0 / (1.0 - f64::from(self.rate)));
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            for (i, value) in values.iter_mut().enumerate() {
                let draw = mix(self.key ^ mix((chunk * CHUNK + i) as u64));
                *value = if draw < threshold { T::zero() } else { *value * kept };
            }
        });
    }
}

/// `x W^T + bias + scale * dropout(x) A^T B^T`, on `x [.., in]`, `A [rank, in]`, `B [out, rank]`.
pub(crate) struct LoraLinear {
    /// The frozen part.
    pub(crate) linear: Arc<LinearWeight>,
    /// Alpha over rank, or over its root.
    pub(crate) scale: f32,
    /// Dropped inputs of the adapter, in training.
    pub(crate) dropout: Option<Dropout>,
}

impl LoraLinear {
    /// `dropout(x) A^T`, `[rows, rank]`.
    fn inner<T: Real>(
        &self,
        x: Matrix<'_>,
        dropped: Option<&CpuStorage>,
        a: Matrix<'_>,
    ) -> Result<Vec<T>> {
        match dropped {
            Some(dropped) => {
                let dropped = Matrix::whole::<T>(dropped, self.linear.weight.columns())?;
                product(dropped, a.transposed())
            }
            None => product(x, a.transposed()),
        }
    }

    fn dropped<T: Real>(&self, x: &[T]) -> Option<CpuStorage> {
        let dropout = self.dropout?;
        let mut dropped = x.to_vec();
        dropout.apply(&mut dropped);
        Some(T::to_cpu_storage_owned(dropped))
    }

    fn forward<T: Real>(&self, x: Stored<'_>, a: Stored<'_>, b: Stored<'_>) -> Result<Vec<T>> {
        let (rows, columns) = (self.linear.weight.rows(), self.linear.weight.columns());
        let (a_sizes, b_sizes) = (a.1.dims(), b.1.dims());
        let rank = a_sizes.first().copied().unwrap_or(0);
        if a_sizes != [rank, columns] || b_sizes != [rows, rank] || rank == 0 {
            bail!("adapter {a_sizes:?}, {b_sizes:?} of a weight {rows} x {columns}");
        }
        let x_matrix = matrix::<T>(x, columns)?;
        let mut y = self.linear.forward::<T>(x_matrix)?;
        let dropped = self.dropped::<T>(values(x.0, x.1)?);
        let inner = self.inner::<T>(x_matrix, dropped.as_ref(), matrix::<T>(a, columns)?)?;
        let b_columns = transpose(values::<T>(b.0, b.1)?, rank);
        add_low_rank(&mut y, &inner, &b_columns, rank, T::from_f32(self.scale));
        Ok(y)
    }

    /// Gradients of x, A and B.
    ///
    /// With `h = dropout(x) A^T` and `g = scale * dy B`: `dB = scale * dy^T h`,
    /// `dA = g^T dropout(x)`, `dx = dy W + dropout(g A)`.
    fn backward<T: Real>(
        &self,
        x: Stored<'_>,
        a: Stored<'_>,
        b: Stored<'_>,
        dy: Stored<'_>,
        rank: usize,
    ) -> Result<[Vec<T>; 3]> {
        let (out, columns) = (self.linear.weight.rows(), self.linear.weight.columns());
        let x_matrix = matrix::<T>(x, columns)?;
        let dy_matrix = matrix::<T>(dy, out)?;
        let dropped = self.dropped::<T>(values(x.0, x.1)?);
        let a_matrix = matrix::<T>(a, columns)?;
        let scale = T::from_f32(self.scale);

        let inner = self.inner::<T>(x_matrix, dropped.as_ref(), a_matrix)?;
        let inner = T::to_cpu_storage_owned(inner);
        let inner = Matrix::whole::<T>(&inner, rank)?;
        // The thin matrix first: its transposed product has few rows to pack.
        let db_columns = product::<T>(inner.transposed(), dy_matrix)?;
        let mut db = transpose(&db_columns, out);
        db.iter_mut().for_each(|value| *value *= scale);

        let mut outer = product::<T>(dy_matrix, matrix::<T>(b, rank)?)?;
        outer.iter_mut().for_each(|value| *value *= scale);
        let outer = T::to_cpu_storage_owned(outer);
        let outer_matrix = Matrix::whole::<T>(&outer, rank)?;
        let input = match &dropped {
            Some(dropped) => Matrix::whole::<T>(dropped, columns)?,
            None => x_matrix,
        };
        let da = product::<T>(outer_matrix.transposed(), input)?;

        let mut dx = self.linear.backward::<T>(dy_matrix)?;
        let outer = T::cpu_storage_as_slice(&outer)?;
        let a = values::<T>(a.0, a.1)?;
        match self.dropout {
            None => add_low_rank(&mut dx, outer, a, rank, T::one()),
            Some(dropout) => {
                let mut through = vec![T::zero(); dx.len()];
                add_low_rank(&mut through, outer, a, rank, T::one());
                dropout.apply(&mut through);
                super::product::add(&mut dx, &through);
            }
        }
        Ok([dx, da, db])
    }
}

impl CustomOp3 for LoraLinear {
    fn name(&self) -> &'static str {
        "lora-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.linear.shape(x_layout)?;
        for_dtype!(x.dtype(), T => {
            let y = self.forward::<T>((x, x_layout), (a, a_layout), (b, b_layout))?;
            Ok((WithDType::to_cpu_storage_owned(y), shape))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let rank = a.dim(0)?;
        for_dtype!(x.dtype(), T => {
            let [dx, da, db] = with_storage(x, |x| with_storage(a, |a| with_storage(b, |b| {
                with_storage(dy, |dy| self.backward::<T>(x, a, b, dy, rank))
            })))?;
            Ok((Some(like(dx, x)?), Some(like(da, a)?), Some(like(db, b)?)))
        })
    }
}

/// A contiguous tensor `[.., columns]` as a matrix.
fn matrix<T: Real>((storage, layout): Stored<'_>, columns: usize) -> Result<Matrix<'_>> {
    let length = values::<T>(storage, layout)?.len();
    Matrix::new::<T>(storage, layout.start_offset(), length / columns.max(1), columns)
}

/// A row-major matrix of so many columns, columns first.
fn transpose<T: Real>(values: &[T], columns: usize) -> Vec<T> {
    let mut transposed = Vec::with_capacity(values.len());
    for column in 0..columns {
        transposed.extend(values.iter().skip(column).step_by(columns));
    }
    transposed
}

/// `y += scale * left right`, with `left [rows, rank]` and `right [rank, columns]`.
fn add_low_rank<T: Real>(y: &mut [T], left: &[T], right: &[T], rank: usize, scale: T) {
    let columns = right.len() / rank.max(1);
    let tasks = y.par_chunks_mut(columns * TASK_ROWS).zip(left.par_chunks(rank * TASK_ROWS));
    tasks.for_each(|(y, left)| dispatch(AddLowRank { y, left, right, rank, scale }));
}

struct AddLowRank<'a, T> {
    y: &'a mut [T],
    left: &'a [T],
    right: &'a [T],
    rank: usize,
    scale: T,
}

impl<T: Real> Kernel for AddLowRank<'_, T> {
    type Output = ();

    /// Four of the rank at a time, so that a row of `y` is walked a quarter as often.
    #[inline(always)]
    fn run(self) {
        const AT_ONCE: usize = 4;
        let columns = self.right.len() / self.rank;
        for (y, left) in self.y.chunks_exact_mut(columns).zip(self.left.chunks_exact(self.rank)) {
            let (fours, rest) = left.as_chunks::<AT_ONCE>();
            let mut right = self.right.chunks_exact(columns * AT_ONCE);
            for (factors, right) in fours.iter().zip(&mut right) {
                let [f0, f1, f2, f3] = factors.map(|factor| factor * self.scale);
                let (r0, right) = right.split_at(columns);
                let (r1, right) = right.split_at(columns);
                let (r2, r3) = right.split_at(columns);
                let rows = r0.iter().zip(r1).zip(r2.iter().zip(r3));
                for (y, ((r0, r1), (r2, r3))) in y.iter_mut().zip(rows) {
                    *y += (f0 * *r0 + f1 * *r1) + (f2 * *r2 + f3 * *r3);
                }
            }
            let remaining = &self.right[fours.len() * AT_ONCE * columns..];
            for (factor, right) in rest.iter().zip(remaining.chunks_exact(columns)) {
                let factor = *factor * self.scale;
                y.iter_mut().zip(right).for_each(|(y, right)| *y += factor * *right);
            }
        }
    }
}
