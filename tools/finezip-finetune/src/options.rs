//! What decides a run: the same names as flags and in the file of a sweep.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use finezip_lora::train::{AdamWSettings, Decay, Duration, LearningRate, TrainingSettings};
use finezip_lora::{LoraSettings, Targets};
use serde::{Deserialize, Serialize};

/// Options of a run; what is not given has a default.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RunOptions {
    /// Rows of A and columns of B: what the adapter can hold, and its size [default: 8]
    #[arg(long)]
    rank: Option<usize>,
    /// Strength; the adapter's product is scaled with alpha over rank [default: twice the rank]
    #[arg(long)]
    alpha: Option<f32>,
    /// Scale with alpha over the root of rank (rank stabilisation)
    #[arg(long)]
    #[serde(default)]
    rslora: bool,
    /// Share of the adapter's inputs that is dropped in training [default: 0]
    #[arg(long)]
    dropout: Option<f32>,
    /// Linears to adapt: attention, mlp, all, or names such as q_proj,v_proj [default: all]
    #[arg(long)]
    targets: Option<Targets>,
    /// What first values, dropped inputs and the order of texts follow from [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the model quantized as it is in its file: less memory, the same result as LoRA on it
    #[arg(long)]
    #[serde(default)]
    qlora: bool,
    /// Tokens of a row [default: 512]
    #[arg(long)]
    length: Option<usize>,
    /// Rows that are computed at once [default: 2]
    #[arg(long)]
    batch: Option<usize>,
    /// Batches that are added up for one step [default: 1]
    #[arg(long)]
    accumulation: Option<usize>,
    /// Steps to make
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<usize>,
    /// Passes over the text, instead of steps [default: 1]
    #[arg(long)]
    epochs: Option<f64>,
    /// The learning rate after warm-up [default: 0.001]
    #[arg(long)]
    lr: Option<f64>,
    /// Steps of warm-up [default: 10]
    #[arg(long)]
    warmup: Option<usize>,
    /// How the learning rate falls [default: cosine]
    #[arg(long)]
    decay: Option<DecayName>,
    /// What is left of the learning rate at the end, as a share [default: 0.1]
    #[arg(long)]
    final_lr: Option<f64>,
    /// Share of each value that a step takes away, times the learning rate [default: 0]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// The largest norm of a step's gradient, 0 for any [default: 1]
    #[arg(long)]
    clip: Option<f64>,
    /// Keep activations for the backward pass: about 1.4 times as fast, with much more memory
    #[arg(long)]
    #[serde(default)]
    keep_activations: bool,
    /// Steps between evaluations [default: 50]
    #[arg(long)]
    eval_every: Option<usize>,
    /// Tokens of held-out text that are measured, 0 for all [default: 50000]
    #[arg(long)]
    eval_tokens: Option<usize>,
    /// Evaluations without a new best before the run stops early, 0 for never [default: 0]
    #[arg(long)]
    patience: Option<usize>,
    /// Steps between states on disk [default: 20]
    #[arg(long)]
    save_every: Option<usize>,
}

/// Names of decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DecayName {
    /// Half a wave of the cosine
    Cosine,
    /// A straight line
    Linear,
    /// Not at all
    Constant,
}

/// What a run needs beside model and texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RunSettings {
    /// How it trains.
    pub(crate) training: TrainingSettings,
    /// Tokens of a row.
    pub(crate) length: usize,
    /// Held-out tokens that are measured; none for all.
    pub(crate) evaluation_tokens: Option<usize>,
}

impl RunOptions {
    /// Fills in defaults.
    ///
    /// # Errors
    /// Steps and epochs together: flags exclude each other, names in a file do not.
    pub(crate) fn resolve(&self) -> Result<RunSettings> {
        let rank = self.rank.unwrap_or(8);
        let duration = match (self.steps, self.epochs) {
            (Some(_), Some(_)) => bail!("steps and epochs: expected one of them, found both"),
            (Some(steps), None) => Duration::Steps(steps),
            (None, epochs) => Duration::Epochs(epochs.unwrap_or(1.0)),
        };
        let decay = match self.decay.unwrap_or(DecayName::Cosine) {
            DecayName::Cosine => Decay::Cosine,
            DecayName::Linear => Decay::Linear,
            DecayName::Constant => Decay::Constant,
        };
        let training = TrainingSettings {
            lora: LoraSettings {
                rank,
                alpha: self.alpha.unwrap_or(2.0 * rank as f32),
                use_rslora: self.rslora,
                dropout: self.dropout.unwrap_or(0.0),
                targets: self.targets.clone().unwrap_or_else(Targets::all),
                seed: self.seed.unwrap_or(1),
            },
            qlora: self.qlora,
            batch: self.batch.unwrap_or(2),
            accumulation: self.accumulation.unwrap_or(1),
            duration,
            learning_rate: LearningRate {
                peak: self.lr.unwrap_or(1e-3),
                warmup_steps: self.warmup.unwrap_or(10),
                decay,
                final_share: self.final_lr.unwrap_or(0.1),
            },
            optimizer: AdamWSettings {
                weight_decay: self.weight_decay.unwrap_or(0.0),
                ..AdamWSettings::default()
            },
            clip: self.clip.unwrap_or(1.0),
            checkpointing: !self.keep_activations,
            evaluate_every: self.eval_every.unwrap_or(50),
            patience: self.patience.unwrap_or(0),
            save_every: self.save_every.unwrap_or(20),
        };
        let evaluation_tokens = match self.eval_tokens.unwrap_or(50_000) {
            0 => None,
            tokens => Some(tokens),
        };
        Ok(RunSettings { training, length: self.length.unwrap_or(512), evaluation_tokens })
    }
}
