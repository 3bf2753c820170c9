//! `--statistics`: what was measured of each input, for programs.
//!
//! One JSON object a line; `docs/cli.md` names the keys.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use finezip_core::Summary;
use serde_json::{Value, json};

use crate::exit::{Failure, Outcome};
use crate::ideal::Measured;

/// Where lines of statistics go.
pub(crate) struct Statistics {
    file: File,
    path: PathBuf,
}

impl Statistics {
    /// Writes to `path`, replacing what is there.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        let file = File::create(path).map_err(|error| cannot_write(path, error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Adds the line of one input.
    pub(crate) fn add(
        &self,
        name: &str,
        summary: &Summary,
        elapsed: Duration,
        measured: Option<&Measured>,
    ) -> Outcome {
        let line = json!({
            "file": name,
            "text_bytes": summary.text_bytes,
            "archive_bytes": summary.archive_bytes,
            "adapter_bytes": summary.adapter_bytes,
            "tokens": summary.tokens,
            "model_frames": summary.model_frames,
            "other_frames": summary.other_frames,
            "seconds": elapsed.as_secs_f64(),
            "engine_seconds": summary.timing.engine.as_secs_f64(),
            "coder_seconds": summary.timing.coder.as_secs_f64(),
            "measured": measured.map(measured_json),
        });
        let written = (&self.file).write_all(format!("{line}\n").as_bytes());
        written.map_err(|error| cannot_write(&self.path, error))
    }
}

/// A failure that is about this file, whatever input the line was to be of.
fn cannot_write(path: &Path, error: io::Error) -> Failure {
    Failure::file(format!("cannot write to {}: {error}", path.display())).unnamed()
}

fn measured_json(measured: &Measured) -> Value {
    let positions = measured.positions.iter().enumerate().map(|(number, position)| {
        let from = if number == 0 { 0 } else { 1_u64 << (number - 1) };
        json!({ "from": from, "tokens": position.tokens, "ideal_bits": position.ideal_bits })
    });
    json!({
        "tokens": measured.tokens,
        "ideal_bytes": measured.ideal_bytes,
        "payload_bytes": measured.payload_bytes,
        "rank_0": measured.first_guesses,
        "ranks_0_to_15": measured.near_guesses,
        "positions": positions.collect::<Vec<_>>(),
    })
}
