//! Ctrl-C and termination: unfinished files are removed before the process ends.
//!
//! A signal can come at any moment, so the names of unfinished files stand in one list behind a
//! lock; files are created, renamed and removed while it is held, and the handler takes it last.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::exit::Code;

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP remove unfinished files and end the process.
pub(crate) fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let held = unfinished();
        for path in held.iter() {
            let _ = fs::remove_file(path);
        }
        std::process::exit(Code::Interrupted as i32);
    })
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

/// Does what makes the file at `path` final (or removes it), and forgets it.
pub(crate) fn settle<T>(path: &Path, settle: impl FnOnce() -> T) -> T {
    let mut held = unfinished();
    let done = settle();
    held.retain(|other| other != path);
    done
}
