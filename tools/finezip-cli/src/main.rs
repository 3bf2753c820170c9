//! `finezip-cli`: compresses text with a language model, losslessly.
//!
//! A thin tool: [`args`] is the command line as written, [`settings`] what it means, [`compose`],
//! [`adapters`], [`memorize`] and [`resolver`] put the libraries' parts together, [`commands`] run
//! them over files, and
//! [`report`], [`progress`], [`output`] and [`exit`] face the user. No algorithm lives here.
#![forbid(unsafe_code)]

mod adapters;
mod args;
mod coders;
mod commands;
mod compose;
mod engines;
mod exit;
mod files;
mod ideal;
mod input;
mod interrupt;
mod lanes;
mod memorize;
mod output;
mod profiles;
mod progress;
mod report;
mod resolver;
mod settings;
mod statistics;
mod store;
mod text;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Before there are threads, files and handlers of signals.
    if let Some(code) = commands::begin_again(&arguments.command) {
        return code;
    }
    let report = Report { quiet: false, verbose: false };
    if let Err(error) = interrupt::install() {
        report.warning(format_args!("an interrupted run may leave a .partial file: {error}"));
    }
    let code = commands::run(arguments.command).unwrap_or_else(|failure| {
        report.failure(&failure);
        failure.code
    });
    ExitCode::from(code as u8)
}
