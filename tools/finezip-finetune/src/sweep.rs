//! A sweep: every combination of models and settings of a grid, each a run in a folder of its
//! own.
//!
//! Runs that are finished are not made again, and one that was stopped goes on where it stood, so
//! the same command goes on with a sweep as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use finezip_lora::train::memory_bytes;
use serde::Deserialize;
use toml::{Table, Value};

use crate::args::SweepArguments;
use crate::budget::{self, Budget};
use crate::model;
use crate::options::{RunOptions, RunSettings};
use crate::run::{self, Memory};
use crate::summary::{self, Summary};
use crate::texts::{self, Texts};

/// More runs than anyone waits for: a mistake in the file.
const MAX_RUNS: usize = 1000;
/// Bytes of a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// The file of a sweep.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SweepFile {
    /// Folder for the runs' folders.
    out: PathBuf,
    /// Names or paths.
    models: Vec<String>,
    /// Text to learn from.
    data: Vec<String>,
    /// Text to measure on.
    #[serde(default)]
    held_out: Vec<String>,
    /// Share that is set aside where there is none.
    #[serde(default = "tenth")]
    held_out_share: f64,
    /// Runs at the same time, at most.
    #[serde(default = "one")]
    jobs: usize,
    /// Memory that runs at the same time may take, in GiB; unless given, what is available at the
    /// start.
    memory_gib: Option<f64>,
    /// Settings of all runs, as the flags are named.
    #[serde(default)]
    settings: Table,
    /// Lists of values; each combination is a run.
    #[serde(default)]
    grid: BTreeMap<String, Vec<Value>>,
}

fn tenth() -> f64 {
    0.1
}

fn one() -> usize {
    1
}

/// A run of the grid.
#[derive(Debug)]
struct GridRun {
    name: String,
    model: String,
    settings: RunSettings,
}

/// Makes all runs of a file, then prints their table.
pub(crate) fn run(arguments: &SweepArguments) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.file);
    let text = text.with_context(|| arguments.file.display().to_string())?;
    let file: SweepFile =
        toml::from_str(&text).with_context(|| arguments.file.display().to_string())?;
    let runs = runs(&file).with_context(|| arguments.file.display().to_string())?;
    let texts = texts::gather(&file.data, &file.held_out, file.held_out_share, &file.out)?;
    expect_own(&file.out)?;
    let results = make(&file, &runs, &texts, arguments.offline);
    let mut summaries = Vec::new();
    let mut failures = Vec::new();
    for (run, result) in runs.iter().zip(results) {
        match result {
            Some(Ok(summary)) => summaries.push(summary),
            Some(Err(error)) => failures.push(format!("{}: {error:#}", run.name)),
            None => failures.push(format!("{}: not made", run.name)),
        }
    }
    if !summaries.is_empty() {
        summary::print(&summaries)?;
        summary::write_json(&file.out.join(summary::FILE), &summaries)?;
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(anyhow!("{}", failures.join("\n"))),
    }
}

/// An error if the table of summaries would replace what is none: a run's own, say.
fn expect_own(folder: &Path) -> Result<()> {
    let path = folder.join(summary::FILE);
    let Ok(held) = std::fs::read(&path) else { return Ok(()) };
    match serde_json::from_slice(&held) {
        Ok(serde_json::Value::Array(_)) => Ok(()),
        _ => bail!("{} is not of a sweep; give `out` another folder", path.display()),
    }
}

/// Makes the runs, some at a time. A run that fails does not keep others from being made.
fn make(
    file: &SweepFile,
    runs: &[GridRun],
    texts: &Texts,
    offline: bool,
) -> Vec<Option<Result<Summary>>> {
    let next = AtomicUsize::new(0);
    let budget = Budget::new(match file.memory_gib {
        Some(gib) => Some((gib * GIB) as u64),
        None => budget::available_bytes(),
    });
    let results: Mutex<Vec<Option<Result<Summary>>>> =
        Mutex::new(runs.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..file.jobs.min(runs.len()) {
            scope.spawn(|| {
                while let Some((number, run)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    runs.get(number).map(|run| (number, run))
                } {
                    let result = one_run(file, run, texts, offline, &budget);
                    let mut results =
                        results.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    results[number] = Some(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn one_run(
    file: &SweepFile,
    run: &GridRun,
    texts: &Texts,
    offline: bool,
    budget: &Budget,
) -> Result<Summary> {
    let checkpoint = model::open(&run.model, offline)?;
    let folder = file.out.join(&run.name);
    let memory = Memory::Shared;
    let _share =
        budget.take(memory_bytes(&checkpoint, &run.settings.training, run.settings.length)?);
    run::train(&run.name, &run.model, &checkpoint, texts, &run.settings, &folder, memory)
}

/// Every combination of the grid, models first, in the order of the file's names and values.
fn runs(file: &SweepFile) -> Result<Vec<GridRun>> {
    if file.models.is_empty() {
        bail!("models: expected at least one, found none");
    }
    if file.jobs == 0 {
        bail!("jobs: expected at least 1, found 0");
    }
    if let Some(gib) = file.memory_gib.filter(|gib| !(gib.is_finite() && *gib > 0.0)) {
        bail!("memory-gib: expected a number above 0, found {gib}");
    }
    let mut combinations: Vec<Vec<(&str, &Value)>> = vec![Vec::new()];
    for (key, values) in &file.grid {
        if values.is_empty() {
            bail!("grid.{key}: expected at least one value, found none");
        }
        if file.settings.contains_key(key) {
            bail!("{key} is both in settings and in grid");
        }
        let extended = combinations.iter().flat_map(|combination| {
            values.iter().map(move |value| {
                let mut combination = combination.clone();
                combination.push((key.as_str(), value));
                combination
            })
        });
        combinations = extended.collect();
        if combinations.len().saturating_mul(file.models.len()) > MAX_RUNS {
            bail!("grid: expected at most {MAX_RUNS} runs");
        }
    }
    let mut runs: Vec<GridRun> = Vec::new();
    for model in &file.models {
        for combination in &combinations {
            let mut settings = file.settings.clone();
            let mut name = model::short_name(model);
            for (key, value) in combination {
                settings.insert((*key).to_owned(), (*value).clone());
                name.push_str(&format!("-{key}-{}", plain(value)));
            }
            let options: RunOptions = settings.try_into()?;
            if runs.iter().any(|run| run.name == name) {
                bail!("two runs are named {name}: a model or a value is there twice");
            }
            runs.push(GridRun { name, model: model.clone(), settings: options.resolve()? });
        }
    }
    Ok(runs)
}

/// A value as a part of a folder's name.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        out = "runs"
        models = ["smollm2-135m", "models/other.gguf"]
        data = ["docs"]
        [settings]
        length = 256
        steps = 10
        qlora = true
        [grid]
        lr = [1e-3, 0.0005]
        targets = ["all", "q_proj,v_proj"]
    "#;

    fn parse(text: &str) -> Result<Vec<GridRun>> {
        runs(&toml::from_str(text)?)
    }

    #[test]
    fn a_grid_is_every_combination() {
        let runs = parse(FILE).unwrap();
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(
            names[..4],
            [
                "smollm2-135m-lr-0.001-targets-all",
                "smollm2-135m-lr-0.001-targets-q_proj_v_proj",
                "smollm2-135m-lr-0.0005-targets-all",
                "smollm2-135m-lr-0.0005-targets-q_proj_v_proj",
            ]
        );
        assert_eq!(names.len(), 8);
        assert!(names[4].starts_with("other-lr"));
        assert!(runs.iter().all(|run| run.settings.length == 256 && run.settings.training.qlora));
        assert_eq!(runs[3].settings.training.learning_rate.peak, 0.0005);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, named) in [
            ("length = 256", "lenght = 256", "lenght"),
            ("length = 256", "lr = 1.0", "lr"),
            ("length = 256", "epochs = 2.0", "steps and epochs"),
            ("lr = [", "epochs = [1.0]\n        lr = [", "steps and epochs"),
            ("[1e-3, 0.0005]", "[]", "grid.lr"),
            ("[1e-3, 0.0005]", "[1e-3, 0.001]", "two runs"),
            ("\"q_proj,v_proj\"", "\"nose\"", "nose"),
            ("out = \"runs\"", "out = \"runs\"\njobs = 0", "jobs"),
            ("out = \"runs\"", "out = \"runs\"\nmemory-gib = 0.0", "memory-gib"),
            ("out = \"runs\"", "out = \"runs\"\nmemory-gib = nan", "memory-gib"),
        ] {
            let error = format!("{:#}", parse(&FILE.replace(from, to)).unwrap_err());
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
