//! `metrics.jsonl`: one line a step and one an evaluation, so that a run can be followed and
//! drawn.
//!
//! A run that goes on after it was stopped makes some steps again; their lines are dropped first,
//! so the file reads as if nothing had happened (but for the seconds).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use finezip_lora::train::{Evaluation, Event, StepReport};
use serde::{Deserialize, Serialize};

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Line {
    /// An optimizer step.
    Step {
        /// Its number, from 1.
        step: usize,
        /// Nats per token before it.
        loss: f64,
        /// Bits per byte before it.
        bits_per_byte: f64,
        /// The learning rate.
        learning_rate: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// Tokens predicted.
        tokens: usize,
        /// Seconds it took.
        seconds: f64,
    },
    /// A measurement of held-out text.
    Evaluation {
        /// Steps done.
        step: usize,
        /// Bits per byte.
        bits_per_byte: f64,
    },
}

impl Line {
    /// The line of an event, if it has one.
    fn of(event: &Event) -> Option<Self> {
        match *event {
            Event::Step(StepReport {
                step,
                loss,
                bits_per_byte,
                learning_rate,
                gradient_norm,
                tokens,
                seconds,
                ..
            }) => Some(Self::Step {
                step,
                loss,
                bits_per_byte,
                learning_rate,
                gradient_norm,
                tokens,
                seconds,
            }),
            Event::Evaluation(Evaluation { step, bits_per_byte, .. }) => {
                Some(Self::Evaluation { step, bits_per_byte })
            }
            _ => None,
        }
    }

    fn step(&self) -> usize {
        match self {
            Self::Step { step, .. } | Self::Evaluation { step, .. } => *step,
        }
    }
}

/// The file's name.
pub(crate) const FILE: &str = "metrics.jsonl";

/// The file of a run.
pub(crate) struct Metrics {
    path: PathBuf,
    file: Option<File>,
}

impl Metrics {
    /// The file in a run's folder; opened when the run begins.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE), file: None }
    }

    /// Writes the line of an event.
    pub(crate) fn hear(&mut self, event: &Event) -> Result<()> {
        if let Event::Started { step, .. } = event {
            self.file = Some(self.begin(*step)?);
        }
        if let (Some(line), Some(file)) = (Line::of(event), &mut self.file) {
            let mut text = serde_json::to_string(&line)?;
            text.push('\n');
            file.write_all(text.as_bytes()).with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }

    /// All lines; a last one that was cut off is passed over.
    pub(crate) fn lines(&self) -> Result<Vec<Line>> {
        let file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        let mut lines = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| self.path.display().to_string())?;
            lines.extend(serde_json::from_str::<Line>(&line).ok());
        }
        Ok(lines)
    }

    /// Opens the file for appending, without lines of steps after `step`. A run at its very
    /// beginning has no lines.
    fn begin(&self, step: usize) -> Result<File> {
        let kept = match self.path.exists() && step > 0 {
            true => self.lines()?.into_iter().filter(|line| line.step() <= step).collect(),
            false => Vec::new(),
        };
        finezip_lora::write_atomically(&self.path, |file| {
            for line in &kept {
                serde_json::to_writer(&mut *file, line)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })?;
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .with_context(|| self.path.display().to_string())
    }
}
