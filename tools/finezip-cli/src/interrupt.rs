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

/// From now on SIGINT, SIGTERM and SIGHUP remove unfinished files and end the process.
pub(crate) fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let held = unfinished();
        for path in held.iter() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
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
