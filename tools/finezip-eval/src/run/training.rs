//! Adapters that a grid asks for: each made by finezip-finetune when the first cell is reached that
//! uses it, which takes longer than most cells do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::child::{self, Job};
use super::config::{Method, is_path};
use super::grid::{Cell, Grid, Training};
use super::inputs;
use super::say;
use crate::text::hex;

/// Where adapters are made, and by what.
pub(crate) struct Trainer {
    /// finezip-finetune.
    pub(crate) program: PathBuf,
    /// The folders of data.
    pub(crate) data: Vec<PathBuf>,
    /// Where runs are kept, so that no adapter is made twice.
    pub(crate) runs: PathBuf,
    /// For texts and messages.
    pub(crate) temporary: PathBuf,
    /// The longest that one may take.
    pub(crate) timeout: Duration,
}

/// How an adapter is made.
struct Plan {
    /// The hash of all that decides it.
    identity: String,
    /// The folder of its run, named by that.
    run: PathBuf,
    /// What is learned from and what is held out: where it lies now, and where the run finds it.
    texts: Vec<(PathBuf, PathBuf)>,
    /// Options of finezip-finetune.
    settings: Vec<String>,
    /// Steps to make.
    steps: u64,
}

impl Plan {
    /// Where the run leaves the adapter.
    fn folder(&self) -> PathBuf {
        self.run.join("adapter")
    }

    /// Whether the run has ended: one that was stopped has no summary, and goes on where it was.
    fn is_done(&self) -> bool {
        self.run.join("summary.json").is_file()
    }
}

impl Trainer {
    /// What there is of the grid's adapters that cells name, and how the others are made.
    pub(crate) fn adapters(&self, grid: &Grid, cells: &[Cell]) -> Adapters {
        let mut adapters = BTreeMap::new();
        for (name, training) in &grid.adapters {
            if !cells.iter().any(|cell| cell.method.adapter() == Some(name)) {
                continue;
            }
            let adapter = match self.plan(grid, name, training) {
                Ok(plan) if plan.is_done() => Adapter::Made(plan.folder()),
                Ok(plan) => Adapter::Planned(plan),
                Err(error) => {
                    Adapter::Failed { identity: String::new(), error: format!("{error:#}") }
                }
            };
            adapters.insert(name.clone(), adapter);
        }
        Adapters(adapters)
    }

    fn plan(&self, grid: &Grid, name: &str, training: &Training) -> Result<Plan> {
        let mut identity = Sha256::new();
        let mut texts = Vec::new();
        for input in training.inputs() {
            let at = self.temporary.join(format!("learned-{input}"));
            let parts = grid.inputs.get(input).context("an input that is in the grid")?;
            identity.update(inputs::prepare(input, parts, &self.data, &at)?.sha256);
            texts.push((at, format!("{input}.txt")));
        }
        let settings = training.arguments();
        identity.update(settings.join("\n"));
        // Another program may make another adapter, and so may another model of one path.
        identity.update(inputs::hash_file(&self.program).unwrap_or_default().0);
        if is_path(&training.model) {
            identity.update(inputs::hash_path(Path::new(&training.model))?);
        }
        let identity = hex(&identity.finalize())[..16].to_owned();
        let folder = self.runs.join(&identity);
        // Under the same paths each time, as a run's settings name them.
        let texts = texts.into_iter().map(|(at, name)| (at, folder.join(name))).collect();
        Ok(Plan { identity, run: folder.join(name), texts, settings, steps: training.steps })
    }

    /// Makes an adapter, and tells its folder.
    fn train(&self, name: &str, plan: &Plan) -> Result<PathBuf> {
        ensure!(
            self.program.is_file(),
            "{} is not there; build it with `cargo build --release -p finezip-finetune`",
            self.program.display()
        );
        fs::create_dir_all(&plan.run).with_context(|| plan.run.display().to_string())?;
        for (text, to) in &plan.texts {
            fs::copy(text, to).with_context(|| to.display().to_string())?;
        }
        say(format_args!("the adapter {name}: {} steps", plan.steps));
        let job = Job::new(&self.program)
            .arguments(&plan.settings)
            .argument("--data")
            .argument(&plan.texts[0].1)
            .argument("--held-out")
            .argument(&plan.texts[1].1)
            .argument("--out")
            .argument(&plan.run);
        child::run(&job, &self.temporary, self.timeout)?;
        Ok(plan.folder())
    }
}

/// What has come of an adapter so far.
enum Adapter {
    /// It lies in this folder.
    Made(PathBuf),
    /// It is made when a cell needs it.
    Planned(Plan),
    /// It could not be made, and is not tried again.
    Failed {
        /// The hash of all that decides it, if that is known.
        identity: String,
        /// Why.
        error: String,
    },
}

/// Where the adapters lie that a grid calls by name.
#[derive(Default)]
pub(crate) struct Adapters(BTreeMap<String, Adapter>);

impl Adapters {
    /// Makes what a cell calls by this name, unless it is there or could not be made before.
    pub(crate) fn make(&mut self, name: &str, trainer: &Trainer) {
        if let Some(Adapter::Planned(plan)) = self.0.get(name) {
            let made = match trainer.train(name, plan) {
                Ok(folder) => Adapter::Made(folder),
                Err(error) => {
                    Adapter::Failed { identity: plan.identity.clone(), error: format!("{error:#}") }
                }
            };
            self.0.insert(name.to_owned(), made);
        }
    }

    /// The folder of what a cell calls by this name: that of an adapter that was made, or a path as
    /// it is.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        match self.0.get(name) {
            None => Ok(name.into()),
            Some(Adapter::Made(folder)) => Ok(folder.clone()),
            Some(Adapter::Planned(_)) => bail!("the adapter {name}: it is not made yet"),
            Some(Adapter::Failed { error, .. }) => bail!("the adapter {name}: {error}"),
        }
    }

    /// What stands for the hash of an adapter that is not there: what it is made of, so that a cell
    /// that failed for want of it is another one when that has changed.
    pub(crate) fn instead_of_hash(&self, name: &str) -> String {
        let identity = match self.0.get(name) {
            Some(Adapter::Planned(plan)) => plan.identity.as_str(),
            Some(Adapter::Failed { identity, .. }) => identity.as_str(),
            None | Some(Adapter::Made(_)) => "",
        };
        format!("not made: {identity}")
    }

    /// A cell's method with its adapter's folder in the name's place.
    pub(crate) fn resolved(&self, method: &Method) -> Result<Method> {
        let mut method = method.clone();
        if let Method::Finezip(finezip) | Method::Ideal(finezip) = &mut method
            && let Some(name) = &finezip.adapter
        {
            finezip.adapter = Some(self.folder(name)?.display().to_string());
        }
        Ok(method)
    }
}

impl Training {
    /// What it is decided by, beside its text.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--model".to_owned(), self.model.clone()];
        arguments.extend(["--steps".to_owned(), self.steps.to_string()]);
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::config::Finezip;

    #[test]
    fn names_become_folders_paths_stay_and_failures_are_told() {
        let failed = |error: &str| Adapter::Failed { identity: "12".into(), error: error.into() };
        let adapters = Adapters(BTreeMap::from([
            ("made".to_owned(), Adapter::Made("runs/made/adapter".into())),
            ("lost".to_owned(), failed("too short a text")),
        ]));
        let resolved = |name: Option<&str>| {
            let adapter = name.map(Into::into);
            let method = Method::Finezip(Finezip { adapter, ..Finezip::default() });
            let resolved = adapters.resolved(&method)?;
            anyhow::Ok(resolved.finezip().and_then(|finezip| finezip.adapter.clone()))
        };
        assert_eq!(resolved(Some("made")).unwrap().as_deref(), Some("runs/made/adapter"));
        assert_eq!(resolved(Some("a/path")).unwrap().as_deref(), Some("a/path"));
        assert_eq!(resolved(None).unwrap(), None);
        let error = resolved(Some("lost")).unwrap_err().to_string();
        assert_eq!(error, "the adapter lost: too short a text");
        assert_eq!(adapters.instead_of_hash("lost"), "not made: 12");
    }
}
