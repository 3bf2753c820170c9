//! One transformer block, differentiable by its input and its adapters.

use std::sync::Arc;

use candle_core::{Tensor, Var};

use super::{Batch, Network};
use crate::error::Result;
use crate::ops::{
    Attention, Dropout, FrozenLinear, Gated, HeadSizes, LinearWeight, LoraLinear, PackHeads,
    RmsNorm, Rotation, UnpackHeads,
};
use crate::random::key;
use crate::target::Linear;

/// A and B of a linear.
pub(super) struct LoraVars {
    /// `[rank, in]`.
    pub(super) a: Var,
    /// `[out, rank]`.
    pub(super) b: Var,
}

/// The norms of a block; which there are depends on the family.
pub(super) struct BlockNorms {
    pub(super) before_attention: RmsNorm,
    pub(super) after_attention: Option<RmsNorm>,
    pub(super) before_feed_forward: RmsNorm,
    pub(super) after_feed_forward: Option<RmsNorm>,
    pub(super) query: Option<RmsNorm>,
    pub(super) key: Option<RmsNorm>,
}

/// A transformer block.
pub(super) struct Block {
    pub(super) norms: BlockNorms,
    /// In the order of [`Linear::ALL`].
    pub(super) linears: Vec<Arc<LinearWeight>>,
    /// In the same order; none where a linear is not adapted.
    pub(super) adapters: [Option<LoraVars>; 7],
    /// Tokens a sliding layer sees.
    pub(super) window: Option<usize>,
}

impl Block {
    /// A and B of the adapted linears.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Var> {
        self.adapters.iter().flatten().flat_map(|vars| [&vars.a, &vars.b])
    }
}

impl Network {
    /// The block's result for `x [sequences * length, hidden]`. With a key, inputs of adapters
    /// are dropped.
    pub(super) fn block(
        &self,
        layer: usize,
        x: &Tensor,
        batch: &Batch,
        dropout_key: Option<u64>,
    ) -> Result<Tensor> {
        let block = &self.blocks[layer];
        let dropout_key = dropout_key.map(|outer| key(outer, layer as u64));
        let norms = &block.norms;

        let normed = x.apply_op1(norms.before_attention.clone())?;
        let attended = self.attention(block, &normed, batch, dropout_key)?;
        let x = (x + optional(norms.after_attention.as_ref(), attended)?)?;

        let normed = x.apply_op1(norms.before_feed_forward.clone())?;
        let linear = |linear, x: &Tensor| self.linear(block, linear, x, dropout_key);
        let gate = linear(Linear::GateProj, &normed)?;
        let up = linear(Linear::UpProj, &normed)?;
        let gated = gate.apply_op2(&up, Gated(self.config.activation))?;
        let down = linear(Linear::DownProj, &gated)?;
        Ok((x + optional(norms.after_feed_forward.as_ref(), down)?)?)
    }

    fn attention(
        &self,
        block: &Block,
        x: &Tensor,
        batch: &Batch,
        dropout_key: Option<u64>,
    ) -> Result<Tensor> {
        let config = &self.config;
        let queries = HeadSizes {
            sequences: batch.sequences,
            length: batch.length,
            kv_heads: config.kv_heads,
            group: config.heads / config.kv_heads,
            width: config.head_dim,
        };
        let keys = HeadSizes { group: 1, ..queries };
        let rotation = match (block.window, &self.local_rotation) {
            (Some(_), Some(local)) => local,
            _ => &self.rotation,
        };
        let heads = |linear, sizes, norm, rotation: Option<&Rotation>| -> Result<Tensor> {
            let rows = self.linear(block, linear, x, dropout_key)?;
            let rows = optional(norm, rows)?;
            Ok(rows.apply_op1(PackHeads { sizes, rotation: rotation.cloned() })?)
        };
        let norms = &block.norms;
        let q = heads(Linear::QProj, queries, norms.query.as_ref(), Some(rotation))?;
        let k = heads(Linear::KProj, keys, norms.key.as_ref(), Some(rotation))?;
        let v = heads(Linear::VProj, keys, None, None)?;
        let attention = Attention {
            sizes: queries,
            scale: config.query_scale,
            starts: visible(batch, block.window),
        };
        let attended = q.apply_op3(&k, &v, attention)?.apply_op1(UnpackHeads(queries))?;
        self.linear(block, Linear::OProj, &attended, dropout_key)
    }

    fn linear(
        &self,
        block: &Block,
        linear: Linear,
        x: &Tensor,
        dropout_key: Option<u64>,
    ) -> Result<Tensor> {
        let weight = Arc::clone(&block.linears[linear as usize]);
        let Some(vars) = &block.adapters[linear as usize] else {
            return Ok(x.apply_op1(FrozenLinear(weight))?);
        };
        let rate = self.lora.dropout;
        let dropout = dropout_key.filter(|_| rate > 0.0);
        let dropout = dropout.map(|outer| Dropout { rate, key: key(outer, linear as u64) });
        let lora = LoraLinear { linear: weight, scale: self.scale(), dropout };
        Ok(x.apply_op3(vars.a.as_tensor(), vars.b.as_tensor(), lora)?)
    }
}

fn optional(norm: Option<&RmsNorm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => Ok(x.apply_op1(norm.clone())?),
        None => Ok(x),
    }
}

/// The first token each token sees in a layer that may slide.
fn visible(batch: &Batch, window: Option<usize>) -> Arc<Vec<u32>> {
    let Some(window) = window else { return Arc::clone(&batch.starts) };
    let tokens = batch.starts.iter().zip((0..batch.length).cycle());
    let starts =
        tokens.map(|(start, token)| (*start).max((token + 1).saturating_sub(window) as u32));
    Arc::new(starts.collect())
}
