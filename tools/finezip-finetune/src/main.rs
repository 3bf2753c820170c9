//! `finezip-finetune`: makes adapters from text, one run or a sweep of runs.
//!
//! A thin tool: [`args`] is the command line, [`options`] what decides a run, [`texts`] and
//! [`model`] find what it works on, [`run`] and [`sweep`] let finezip-lora train and keep the run
//! folders, [`metrics`], [`plot`] and [`summary`] say what came of it.
#![forbid(unsafe_code)]

mod args;
mod budget;
mod metrics;
mod model;
mod options;
mod plot;
mod progress;
mod run;
mod summary;
mod sweep;
mod texts;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use finezip_lora::train;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = train::begin_again(0).context("cannot start this program again");
    let result = begun.and_then(|code| match (code, arguments.command) {
        (Some(code), _) => Ok(code),
        (None, Some(Command::Sweep(sweep))) => sweep::run(&sweep).map(|()| ExitCode::SUCCESS),
        (None, None) => run::single(&arguments.run).map(|()| ExitCode::SUCCESS),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell where stderr is gone.
            let _ = writeln!(std::io::stderr().lock(), "finezip-finetune: {error:#}");
            ExitCode::FAILURE
        }
    }
}
