//! The learning rate over a run: warm-up, then decay.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a wave of the cosine.
    Cosine,
    /// A straight line.
    Linear,
    /// Not at all.
    Constant,
}

/// The learning rate of each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The rate after warm-up.
    pub peak: f64,
    /// Steps in which it rises to that in a straight line.
    pub warmup_steps: usize,
    /// How it falls.
    pub decay: Decay,
    /// What of the peak is left at the end.
    pub final_share: f64,
}

impl LearningRate {
    /// The rate of step `number`, from 1, of `steps`.
    pub fn at(&self, number: usize, steps: usize) -> f64 {
        if number <= self.warmup_steps {
            return self.peak * number as f64 / self.warmup_steps as f64;
        }
        let span = steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((number - self.warmup_steps - 1) as f64 / span as f64).min(1.0);
        let left = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Linear => 1.0 - done,
            Decay::Constant => return self.peak,
        };
        self.peak * (self.final_share + (1.0 - self.final_share) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls_as_it_says() {
        let mut rate =
            LearningRate { peak: 1.0, warmup_steps: 4, decay: Decay::Linear, final_share: 0.0 };
        assert_eq!([1, 2, 4].map(|step| rate.at(step, 14)), [0.25, 0.5, 1.0]);
        assert_eq!([5, 10].map(|step| rate.at(step, 14)), [1.0, 0.5]);
        assert!((rate.at(14, 14) - 0.1).abs() < 1e-12);
        rate.decay = Decay::Cosine;
        assert!((rate.at(10, 14) - 0.5).abs() < 1e-12);
        rate.final_share = 0.2;
        assert!(rate.at(14, 14) > 0.2 && rate.at(14, 14) < 0.25);
        rate.decay = Decay::Constant;
        assert_eq!(rate.at(14, 14), 1.0);
        // No warm-up begins at the peak.
        rate.warmup_steps = 0;
        assert_eq!(rate.at(1, 1), 1.0);
    }
}
