//! Working through cells: which are settled, what each needs first, and its line of results.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::cell::Bench;
use super::child::Job;
use super::config::{self, Finezip, Method};
use super::grid::Cell;
use super::inputs::Text;
use super::machine::{self, Machine};
use super::results::{self, Derived, Line, Outcome, Results, key};
use super::tally::Tally;
use super::tools::{Hashes, Tools};
use super::training::{Adapters, Trainer};
use super::{Worked, input_path, peers, say};
use crate::args::RunArguments;
use crate::text::{bytes_short, three_digits};

/// The memory that this tool may have had before cells begin: programs smaller than that are
/// measured too large.
const MOST_OWN_BYTES: u64 = 20_000_000;

/// What cells are worked through with.
pub(super) struct Session {
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
    /// A session that has done nothing yet, over texts by the names of inputs.
    pub(super) fn new(
        bench: Bench,
        texts: HashMap<String, Result<Text>>,
        adapters: Adapters,
        trainer: Trainer,
    ) -> Self {
        Self {
            bench,
            texts,
            tools: Tools::default(),
            hashes: Hashes::default(),
            machine: Machine::this(),
            adapters,
            trainer,
            fetched: HashSet::new(),
            opened: HashSet::new(),
        }
    }

    /// Works through the cells that are asked for and not settled yet.
    pub(super) fn work(
        &mut self,
        arguments: &RunArguments,
        cells: &[Cell],
        asked: &[bool],
    ) -> Result<Worked> {
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
                None => tally.leave_out(cell),
                Some(line) if settled.contains_key(line.key.as_str()) => {
                    tally.settle(settled[line.key.as_str()]);
                }
                Some(line) if !keys.insert(line.key.clone()) => tally.settle(false),
                Some(line) => open.push((cell, line.key)),
            }
        }
        if arguments.dry_run {
            for (cell, _) in &open {
                say(format_args!("{}", cell.describe()));
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
                    tally.leave_out(cell);
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
                self.measure(cell, &mut line);
                results.add(&line)?;
                say(format_args!(
                    "{:>4}  {}: {} ({:.1} s)",
                    number + 1,
                    cell.describe(),
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
            Method::Command { lines, .. } => {
                tool.version = self.tools.said(&program, lines, &self.bench.folder);
            }
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

    /// Runs a cell, and writes into its line what came of it.
    fn measure(&self, cell: &Cell, line: &mut Line) {
        line.floor_bytes = machine::own_peak_bytes();
        line.outcome = self.outcome(cell);
        line.derived = line.measures().and_then(|measures| Derived::of(measures, line.input.bytes));
        line.unix_time =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
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
