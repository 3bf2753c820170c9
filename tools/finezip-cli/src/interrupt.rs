//! Ctrl-C and termination: unfinished files and folders are removed before the process ends.
//!
//! A signal can come at any moment, so the names of unfinished files stand in one list behind a
//! lock; files are created, renamed and removed while it is held, and the handler takes it last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::exit::Code;

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP remove unfinished files and end the process, but for
/// those that it was started to ignore: `nohup` does so for a run that is to outlive its terminal,
/// and shells for jobs in the background.
#[cfg(unix)]
pub(crate) fn install() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let ignored = ignored_signals();
    let caught = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|&signal| !is_in(ignored, signal));
    let mut signals = Signals::new(caught)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            stop();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// From now on Ctrl-C and its like remove unfinished files and end the process.
#[cfg(not(unix))]
pub(crate) fn install() -> io::Result<()> {
    ctrlc::set_handler(|| stop()).map_err(io::Error::other)
}

/// Removes what is unfinished and ends the process. The lock is never given back, so that nothing
/// is begun or finished any more.
fn stop() -> ! {
    let held = unfinished();
    for path in held.iter() {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    std::process::exit(Code::Interrupted as i32);
}

/// The signals that this process ignores, a bit each. None where the system does not say it in a
/// file: asking it otherwise takes unsafe code.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    // The program's name in it may be any bytes.
    let status = fs::read("/proc/self/status").unwrap_or_default();
    ignored_in(&String::from_utf8_lossy(&status))
}

/// The signals that a process with this `/proc/PID/status` ignores.
#[cfg(unix)]
fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// Whether a signal is in a mask, whose lowest bit is signal 1.
#[cfg(unix)]
fn is_in(mask: u64, signal: i32) -> bool {
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

/// Creates a file that is removed if the process is stopped before [`settle`] names it.
pub(crate) fn create<T, E>(
    create: impl FnOnce() -> Result<T, E>,
    path_of: impl FnOnce(&T) -> &Path,
) -> Result<T, E> {
    let mut held = unfinished();
    let made = create()?;
    held.push(path_of(&made).to_owned());
    Ok(made)
}

/// A folder for files that nobody is to see, removed at the end or when the process is stopped.
pub(crate) struct TemporaryFolder(Option<TempDir>);

impl TemporaryFolder {
    /// A new folder where temporary files go.
    pub(crate) fn new() -> io::Result<Self> {
        let folder =
            create(|| tempfile::Builder::new().prefix("finezip.").tempdir(), TempDir::path)?;
        Ok(Self(Some(folder)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            let path = folder.path().to_owned();
            settle(&path, || drop(folder));
        }
    }
}

/// Does what makes the file at `path` final (or removes it), and forgets it.
pub(crate) fn settle<T>(path: &Path, settle: impl FnOnce() -> T) -> T {
    let mut held = unfinished();
    let done = settle();
    held.retain(|other| other != path);
    done
}

#[cfg(all(test, unix))]
mod tests {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};

    use super::*;

    #[test]
    fn ignored_signals_are_read_from_what_the_system_says() {
        let status = "Name:\tfinezip-cli\nSigBlk:\tffffffffffffffff\n\
                      SigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        let ignored = ignored_in(status);
        assert!(is_in(ignored, SIGHUP) && is_in(ignored, SIGPIPE));
        assert!(!is_in(ignored, SIGINT) && !is_in(ignored, SIGTERM));
        for other in ["", "SigIgn:", "SigIgn:\tnone", "Name:\tSigIgn"] {
            assert_eq!(ignored_in(other), 0, "{other:?}");
        }
    }
}
