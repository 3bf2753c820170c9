//! A training run: settings, optimizer, state on disk, and the loop.
//!
//! ```
//! use finezip_lora::data::{Dataset, Text, split_held_out};
//! use finezip_lora::train::{Duration, Trainer, TrainingSettings};
//! use finezip_models::{ModelTokenizer, seeded::SeededModel};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let checkpoint = SeededModel::default().checkpoint()?; // or Checkpoint::open(path)
//! let text = Text { name: "a text".into(), bytes: b"again and again ".repeat(200) };
//! let (training, held_out) = split_held_out(vec![text], 0.2)?;
//!
//! let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint)?;
//! let start = checkpoint.config().start_token();
//! let training = Dataset::new("training text", &training, &tokenizer, start, 32)?;
//! let held_out = Dataset::new("held-out text", &held_out, &tokenizer, start, 32)?;
//!
//! let settings = TrainingSettings { duration: Duration::Steps(5), ..Default::default() };
//! let folder = tempfile::tempdir()?; // a run goes on where the state in its folder stands
//! let mut trainer = Trainer::new(&checkpoint, training, held_out, settings)?;
//! let outcome = trainer.run(folder.path(), &mut |_event| Ok(()))?;
//! assert!(outcome.best_bits_per_byte < outcome.base_bits_per_byte);
//! println!("adapter {}", outcome.adapter.fingerprint());
//! # Ok(())
//! # }
//! ```

mod environment;
mod memorize;
mod memory;
mod optimizer;
mod schedule;
mod settings;
mod state;
mod trainer;

pub use environment::begin_again;
pub use memorize::{Memorizing, memorize};
pub use memory::memory_bytes;
pub use optimizer::AdamWSettings;
pub use schedule::{Decay, LearningRate};
pub use settings::{Duration, TrainingSettings};
pub use trainer::{ADAPTER_FOLDER, Evaluation, Event, Outcome, STATE_FILE, StepReport, Trainer};
