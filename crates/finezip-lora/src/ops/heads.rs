//! From rows of tokens to heads and back, with the rotation of positions on the way.
//!
//! A linear gives `[sequences * length, heads * width]`. Attention wants, for each sequence and
//! each key head, the rows of all query heads that share it: `[sequences, kv_heads,
//! length * group, width]`, where row `t * group + g` is token `t` in query head `g` of the group.
//! So one matrix product serves a whole group.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{Real, TASK_ROWS, for_dtype, values, with_values};

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) on pairs of elements `j` and
/// `j + width / 2`: cosines and sines, `[positions, width / 2]`.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    /// Cosine of position times frequency.
    pub(crate) cosines: Arc<Vec<f32>>,
    /// Sine of the same.
    pub(crate) sines: Arc<Vec<f32>>,
}

/// Sizes of a batch of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadSizes {
    /// Rows of the batch.
    pub(crate) sequences: usize,
    /// Tokens of each.
    pub(crate) length: usize,
    /// Key and value heads.
    pub(crate) kv_heads: usize,
    /// Query heads that share a key head; 1 for keys and values themselves.
    pub(crate) group: usize,
    /// Elements of a head; even.
    pub(crate) width: usize,
}

impl HeadSizes {
    fn row(&self) -> usize {
        self.kv_heads * self.group * self.width
    }

    /// Values of one sequence in one key head.
    pub(crate) fn block(&self) -> usize {
        self.length * self.group * self.width
    }

    fn rows_shape(&self) -> Shape {
        Shape::from((self.sequences * self.length, self.row()))
    }

    /// The shape of packed heads.
    pub(crate) fn heads_shape(&self) -> Shape {
        Shape::from((self.sequences, self.kv_heads, self.length * self.group, self.width))
    }

    fn check<T>(&self, values: &[T], rotation: Option<&Rotation>) -> Result<()> {
        let expected = self.sequences * self.length * self.row();
        if values.len() != expected {
            bail!("heads {self:?}: expected {expected} values, found {}", values.len());
        }
        let angles = self.length * self.width / 2;
        if rotation.is_some_and(|r| r.cosines.len() < angles || r.sines.len() < angles) {
            bail!("rotation of fewer than {} positions", self.length);
        }
        Ok(())
    }
}

/// Rows of tokens to heads, rotated if there is a rotation.
#[derive(Clone)]
pub(crate) struct PackHeads {
    /// How many of everything.
    pub(crate) sizes: HeadSizes,
    /// None leaves values as they are.
    pub(crate) rotation: Option<Rotation>,
}

/// Heads to rows of tokens.
#[derive(Clone)]
pub(crate) struct UnpackHeads(pub(crate) HeadSizes);

impl CustomOp1 for PackHeads {
    fn name(&self) -> &'static str {
        "pack-heads"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_dtype!(candle_core::backend::BackendStorage::dtype(storage), T => {
            let packed = pack::<T>(&self.sizes, self.rotation.as_ref(), values(storage, layout)?)?;
            let storage = candle_core::WithDType::to_cpu_storage_owned(packed);
            Ok((storage, self.sizes.heads_shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        for_dtype!(x.dtype(), T => with_values::<T, _>(dy, |dy| {
            let rows = unpack::<T>(&self.sizes, self.rotation.as_ref(), dy)?;
            Tensor::from_vec(rows, x.shape(), x.device()).map(Some)
        }))
    }
}

impl CustomOp1 for UnpackHeads {
    fn name(&self) -> &'static str {
        "unpack-heads"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_dtype!(candle_core::backend::BackendStorage::dtype(storage), T => {
            let rows = unpack::<T>(&self.0, None, values(storage, layout)?)?;
            let storage = candle_core::WithDType::to_cpu_storage_owned(rows);
            Ok((storage, self.0.rows_shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        for_dtype!(x.dtype(), T => with_values::<T, _>(dy, |dy| {
            let heads = pack::<T>(&self.0, None, dy)?;
            Tensor::from_vec(heads, x.shape(), x.device()).map(Some)
        }))
    }
}

fn pack<T: Real>(sizes: &HeadSizes, rotation: Option<&Rotation>, rows: &[T]) -> Result<Vec<T>> {
    sizes.check(rows, rotation)?;
    let HeadSizes { length, kv_heads, group, width, .. } = *sizes;
    let mut heads = vec![T::zero(); rows.len()];
    heads.par_chunks_mut(sizes.block().max(1)).enumerate().for_each(|(block, heads)| {
        let (sequence, kv_head) = (block / kv_heads, block % kv_heads);
        for (place, head) in heads.chunks_exact_mut(width).enumerate() {
            let (token, member) = (place / group, place % group);
            let row = (sequence * length + token) * sizes.row();
            let start = row + (kv_head * group + member) * width;
            let source = &rows[start..start + width];
            match rotation {
                None => head.copy_from_slice(source),
                Some(rotation) => rotate::<T, false>(rotation, token, source, head),
            }
        }
    });
    Ok(heads)
}

/// The way back, and the gradient of [`pack`]: a rotation's transpose is the rotation by the
/// opposite angle.
fn unpack<T: Real>(sizes: &HeadSizes, rotation: Option<&Rotation>, heads: &[T]) -> Result<Vec<T>> {
    sizes.check(heads, rotation)?;
    let HeadSizes { length, kv_heads, group, width, .. } = *sizes;
    let mut rows = vec![T::zero(); heads.len()];
    rows.par_chunks_mut((sizes.row() * TASK_ROWS).max(1)).enumerate().for_each(|(task, rows)| {
        for (row, values) in rows.chunks_exact_mut(sizes.row()).enumerate() {
            let token = (task * TASK_ROWS + row) % length;
            let sequence = (task * TASK_ROWS + row) / length;
            for (head, target) in values.chunks_exact_mut(width).enumerate() {
                let (kv_head, member) = (head / group, head % group);
                let block = (sequence * kv_heads + kv_head) * sizes.block();
                let start = block + (token * group + member) * width;
                let source = &heads[start..start + width];
                match rotation {
                    None => target.copy_from_slice(source),
                    Some(rotation) => rotate::<T, true>(rotation, token, source, target),
                }
            }
        }
    });
    Ok(rows)
}

fn rotate<T: Real, const BACK: bool>(
    rotation: &Rotation,
    position: usize,
    source: &[T],
    target: &mut [T],
) {
    let half = source.len() / 2;
    let angles = position * half..(position + 1) * half;
    let (first, second) = source.split_at(half);
    let (target_first, target_second) = target.split_at_mut(half);
    let angles = rotation.cosines[angles.clone()].iter().zip(&rotation.sines[angles]);
    let targets = target_first.iter_mut().zip(target_second);
    for ((targets, angle), (first, second)) in targets.zip(angles).zip(first.iter().zip(second)) {
        let cosine = T::from_f32(*angle.0);
        let sine = T::from_f32(if BACK { -*angle.1 } else { *angle.1 });
        *targets.0 = *first * cosine - *second * sine;
        *targets.1 = *second * cosine + *first * sine;
    }
}
