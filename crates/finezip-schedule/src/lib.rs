//! Schedules of FineZip: how a frame's tokens become lanes, windows and steps.
//!
//! - [`Rolling`]: few long lanes over a rolling window with attention sinks. The one to use where
//!   the engine can roll.
//! - [`ChunkReset`]: FineZip's dynamic context, chunks coded independently, many at a time. For
//!   engines whose cache only grows.
//! - [`FixedWindow`]: LLMZip's, the whole window computed again for each token. For comparison.
//!
//! How many lanes a frame gets is the compressor's choice, by a [`LanePolicy`]; a frame records
//! it. `docs/schedule.md` in the repository says what each costs.
#![forbid(unsafe_code)]

mod chunk_reset;
mod fixed_window;
mod lanes;
mod regions;
mod registry;
mod rolling;

pub use chunk_reset::ChunkReset;
pub use fixed_window::FixedWindow;
pub use lanes::{LanePolicy, MOST_AUTOMATIC_LANES};
pub use registry::from_record;
pub use rolling::Rolling;
