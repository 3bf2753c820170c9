//! What a person sees of a run, and of a download before it: a bar on a terminal, and a line an
//! evaluation (or a step of the download) anywhere.

use std::io::{IsTerminal, Write};

use finezip_lora::train::Event;
use finezip_models::hub;
use indicatif::{ProgressBar, ProgressStyle};

/// The progress of a run, on stderr.
pub(crate) struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    held_out: f64,
    tokens: usize,
    seconds: f64,
}

impl Progress {
    /// Nothing is drawn before the run begins.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), bar: None, held_out: f64::NAN, tokens: 0, seconds: 0.0 }
    }

    /// Says what happened.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Started { step, steps, parameters } => {
                if *step > 0 {
                    self.line(&format!("goes on after step {step} of {steps}"));
                } else {
                    self.line(&format!("{steps} steps, {parameters} parameters"));
                }
                if std::io::stderr().is_terminal() {
                    self.bar = Some(bar(&self.name, *step, *steps));
                }
            }
            Event::Step(report) => {
                self.tokens += report.tokens;
                self.seconds += report.seconds;
                if let Some(bar) = &self.bar {
                    bar.set_position(report.step as u64);
                    bar.set_message(format!(
                        "loss {:.3}, {:.4} bpb, held out {:.4} bpb, {:.0} tokens/s",
                        report.loss,
                        report.bits_per_byte,
                        self.held_out,
                        self.tokens as f64 / self.seconds.max(1e-9),
                    ));
                }
            }
            Event::Evaluation(evaluation) => {
                self.held_out = evaluation.bits_per_byte;
                let best = if evaluation.is_best && evaluation.step > 0 { ", best" } else { "" };
                self.line(&format!(
                    "step {}: held out {:.4} bits per byte{best}",
                    evaluation.step, evaluation.bits_per_byte
                ));
            }
        }
    }

    fn line(&self, text: &str) {
        let text = format!("{}: {text}", self.name);
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(&text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on stderr. Nobody is left to tell where that is gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The progress of a download, on stderr.
#[derive(Default)]
pub(crate) struct Download {
    bar: Option<ProgressBar>,
}

impl Download {
    /// A line about this program, in the place of a bar.
    fn line(&mut self, text: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        say(&format!("finezip-finetune: {text}"));
    }
}

impl hub::Progress for Download {
    fn stage(&mut self, what: &str) {
        self.line(what);
    }

    fn bytes(&mut self, done: u64, total: Option<u64>) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        self.bar.get_or_insert_with(|| bar_of_bytes(total)).set_position(done);
    }

    fn note(&mut self, what: &str) {
        self.line(&format!("warning: {what}"));
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar_of_bytes(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:20} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn bar(name: &str, step: usize, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_position(step as u64);
    let template = "{prefix}: {bar:20} {pos}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar.reset_eta();
    bar
}
