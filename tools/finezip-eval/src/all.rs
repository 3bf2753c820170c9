//! `finezip-eval all`: what a grid needs is fetched, its cells are run, the report is made.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::args::AllArguments;
use crate::run::{PARTLY, group};
use crate::{report, run};

/// Runs the command. What could not be fetched fails its cells, which the report shows.
pub(crate) fn run(arguments: &AllArguments) -> Result<ExitCode> {
    let cells = &arguments.run;
    if cells.dry_run {
        return run::run(cells);
    }
    group::watch().context("watching for signals")?;
    let fetched = fetch(arguments)?;
    let worked = run::work(cells)?;
    let results = std::slice::from_ref(&cells.results);
    report::write(results, Some(&worked.texts), &arguments.targets)?;
    Ok(if fetched { worked.code } else { ExitCode::from(PARTLY) })
}

/// Fetches what the grid needs and no folder has; false if some of it could not be had.
///
/// In a process of its own: packages are held in memory, and the peak of this process is the least
/// that is measured of any that it starts.
fn fetch(arguments: &AllArguments) -> Result<bool> {
    let own = std::env::current_exe().context("the path of this binary")?;
    let data = &arguments.run.data;
    let folder = data.first().context("a folder for what is fetched")?;
    let mut command = Command::new(own);
    command.arg("fetch").arg(folder).args(["--grid", &arguments.run.grid]);
    for other in &data[1..] {
        command.arg("--data").arg(other);
    }
    if let Some(packages) = &arguments.packages {
        command.arg("--packages").arg(packages);
    }
    let mut fetching = group::spawn(&mut command).context("fetching")?;
    let status = fetching.wait();
    group::forget(&fetching);
    let status = status.context("fetching")?;
    match status.code() {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(PARTLY) => Ok(false),
        _ => bail!("fetching: {status}"),
    }
}
