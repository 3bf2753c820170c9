//! The progress bar: bytes, bytes a second, the running ratio and the time left.
//!
//! Drawn on stderr if that is a terminal, never with `-q`; otherwise this costs nothing.

use finezip_core::{Observer, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::report::Report;

/// A bar for one file, or none.
pub(crate) struct Meter(Option<ProgressBar>);

impl Meter {
    /// Begins a bar over `total_bytes` of text (unknown for a pipe).
    pub(crate) fn start(report: &Report, name: &str, total_bytes: Option<u64>) -> Self {
        if !report.draws() {
            return Self(None);
        }
        let (bar, template) = match total_bytes {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix}: {bar:24} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {msg}  {eta} left",
            ),
            None => {
                (ProgressBar::no_length(), "{prefix}: {spinner} {bytes}  {bytes_per_sec}  {msg}")
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        Self(Some(bar))
    }

    /// Begins a bar over training steps.
    pub(crate) fn steps(report: &Report, name: &str, steps: u64) -> Self {
        if !report.draws() {
            return Self(None);
        }
        let bar = ProgressBar::new(steps);
        let template = "{prefix}: {bar:24} step {pos} of {len}  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        Self(Some(bar))
    }

    /// Says how many training steps are done, and what the last of them measured.
    pub(crate) fn step(&self, done: u64, bits_per_byte: f64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
            bar.set_message(format!("{bits_per_byte:.3} bpb"));
        }
    }

    /// What tells the bar how far the work is.
    pub(crate) fn observer(&self) -> Option<Box<Observer<'static>>> {
        let bar = self.0.clone()?;
        Some(Box::new(move |progress: Progress| {
            bar.set_position(progress.text_bytes);
            if progress.text_bytes > 0 && progress.archive_bytes > 0 {
                let ratio = progress.archive_bytes as f64 / progress.text_bytes as f64;
                bar.set_message(format!("ratio {ratio:.3}"));
            }
        }))
    }

    /// Says how many bytes of a download are there.
    pub(crate) fn set(&self, done_bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done_bytes);
        }
    }
}

impl Drop for Meter {
    /// The bar leaves no trace; what stays is the summary.
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
