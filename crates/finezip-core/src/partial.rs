//! Unfinished files whose writer was killed, told from those that are still being written.
//!
//! What must appear whole is written under another name and renamed at the end. A kill leaves it
//! behind, and nothing in its name tells whether its writer lives: process numbers come again, and
//! clocks differ. So a writer holds a lock on its file, which ends with the process however that
//! ends; [`remove_abandoned`] removes the files on which nobody holds one.
//!
//! A file can be taken for abandoned between its creation and its lock. [`claim`] tells, and the
//! writer then begins with another one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Locks an unfinished file that was just created at `path`, until it is closed. False if it has
/// been removed as abandoned in the meantime, or is about to be: another one is to be created.
///
/// Where files cannot be locked, the file is kept as it is: others take it for somebody's.
///
/// # Errors
/// If the file's state cannot be read.
pub fn claim(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => is_at(file, path),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(_)) => Ok(true),
    }
}

/// Removes the files of `folder` whose names begin with `prefix` and end with `suffix`, with
/// something between them, if their writers are gone. What cannot be removed stays; it costs disk
/// space and nothing else.
pub fn remove_abandoned(folder: &Path, prefix: &str, suffix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix)?.strip_suffix(suffix))
            .is_some_and(|middle| !middle.is_empty() && !middle.contains('.'));
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove_unlocked(&entry.path());
        }
    }
}

fn remove_unlocked(path: &Path) {
    // Some systems lock only what is open for writing.
    let Ok(file) = File::options().read(true).write(true).open(path) else { return };
    if file.try_lock().is_ok() && is_at(&file, path).unwrap_or(false) {
        // Held locked while it goes, so that no writer claims it.
        let _ = fs::remove_file(path);
    }
}

/// Whether `path` still leads to `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let held = file.metadata()?;
        Ok((held.dev(), held.ino()) == (there.dev(), there.ino()))
    }
    #[cfg(not(unix))]
    {
        // An open file's name is not given to another there.
        let _ = (file, there);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("finezip-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn create(&self, name: &str) -> File {
            File::create_new(self.0.join(name)).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_of_the_living_and_of_others_stay() {
        let folder = Folder::new("partial");
        let living = folder.create(".a.txt.x1.partial");
        assert!(claim(&living, &folder.0.join(".a.txt.x1.partial")).unwrap());
        for other in
            [".a.txt.x2.partial", ".b.txt.x3.partial", ".a.txt.partial", "a.txt.x4.partial"]
        {
            drop(folder.create(other));
        }
        drop(folder.create(".a.txt.x.y.partial"));
        remove_abandoned(&folder.0, ".a.txt.", ".partial");
        let kept =
            [".a.txt.partial", ".a.txt.x.y.partial", ".a.txt.x1.partial", ".b.txt.x3.partial"];
        assert_eq!(folder.names(), [&kept[..], &["a.txt.x4.partial"]].concat());
        drop(living);
        remove_abandoned(&folder.0, ".a.txt.", ".partial");
        assert!(!folder.names().contains(&".a.txt.x1.partial".to_owned()));
    }

    #[test]
    fn a_file_that_was_taken_for_abandoned_is_not_claimed() {
        let folder = Folder::new("claim");
        let path = folder.0.join(".a.x.partial");
        let file = folder.create(".a.x.partial");
        remove_abandoned(&folder.0, ".a.", ".partial");
        assert!(!claim(&file, &path).unwrap(), "it is gone");
        let other = folder.create(".a.x.partial");
        assert!(!claim(&file, &path).unwrap(), "another has its name");
        assert!(claim(&other, &path).unwrap());
    }
}
