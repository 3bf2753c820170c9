//! A training run: settings, optimizer, state on disk, and the loop.

mod optimizer;
mod schedule;
mod settings;
mod state;
mod trainer;

pub use optimizer::AdamWSettings;
pub use schedule::{Decay, LearningRate};
pub use settings::{Duration, TrainingSettings};
pub use trainer::{Evaluation, Event, Outcome, StepReport, Trainer};
