//! Forward and backward through the whole model, one block at a time.
//!
//! Each block is a graph of its own whose input is a variable, so the backward pass goes from
//! block to block with a plain gradient in between. Whether a block's graph is kept from the
//! forward pass or built again (gradient checkpointing, Chen et al. 2016, arXiv 1604.06174)
//! changes memory and time, and not one bit of the result.

use candle_core::{Device, Tensor, Var, WithDType};

use super::{Batch, Network};
use crate::error::{Error, Result};
use crate::ops::{HeadLoss, SeedGradient, cross_entropy, for_dtype, logits, with_values};

/// How a backward pass is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardSettings {
    /// What the sum of negative log-probabilities is multiplied with.
    pub(crate) weight: f64,
    /// Where dropped inputs follow from; none drops nothing.
    pub(crate) dropout_key: Option<u64>,
    /// Whether blocks are computed again in the backward pass instead of kept.
    pub(crate) checkpointing: bool,
}

impl Network {
    /// The embedded tokens, `[sequences * length, hidden]`.
    fn embed(&self, batch: &Batch) -> Result<Tensor> {
        let hidden = self.config.hidden_size;
        let shape = (batch.sequences * batch.length, hidden);
        if batch.tokens.len() != shape.0 {
            return Err(Error::setting("tokens of a batch", shape.0, batch.tokens.len()));
        }
        for_dtype!(self.dtype, T => {
            let mut values: Vec<T> = vec![Default::default(); shape.0 * hidden];
            for (row, token) in values.chunks_exact_mut(hidden).zip(&batch.tokens) {
                self.embedding.copy_row::<T>(*token as usize, row)?;
                if self.config.embedding_scale != 1.0 {
                    let scale = T::from(self.config.embedding_scale);
                    row.iter_mut().for_each(|value| *value *= scale);
                }
            }
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        })
    }

    /// Normed states after the last block, without a graph.
    fn states(&self, batch: &Batch) -> Result<Tensor> {
        let mut x = self.embed(batch)?;
        for layer in 0..self.blocks.len() {
            x = self.block(layer, &x, batch, None)?.detach();
        }
        Ok(x.apply_op1(self.final_norm.clone())?)
    }

    /// The sum of the targets' negative log-probabilities, in nats.
    ///
    /// # Errors
    /// Batches that do not fit the model.
    pub(crate) fn nats(&self, batch: &Batch) -> Result<f64> {
        let states = self.states(batch)?;
        for_dtype!(self.dtype, T => Ok(with_values::<T, _>(&states, |states| {
            Ok(cross_entropy::<T>(states, &batch.targets, &self.head, None)?.0)
        })?))
    }

    /// Logits of every token, `[sequences * length, vocabulary]`.
    ///
    /// # Errors
    /// Batches that do not fit the model.
    pub(crate) fn logits(&self, batch: &Batch) -> Result<Vec<f64>> {
        let states = self.states(batch)?;
        for_dtype!(self.dtype, T => Ok(with_values::<T, _>(&states, |states| {
            let logits = logits::<T>(states, &self.head)?;
            Ok(logits.into_iter().map(WithDType::to_f64).collect())
        })?))
    }

    /// The sum of the targets' negative log-probabilities in nats, times the settings' weight;
    /// the gradient of that is added to `gradients`, one a parameter.
    ///
    /// # Errors
    /// Batches that do not fit the model.
    pub(crate) fn backward(
        &self,
        batch: &Batch,
        settings: BackwardSettings,
        gradients: &mut [Vec<f32>],
    ) -> Result<f64> {
        let key = settings.dropout_key;
        let mut inputs = Vec::with_capacity(self.blocks.len());
        let mut kept = Vec::with_capacity(self.blocks.len());
        let mut x = self.embed(batch)?;
        for layer in 0..self.blocks.len() {
            let input = Var::from_tensor(&x)?;
            let y = self.block(layer, input.as_tensor(), batch, key)?;
            x = y.detach();
            inputs.push(input);
            if !settings.checkpointing {
                kept.push(y);
            }
        }

        let last = Var::from_tensor(&x)?;
        drop(x);
        let head_loss = HeadLoss::new(self.head.clone(), batch.targets.clone(), settings.weight);
        let loss = last.apply_op1(self.final_norm.clone())?.apply_op1(head_loss)?;
        let mut gradient = gradient_of(&loss, &last)?;

        let mut end = gradients.len();
        for layer in (0..self.blocks.len()).rev() {
            let Some(input) = inputs.pop() else { break };
            let y = match kept.pop() {
                Some(y) => y,
                None => self.block(layer, input.as_tensor(), batch, key)?,
            };
            let grads = y.apply_op1(SeedGradient(gradient))?.backward()?;
            let parameters: Vec<&Var> = self.blocks[layer].parameters().collect();
            let start = end.saturating_sub(parameters.len());
            for (sums, var) in gradients[start..end].iter_mut().zip(parameters) {
                let Some(part) = grads.get(var) else { continue };
                let part = part.to_dtype(candle_core::DType::F32)?;
                with_values::<f32, _>(&part, |part| {
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                    Ok(())
                })?;
            }
            end = start;
            gradient = match grads.get(&input) {
                Some(gradient) => gradient.clone(),
                None => return Err(candle_core::Error::msg("a block without gradient").into()),
            };
        }
        Ok(loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
    }
}

fn gradient_of(loss: &Tensor, var: &Var) -> Result<Tensor> {
    match loss.backward()?.get(var) {
        Some(gradient) => Ok(gradient.clone()),
        None => Err(candle_core::Error::msg("a loss without gradient").into()),
    }
}
