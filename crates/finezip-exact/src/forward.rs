//! One block of rows through all layers.
//!
//! The order of operations is that of docs/arithmetic.md; each of them gives a row the same bits
//! whatever other rows the block holds.

use finezip_core::WritableRow;
use finezip_models::Activation;

use crate::arithmetic::rope::Rope;
use crate::blocks::Block;
use crate::error::Result;
use crate::kernels::{
    Context, RopeLayout, RowWithMaximum, gelu_tanh_gate, hadamard_64, rms_norm, rope, silu_gate,
};
use crate::kv_store::Projections;
use crate::linear::Operand;
use crate::model::ExactModel;
use crate::ring::Ring;
use crate::turns::Passage;
use crate::weights::{LayerWeights, Linear};

/// Memory between layers, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// The residual stream, `[rows][hidden]`.
    residual: Vec<f32>,
    /// Queries, keys and values, `[rows][qkv]`.
    qkv: Vec<f32>,
    /// Queries for sinks, `[rows][queries]`.
    sink_queries: Vec<f32>,
    /// Heads' outputs, `[rows][queries]`.
    attended: Vec<f32>,
    /// Gate and up, `[rows][2 * feed_forward]`.
    gate_up: Vec<f32>,
    /// A part's output where a norm follows, `[rows][hidden]`.
    projected: Vec<f32>,
    /// Cosines and sines of the rows' positions, one table a kind of layer.
    angles: Vec<Vec<f32>>,
    /// The same of the positions that sink queries are rotated to.
    sink_angles: Vec<Vec<f32>>,
    operand: Operand,
}

/// The widths of a model's rows.
struct Widths {
    hidden: usize,
    query: usize,
    key: usize,
    feed_forward: usize,
}

impl Widths {
    fn qkv(&self) -> usize {
        self.query + 2 * self.key
    }
}

/// What a layer is computed with.
struct Pass<'a> {
    model: &'a ExactModel,
    context: &'a Context,
    block: &'a Block,
    widths: Widths,
}

/// Runs a block through the model and writes what its rows give: one of `outputs` for each of the
/// block's, in their order.
pub(crate) fn run(
    model: &ExactModel,
    context: &Context,
    mut passage: Passage<'_, '_>,
    workspace: &mut Workspace,
    block: &Block,
    outputs: Vec<WritableRow<'_>>,
) -> Result<()> {
    let config = model.config();
    let widths = Widths {
        hidden: config.hidden_size,
        query: config.heads * config.head_dim,
        key: config.kv_heads * config.head_dim,
        feed_forward: config.feed_forward,
    };
    let pass = Pass { model, context, block, widths };
    pass.begin(&passage, workspace);
    for (layer, weights) in model.weights().layers.iter().enumerate() {
        pass.attention(model.rope_of(layer), weights, &mut passage, workspace)?;
        pass.feed_forward(weights, workspace)?;
    }
    pass.head(workspace, outputs)
}

impl Pass<'_> {
    /// Sets the sizes of the buffers, the tokens' rows and the positions' angles.
    fn begin(&self, passage: &Passage<'_, '_>, workspace: &mut Workspace) {
        let (rows, widths) = (self.block.rows(), &self.widths);
        workspace.residual.resize(rows * widths.hidden, 0.0);
        workspace.qkv.resize(rows * widths.qkv(), 0.0);
        workspace.attended.resize(rows * widths.query, 0.0);
        workspace.gate_up.resize(rows * 2 * widths.feed_forward, 0.0);
        let (weights, tokens) = (self.model.weights(), &self.block.tokens);
        self.context.for_each_row(&mut workspace.residual, widths.hidden, |row, out| {
            weights.write_embedding(tokens[row] as usize, out);
        });

        let ropes = self.model.ropes();
        workspace.angles.resize(ropes.len(), Vec::new());
        workspace.sink_angles.resize(ropes.len(), Vec::new());
        for (kind, rope) in ropes.iter().enumerate() {
            self.write_angles(rope, &mut workspace.angles[kind], |position| position);
        }
        for (layer, ring) in passage.rings().enumerate() {
            let kind = self.model.rope_of(layer);
            let first_of_kind = (0..layer).all(|earlier| self.model.rope_of(earlier) != kind);
            if first_of_kind && self.sees_sinks(ring) {
                let table = &mut workspace.sink_angles[kind];
                self.write_angles(&ropes[kind], table, |position| ring.sink_position(position));
            }
        }
    }

    fn write_angles(
        &self,
        rope: &Rope,
        table: &mut Vec<f32>,
        position: impl Fn(u64) -> u64 + Sync + Send,
    ) {
        let width = 2 * rope.pairs();
        table.resize(self.block.rows() * width, 0.0);
        self.context.for_each_row(table, width, |row, angles| {
            rope.write(position(self.block.positions[row]), angles);
        });
    }

    fn sees_sinks(&self, ring: Ring) -> bool {
        self.block.positions.iter().any(|&position| ring.sees_sinks(position))
    }

    /// `x = x + Wo attention(norm(x))`, with a norm of its own where the model has one.
    fn attention(
        &self,
        rope_kind: usize,
        weights: &LayerWeights,
        passage: &mut Passage<'_, '_>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let (context, widths) = (self.context, &self.widths);
        let head_width = self.model.config().head_dim;
        let (qkv_width, query_width) = (widths.qkv(), widths.query);
        self.norm_into_operand(&weights.attention_gain, &weights.qkv, workspace)?;
        workspace.operand.multiply(context, &weights.qkv, &mut workspace.qkv);
        self.bias_and_norm(weights, &mut workspace.qkv);

        let sinks = self.sees_sinks(passage.ring());
        let rotate = |heads: &mut [f32], angles: &[f32]| {
            let (cosines, sines) = angles.split_at(angles.len() / 2);
            rope(context.isa(), heads, head_width, cosines, sines, RopeLayout::Halves);
            if self.model.rotates_queries() {
                hadamard_64(context.isa(), heads);
            }
        };
        workspace.sink_queries.resize(if sinks { self.block.rows() * query_width } else { 0 }, 0.0);
        if sinks {
            let (qkv, table) = (&workspace.qkv, &workspace.sink_angles[rope_kind]);
            context.for_each_row(&mut workspace.sink_queries, query_width, |row, out| {
                out.copy_from_slice(&qkv[row * qkv_width..][..query_width]);
                rotate(out, &table[row * head_width..(row + 1) * head_width]);
            });
        }
        let table = &workspace.angles[rope_kind];
        context.for_each_row(&mut workspace.qkv, qkv_width, |row, qkv| {
            let queries_and_keys = &mut qkv[..query_width + widths.key];
            rotate(queries_and_keys, &table[row * head_width..(row + 1) * head_width]);
        });

        let projections = Projections {
            qkv: &workspace.qkv,
            qkv_width,
            query_width,
            sink_queries: &workspace.sink_queries,
        };
        let scale = self.model.config().query_scale;
        passage.pass(|store| {
            store.store(context, self.block, projections);
            store.attend(context, self.block, projections, scale, &mut workspace.attended);
        });

        let attended = &workspace.attended;
        workspace.operand.fill(
            context,
            &weights.attention_output,
            self.block.rows(),
            |row, out| out.copy_from_slice(&attended[row * query_width..][..query_width]),
        )?;
        self.add_to_residual(&weights.attention_output, &weights.post_attention_gain, workspace);
        Ok(())
    }

    /// `x = x + Wdown (act(gate) * up)` of `norm(x)`.
    fn feed_forward(&self, weights: &LayerWeights, workspace: &mut Workspace) -> Result<()> {
        let (context, width) = (self.context, self.widths.feed_forward);
        self.norm_into_operand(&weights.feed_forward_gain, &weights.gate_up, workspace)?;
        workspace.operand.multiply(context, &weights.gate_up, &mut workspace.gate_up);
        let (gate_up, isa) = (&workspace.gate_up, context.isa());
        let (activation, rotates) = (self.model.config().activation, self.model.rotates_down());
        workspace.operand.fill(context, &weights.down, self.block.rows(), |row, out| {
            let (gate, up) = gate_up[row * 2 * width..(row + 1) * 2 * width].split_at(width);
            match activation {
                Activation::Silu => silu_gate(isa, gate, up, out),
                Activation::GeluTanh => gelu_tanh_gate(isa, gate, up, out),
            }
            if rotates {
                hadamard_64(isa, out);
            }
        })?;
        self.add_to_residual(&weights.down, &weights.post_feed_forward_gain, workspace);
        Ok(())
    }

    /// Logits, and features if they are wanted, of the rows that give any.
    ///
    /// Features are what the head is multiplied with, before it is rounded.
    fn head(&self, workspace: &mut Workspace, outputs: Vec<WritableRow<'_>>) -> Result<()> {
        let weights = self.model.weights();
        if outputs.is_empty() {
            return Ok(());
        }
        let rows: Vec<usize> = self.block.outputs.iter().map(|&(row, _)| row).collect();
        self.norm_rows(&weights.final_gain, &weights.head, &rows, workspace)?;
        let (hidden, residual) = (self.widths.hidden, &workspace.residual);
        let places = rows.into_iter().zip(outputs).map(|(row, output)| {
            if !output.features.is_empty() {
                let row = &residual[row * hidden..][..hidden];
                self.norm_row(row, &weights.final_gain, output.features);
            }
            RowWithMaximum { values: output.logits, maximum: output.maximum }
        });
        let mut places: Vec<_> = places.collect();
        workspace.operand.multiply_with_maxima(self.context, &weights.head, &mut places);
        Ok(())
    }

    /// Norm of every row, rotated where that is not folded, in the form `weights` multiplies.
    fn norm_into_operand(
        &self,
        gain: &[f32],
        weights: &Linear,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let rows: Vec<usize> = (0..self.block.rows()).collect();
        self.norm_rows(gain, weights, &rows, workspace)
    }

    fn norm_rows(
        &self,
        gain: &[f32],
        weights: &Linear,
        rows: &[usize],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let (hidden, residual) = (self.widths.hidden, &workspace.residual);
        workspace.operand.fill(self.context, weights, rows.len(), |index, out| {
            self.norm_row(&residual[rows[index] * hidden..][..hidden], gain, out);
        })
    }

    /// Norm of one row, rotated where that is not folded.
    fn norm_row(&self, row: &[f32], gain: &[f32], out: &mut [f32]) {
        rms_norm(self.context.isa(), row, gain, self.model.config().norm_eps, out);
        if let Some(rotation) = self.model.online_rotation() {
            rotation.apply_row(out);
        }
    }

    /// Biases, and the norms of queries and keys, where the model has them.
    fn bias_and_norm(&self, weights: &LayerWeights, qkv: &mut [f32]) {
        let (width, head_width) = (self.widths.qkv(), self.model.config().head_dim);
        let (isa, epsilon) = (self.context.isa(), self.model.config().norm_eps);
        if !weights.qkv_bias.is_empty() {
            self.context.for_each_row(qkv, width, |_, row| {
                crate::kernels::add_assign(isa, row, &weights.qkv_bias);
            });
        }
        if weights.query_gain.is_empty() && weights.key_gain.is_empty() {
            return;
        }
        self.context.for_each_row(qkv, width, |_, row| {
            let (queries, rest) = row.split_at_mut(self.widths.query);
            let keys = &mut rest[..self.widths.key];
            let mut normed = vec![0.0; head_width];
            for (heads, gain) in [(queries, &weights.query_gain), (keys, &weights.key_gain)] {
                for head in heads.chunks_exact_mut(head_width) {
                    rms_norm(isa, head, gain, epsilon, &mut normed);
                    head.copy_from_slice(&normed);
                }
            }
        });
    }

    /// Adds the product of the operand to the residual stream, through a norm if there is a gain.
    fn add_to_residual(&self, weights: &Linear, gain: &[f32], workspace: &mut Workspace) {
        if gain.is_empty() {
            workspace.operand.multiply_add(self.context, weights, &mut workspace.residual);
            return;
        }
        let (hidden, context) = (self.widths.hidden, self.context);
        workspace.projected.resize(workspace.residual.len(), 0.0);
        workspace.operand.multiply(context, weights, &mut workspace.projected);
        let (projected, epsilon) = (&workspace.projected, self.model.config().norm_eps);
        context.for_each_row(&mut workspace.residual, hidden, |row, out| {
            let mut normed = vec![0.0; hidden];
            let row = &projected[row * hidden..(row + 1) * hidden];
            rms_norm(context.isa(), row, gain, epsilon, &mut normed);
            crate::kernels::add_assign(context.isa(), out, &normed);
        });
    }
}
