//! Adapters that a grid asks for: made by finezip-finetune before the cells that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::child::{self, Job};
use super::config::Method;
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
    /// Makes every adapter of the grid that cells name which are asked for, and puts its folder in
    /// the name's place.
    ///
    /// An adapter that cannot be made fails its cells, and no others: they keep a name that is no
    /// folder.
    pub(crate) fn supply(&self, grid: &Grid, cells: &mut [Cell], asked: &[bool]) {
        for (name, training) in &grid.adapters {
            let of_name = |(cell, _): &(&mut Cell, &bool)| match &cell.method {
                Method::Finezip(finezip) | Method::Ideal(finezip) => {
                    finezip.adapter.as_ref() == Some(name)
                }
                _ => false,
            };
            let mut users: Vec<_> = cells.iter_mut().zip(asked).filter(of_name).collect();
            if users.is_empty() {
                continue;
            }
            let is_asked = users.iter().any(|(_, asked)| **asked);
            match self.adapter(grid, name, training, self.makes && is_asked) {
                Ok(folder) => {
                    for (cell, _) in &mut users {
                        if let Method::Finezip(finezip) | Method::Ideal(finezip) = &mut cell.method
                        {
                            finezip.adapter = Some(folder.display().to_string());
                        }
                    }
                }
                Err(_) if !is_asked => {}
                Err(error) => say(format_args!("the adapter {name}: {error:#}")),
            }
        }
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

impl Training {
    /// What it is decided by, beside its text.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--model".to_owned(), self.model.clone()];
        arguments.extend(["--steps".to_owned(), self.steps.to_string()]);
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}
