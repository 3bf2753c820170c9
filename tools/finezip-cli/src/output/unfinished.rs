//! Files that are not finished: under a name of their own, locked, and removed if they never are.

use std::fs::File;
use std::io;
use std::path::Path;

use finezip_core::partial;
use tempfile::NamedTempFile;

use crate::exit::{Failure, Outcome};
use crate::interrupt;

/// The most bytes of a target's name in that of its unfinished file: names have an end.
const NAME_BYTES: usize = 200;

/// What the names of unfinished files end with.
const SUFFIX: &str = ".partial";

/// Unfinished files that are made before giving up, where another run takes each for abandoned in
/// the moment before it is locked.
const CLAIMS: u32 = 100;

/// A file under a temporary name, removed unless it is renamed.
pub(super) struct Unfinished(Option<NamedTempFile>);

impl Unfinished {
    /// An unfinished file for `name`, with these permissions less the umask's. What killed runs
    /// have left of that name is removed first.
    pub(super) fn create(folder: &Path, name: &str, mode: u32) -> Outcome<Self> {
        let most = name.len().min(NAME_BYTES);
        let end = (0..=most).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
        let prefix = format!(".{}.", &name[..end]);
        partial::remove_abandoned(folder, &prefix, SUFFIX);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(mode));
        }
        #[cfg(not(unix))]
        let _ = mode;
        for _ in 0..CLAIMS {
            let file = interrupt::create(|| builder.tempfile_in(folder), NamedTempFile::path)?;
            let made = Self(Some(file));
            if partial::claim(made.file(), made.path())? {
                return Ok(made);
            }
        }
        Err(Failure::file("another process removes unfinished files as fast as they are made"))
    }

    fn held(&self) -> &NamedTempFile {
        self.0.as_ref().expect("a temporary file is held until it is renamed or dropped")
    }

    pub(super) fn path(&self) -> &Path {
        self.held().path()
    }

    pub(super) fn file(&self) -> &File {
        self.held().as_file()
    }

    pub(super) fn rename(mut self, target: &Path, replace: bool) -> Outcome {
        let Some(file) = self.0.take() else { return Ok(()) };
        let path = file.path().to_owned();
        let renamed = interrupt::settle(&path, || {
            if replace { file.persist(target) } else { file.persist_noclobber(target) }
        });
        match renamed {
            Ok(_) => {
                // An input may be removed next: the new name must be on the disk before. There
                // are file systems that cannot say so of a folder, and nothing to be done there.
                if let Ok(folder) = File::open(folder_of(target)) {
                    let _ = folder.sync_all();
                }
                Ok(())
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::file(
                format!("{} has come into being meanwhile; -f replaces it", target.display()),
            )),
            Err(error) => Err(error.error.into()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            let path = file.path().to_owned();
            interrupt::settle(&path, || drop(file));
        }
    }
}

/// The folder that a file lies in, the current one where its name has none.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_folder() {
        for (name, folder) in [("text.fz", "."), ("./text.fz", "."), ("a/b.fz", "a"), ("/b", "/")] {
            assert_eq!(folder_of(Path::new(name)), Path::new(folder), "{name}");
        }
    }
}
