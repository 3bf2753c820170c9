//! `finezip-eval run`: works through a grid.

mod cell;
pub(crate) mod child;
pub(crate) mod config;
pub(crate) mod grid;
pub(crate) mod group;
mod inputs;
pub(crate) mod machine;
pub(crate) mod peers;
pub(crate) mod results;
mod session;
mod tally;
mod tools;
mod training;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::args::RunArguments;
use crate::temporary::Temporary;
use cell::Bench;
use grid::{Cell, Grid};
pub(crate) use inputs::{Text, hash_file};
use session::Session;
use training::Trainer;

/// The exit code where something failed and the rest was done.
pub(crate) const PARTLY: u8 = 3;

/// The files that a grid's inputs are made of.
pub(crate) fn files_of(grid: &str) -> Result<BTreeSet<String>> {
    Ok(Grid::open(grid)?.files())
}

/// Runs the command.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode> {
    Ok(work(arguments)?.code)
}

/// What came of a grid.
pub(crate) struct Worked {
    /// How it went.
    pub(crate) code: ExitCode,
    /// The texts of all its cells, run now or not, by the cells' keys. One text may have two names.
    pub(crate) texts: HashMap<String, Vec<Text>>,
}

/// Works through a grid.
pub(crate) fn work(arguments: &RunArguments) -> Result<Worked> {
    group::watch().context("watching for signals")?;
    let grid = Grid::open(&arguments.grid)?;
    let cells = grid.cells()?;
    let is_asked = |cell: &Cell| {
        arguments.only.as_ref().is_none_or(|text| cell.describe().contains(text.as_str()))
    };
    let repeats = arguments.repeats.unwrap_or(grid.repeats);
    ensure!(repeats > 0, "--repeats is at least 1, 0 was given");
    let temporary = match &arguments.work {
        Some(folder) => Temporary::new_in(folder),
        None => Temporary::new(),
    }?;
    let bench = Bench {
        cli: cli_path(arguments.cli.as_deref())?,
        own: std::env::current_exe().context("the path of this binary")?,
        folder: temporary.path().to_owned(),
        repeats,
        timeout: Duration::from_secs(grid.timeout_seconds),
    };
    let trainer = Trainer {
        program: bench
            .cli
            .with_file_name(format!("finezip-finetune{}", std::env::consts::EXE_SUFFIX)),
        data: arguments.data.clone(),
        runs: arguments.results.with_extension("adapters"),
        temporary: temporary.path().to_owned(),
        timeout: bench.timeout,
    };
    let asked: Vec<bool> = cells.iter().map(is_asked).collect();
    let texts = prepare_texts(&grid, &cells, arguments, temporary.path())?;
    let adapters = trainer.adapters(&grid, &cells);
    Session::new(bench, texts, adapters, trainer).work(arguments, &cells, &asked)
}

/// Writes every input that some cell needs to the working folder. What is missing fails its cells
/// and no others.
fn prepare_texts(
    grid: &Grid,
    cells: &[Cell],
    arguments: &RunArguments,
    folder: &Path,
) -> Result<HashMap<String, Result<Text>>> {
    let mut texts = HashMap::new();
    for cell in cells {
        if texts.contains_key(&cell.input) {
            continue;
        }
        let input = grid.inputs.get(&cell.input).context("an input that is in the grid")?;
        let to = input_path(folder, &cell.input);
        let text = inputs::prepare(&cell.input, input, &arguments.data, &to);
        texts.insert(cell.input.clone(), text);
    }
    Ok(texts)
}

fn input_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("input-{name}"))
}

/// finezip-cli as given, or beside this binary.
pub(crate) fn cli_path(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("the path of this binary")?
            .with_file_name(format!("finezip-cli{}", std::env::consts::EXE_SUFFIX)),
    };
    if !path.is_file() {
        bail!(
            "{} is not there; build it with `cargo build --release -p finezip-cli`, or name it \
             with --cli PATH",
            path.display()
        );
    }
    path.canonicalize().with_context(|| path.display().to_string())
}

/// A line on stderr; there is nobody to tell if that fails.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
