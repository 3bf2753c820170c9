//! Folders for temporary files: they go away with what needs them, and when a signal ends this
//! tool, which runs no destructors.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder of its own.
pub(crate) struct Temporary(TempDir);

impl Temporary {
    /// A new one in the system's folder for such.
    pub(crate) fn new() -> Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// A new one in `folder`, which is made if it is not there.
    pub(crate) fn new_in(folder: &Path) -> Result<Self> {
        let at = || format!("a folder for temporary files in {}", folder.display());
        fs::create_dir_all(folder).with_context(at)?;
        // Held meanwhile, so that no signal finds a folder that is not in the list yet.
        let mut folders = folders();
        let made = TempDir::new_in(folder).with_context(at)?;
        folders.push(made.path().to_owned());
        Ok(Self(made))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        folders().retain(|folder| folder != self.path());
    }
}

/// Removes them all. None can be made any more: this process is about to end.
pub(crate) fn remove_all() {
    let folders = folders();
    for folder in folders.iter() {
        let _ = fs::remove_dir_all(folder);
    }
    std::mem::forget(folders);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_away_with_what_needs_it() {
        let within = tempfile::tempdir().unwrap();
        let temporary = Temporary::new_in(&within.path().join("new")).unwrap();
        let path = temporary.path().to_owned();
        fs::write(path.join("file"), "text").unwrap();
        assert!(path.starts_with(within.path().join("new")) && folders().contains(&path));
        drop(temporary);
        assert!(!path.exists() && !folders().contains(&path));
    }
}
