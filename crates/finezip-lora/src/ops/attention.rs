//! Causal softmax attention over packed heads, without a matrix of all tokens by all tokens.
//!
//! Queries are taken in chunks; a chunk meets only the keys that one of its tokens can see. The
//! backward pass computes a chunk's probabilities again instead of keeping them.

use std::ops::Range;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::heads::HeadSizes;
use super::product::add;
use super::simd::{self, Kernel, dispatch};
use super::{Matrix, Real, Stored, for_dtype, like, product, values, with_storage};

/// Tokens whose queries are computed at once.
const CHUNK_TOKENS: usize = 64;

/// Attention of queries `[sequences, kv_heads, length * group, width]` over keys and values
/// `[sequences, kv_heads, length, width]`.
#[derive(Clone)]
pub(crate) struct Attention {
    /// Sizes of the queries.
    pub(crate) sizes: HeadSizes,
    /// What query times key is multiplied with.
    pub(crate) scale: f32,
    /// For each token the first of its sequence that it sees, `[sequences * length]`; at most
    /// the token itself.
    pub(crate) starts: Arc<Vec<u32>>,
}

/// Where the parts of one sequence and key head lie.
struct Block<'a> {
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    values: Matrix<'a>,
    starts: &'a [u32],
}

/// Gradients of one sequence and key head.
struct BlockGradients<'a, T> {
    queries: &'a mut [T],
    keys: &'a mut [T],
    values: &'a mut [T],
}

impl Attention {
    fn check<T: Real>(&self, q: Stored<'_>, k: Stored<'_>, v: Stored<'_>) -> Result<()> {
        let sizes = &self.sizes;
        let keys = HeadSizes { group: 1, ..*sizes };
        let expected = [sizes.heads_shape(), keys.heads_shape(), keys.heads_shape()];
        for ((storage, layout), expected) in [q, k, v].into_iter().zip(&expected) {
            values::<T>(storage, layout)?;
            if layout.shape() != expected {
                bail!("attention: expected shape {expected:?}, found {:?}", layout.shape());
            }
        }
        if self.starts.len() != sizes.sequences * sizes.length {
            bail!("attention: {} starts for {sizes:?}", self.starts.len());
        }
        let tokens = self.starts.iter().zip((0..sizes.length as u32).cycle());
        if tokens.into_iter().any(|(start, token)| *start > token) {
            bail!("attention: a token does not see itself");
        }
        Ok(())
    }

    fn block<'a, T: Real>(
        &'a self,
        q: Stored<'a>,
        k: Stored<'a>,
        v: Stored<'a>,
        number: usize,
    ) -> Result<Block<'a>> {
        let HeadSizes { length, kv_heads, group, width, .. } = self.sizes;
        let matrix = |(storage, layout): Stored<'a>, rows: usize| {
            let offset = layout.start_offset() + number * rows * width;
            Matrix::new::<T>(storage, offset, rows, width)
        };
        let sequence = number / kv_heads;
        Ok(Block {
            queries: matrix(q, length * group)?,
            keys: matrix(k, length)?,
            values: matrix(v, length)?,
            starts: &self.starts[sequence * length..(sequence + 1) * length],
        })
    }

    fn forward<T: Real>(&self, q: Stored<'_>, k: Stored<'_>, v: Stored<'_>) -> Result<Vec<T>> {
        self.check::<T>(q, k, v)?;
        let mut output = vec![T::zero(); values::<T>(q.0, q.1)?.len()];
        let blocks = output.par_chunks_mut(self.sizes.block().max(1)).enumerate();
        blocks.try_for_each(|(number, output)| -> Result<()> {
            let block = self.block::<T>(q, k, v, number)?;
            for chunk in self.chunks() {
                let (keys, probabilities) = self.probabilities::<T>(&block, &chunk)?;
                let probabilities = T::to_cpu_storage_owned(probabilities);
                let probabilities = Matrix::whole::<T>(&probabilities, keys.len())?;
                let rows = product::<T>(probabilities, block.values.rows(keys)?)?;
                output[self.queries_of(&chunk, self.sizes.width)].copy_from_slice(&rows);
            }
            Ok(())
        })?;
        Ok(output)
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let length = self.sizes.length;
        (0..length).step_by(CHUNK_TOKENS).map(move |start| start..length.min(start + CHUNK_TOKENS))
    }

    /// Places of the queries of some tokens in a block, in steps of `width` values.
    fn queries_of(&self, tokens: &Range<usize>, width: usize) -> Range<usize> {
        tokens.start * self.sizes.group * width..tokens.end * self.sizes.group * width
    }

    /// The keys that tokens of a chunk can see, and how each query is spread over them.
    fn probabilities<T: Real>(
        &self,
        block: &Block<'_>,
        chunk: &Range<usize>,
    ) -> Result<(Range<usize>, Vec<T>)> {
        let starts = &block.starts[chunk.clone()];
        let first = starts.iter().min().map_or(0, |start| *start as usize);
        let keys = first..chunk.end;
        let queries = block.queries.rows(self.queries_of(chunk, 1))?;
        let mut scores = product::<T>(queries, block.keys.rows(keys.clone())?.transposed())?;
        dispatch(Softmax {
            scores: &mut scores,
            starts,
            first,
            chunk_start: chunk.start,
            group: self.sizes.group,
            columns: keys.len(),
            scale: T::from_f32(self.scale),
        });
        Ok((keys, scores))
    }

    /// Gradients of queries, keys and values.
    fn backward<T: Real>(&self, [q, k, v, o, d_o]: [Stored<'_>; 5]) -> Result<[Vec<T>; 3]> {
        self.check::<T>(q, k, v)?;
        let (outputs, d_outputs) = (values::<T>(o.0, o.1)?, values::<T>(d_o.0, d_o.1)?);
        let (q_block, k_block) = (self.sizes.block().max(1), self.sizes.length * self.sizes.width);
        let keys = values::<T>(k.0, k.1)?.len();
        let mut dq = vec![T::zero(); outputs.len()];
        let (mut dk, mut dv) = (vec![T::zero(); keys], vec![T::zero(); keys]);
        let gradients = dq.par_chunks_mut(q_block);
        let gradients = gradients.zip(dk.par_chunks_mut(k_block).zip(dv.par_chunks_mut(k_block)));
        gradients.enumerate().try_for_each(|(number, (queries, (keys, values)))| {
            let block = self.block::<T>(q, k, v, number)?;
            let offset = d_o.1.start_offset() + number * q_block;
            let rows = self.sizes.length * self.sizes.group;
            let d_output = Matrix::new::<T>(d_o.0, offset, rows, self.sizes.width)?;
            let place = number * q_block..(number + 1) * q_block;
            let (outputs, d_outputs) = (&outputs[place.clone()], &d_outputs[place]);
            let gradients = BlockGradients { queries, keys, values };
            self.backward_block(&block, d_output, outputs, d_outputs, gradients)
        })?;
        Ok([dq, dk, dv])
    }

    /// With `P` the probabilities and `D` the sums over `dO * O` of each row:
    /// `dS = P * (dO V^T - D)`, `dQ = scale * dS K`, `dK = scale * dS^T Q`, `dV = P^T dO`.
    fn backward_block<T: Real>(
        &self,
        block: &Block<'_>,
        d_output: Matrix<'_>,
        outputs: &[T],
        d_outputs: &[T],
        gradients: BlockGradients<'_, T>,
    ) -> Result<()> {
        let width = self.sizes.width;
        for chunk in self.chunks() {
            let (keys, probabilities) = self.probabilities::<T>(block, &chunk)?;
            let rows = self.queries_of(&chunk, 1);
            let place = self.queries_of(&chunk, width);
            let d_output = d_output.rows(rows.clone())?;
            let mut d_scores =
                product::<T>(d_output, block.values.rows(keys.clone())?.transposed())?;
            dispatch(SoftmaxGradient {
                probabilities: &probabilities,
                d_scores: &mut d_scores,
                outputs: &outputs[place.clone()],
                d_outputs: &d_outputs[place.clone()],
                width,
                columns: keys.len(),
                scale: T::from_f32(self.scale),
            });
            let probabilities = T::to_cpu_storage_owned(probabilities);
            let probabilities = Matrix::whole::<T>(&probabilities, keys.len())?;
            let d_scores = T::to_cpu_storage_owned(d_scores);
            let d_scores = Matrix::whole::<T>(&d_scores, keys.len())?;
            let key_place = keys.start * width..keys.end * width;
            let dv = product::<T>(probabilities.transposed(), d_output)?;
            add(&mut gradients.values[key_place.clone()], &dv);
            let dk = product::<T>(d_scores.transposed(), block.queries.rows(rows)?)?;
            add(&mut gradients.keys[key_place], &dk);
            let dq = product::<T>(d_scores, block.keys.rows(keys)?)?;
            gradients.queries[place].copy_from_slice(&dq);
        }
        Ok(())
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        for_dtype!(q.dtype(), T => {
            let output = self.forward::<T>((q, q_layout), (k, k_layout), (v, v_layout))?;
            Ok((WithDType::to_cpu_storage_owned(output), q_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        d_o: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        for_dtype!(q.dtype(), T => {
            let [dq, dk, dv] = with_storage(q, |q| with_storage(k, |k| with_storage(v, |v| {
                with_storage(o, |o| with_storage(d_o, |d_o| {
                    self.backward::<T>([q, k, v, o, d_o])
                }))
            })))?;
            Ok((Some(like(dq, q)?), Some(like(dk, k)?), Some(like(dv, v)?)))
        })
    }
}

/// Scores to probabilities, in place; what a token does not see gets 0.
struct Softmax<'a, T> {
    scores: &'a mut [T],
    starts: &'a [u32],
    first: usize,
    chunk_start: usize,
    group: usize,
    columns: usize,
    scale: T,
}

impl<T: Real> Kernel for Softmax<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, scores) in self.scores.chunks_exact_mut(self.columns).enumerate() {
            let token = row / self.group;
            let seen =
                self.starts[token] as usize - self.first..self.chunk_start + token + 1 - self.first;
            scores[..seen.start].fill(T::zero());
            scores[seen.end..].fill(T::zero());
            let scores = &mut scores[seen];
            let most = simd::largest(scores, scores[0]);
            for score in scores.iter_mut() {
                *score = ((*score - most) * self.scale).exponential();
            }
            let inverse = T::one() / simd::sum(scores.len(), |i| scores[i]);
            scores.iter_mut().for_each(|score| *score *= inverse);
        }
    }
}

struct SoftmaxGradient<'a, T> {
    probabilities: &'a [T],
    d_scores: &'a mut [T],
    outputs: &'a [T],
    d_outputs: &'a [T],
    width: usize,
    columns: usize,
    scale: T,
}

impl<T: Real> Kernel for SoftmaxGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.d_scores.chunks_exact_mut(self.columns);
        let rows = rows.zip(self.probabilities.chunks_exact(self.columns));
        let outputs = self.outputs.chunks_exact(self.width);
        let outputs = outputs.zip(self.d_outputs.chunks_exact(self.width));
        for ((d_scores, probabilities), (output, d_output)) in rows.zip(outputs) {
            let along = simd::sum(self.width, |i| output[i] * d_output[i]);
            for (d_score, probability) in d_scores.iter_mut().zip(probabilities) {
                *d_score = *probability * (*d_score - along) * self.scale;
            }
        }
    }
}
