//! The loop: steps, evaluations, states on disk, and the adapter at the end.

use std::f64::consts::LN_2;
use std::path::Path;
use std::time::Instant;

use candle_core::DType;
use finezip_models::{Checkpoint, ModelConfig};
use serde_json::json;

use super::TrainingSettings;
use super::optimizer::{AdamW, norm};
use super::state::State;
use crate::adapter::Adapter;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::{BackwardSettings, BaseForm, Network};
use crate::random::key;

/// Where dropped inputs are drawn from, under the seed of a run.
const DROPOUT: u64 = 4;
/// Name of the state's file in a run's folder.
pub const STATE_FILE: &str = "state.safetensors";
/// Name of the adapter's folder in a run's folder.
pub const ADAPTER_FOLDER: &str = "adapter";

/// What happens in a run.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run begins, or goes on after so many steps.
    Started {
        /// Steps that are done already.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
        /// Values that are trained.
        parameters: usize,
    },
    /// An optimizer step was made.
    Step(StepReport),
    /// Held-out text was measured.
    Evaluation(Evaluation),
}

/// An optimizer step.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Bits per byte of the step's text, before the step.
    pub bits_per_byte: f64,
    /// Nats per token of the same: the loss as training knows it.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Seconds it took.
    pub seconds: f64,
}

/// A measurement of held-out text.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation {
    /// Steps done before it.
    pub step: usize,
    /// Ideal code length: bits per byte of text, each piece of it beginning anew.
    pub bits_per_byte: f64,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Held-out bits per byte without the adapter.
    pub base_bits_per_byte: f64,
    /// Held-out bits per byte of the adapter that is kept.
    pub best_bits_per_byte: f64,
    /// The step it is from.
    pub best_step: usize,
    /// Steps done.
    pub steps: usize,
    /// The adapter.
    pub adapter: Adapter,
}

/// A run.
pub struct Trainer {
    network: Network,
    training: Dataset,
    held_out: Dataset,
    settings: TrainingSettings,
    steps: usize,
    model_name: String,
    model_fingerprint: String,
}

impl Trainer {
    /// Prepares a run. Rows of both sets must be of one length, at most the model's context.
    ///
    /// # Errors
    /// Settings out of range, weights that cannot be read.
    pub fn new(
        checkpoint: &Checkpoint,
        training: Dataset,
        held_out: Dataset,
        settings: TrainingSettings,
    ) -> Result<Self> {
        settings.check()?;
        let length = training.length();
        if held_out.length() != length {
            return Err(Error::setting("length of held-out rows", length, held_out.length()));
        }
        let longest = checkpoint.config().context_length;
        if length > longest {
            let expected = format!("at most the model's context of {longest} tokens");
            return Err(Error::setting("length", expected, length));
        }
        let form = if settings.qlora { BaseForm::Stored } else { BaseForm::Dense(DType::F32) };
        let network = Network::new(checkpoint, settings.lora.clone(), form, DType::F32, length)?;
        Ok(Self {
            network,
            steps: settings.steps(training.rows()),
            training,
            held_out,
            settings,
            model_name: checkpoint.name().to_owned(),
            model_fingerprint: checkpoint.fingerprint()?.to_hex(),
        })
    }

    /// The model's numbers.
    pub fn model(&self) -> &ModelConfig {
        self.network.config()
    }

    /// Optimizer steps of the whole run.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Values that are trained.
    pub fn parameters(&self) -> usize {
        self.network.parameter_sizes().iter().sum()
    }

    /// Trains, from where the state in `folder` stands, and writes the best adapter to
    /// `folder/adapter`.
    ///
    /// A run that was stopped at any point and is run again ends with the same bytes as one that
    /// was not. `observer` hears of all steps after the last state on disk again; its errors
    /// stop the run.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the loss diverges (the best adapter is written all the same, and
    /// the last state that gave numbers stays on disk), [`Error::Io`] where states cannot be
    /// written, [`Error::Malformed`] for a state of another run.
    pub fn run(
        &mut self,
        folder: &Path,
        observer: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<Outcome> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let path = folder.join(STATE_FILE);
        let identity = self.identity();
        let sizes = self.network.parameter_sizes();
        let mut optimizer = AdamW::new(self.settings.optimizer, &sizes);
        let loaded = match path.exists() {
            true => Some(State::load(&path, &identity, &sizes)?),
            false => None,
        };
        let started = Event::Started {
            step: loaded.as_ref().map_or(0, |state| state.step),
            steps: self.steps,
            parameters: sizes.iter().sum(),
        };
        observer(&started)?;
        let mut state = match loaded {
            Some(state) => state,
            None => self.first_state(&optimizer, observer)?,
        };
        optimizer.first.clone_from(&state.groups[1]);
        optimizer.second.clone_from(&state.groups[2]);
        let mut store = Store { path: &path, identity: &identity, saved: state.step };

        if let Err(error) = self.learn(&mut state, &mut optimizer, &mut store, observer) {
            // What was best was measured before anything went astray.
            if matches!(error, Error::NotFinite { best_step, .. } if best_step > 0) {
                self.write_best(&state, folder)?;
            }
            return Err(error);
        }
        let adapter = self.write_best(&state, folder)?;
        Ok(Outcome {
            base_bits_per_byte: state.base_bits_per_byte,
            best_bits_per_byte: state.best_bits_per_byte,
            best_step: state.best_step,
            steps: state.step,
            adapter,
        })
    }

    /// Steps and evaluations until the run is over.
    ///
    /// A state is saved once its parameters have given numbers: right after an evaluation, else when
    /// the next step's gradient is known, before that step is made. So a run that diverges keeps the
    /// last state from before.
    fn learn(
        &self,
        state: &mut State,
        optimizer: &mut AdamW,
        store: &mut Store<'_>,
        observer: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<()> {
        while !state.finished {
            self.network.set_parameters(&state.groups[0])?;
            let slope = self.slope(state, store.saved)?;
            let is_due = state.step.is_multiple_of(self.settings.save_every);
            if is_due && state.step > store.saved {
                store.save(state, optimizer)?;
            }
            let report = self.step(state, optimizer, slope);
            observer(&Event::Step(report))?;
            let last = state.step >= self.steps;
            if last || state.step.is_multiple_of(self.settings.evaluate_every) {
                self.network.set_parameters(&state.groups[0])?;
                let evaluation = self.evaluate(state, store.saved)?;
                observer(&Event::Evaluation(evaluation))?;
                let patience = self.settings.patience;
                state.finished = last || (patience > 0 && state.evaluations_since_best >= patience);
                store.save(state, optimizer)?;
            }
        }
        Ok(())
    }

    /// Writes the adapter of the best evaluation.
    fn write_best(&self, state: &State, folder: &Path) -> Result<Adapter> {
        let adapter = self.network.adapter(
            &state.groups[3],
            Some(self.model_name.clone()),
            Some(self.model_fingerprint.clone()),
        )?;
        adapter.save(folder.join(ADAPTER_FOLDER))?;
        Ok(adapter)
    }

    /// Everything the result follows from, in JSON.
    fn identity(&self) -> String {
        json!({
            "model": self.model_fingerprint,
            "settings": self.settings,
            "length": self.training.length(),
            "training_text": self.training.fingerprint(),
            "training_rows": self.training.rows(),
            "held_out_text": self.held_out.fingerprint(),
            "held_out_rows": self.held_out.rows(),
        })
        .to_string()
    }

    /// The state before the first step. The adapter's product is 0 yet, so what is measured is
    /// the model alone.
    fn first_state(
        &self,
        optimizer: &AdamW,
        observer: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<State> {
        let parameters = self.network.parameter_values()?;
        let bits_per_byte = self.measure()?;
        check_finite(0, "held-out bits per byte", bits_per_byte, (0, 0))?;
        observer(&Event::Evaluation(Evaluation { step: 0, bits_per_byte, is_best: true }))?;
        Ok(State {
            step: 0,
            evaluations_since_best: 0,
            base_bits_per_byte: bits_per_byte,
            best_step: 0,
            best_bits_per_byte: bits_per_byte,
            finished: false,
            groups: [
                parameters.clone(),
                optimizer.first.clone(),
                optimizer.second.clone(),
                parameters,
            ],
        })
    }

    /// Loss and gradient of the next step's text.
    fn slope(&self, state: &State, saved: usize) -> Result<Slope> {
        let begun = Instant::now();
        let number = state.step + 1;
        let settings = &self.settings;
        let seed = settings.lora.seed;
        let first = state.step * settings.accumulation;
        let batches: Vec<Vec<usize>> = (first..first + settings.accumulation)
            .map(|batch| self.training.rows_of(seed, batch, settings.batch))
            .collect();
        let (tokens, bytes) = self.training.size_of(&batches.concat());
        let mut gradients: Vec<Vec<f32>> =
            state.groups[0].iter().map(|values| vec![0.0; values.len()]).collect();
        let mut loss = 0.0;
        for (part, rows) in batches.iter().enumerate() {
            let backward = BackwardSettings {
                weight: 1.0 / tokens as f64,
                dropout_key: Some(key(key(seed, DROPOUT), (first + part) as u64)),
                checkpointing: settings.checkpointing,
            };
            loss += self.network.backward(&self.training.batch(rows), backward, &mut gradients)?;
        }
        let kept = (saved, state.best_step);
        check_finite(number, "loss", loss, kept)?;
        let norm = norm(&gradients);
        check_finite(number, "norm of the gradient", norm, kept)?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Slope { loss, gradients, norm, tokens, bytes, seconds })
    }

    /// Makes the next step down the slope.
    fn step(&self, state: &mut State, optimizer: &mut AdamW, slope: Slope) -> StepReport {
        let begun = Instant::now();
        let number = state.step + 1;
        let Slope { loss, gradients, norm, tokens, bytes, seconds } = slope;
        let clip = self.settings.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let learning_rate = self.settings.learning_rate.at(number, self.steps);
        optimizer.step(number, learning_rate, scale, &mut state.groups[0], &gradients);
        state.step = number;
        StepReport {
            step: number,
            steps: self.steps,
            bits_per_byte: loss * tokens as f64 / LN_2 / bytes.max(1) as f64,
            loss,
            learning_rate,
            gradient_norm: norm,
            tokens,
            seconds: seconds + begun.elapsed().as_secs_f64(),
        }
    }

    fn evaluate(&self, state: &mut State, saved: usize) -> Result<Evaluation> {
        let bits_per_byte = self.measure()?;
        let kept = (saved, state.best_step);
        check_finite(state.step, "held-out bits per byte", bits_per_byte, kept)?;
        let is_best = bits_per_byte < state.best_bits_per_byte;
        if is_best {
            state.best_bits_per_byte = bits_per_byte;
            state.best_step = state.step;
            state.evaluations_since_best = 0;
            state.groups[3] = state.groups[0].clone();
        } else {
            state.evaluations_since_best += 1;
        }
        Ok(Evaluation { step: state.step, bits_per_byte, is_best })
    }

    /// Bits per byte of the held-out text.
    fn measure(&self) -> Result<f64> {
        let rows: Vec<usize> = (0..self.held_out.rows()).collect();
        let mut nats = 0.0;
        for rows in rows.chunks(self.settings.batch) {
            nats += self.network.nats(&self.held_out.batch(rows))?;
        }
        Ok(nats / LN_2 / self.held_out.bytes().max(1) as f64)
    }
}

/// Loss and gradient of a step's text, before the step.
struct Slope {
    /// Nats per token.
    loss: f64,
    /// One a parameter.
    gradients: Vec<Vec<f32>>,
    /// The norm of all of them.
    norm: f64,
    tokens: usize,
    bytes: usize,
    seconds: f64,
}

/// Where states go.
struct Store<'a> {
    path: &'a Path,
    identity: &'a str,
    /// The step whose state is there; 0 for none.
    saved: usize,
}

impl Store<'_> {
    fn save(&mut self, state: &mut State, optimizer: &AdamW) -> Result<()> {
        state.groups[1].clone_from(&optimizer.first);
        state.groups[2].clone_from(&optimizer.second);
        state.save(self.path, self.identity)?;
        self.saved = state.step;
        Ok(())
    }
}

/// An error where a value is none. `kept` are the steps of the state on disk and of the best
/// evaluation, 0 for none.
fn check_finite(step: usize, what: &'static str, value: f64, kept: (usize, usize)) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let (last_saved, best_step) = kept;
    Err(Error::NotFinite { step, what, value, last_saved, best_step })
}
