//! AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Values that one task updates.
const TASK_VALUES: usize = 1 << 14;

/// How moments are kept and weights decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWSettings {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the latter.
    pub epsilon: f64,
    /// Share of each value that a step takes away, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    /// 0.9, 0.999, 1e-8, and no decay: B begins at 0 and is held small by few steps anyway.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// The moments of every parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamW {
    settings: AdamWSettings,
    /// Means of gradients, one a parameter.
    pub(crate) first: Vec<Vec<f32>>,
    /// Means of their squares.
    pub(crate) second: Vec<Vec<f32>>,
}

impl AdamW {
    /// Moments at 0 for parameters of these sizes.
    pub(crate) fn new(settings: AdamWSettings, sizes: &[usize]) -> Self {
        let zeros: Vec<Vec<f32>> = sizes.iter().map(|size| vec![0.0; *size]).collect();
        Self { settings, first: zeros.clone(), second: zeros }
    }

    /// Step `number`, from 1: gradients are multiplied with `gradient_scale` first.
    pub(crate) fn step(
        &mut self,
        number: usize,
        learning_rate: f64,
        gradient_scale: f64,
        parameters: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
    ) {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = self.settings;
        let power = i32::try_from(number).unwrap_or(i32::MAX);
        let step_size = (learning_rate / (1.0 - beta1.powi(power))) as f32;
        let second_scale = (1.0 / (1.0 - beta2.powi(power))) as f32;
        let keep = (1.0 - learning_rate * weight_decay) as f32;
        let (beta1, beta2, epsilon) = (beta1 as f32, beta2 as f32, epsilon as f32);
        let scale = gradient_scale as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in
            parameters.iter_mut().zip(gradients).zip(moments)
        {
            let values = parameter.par_chunks_mut(TASK_VALUES);
            let moments = first.par_chunks_mut(TASK_VALUES).zip(second.par_chunks_mut(TASK_VALUES));
            let tasks = values.zip(gradient.par_chunks(TASK_VALUES)).zip(moments);
            tasks.for_each(|((values, gradients), (first, second))| {
                let values = values.iter_mut().zip(gradients);
                for ((value, gradient), (first, second)) in values.zip(first.iter_mut().zip(second))
                {
                    let gradient = gradient * scale;
                    *first = beta1 * *first + (1.0 - beta1) * gradient;
                    *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
                    let root = (*second * second_scale).sqrt() + epsilon;
                    *value = keep * *value - step_size * *first / root;
                }
            });
        }
    }
}

/// The root of the sum of squares of all gradients, added up in `f64` in their order.
pub(crate) fn norm(gradients: &[Vec<f32>]) -> f64 {
    let squares = gradients.iter().flatten().map(|value| f64::from(*value) * f64::from(*value));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in `f64`, straight from the paper.
    #[test]
    fn steps_are_those_of_the_paper() {
        let settings = AdamWSettings { weight_decay: 0.1, ..AdamWSettings::default() };
        let mut optimizer = AdamW::new(settings, &[2]);
        let mut parameters = vec![vec![0.5_f32, -0.25]];
        let (mut expected, mut m, mut v) = ([0.5_f64, -0.25], [0.0; 2], [0.0; 2]);
        for step in 1..=20 {
            let gradients = [0.3 / step as f64, -0.7 * (step % 3) as f64];
            let rate = 0.01;
            optimizer.step(
                step,
                rate,
                2.0,
                &mut parameters,
                &[gradients.map(|g| (g / 2.0) as f32).to_vec()],
            );
            for i in 0..2 {
                m[i] = 0.9 * m[i] + 0.1 * gradients[i];
                v[i] = 0.999 * v[i] + 0.001 * gradients[i] * gradients[i];
                let m_hat = m[i] / (1.0 - 0.9_f64.powi(step as i32));
                let v_hat: f64 = v[i] / (1.0 - 0.999_f64.powi(step as i32));
                expected[i] -= rate * (m_hat / (v_hat.sqrt() + 1e-8) + 0.1 * expected[i]);
            }
        }
        for (found, expected) in parameters[0].iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} against {expected}");
        }
        assert!((norm(&[vec![3.0], vec![4.0]]) - 5.0).abs() < 1e-12);
    }
}
