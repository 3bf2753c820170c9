//! What came of all cells, for the last line and the exit code.

use std::process::ExitCode;

use super::grid::Cell;
use super::results::{Line, Outcome};
use super::{PARTLY, say};

/// How many cells came to what.
#[derive(Default)]
pub(super) struct Tally {
    done: usize,
    failed: usize,
    settled: usize,
    /// Of those settled before.
    failed_before: usize,
    /// Those of programs that are not there.
    absent: Vec<String>,
}

impl Tally {
    /// Counts a cell that was done before, or failed.
    pub(super) fn settle(&mut self, failed: bool) {
        self.settled += 1;
        self.failed_before += usize::from(failed);
    }

    /// Counts a cell that was run now.
    pub(super) fn count(&mut self, line: &Line) {
        match line.outcome {
            Outcome::Done(_) => self.done += 1,
            Outcome::Failed { .. } => self.failed += 1,
        }
    }

    /// Counts a cell that cannot be run, as its program is not on the PATH.
    pub(super) fn leave_out(&mut self, cell: &Cell) {
        self.absent.push(cell.describe());
    }

    /// Says how many there are of each, and tells the exit code.
    pub(super) fn report(&self, dry: bool) -> ExitCode {
        for cell in &self.absent {
            say(format_args!("left out, not on the PATH: {cell}"));
        }
        if !dry {
            let failed = match self.failed_before {
                0 => String::new(),
                failed => format!(" ({failed} of them failed, see --retry)"),
            };
            say(format_args!(
                "{} cells done, {} failed, {} settled before{failed}, {} left out",
                self.done,
                self.failed,
                self.settled,
                self.absent.len()
            ));
        }
        let is_whole = dry || self.failed + self.failed_before == 0;
        if is_whole { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) }
    }
}
