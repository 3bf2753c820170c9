//! `finezip-eval all`: what a grid needs is fetched, its cells are run, the report is made.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::AllArguments;
use crate::run::PARTLY;
use crate::{fetch, report, run};

/// Runs the command. What could not be fetched fails its cells, which the report shows.
pub(crate) fn run(arguments: &AllArguments) -> Result<ExitCode> {
    let cells = &arguments.run;
    if cells.dry_run {
        return run::run(cells);
    }
    let files = run::files_of(&cells.grid)?;
    let fetched = fetch::missing(&files, &cells.data, arguments.packages.as_deref())?;
    let ran = run::run(cells)?;
    report::write(std::slice::from_ref(&cells.results), &arguments.targets)?;
    Ok(if fetched { ran } else { ExitCode::from(PARTLY) })
}
