//! What came of runs: a file for each, a table for all.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use finezip_lora::adapter::{CONFIG_FILE, WEIGHTS_FILE};
use finezip_lora::train::Outcome;
use finezip_lora::{EmbeddedAdapter, EmbeddedPrecision};
use finezip_models::ModelConfig;
use serde::{Deserialize, Serialize};

use crate::metrics::Line;

/// Name of the file.
pub(crate) const FILE: &str = "summary.json";

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The run's name.
    pub(crate) name: String,
    /// Held-out bits per byte without the adapter.
    pub(crate) base_bits_per_byte: f64,
    /// Held-out bits per byte with it.
    pub(crate) best_bits_per_byte: f64,
    /// The step it is from.
    pub(crate) best_step: usize,
    /// Steps made.
    pub(crate) steps: usize,
    /// Bytes of the adapter's two files.
    pub(crate) adapter_bytes: u64,
    /// Bytes of it in an archive, as `--embed-adapter` stores it (`int4`); none where its rank is too
    /// high for that.
    pub(crate) embedded_bytes: Option<u64>,
    /// The adapter's hash.
    pub(crate) adapter_blake3: String,
    /// Bytes of all text that was given, to learn from and to measure on.
    pub(crate) text_bytes: usize,
    /// Which part of the held-out text was measured. Runs that name the same measured the same.
    #[serde(default)]
    pub(crate) measured: String,
    /// Tokens learned from in a second, evaluations not counted.
    pub(crate) tokens_per_second: f64,
    /// The most memory the process has had that made the last steps, where the system tells. None in
    /// a sweep: the process has had what the largest of its runs took.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// What a sweep sets aside for such a run.
    #[serde(default)]
    pub(crate) reckoned_memory_bytes: u64,
}

impl Summary {
    /// Reads what a run has left. Its memory, and what it measured, are for the caller to say.
    pub(crate) fn new(
        name: &str,
        outcome: &Outcome,
        lines: &[Line],
        folder: &Path,
        model: &ModelConfig,
        text_bytes: usize,
    ) -> Result<Self> {
        let (tokens, seconds) = lines.iter().fold((0, 0.0), |(all, time), line| match line {
            Line::Step { tokens, seconds, .. } => (all + tokens, time + seconds),
            Line::Evaluation { .. } => (all, time),
        });
        let mut adapter_bytes = 0;
        for file in [CONFIG_FILE, WEIGHTS_FILE] {
            let path = folder.join("adapter").join(file);
            let metadata = std::fs::metadata(&path);
            adapter_bytes += metadata.with_context(|| path.display().to_string())?.len();
        }
        let embedded = EmbeddedAdapter::new(&outcome.adapter, EmbeddedPrecision::Int4, model);
        Ok(Self {
            name: name.to_owned(),
            base_bits_per_byte: outcome.base_bits_per_byte,
            best_bits_per_byte: outcome.best_bits_per_byte,
            best_step: outcome.best_step,
            steps: outcome.steps,
            adapter_bytes,
            embedded_bytes: embedded.ok().map(|embedded| embedded.bytes().len() as u64),
            adapter_blake3: outcome.adapter.fingerprint().to_hex(),
            text_bytes,
            measured: String::new(),
            tokens_per_second: tokens as f64 / f64::max(seconds, 1e-9),
            peak_memory_bytes: None,
            reckoned_memory_bytes: 0,
        })
    }

    /// Bytes that the adapter saves in each byte of text like the held-out one.
    fn saving(&self) -> f64 {
        (self.base_bits_per_byte - self.best_bits_per_byte) / 8.0
    }

    /// Bytes that the adapter takes where it is counted: in an archive, else as it is.
    fn counted_bytes(&self) -> f64 {
        self.embedded_bytes.unwrap_or(self.adapter_bytes) as f64
    }

    /// Bytes of text from which on the adapter saves more than it takes, if it saves anything.
    fn pays_from(&self) -> Option<f64> {
        (self.saving() > 0.0).then(|| self.counted_bytes() / self.saving())
    }

    /// Bytes saved on all text that was given, at the held-out rate, less the adapter's own.
    fn net_saving(&self) -> f64 {
        self.saving() * self.text_bytes as f64 - self.counted_bytes()
    }
}

/// Prints the table of some runs and names the best.
pub(crate) fn print(summaries: &[Summary]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let width = summaries.iter().map(|summary| summary.name.len()).max().unwrap_or(0).max(3);
    writeln!(
        out,
        "{:width$}  {:>9}  {:>9}  {:>7}  {:>8}  {:>12}  {:>12}  {:>13}  {:>8}",
        "run",
        "bpb",
        "with it",
        "gain",
        "step",
        "embedded B",
        "pays from B",
        "net saving B",
        "tokens/s"
    )?;
    for summary in summaries {
        let gain = 1.0 - summary.best_bits_per_byte / summary.base_bits_per_byte;
        let pays_from = match summary.pays_from() {
            Some(bytes) => format!("{bytes:.0}"),
            None => "never".to_owned(),
        };
        writeln!(
            out,
            "{:width$}  {:>9.4}  {:>9.4}  {:>6.2}%  {:>8}  {:>12.0}  {:>12}  {:>13.0}  {:>8.0}",
            summary.name,
            summary.base_bits_per_byte,
            summary.best_bits_per_byte,
            100.0 * gain,
            format!("{}/{}", summary.best_step, summary.steps),
            summary.counted_bytes(),
            pays_from,
            summary.net_saving(),
            summary.tokens_per_second,
        )?;
    }
    let best = summaries
        .iter()
        .min_by(|left, right| left.best_bits_per_byte.total_cmp(&right.best_bits_per_byte));
    if let (Some(best), true) = (best, summaries.len() > 1) {
        if summaries.iter().all(|summary| summary.measured == best.measured) {
            writeln!(out, "best by held-out bits per byte: {}", best.name)?;
        } else {
            writeln!(
                out,
                "no run is named the best: they measured different samples of the held-out text, \
                 which follow from model, length, seed and eval-tokens; with eval-tokens = 0 all of \
                 them measure all of it"
            )?;
        }
    }
    writeln!(
        out,
        "bpb: ideal bits per byte of held-out text without and with the adapter; embedded: the \
         adapter as an archive carries it, in int4; pays from: bytes of such text from which the \
         adapter saves more than that; net saving: on all text given, at the held-out rate, less that"
    )?;
    Ok(())
}

/// Writes a file in JSON that appears whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> finezip_lora::Result<()> {
    finezip_lora::write_atomically(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// The summary that is in a run's folder.
pub(crate) fn read(folder: &Path) -> Option<Summary> {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
}

/// What Linux says of the most memory this process has had.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
