//! `finezip-torture`: does to FineZip what must not break it, and counts.
//!
//! One command a kind of harm; each ends with code 0 only if nothing broke. `docs/reliability.md`
//! holds what they found.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "counts are what the program is for")]

mod arguments;
mod damage;
mod faults;
mod fuzz;
#[path = "../../../crates/finezip-models/tests/support/http_server.rs"]
mod http_server;
mod hub;
mod kills;
mod processes;
mod soak;
mod stream;
mod texts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use finezip_torture::targets;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Does to FineZip what must not break it, and counts.
#[derive(Parser)]
#[command(name = "finezip-torture", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Damage archives of every coder at every byte and hold that each case is found
    Damage {
        /// Cases that go through finezip-cli as well
        #[arg(long, default_value_t = 240)]
        samples: usize,
        /// Decides on noise and on the sample
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// One archive, by its name in the table; all unless given
        #[arg(long)]
        archive: Option<String>,
    },
    /// Feed mutations of valid input to everything that reads what others wrote
    Fuzz {
        /// One reader; all where none is named
        #[arg(long)]
        target: Option<String>,
        /// Inputs for each; unless given, as many as it is fast, ten million in all
        #[arg(long)]
        inputs: Option<u64>,
        /// Decides on the mutations
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The folder for inputs that do harm
        #[arg(long, default_value = "fixtures/hostile")]
        save: PathBuf,
    },
    /// Write what mutations begin with to folders, one a reader, for other fuzzers
    Seeds {
        /// The folder of folders
        #[arg(long)]
        out: PathBuf,
    },
    /// Run finezip-cli with arguments drawn at random from what its help lists
    Arguments {
        /// Runs
        #[arg(long, default_value_t = 2_000)]
        runs: u64,
        /// Decides on the arguments
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Kill compress, decompress, fine-tune and model download at random moments
    Kills {
        /// Kills that come before the end of a run
        #[arg(long, default_value_t = 500)]
        count: u64,
        /// Decides on the moments
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Full and read-only disks, closed pipes, inputs that change, several processes at once
    Faults {
        /// How often where chance has a part
        #[arg(long, default_value_t = 10)]
        rounds: u64,
    },
    /// Round trips with text, size, options and ways drawn at random, for a time
    Soak {
        /// Seconds
        #[arg(long, default_value_t = 7200)]
        seconds: u64,
        /// The first trip's number
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// The most trips
        #[arg(long)]
        trips: Option<u64>,
    },
    /// All of it at length, as docs/reliability.md reports it: hours
    All,
    /// A long stream from pipe to pipe, and the memory it takes
    Stream {
        /// Megabytes (of 1,048,576 bytes)
        #[arg(long, default_value_t = 100)]
        megabytes: u64,
        /// Bytes of text in a frame, as finezip-cli takes it
        #[arg(long, default_value = "1M")]
        frame_size: String,
        /// Of a hundred pieces, how many are no text
        #[arg(long, default_value_t = 10)]
        noise: u64,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::All => {
            let save = Path::new("fixtures/hostile");
            faults::run(10)?;
            arguments::run(20_000, 1)?;
            kills::run(500, 1)?;
            stream::run(100, "1M", 80)?;
            damage::run(60, 1, None)?;
            targets::ALL
                .iter()
                .try_for_each(|target| fuzz::run(*target, target.inputs, 2, save))?;
            soak::run(Duration::from_secs(7200), 1, None)
        }
        Command::Damage { samples, seed, archive } => {
            damage::run(samples, seed, archive.as_deref())
        }
        Command::Seeds { out } => {
            targets::ALL.into_iter().try_for_each(|target| fuzz::write_seeds(target, &out))
        }
        Command::Arguments { runs, seed } => arguments::run(runs, seed),
        Command::Kills { count, seed } => kills::run(count, seed),
        Command::Faults { rounds } => faults::run(rounds),
        Command::Soak { seconds, first, trips } => {
            soak::run(Duration::from_secs(seconds), first, trips)
        }
        Command::Stream { megabytes, frame_size, noise } => {
            stream::run(megabytes, &frame_size, noise)
        }
        Command::Fuzz { target, inputs, seed, save } => {
            let chosen = match &target {
                Some(name) => vec![targets::find(name).with_context(|| {
                    let known = targets::ALL.map(|target| target.name);
                    format!("no target {name}; there are {}", known.join(", "))
                })?],
                None => targets::ALL.to_vec(),
            };
            chosen.into_iter().try_for_each(|target| {
                fuzz::run(target, inputs.unwrap_or(target.inputs), seed, &save)
            })
        }
    }
}
