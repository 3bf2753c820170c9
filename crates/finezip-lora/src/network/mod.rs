//! A model that can be trained: frozen weights, and the adapters of its linears.
//!
//! `passes` runs it forward and backward, one block at a time.

mod block;
mod load;
mod passes;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use finezip_core::TokenId;
use finezip_models::{Checkpoint, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, AdapterConfig, LoraMatrices, scale};
use crate::error::{Error, Result};
use crate::frozen::FrozenMatrix;
use crate::ops::{RmsNorm, Rotation, check_dtype};
use crate::random::{Random, key};
use crate::target::{Linear, Targets};
use block::{Block, LoraVars};

pub(crate) use crate::frozen::BaseForm;
pub(crate) use passes::BackwardSettings;

/// Where first values of adapters are drawn from, under the seed of a run.
const INITIAL_VALUES: u64 = 1;

/// What an adapter is to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    /// Rows of A; more can learn more and takes more bytes.
    pub rank: usize,
    /// Strength: the product is scaled with alpha over rank.
    pub alpha: f32,
    /// Whether it is scaled with alpha over the root of rank instead.
    pub use_rslora: bool,
    /// Share of an adapter's inputs that is dropped in training.
    pub dropout: f32,
    /// Which linears are adapted.
    pub targets: Targets,
    /// What first values, dropped inputs and the order of texts follow from.
    pub seed: u64,
}

impl Default for LoraSettings {
    /// Rank 8 and alpha 16 on all linears, without dropout.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            use_rslora: false,
            dropout: 0.0,
            targets: Targets::all(),
            seed: 1,
        }
    }
}

impl LoraSettings {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::setting("rank", "at least 1", self.rank));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(Error::setting("alpha", "a number above 0", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::setting("dropout", "at least 0 and below 1", self.dropout));
        }
        Ok(())
    }
}

/// Logits of a model with an adapter, `[tokens, vocabulary]`: what training computes them to be,
/// for comparisons with other implementations.
///
/// # Errors
/// Weights that cannot be read, an adapter of another model, or one whose modules are not the
/// same in every layer.
pub fn adapted_logits(
    checkpoint: &Checkpoint,
    adapter: &Adapter,
    tokens: &[TokenId],
) -> Result<Vec<f32>> {
    let config = adapter.config();
    let names = adapter.modules().map(|(path, _)| path.rsplit('.').next().unwrap_or(path));
    let names: std::collections::BTreeSet<&str> = names.collect();
    let names: Vec<&str> = names.into_iter().collect();
    let targets = names.join(",").parse::<Targets>();
    let lora = LoraSettings {
        rank: config.rank,
        alpha: config.alpha,
        use_rslora: config.use_rslora,
        dropout: 0.0,
        targets: targets.map_err(|what| Error::misfit("modules", "linears of a block", what))?,
        seed: 0,
    };
    let form = BaseForm::Dense(DType::F32);
    let network = Network::new(checkpoint, lora, form, DType::F32, tokens.len())?;
    network.set_adapter(adapter)?;
    let batch = Batch {
        sequences: 1,
        length: tokens.len(),
        tokens: tokens.to_vec(),
        targets: Arc::new(vec![u32::MAX; tokens.len()]),
        starts: Arc::new(vec![0; tokens.len()]),
    };
    Ok(network.logits(&batch)?.into_iter().map(|logit| logit as f32).collect())
}

/// Rows of tokens that are computed together.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Number of rows.
    pub(crate) sequences: usize,
    /// Tokens of a row.
    pub(crate) length: usize,
    /// `[sequences, length]`.
    pub(crate) tokens: Vec<TokenId>,
    /// What follows each token, or `IGNORED`.
    pub(crate) targets: Arc<Vec<u32>>,
    /// The first token of its row that each token sees.
    pub(crate) starts: Arc<Vec<u32>>,
}

/// A model with an adapter that can be trained.
pub(crate) struct Network {
    config: ModelConfig,
    lora: LoraSettings,
    dtype: DType,
    embedding: Arc<FrozenMatrix>,
    head: Arc<FrozenMatrix>,
    blocks: Vec<Block>,
    final_norm: RmsNorm,
    rotation: Rotation,
    local_rotation: Option<Rotation>,
}

impl Network {
    /// Opens a model and gives it a fresh adapter, whose product is 0: A is uniform in
    /// `±1 / sqrt(in)`, as PEFT draws it, and B is 0.
    ///
    /// # Errors
    /// Weights that cannot be read, settings out of range.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        lora: LoraSettings,
        form: BaseForm,
        dtype: DType,
        length: usize,
    ) -> Result<Self> {
        lora.check()?;
        check_dtype(dtype)?;
        let mut network = load::network(checkpoint, lora, form, dtype, length)?;
        network.start_adapter()?;
        Ok(network)
    }

    /// Every number of the model.
    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What multiplies the products of A and B.
    fn scale(&self) -> f32 {
        scale(self.lora.alpha, self.lora.rank, self.lora.use_rslora)
    }

    fn start_adapter(&mut self) -> Result<()> {
        let (rank, dtype) = (self.lora.rank, self.dtype);
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            for linear in self.lora.targets.iter() {
                let [out_features, in_features] = linear.shape(&self.config);
                let place = (layer * Linear::ALL.len() + linear as usize) as u64;
                let mut random = Random::new(key(key(self.lora.seed, INITIAL_VALUES), place));
                let bound = 1.0 / (in_features as f32).sqrt();
                let a: Vec<f32> =
                    (0..rank * in_features).map(|_| random.symmetric() * bound).collect();
                let a = Tensor::from_vec(a, (rank, in_features), &Device::Cpu)?.to_dtype(dtype)?;
                let b = Var::zeros((out_features, rank), dtype, &Device::Cpu)?;
                block.adapters[linear as usize] = Some(LoraVars { a: Var::from_tensor(&a)?, b });
            }
        }
        Ok(())
    }

    /// A and B of every adapted linear, in a fixed order: layers, then linears, A before B.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Var> {
        self.blocks.iter().flat_map(Block::parameters)
    }

    /// Number of values in each of the parameters.
    pub(crate) fn parameter_sizes(&self) -> Vec<usize> {
        self.parameters().map(|var| var.elem_count()).collect()
    }

    /// The values of all parameters.
    ///
    /// # Errors
    /// Tensors that cannot be read.
    pub(crate) fn parameter_values(&self) -> Result<Vec<Vec<f32>>> {
        let values = |var: &Var| var.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        self.parameters().map(|var| Ok(values(var)?)).collect()
    }

    /// Replaces the values of all parameters, which must be as many as there are.
    ///
    /// # Errors
    /// Values of other lengths.
    pub(crate) fn set_parameters(&self, values: &[Vec<f32>]) -> Result<()> {
        for (var, values) in self.parameters().zip(values) {
            let tensor = Tensor::from_slice(values, var.shape(), &Device::Cpu)?;
            var.set(&tensor.to_dtype(self.dtype)?)?;
        }
        Ok(())
    }

    /// Takes the matrices of an adapter of the same modules and rank.
    ///
    /// # Errors
    /// [`Error::Misfit`] where modules or sizes differ.
    pub(crate) fn set_adapter(&self, adapter: &Adapter) -> Result<()> {
        adapter.check(&self.config)?;
        let mut values = Vec::new();
        for (layer, linear) in self.adapted() {
            let path = linear.path(layer);
            let missing = || Error::misfit(&path, "a module in every layer", "none here");
            let module = adapter.module(&path).ok_or_else(missing)?;
            let own = (self.lora.rank, self.lora.alpha);
            if (module.rank, module.alpha) != own {
                let found = format!("{:?}", (module.rank, module.alpha));
                return Err(Error::misfit(
                    format!("rank and alpha of {path}"),
                    format!("{own:?}"),
                    found,
                ));
            }
            values.extend([module.a.clone(), module.b.clone()]);
        }
        self.set_parameters(&values)
    }

    fn adapted(&self) -> impl Iterator<Item = (usize, Linear)> {
        let layers = 0..self.blocks.len();
        layers.flat_map(|layer| self.lora.targets.iter().map(move |linear| (layer, linear)))
    }

    /// The adapter of these values (as [`Network::parameter_values`] gives them).
    ///
    /// # Errors
    /// Values of other lengths.
    pub(crate) fn adapter(
        &self,
        values: &[Vec<f32>],
        base_model: Option<String>,
        base_fingerprint: Option<String>,
    ) -> Result<Adapter> {
        let (pairs, _) = values.as_chunks::<2>();
        let modules = self.adapted().zip(pairs).map(|((layer, linear), [a, b])| {
            let [out_features, in_features] = linear.shape(&self.config);
            let matrices = LoraMatrices {
                rank: self.lora.rank,
                in_features,
                out_features,
                alpha: self.lora.alpha,
                a: a.clone(),
                b: b.clone(),
            };
            (linear.path(layer), matrices)
        });
        let config = AdapterConfig {
            rank: self.lora.rank,
            alpha: self.lora.alpha,
            use_rslora: self.lora.use_rslora,
            dropout: self.lora.dropout,
            base_model,
            base_fingerprint,
        };
        Adapter::new(config, modules.collect())
    }
}

#[cfg(test)]
mod tests;
