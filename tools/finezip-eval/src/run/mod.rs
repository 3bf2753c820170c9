//! `finezip-eval run`: works through a grid.

mod cell;
pub(crate) mod child;
pub(crate) mod config;
pub(crate) mod grid;
mod group;
mod inputs;
pub(crate) mod machine;
pub(crate) mod peers;
pub(crate) mod results;
mod training;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use crate::args::RunArguments;
use crate::text::{bytes_short, three_digits};
use cell::Bench;
use child::Job;
use config::{CommandLines, Finezip, Method};
use grid::{Cell, Grid};
pub(crate) use inputs::{Text, hash_file};
use machine::Machine;
use results::{Derived, Line, Outcome, Results, Tool, key};
use training::{Adapters, Trainer};

/// The exit code where something failed and the rest was done.
pub(crate) const PARTLY: u8 = 3;

/// The memory that this tool may have had before cells begin: programs smaller than that are
/// measured too large.
const MOST_OWN_BYTES: u64 = 20_000_000;

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
        arguments.only.as_ref().is_none_or(|text| describe(cell).contains(text.as_str()))
    };
    let repeats = arguments.repeats.unwrap_or(grid.repeats);
    ensure!(repeats > 0, "--repeats is at least 1, 0 was given");
    let temporary = match &arguments.work {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            tempfile::tempdir_in(folder)
        }
        None => tempfile::tempdir(),
    }
    .context("a folder for temporary files")?;
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
    let mut session = Session {
        texts: prepare_texts(&grid, &cells, arguments, temporary.path())?,
        tools: Tools::default(),
        hashes: Hashes::default(),
        machine: Machine::this(),
        adapters: trainer.adapters(&grid, &cells),
        trainer,
        fetched: HashSet::new(),
        opened: HashSet::new(),
        bench,
    };
    session.work(arguments, &cells, &asked)
}

/// All that stays the same from cell to cell.
struct Session {
    bench: Bench,
    texts: HashMap<String, Result<Text>>,
    tools: Tools,
    hashes: Hashes,
    machine: Machine,
    adapters: Adapters,
    trainer: Trainer,
    /// The models that were fetched, or could not be.
    fetched: HashSet<String>,
    /// What was opened once, unmeasured.
    opened: HashSet<Finezip>,
}

impl Session {
    fn work(&mut self, arguments: &RunArguments, cells: &[Cell], asked: &[bool]) -> Result<Worked> {
        let earlier = if arguments.results.exists() {
            results::read(&arguments.results)?
        } else {
            Vec::new()
        };
        // Whether each cell that is settled failed.
        let settled: HashMap<&str, bool> = earlier
            .iter()
            .filter(|line| line.measures().is_some() || !arguments.retry)
            .map(|line| (line.key.as_str(), line.measures().is_none()))
            .collect();
        let mut tally = Tally::default();
        let (mut open, mut keys) = (Vec::new(), HashSet::new());
        let mut texts: HashMap<String, Vec<Text>> = HashMap::new();
        for (cell, &asked) in cells.iter().zip(asked) {
            let line = self.identify(cell)?;
            if let Some(line) = &line {
                texts.entry(line.key.clone()).or_default().push(line.input.clone());
            }
            match line {
                _ if !asked => {}
                None => tally.absent.push(describe(cell)),
                Some(line) if settled.contains_key(line.key.as_str()) => {
                    tally.settle(settled[line.key.as_str()]);
                }
                Some(line) if !keys.insert(line.key.clone()) => tally.settle(false),
                Some(line) => open.push((cell, line.key)),
            }
        }
        if arguments.dry_run {
            for (cell, _) in &open {
                say(format_args!("{}", describe(cell)));
            }
        } else {
            let mut results = Results::open(&arguments.results)?;
            if let Some(peak) = machine::own_peak_bytes().filter(|&peak| peak > MOST_OWN_BYTES) {
                say(format_args!(
                    "this tool has had {} of memory: smaller peaks are measured as large as that",
                    bytes_short(peak)
                ));
            }
            for (number, (cell, key)) in open.into_iter().enumerate() {
                if matches!(self.texts.get(&cell.input), Some(Ok(_))) {
                    self.make_ready(&cell.method);
                }
                let Some(mut line) = self.identify(cell)? else {
                    tally.absent.push(describe(cell));
                    continue;
                };
                // An adapter that was made just now is part of the key.
                if line.key != key {
                    let named = texts.get(&key).cloned().unwrap_or_default();
                    texts.entry(line.key.clone()).or_default().extend(named);
                    if let Some(&failed) = settled.get(line.key.as_str()) {
                        tally.settle(failed);
                        continue;
                    }
                }
                let begun = Instant::now();
                line.floor_bytes = machine::own_peak_bytes();
                line.outcome = self.outcome(cell);
                line.derived =
                    line.measures().and_then(|measures| Derived::of(measures, line.input.bytes));
                line.unix_time =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                results.add(&line)?;
                say(format_args!(
                    "{:>4}  {}: {} ({:.1} s)",
                    number + 1,
                    describe(cell),
                    outcome_text(&line),
                    begun.elapsed().as_secs_f64()
                ));
                tally.count(&line);
            }
        }
        Ok(Worked { code: tally.report(arguments.dry_run), texts })
    }

    /// The line of a cell without its outcome; `None` for a program that is not on the PATH.
    fn identify(&mut self, cell: &Cell) -> Result<Option<Line>> {
        let program = match &cell.method {
            Method::Finezip(_) | Method::Ideal(_) => self.bench.cli.clone(),
            Method::Peer { .. } => self.bench.own.clone(),
            Method::Command { lines, .. } => match lines.program() {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        let mut tool = self.tools.of(&program, &self.bench)?;
        let mut weights = BTreeMap::new();
        match &cell.method {
            Method::Finezip(finezip) | Method::Ideal(finezip) => {
                if let Some(path) = finezip.model_path() {
                    weights.insert(path.to_owned(), self.hashes.of(Path::new(path)));
                }
                if let Some(name) = &finezip.adapter {
                    let hash = match self.adapters.folder(name) {
                        Ok(folder) => self.hashes.of(&folder),
                        Err(_) => self.adapters.instead_of_hash(name),
                    };
                    weights.insert(name.clone(), hash);
                }
            }
            Method::Peer { name } => tool.version = Some(peers::version(name)),
            Method::Command { lines, .. } => tool.version = self.tools.said(&program, lines),
        }
        let input = match self.texts.get(&cell.input) {
            Some(Ok(text)) => text.clone(),
            // The cell fails; an input that appears later makes another key.
            _ => Text {
                name: cell.input.clone(),
                file: String::new(),
                bytes: 0,
                sha256: String::new(),
            },
        };
        // What is not there has no hash: its name tells it from others that are not.
        let known = match input.sha256.as_str() {
            "" => Text { sha256: format!("no {}", input.name), ..input.clone() },
            _ => input.clone(),
        };
        let key = key(&cell.method, &known, &tool, &weights, &self.machine, self.bench.repeats)?;
        Ok(Some(Line {
            key,
            method: cell.method.clone(),
            input,
            tool,
            weights,
            machine: self.machine.clone(),
            floor_bytes: None,
            unix_time: 0,
            outcome: Outcome::Failed { error: String::new() },
            derived: None,
        }))
    }

    fn outcome(&self, cell: &Cell) -> Outcome {
        let done = match self.texts.get(&cell.input) {
            Some(Ok(_)) => self
                .adapters
                .resolved(&cell.method)
                .and_then(|method| self.bench.run(&method, &self.input_path(&cell.input))),
            Some(Err(error)) => Err(anyhow::anyhow!("{error:#}")),
            None => Err(anyhow::anyhow!("no input {}", cell.input)),
        };
        match done {
            Ok(measures) => Outcome::Done(Box::new(measures)),
            Err(error) => Outcome::Failed { error: format!("{error:#}") },
        }
    }

    fn input_path(&self, name: &str) -> PathBuf {
        input_path(&self.bench.folder, name)
    }

    /// Makes a method's adapter, fetches its model and opens it once, before the first cell that
    /// needs it. What fails here fails the cell, and is told there.
    fn make_ready(&mut self, method: &Method) {
        if let Some(name) = method.adapter() {
            self.adapters.make(name, &self.trainer);
        }
        if let Ok(method) = self.adapters.resolved(method) {
            self.warm_up(&method);
        }
    }

    /// Fetches a model and opens it once, so that no cell pays for downloads and for what an engine
    /// keeps on disk.
    fn warm_up(&mut self, method: &Method) {
        if let Some(model) = method.model().filter(|model| !config::is_path(model))
            && self.fetched.insert(model.to_owned())
        {
            let fetch = Job::new(&self.bench.cli).arguments(["models", "fetch", "-q", model]);
            if let Err(error) = self.bench.once(&fetch) {
                say(format_args!("fetching {model}: {error:#}"));
            }
        }
        let Some(finezip) = method.configuration().filter(|finezip| finezip.has_model()) else {
            return;
        };
        let plain = finezip.plain();
        if self.opened.contains(&plain) {
            return;
        }
        let text = self.bench.folder.join("warm-up");
        if fs::write(&text, "A text to begin with.\n").is_ok() {
            let job = Job::new(&self.bench.cli)
                .arguments(["compress", "-q", "-c"])
                .arguments(plain.arguments())
                .argument(&text);
            let _ = self.bench.once(&job);
        }
        self.opened.insert(plain);
    }
}

/// How many cells came to what.
#[derive(Default)]
struct Tally {
    done: usize,
    failed: usize,
    settled: usize,
    /// Of those settled before.
    failed_before: usize,
    absent: Vec<String>,
}

impl Tally {
    /// Counts a cell that was done before, or failed.
    fn settle(&mut self, failed: bool) {
        self.settled += 1;
        self.failed_before += usize::from(failed);
    }

    fn count(&mut self, line: &Line) {
        match line.outcome {
            Outcome::Done(_) => self.done += 1,
            Outcome::Failed { .. } => self.failed += 1,
        }
    }

    fn report(&self, dry: bool) -> ExitCode {
        for cell in &self.absent {
            say(format_args!("left out, not on the PATH: {cell}"));
        }
        if !dry {
            let failed = match self.failed_before {
                0 => String::new(),
                failed => format!(" ({failed} of them failed, see --retry)"),
            };
            say(format_args!(
                "{} cells done, {} failed, {} settled before{failed}, {} left out",
                self.done,
                self.failed,
                self.settled,
                self.absent.len()
            ));
        }
        let is_whole = dry || self.failed + self.failed_before == 0;
        if is_whole { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) }
    }
}

/// Hashes of models and adapters by path, each made once.
#[derive(Default)]
struct Hashes(HashMap<PathBuf, String>);

impl Hashes {
    /// The hash of a path; of one that cannot be read nothing, and its cells fail by themselves.
    fn of(&mut self, path: &Path) -> String {
        let made = || inputs::hash_path(path).unwrap_or_default();
        self.0.entry(path.to_owned()).or_insert_with(made).clone()
    }
}

/// The binaries that were asked for, each hashed once.
#[derive(Default)]
struct Tools {
    tools: HashMap<PathBuf, Tool>,
    versions: HashMap<PathBuf, Option<String>>,
}

impl Tools {
    fn of(&mut self, path: &Path, bench: &Bench) -> Result<Tool> {
        if let Some(tool) = self.tools.get(path) {
            return Ok(tool.clone());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = if path == bench.own || path == bench.cli {
            let to = bench.folder.join("version");
            let ask = Job { stdout: Some(to.clone()), ..Job::new(path).argument("--version") };
            bench.once(&ask)?;
            Some(fs::read_to_string(&to)?.trim().to_owned())
        } else {
            None
        };
        let tool = Tool { name, version, sha256: hash_file(path)?.0 };
        self.tools.insert(path.to_owned(), tool.clone());
        Ok(tool)
    }

    /// The version that a program of the PATH says: the first of its lines that has a number.
    /// Programs differ in where they say it, and whether that is a success.
    fn said(&mut self, path: &Path, lines: &CommandLines) -> Option<String> {
        let arguments = lines.version.as_ref()?;
        let ask = || {
            let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().ok()?;
            let said = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&said);
            let number = |line: &&str| line.contains(|letter: char| letter.is_ascii_digit());
            text.lines().find(number).map(|line| line.trim().to_owned())
        };
        self.versions.entry(path.to_owned()).or_insert_with(ask).clone()
    }
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

fn describe(cell: &Cell) -> String {
    format!("{}: {}", cell.input, cell.method.label())
}

fn outcome_text(line: &Line) -> String {
    match &line.outcome {
        Outcome::Failed { error } => format!("FAILED: {error}"),
        Outcome::Done(measures) => {
            let speed = |seconds: f64| three_digits(line.input.bytes as f64 / seconds / 1e3);
            let back = measures
                .decompress
                .map_or_else(String::new, |cost| format!(", back {} KB/s", speed(cost.seconds)));
            format!(
                "{} => {} bytes, {} KB/s{back}",
                line.input.bytes,
                measures.archive_bytes,
                speed(measures.compress.seconds)
            )
        }
    }
}

/// A line on stderr; there is nobody to tell if that fails.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
