//! Everything that decides what a run learns.

use serde::{Deserialize, Serialize};

use super::{AdamWSettings, Decay, LearningRate};
use crate::error::{Error, Result};
use crate::network::LoraSettings;

/// How long a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duration {
    /// Optimizer steps.
    Steps(usize),
    /// Passes over the training text; need not be whole.
    Epochs(f64),
}

/// The settings of a run. Two runs of equal settings on equal texts and models give the same
/// adapter on the same machine, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// What the adapter is to be like.
    pub lora: LoraSettings,
    /// Whether the base model stays in the blocks of its file (QLoRA) instead of `f32`.
    pub qlora: bool,
    /// Rows of tokens that are computed at once.
    pub batch: usize,
    /// Batches whose gradients are added up for one step.
    pub accumulation: usize,
    /// How long to train.
    pub duration: Duration,
    /// The rate of each step.
    pub learning_rate: LearningRate,
    /// Moments and weight decay.
    pub optimizer: AdamWSettings,
    /// The largest norm of a step's gradient; longer ones are scaled down. 0 for no bound.
    pub clip: f64,
    /// Whether activations are computed again in the backward pass instead of kept.
    pub checkpointing: bool,
    /// Steps between evaluations on held-out text; the last step is always followed by one.
    pub evaluate_every: usize,
    /// Evaluations without a new best after which a run stops; 0 for never.
    pub patience: usize,
    /// Steps between states on disk; every evaluation is followed by one as well.
    pub save_every: usize,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            lora: LoraSettings::default(),
            qlora: false,
            batch: 2,
            accumulation: 1,
            duration: Duration::Epochs(1.0),
            learning_rate: LearningRate {
                peak: 1e-3,
                warmup_steps: 10,
                decay: Decay::Cosine,
                final_share: 0.1,
            },
            optimizer: AdamWSettings::default(),
            clip: 1.0,
            checkpointing: true,
            evaluate_every: 50,
            patience: 0,
            save_every: 50,
        }
    }
}

impl TrainingSettings {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        self.lora.check()?;
        for (what, value) in [
            ("batch", self.batch),
            ("accumulation", self.accumulation),
            ("steps between evaluations", self.evaluate_every),
            ("steps between states", self.save_every),
        ] {
            if value == 0 {
                return Err(Error::setting(what, "at least 1", value));
            }
        }
        match self.duration {
            Duration::Steps(0) => return Err(Error::setting("steps", "at least 1", 0)),
            Duration::Epochs(epochs) if !(epochs.is_finite() && epochs > 0.0) => {
                return Err(Error::setting("epochs", "a number above 0", epochs));
            }
            _ => {}
        }
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = self.optimizer;
        for (what, value) in [("beta1", beta1), ("beta2", beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::setting(what, "at least 0 and below 1", value));
            }
        }
        for (what, value) in
            [("learning rate", self.learning_rate.peak), ("optimizer epsilon", epsilon)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::setting(what, "a number above 0", value));
            }
        }
        for (what, value) in [("weight decay", weight_decay), ("clipping bound", self.clip)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::setting(what, "0 or a number above", value));
            }
        }
        if !(0.0..=1.0).contains(&self.learning_rate.final_share) {
            let found = self.learning_rate.final_share;
            return Err(Error::setting("final share of the learning rate", "0 to 1", found));
        }
        Ok(())
    }

    /// Optimizer steps on training text of so many rows.
    pub fn steps(&self, rows: usize) -> usize {
        match self.duration {
            Duration::Steps(steps) => steps,
            Duration::Epochs(epochs) => {
                let rows_a_step = (self.batch * self.accumulation) as f64;
                ((epochs * rows as f64 / rows_a_step).ceil() as usize).max(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let settings = TrainingSettings::default();
        settings.check().unwrap();
        let named = |change: &dyn Fn(&mut TrainingSettings), name: &str| {
            let mut changed = settings.clone();
            change(&mut changed);
            let error = changed.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        };
        named(&|s| s.batch = 0, "batch");
        named(&|s| s.lora.rank = 0, "rank");
        named(&|s| s.lora.dropout = 1.0, "dropout");
        named(&|s| s.learning_rate.peak = f64::NAN, "learning rate");
        named(&|s| s.duration = Duration::Epochs(-1.0), "epochs");
        named(&|s| s.optimizer.beta2 = 1.0, "beta2");
        named(&|s| s.clip = -1.0, "clipping");
    }

    #[test]
    fn an_epoch_is_every_row_once() {
        let mut settings = TrainingSettings { batch: 3, accumulation: 2, ..Default::default() };
        assert_eq!(settings.steps(12), 2);
        assert_eq!(settings.steps(13), 3);
        settings.duration = Duration::Epochs(0.5);
        assert_eq!(settings.steps(12), 1);
        settings.duration = Duration::Steps(7);
        assert_eq!(settings.steps(12), 7);
    }
}
