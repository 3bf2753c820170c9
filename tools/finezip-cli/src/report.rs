//! What the tool says on stderr: failures, warnings, the summary of each file.
//!
//! Nothing but data goes to stdout. `-q` leaves failures only; `-v` adds the parts in use and where
//! the time went.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use finezip_core::{LanguageDescriptor, Loss, Summary};

use crate::exit::{Code, Failure};
use crate::ideal::Measured;
use crate::text::printable;
use crate::units::grouped;

/// How much is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Failures only.
    pub(crate) quiet: bool,
    /// Times and parts as well.
    pub(crate) verbose: bool,
}

impl Report {
    /// Whether a progress bar may be drawn.
    pub(crate) fn draws(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// A line on stderr, whatever was asked for. There is nobody to tell if that fails.
    fn line(text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{}", printable(&text.to_string()));
    }

    /// A failure; a reader that went away is not told.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.code != Code::BrokenPipe {
            Self::line(format_args!("finezip-cli: {}", failure.message));
        }
    }

    /// Something a damaged archive has lost.
    pub(crate) fn loss(&self, name: &str, loss: &Loss) {
        Self::line(format_args!("finezip-cli: {name}: {loss}"));
    }

    /// Something the user should know, though the work goes on.
    pub(crate) fn warning(&self, text: impl Display) {
        if !self.quiet {
            Self::line(format_args!("finezip-cli: warning: {text}"));
        }
    }

    /// What was done.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            Self::line(text);
        }
    }

    /// Details for `-v`.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose && !self.quiet {
            Self::line(text);
        }
    }

    /// The parts that read an archive or a message, for `-v`.
    pub(crate) fn parts(&self, language: &LanguageDescriptor, threads: usize) {
        let LanguageDescriptor { model, schedule, coder, .. } = language;
        let adapter = model.adapter.map(|hash| format!(", adapter (BLAKE3 {hash})"));
        self.detail(format_args!(
            "  model {} (BLAKE3 {}){}, engine {}, schedule {schedule}, coder {coder}, {threads} \
             threads",
            model.name,
            model.fingerprint,
            adapter.unwrap_or_default(),
            model.engine,
        ));
    }

    /// The summary of a compressed file: `name : ratio (bytes => bytes, bits a byte, speed)`.
    pub(crate) fn compressed(&self, name: &str, to: &str, summary: &Summary, elapsed: Duration) {
        let text_bytes = summary.text_bytes;
        let measures = if text_bytes == 0 {
            String::new()
        } else {
            let (text, archive) = (text_bytes as f64, summary.archive_bytes as f64);
            format!("{:.2}%, {:.3} bpb, ", 100.0 * archive / text, 8.0 * archive / text)
        };
        self.note(format_args!(
            "{name} : {} => {} bytes ({measures}{})  {to}",
            grouped(text_bytes),
            grouped(summary.archive_bytes),
            speed(summary, elapsed),
        ));
        if summary.adapter_bytes > 0 {
            let adapter_bytes = grouped(summary.adapter_bytes);
            self.note(format_args!("  {adapter_bytes} bytes of them are the adapter"));
        }
        self.times(summary);
    }

    /// The summary of a decompressed (or tested) file.
    pub(crate) fn decompressed(&self, name: &str, to: &str, summary: &Summary, elapsed: Duration) {
        self.note(format_args!(
            "{name} : {} bytes ({})  {to}",
            grouped(summary.text_bytes),
            speed(summary, elapsed),
        ));
        self.times(summary);
    }

    /// The coder's length beside the ideal one of the same distributions.
    pub(crate) fn ideal(&self, measured: &Measured) {
        let payload_bytes = measured.payload_bytes;
        let more = 100.0 * (payload_bytes as f64 / measured.ideal_bytes.max(1e-9) - 1.0);
        self.note(format_args!(
            "  ideal code length {:.1} bytes, coder {} bytes ({more:+.3}%)",
            measured.ideal_bytes,
            grouped(payload_bytes),
        ));
        let share = |part: u64| 100.0 * part as f64 / measured.tokens.max(1) as f64;
        self.note(format_args!(
            "  rank 0: {:.1}% of tokens, ranks 0 to 15: {:.1}%",
            share(measured.first_guesses),
            share(measured.near_guesses),
        ));
    }

    fn times(&self, summary: &Summary) {
        let frames = summary.model_frames + summary.other_frames;
        self.detail(format_args!(
            "  {frames} frames, {} of them coded with a model; engine {:.2} s, coder {:.2} s",
            summary.model_frames,
            summary.timing.engine.as_secs_f64(),
            summary.timing.coder.as_secs_f64(),
        ));
    }
}

/// Tokens a second where a model was used, else bytes a second.
fn speed(summary: &Summary, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-6);
    if summary.tokens > 0 {
        format!("{:.0} tokens/s", summary.tokens as f64 / seconds)
    } else {
        format!("{} bytes/s", grouped((summary.text_bytes as f64 / seconds) as u64))
    }
}
