//! The product of an activated gate and the up projection.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use finezip_models::Activation;
use rayon::prelude::*;

use super::simd::{Kernel, dispatch};
use super::{Real, for_dtype, like, values, with_values};

/// Values that one task works on.
const TASK_VALUES: usize = 1 << 14;

/// `activation(gate) * up`.
#[derive(Clone, Copy)]
pub(crate) struct Gated(pub(crate) Activation);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gate_layout.shape() != up_layout.shape() {
            bail!("gated: shapes {gate_layout:?} and {up_layout:?}");
        }
        for_dtype!(candle_core::backend::BackendStorage::dtype(gate), T => {
            let y = forward::<T>(self.0, values(gate, gate_layout)?, values(up, up_layout)?);
            Ok((candle_core::WithDType::to_cpu_storage_owned(y), gate_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        for_dtype!(gate.dtype(), T => with_values::<T, _>(gate, |gates| {
            with_values::<T, _>(up, |ups| {
                with_values::<T, _>(dy, |dys| {
                    let (dgate, dup) = backward(self.0, gates, ups, dys);
                    Ok((Some(like(dgate, gate)?), Some(like(dup, up)?)))
                })
            })
        }))
    }
}

fn forward<T: Real>(activation: Activation, gate: &[T], up: &[T]) -> Vec<T> {
    let mut y = vec![T::zero(); gate.len()];
    let inputs = gate.par_chunks(TASK_VALUES).zip(up.par_chunks(TASK_VALUES));
    y.par_chunks_mut(TASK_VALUES).zip(inputs).for_each(|(y, (gate, up))| {
        dispatch(Forward { activation, gate, up, y });
    });
    y
}

fn backward<T: Real>(activation: Activation, gate: &[T], up: &[T], dy: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut dgate, mut dup) = (vec![T::zero(); gate.len()], vec![T::zero(); gate.len()]);
    let inputs = gate.par_chunks(TASK_VALUES).zip(up.par_chunks(TASK_VALUES));
    let inputs = inputs.zip(dy.par_chunks(TASK_VALUES));
    let outputs = dgate.par_chunks_mut(TASK_VALUES).zip(dup.par_chunks_mut(TASK_VALUES));
    outputs.zip(inputs).for_each(|((dgate, dup), ((gate, up), dy))| {
        dispatch(Backward { activation, gate, up, dy, dgate, dup });
    });
    (dgate, dup)
}

struct Forward<'a, T> {
    activation: Activation,
    gate: &'a [T],
    up: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let values = self.y.iter_mut().zip(self.gate.iter().zip(self.up));
        match self.activation {
            Activation::Silu => values.for_each(|(y, (gate, up))| *y = silu(*gate).0 * *up),
            Activation::GeluTanh => values.for_each(|(y, (gate, up))| *y = gelu(*gate).0 * *up),
        }
    }
}

struct Backward<'a, T> {
    activation: Activation,
    gate: &'a [T],
    up: &'a [T],
    dy: &'a [T],
    dgate: &'a mut [T],
    dup: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.activation {
            Activation::Silu => self.with(silu),
            Activation::GeluTanh => self.with(gelu),
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn with(self, activation: impl Fn(T) -> (T, T)) {
        let inputs = self.gate.iter().zip(self.up).zip(self.dy);
        let outputs = self.dgate.iter_mut().zip(self.dup);
        for ((dgate, dup), ((gate, up), dy)) in outputs.zip(inputs) {
            let (value, slope) = activation(*gate);
            *dgate = slope * *up * *dy;
            *dup = value * *dy;
        }
    }
}

/// `x * sigmoid(x)` and its derivative.
#[inline(always)]
fn silu<T: Real>(x: T) -> (T, T) {
    let one = T::one();
    let sigmoid = one / (one + (T::zero() - x).exponential());
    let value = x * sigmoid;
    (value, sigmoid + value * (one - sigmoid))
}

/// `x / 2 * (1 + tanh(u))` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`, and its derivative.
#[inline(always)]
fn gelu<T: Real>(x: T) -> (T, T) {
    let (one, two) = (T::one(), T::one() + T::one());
    let root = T::from_f64(0.797_884_560_802_865_4);
    let cubic = T::from_f64(0.044_715);
    let u = root * (x + cubic * x * x * x);
    let tanh = one - two / (one + (two * u).exponential());
    let du = root * (one + T::from_f64(3.0 * 0.044_715) * x * x);
    let half = T::from_f64(0.5);
    (half * x * (one + tanh), half * (one + tanh) + half * x * (one - tanh * tanh) * du)
}
