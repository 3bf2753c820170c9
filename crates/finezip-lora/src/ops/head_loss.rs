//! The head and its cross entropy, in one pass over the vocabulary.
//!
//! Logits of all tokens over the whole vocabulary would be the largest tensor of training by far.
//! Here the vocabulary is taken in blocks: a block's logits are exponentiated against the largest
//! so far, multiplied back into the gradient at once, and dropped; sums are rescaled when a larger
//! logit comes (as the online softmax of Milakov and Gimelshein 2018, arXiv 1805.02867). Each row
//! of the head is read, and dequantized where it is stored in blocks, once.

use std::sync::{Arc, Mutex};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::simd::{self, Kernel, dispatch};
use super::{Matrix, Real, for_dtype, like, product, values};
use crate::frozen::FrozenMatrix;

/// Values of logits that are in memory at once.
const LOGITS_AT_ONCE: usize = 1 << 22;
/// Rows of the head in a block: at least, at most.
const BLOCK_ROWS: (usize, usize) = (1 << 9, 1 << 13);

/// Values that are in memory at once for so many tokens: a block's logits, twice while they change
/// hands, and the rows of the head `[vocabulary, hidden]` that they are of.
pub(crate) fn values_at_once(tokens: usize, [vocabulary, hidden]: [usize; 2]) -> usize {
    let rows = block_rows(tokens.max(1)).min(vocabulary);
    2 * rows * tokens + rows * hidden
}

/// Rows of the head in a block for so many tokens.
fn block_rows(tokens: usize) -> usize {
    (LOGITS_AT_ONCE / tokens).clamp(BLOCK_ROWS.0, BLOCK_ROWS.1)
}

/// A token that is not predicted: padding, or the first of a text.
pub(crate) const IGNORED: u32 = u32::MAX;

/// `weight` times the sum of the negative logarithms of the targets' probabilities, of normed
/// states `[tokens, hidden]`.
pub(crate) struct HeadLoss {
    head: Arc<FrozenMatrix>,
    targets: Arc<Vec<u32>>,
    weight: f64,
    /// The gradient, computed in the forward pass, until the backward pass takes it.
    gradient: Mutex<Option<CpuStorage>>,
}

impl HeadLoss {
    /// Targets are token ids, or [`IGNORED`].
    pub(crate) fn new(head: Arc<FrozenMatrix>, targets: Arc<Vec<u32>>, weight: f64) -> Self {
        Self { head, targets, weight, gradient: Mutex::new(None) }
    }
}

impl CustomOp1 for HeadLoss {
    fn name(&self) -> &'static str {
        "head-loss"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_dtype!(storage.dtype(), T => {
            let states = values::<T>(storage, layout)?;
            let (nats, gradient) =
                cross_entropy::<T>(states, &self.targets, &self.head, Some(self.weight))?;
            let gradient = WithDType::to_cpu_storage_owned(gradient);
            *self.gradient.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(gradient);
            let loss = <T as WithDType>::from_f64(nats * self.weight);
            Ok((WithDType::to_cpu_storage(&[loss]), Shape::from(())))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let stored = self.gradient.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let Some(stored) = stored else { bail!("head-loss: a second backward pass") };
        for_dtype!(x.dtype(), T => {
            let upstream = dy.to_scalar::<T>()?;
            let mut gradient = T::cpu_storage_data(stored)?;
            gradient.par_iter_mut().for_each(|value| *value *= upstream);
            like(gradient, x).map(Some)
        })
    }
}

/// The sum of the targets' negative log-probabilities in nats, and with a weight its gradient by
/// the states, times the weight (else empty).
pub(crate) fn cross_entropy<T: Real>(
    states: &[T],
    targets: &[u32],
    head: &FrozenMatrix,
    weight: Option<f64>,
) -> Result<(f64, Vec<T>)> {
    let hidden = head.columns();
    if states.len() != targets.len() * hidden {
        bail!("head-loss: {} values for {} tokens of {hidden}", states.len(), targets.len());
    }
    // Tokens that are not predicted cost nothing.
    let mut predicted = Vec::with_capacity(targets.len());
    let mut kept = Vec::with_capacity(states.len());
    for (token, (target, state)) in targets.iter().zip(states.chunks_exact(hidden)).enumerate() {
        if *target == IGNORED {
            continue;
        }
        if *target as usize >= head.rows() {
            bail!("head-loss: target {target} of {} tokens", head.rows());
        }
        predicted.push(token);
        kept.extend_from_slice(state);
    }
    let rows = predicted.len();
    if rows == 0 {
        let length = if weight.is_some() { states.len() } else { 0 };
        return Ok((0.0, vec![T::zero(); length]));
    }
    let kept = T::to_cpu_storage_owned(kept);
    let kept = Matrix::whole::<T>(&kept, hidden)?;
    let mut sums = vec![RowSum::<T>::new(); rows];
    let mut gradient = vec![T::zero(); if weight.is_some() { rows * hidden } else { 0 }];

    let block_rows = block_rows(rows);
    for start in (0..head.rows()).step_by(block_rows) {
        let block = start..head.rows().min(start + block_rows);
        head.with_rows::<T, _>(block.clone(), |block_head| {
            let mut logits = product::<T>(kept, block_head.transposed())?;
            let columns = block.len();
            let tasks = logits.par_chunks_mut(columns).zip(sums.par_iter_mut());
            tasks.zip(predicted.par_iter()).for_each(|((logits, sum), token)| {
                let target = (targets[*token] as usize).wrapping_sub(start);
                if let Some(logit) = logits.get(target) {
                    sum.target = *logit;
                }
                dispatch(Exponentiate { logits, sum });
            });
            if weight.is_none() {
                return Ok(());
            }
            let logits = T::to_cpu_storage_owned(logits);
            let part = product::<T>(Matrix::whole::<T>(&logits, columns)?, block_head)?;
            let tasks = gradient.par_chunks_mut(hidden).zip(part.par_chunks(hidden));
            tasks.zip(&sums).for_each(|((gradient, part), sum)| {
                for (gradient, part) in gradient.iter_mut().zip(part) {
                    *gradient = *gradient * sum.rescale + *part;
                }
            });
            Ok(())
        })?;
    }
    let nats = sums.iter().map(RowSum::nats).sum();
    let Some(weight) = weight else { return Ok((nats, Vec::new())) };
    let mut scattered = vec![T::zero(); states.len()];
    let mut target_row = vec![T::zero(); hidden];
    let weight = T::from_f64(weight);
    for ((token, sum), gradient) in predicted.iter().zip(&sums).zip(gradient.chunks_exact(hidden)) {
        head.copy_row(targets[*token] as usize, &mut target_row)?;
        let scattered = &mut scattered[token * hidden..(token + 1) * hidden];
        for ((scattered, gradient), target) in scattered.iter_mut().zip(gradient).zip(&target_row) {
            *scattered = weight * (*gradient / sum.total - *target);
        }
    }
    Ok((nats, scattered))
}

/// Logits `[tokens, vocabulary]` of normed states `[tokens, hidden]`.
pub(crate) fn logits<T: Real>(states: &[T], head: &FrozenMatrix) -> Result<Vec<T>> {
    let states = T::to_cpu_storage(states);
    let states = Matrix::whole::<T>(&states, head.columns())?;
    head.with_all::<T, _>(|head| product(states, head.transposed()))
}

/// What is known of a row's distribution so far.
#[derive(Clone, Copy)]
struct RowSum<T> {
    /// The largest logit.
    most: T,
    /// The sum of `exp(logit - most)`.
    total: T,
    /// What sums made before the last block have to be multiplied with.
    rescale: T,
    /// The target's logit.
    target: T,
}

impl<T: Real> RowSum<T> {
    fn new() -> Self {
        let least = T::from_f64(f64::from(f32::MIN));
        Self { most: least, total: T::zero(), rescale: T::zero(), target: T::zero() }
    }

    fn nats(&self) -> f64 {
        self.total.to_f64().ln() + self.most.to_f64() - self.target.to_f64()
    }
}

struct Exponentiate<'a, T> {
    logits: &'a mut [T],
    sum: &'a mut RowSum<T>,
}

impl<T: Real> Kernel for Exponentiate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let sum = self.sum;
        let most = simd::largest(self.logits, sum.most);
        sum.rescale = (sum.most - most).exponential();
        sum.most = most;
        for logit in self.logits.iter_mut() {
            *logit = (*logit - most).exponential();
        }
        let logits = &*self.logits;
        sum.total = sum.total * sum.rescale + simd::sum(logits.len(), |i| logits[i]);
    }
}
