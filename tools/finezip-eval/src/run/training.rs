//! Adapters that a grid asks for: made by finezip-finetune before the cells that use them.

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
pub(crate) struct Trainer<'a> {
    /// finezip-finetune.
    pub(crate) program: PathBuf,
    /// The folders of data.
    pub(crate) data: &'a [PathBuf],
    /// Where runs are kept, so that no adapter is made twice.
    pub(crate) runs: PathBuf,
    /// For texts and messages.
    pub(crate) temporary: &'a Path,
    /// The longest that one may take.
    pub(crate) timeout: Duration,
    /// Whether what is not there yet is made.
    pub(crate) makes: bool,
}

impl Trainer<'_> {
    /// The folder of every adapter of the grid that cells name, made now where a cell that is asked
    /// for names it. One that cannot be made fails its cells, and no others.
    pub(crate) fn supply(&self, grid: &Grid, cells: &[Cell], asked: &[bool]) -> Adapters {
        let mut adapters = BTreeMap::new();
        for (name, training) in &grid.adapters {
            let mut users = cells.iter().zip(asked).filter(|(cell, _)| {
                cell.method.configuration().is_some_and(|it| it.adapter.as_ref() == Some(name))
            });
            let Some((_, first)) = users.next() else { continue };
            let is_asked = *first || users.any(|(_, asked)| *asked);
            let folder = self.adapter(grid, name, training, self.makes && is_asked);
            adapters.insert(name.clone(), folder);
        }
        Adapters(adapters)
    }

    /// The folder of an adapter, made now if it is not there.
    fn adapter(
        &self,
        grid: &Grid,
        name: &str,
        training: &Training,
        makes: bool,
    ) -> Result<PathBuf> {
        let mut identity = Sha256::new();
        let mut texts = Vec::new();
        for input in training.inputs() {
            let at = self.temporary.join(format!("learned-{input}"));
            let parts = grid.inputs.get(input).context("an input that is in the grid")?;
            identity.update(inputs::prepare(input, parts, self.data, &at)?.sha256);
            texts.push((at, format!("{input}.txt")));
        }
        let settings = training.arguments();
        identity.update(settings.join("\n"));
        // Another program may make another adapter, and so may another model of one path.
        identity.update(inputs::hash_file(&self.program).unwrap_or_default().0);
        if is_path(&training.model) {
            identity.update(inputs::hash_path(Path::new(&training.model))?);
        }
        let folder = self.runs.join(&hex(&identity.finalize())[..16]);
        let run = folder.join(name);
        let adapter = run.join("adapter");
        // A run that was stopped has no summary, and goes on where it was.
        if run.join("summary.json").is_file() {
            return Ok(adapter);
        }
        ensure!(makes, "it is not made yet");
        ensure!(
            self.program.is_file(),
            "{} is not there; build it with `cargo build --release -p finezip-finetune`",
            self.program.display()
        );
        fs::create_dir_all(&run).with_context(|| run.display().to_string())?;
        // Under the same paths each time, as a run's settings name them.
        let mut kept = Vec::new();
        for (text, name) in texts {
            let to = folder.join(name);
            fs::copy(&text, &to).with_context(|| to.display().to_string())?;
            kept.push(to);
        }
        say(format_args!("the adapter {name}: {} steps", training.steps));
        let job = Job::new(&self.program)
            .arguments(settings)
            .argument("--data")
            .argument(&kept[0])
            .argument("--held-out")
            .argument(&kept[1])
            .argument("--out")
            .argument(&run);
        child::run(&job, self.temporary, self.timeout)?;
        Ok(adapter)
    }
}

/// Where the adapters lie that a grid calls by name.
#[derive(Default)]
pub(crate) struct Adapters(BTreeMap<String, Result<PathBuf>>);

impl Adapters {
    /// The folder of what a cell calls by this name: that of an adapter that was made, or a path as
    /// it is.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        match self.0.get(name) {
            None => Ok(name.into()),
            Some(Ok(folder)) => Ok(folder.clone()),
            Some(Err(error)) => bail!("the adapter {name}: {error:#}"),
        }
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
        let adapters = Adapters(BTreeMap::from([
            ("made".to_owned(), Ok(PathBuf::from("runs/made/adapter"))),
            ("lost".to_owned(), Err(anyhow::anyhow!("too short a text"))),
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
    }
}
