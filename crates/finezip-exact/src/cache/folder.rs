//! The folder that the files are in: their names, how they appear and how they go.
//!
//! Files appear whole (written aside, then renamed), and go when others need their room:
//! [`MOST_BYTES`] of what was read last stay.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use finezip_core::{Fingerprint, partial};
use finezip_models::ModelConfig;

use super::{CacheKey, format};
use crate::options::Precision;
use crate::weights::Weights;

/// Names of unfinished files, which nobody else gives to files in this folder.
const PARTIAL_PREFIX: &str = ".weights-";
const PARTIAL_SUFFIX: &str = ".partial";
/// The extension of files that are finished.
const EXTENSION: &str = "fzw";
/// Bytes of files that are kept: every build and every adapter has its own.
const MOST_BYTES: u64 = 8 << 30;

/// One file of the cache.
#[derive(Debug)]
pub(crate) struct CacheFile {
    folder: PathBuf,
    key: Fingerprint,
}

impl CacheFile {
    /// The file for these weights.
    pub(crate) fn new(folder: &Path, key: &CacheKey) -> Self {
        Self { folder: folder.to_owned(), key: key.hash() }
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.{EXTENSION}", self.key))
    }

    /// The weights, if the file is there and whole.
    pub(crate) fn read(&self, config: &ModelConfig, precision: Precision) -> Option<Weights> {
        let file = open_to_note(&self.path()).ok()?;
        let weights = format::read(&file, self.key, config, precision)?;
        // When it was read last decides how long it stays; where that cannot be noted, it goes
        // earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(weights)
    }

    /// Writes the weights. Where the disk is full, that is tried once more when files that were not
    /// read for the longest time have made room.
    pub(crate) fn write(&self, weights: &Weights) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // What killed processes have left, whatever model it was to be.
        partial::remove_abandoned(&self.folder, PARTIAL_PREFIX, PARTIAL_SUFFIX);
        match self.write_aside(weights) {
            Err(error) if is_full(&error) && self.give_back(format::content_bytes(weights)?) => {
                self.write_aside(weights)?;
            }
            written => written?,
        }
        self.make_room(MOST_BYTES);
        Ok(())
    }

    /// Writes a file of another name and gives it its own when it is whole.
    fn write_aside(&self, weights: &Weights) -> io::Result<()> {
        let name = format!("{PARTIAL_PREFIX}{}-{}{PARTIAL_SUFFIX}", self.key, std::process::id());
        let temporary = self.folder.join(name);
        let file = File::create_new(&temporary)?;
        // The file is held until it has its name, so that nobody takes it for abandoned.
        let written = match partial::claim(&file, &temporary) {
            Ok(true) => format::write(&file, self.key, weights),
            Ok(false) => return Err(io::Error::other("another process took it for abandoned")),
            Err(error) => Err(error),
        };
        let renamed = written.and_then(|()| fs::rename(&temporary, self.path()));
        if renamed.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// The other finished files of the folder, the one that was read last first: when, bytes,
    /// path.
    fn others(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let own = self.path();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let finished = path.extension().is_some_and(|extension| extension == EXTENSION);
                let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
                (finished && path != own).then_some((
                    metadata.modified().ok()?,
                    metadata.len(),
                    path,
                ))
            })
            .collect();
        files.sort_by_key(|(read, ..)| Reverse(*read));
        files
    }

    /// Removes the files that were not read for the longest time, beyond `most_bytes` and never
    /// this one. Whoever has one open keeps it; what cannot be removed stays.
    fn make_room(&self, most_bytes: u64) {
        let mut kept = fs::metadata(self.path()).map_or(0, |metadata| metadata.len());
        for (_, bytes, path) in self.others() {
            kept = kept.saturating_add(bytes);
            if kept > most_bytes {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes the files that were not read for the longest time, and never this one, until so many
    /// bytes are free again. False if nothing could be removed.
    fn give_back(&self, bytes: u64) -> bool {
        let mut given = 0u64;
        for (_, length, path) in self.others().into_iter().rev() {
            if given < bytes && fs::remove_file(path).is_ok() {
                given = given.saturating_add(length);
            }
        }
        given > 0
    }
}

/// Opens a file for reading such that its times can be set. Windows asks for the right to write
/// then, which a folder that is kept by somebody else does not give.
fn open_to_note(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path).or_else(|_| File::open(path))
}

/// Whether a disk, or the part of it that the user may take, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_read_for_the_longest_time_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([1; 32]),
            adapter: None,
            precision: Precision::Int8,
        };
        let own = CacheFile::new(folder.path(), &key);
        let write = |path: &Path, age: u64| {
            fs::write(path, [0; 100]).unwrap();
            let read = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(path).unwrap().set_modified(read).unwrap();
        };
        let path = |name: &str| folder.path().join(name);
        // The one just written stays, even where a clock was turned back.
        write(&own.path(), 1000);
        let files = [("a.fzw", 30), ("b.fzw", 10), ("c.fzw", 20), ("another", 500)];
        files.iter().for_each(|(name, age)| write(&path(name), *age));
        own.make_room(400);
        assert!(path("a.fzw").exists(), "there was room for all");
        own.make_room(250);
        let left: Vec<_> =
            files.iter().map(|(name, _)| *name).filter(|name| path(name).exists()).collect();
        assert_eq!(left, ["b.fzw", "another"]);
        own.make_room(0);
        assert!(own.path().exists() && !path("b.fzw").exists() && path("another").exists());
    }

    #[test]
    fn a_full_disk_gets_back_what_is_needed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([2; 32]),
            adapter: None,
            precision: Precision::Int4,
        };
        let own = CacheFile::new(folder.path(), &key);
        let path = |name: &str| folder.path().join(name);
        let files = [("a.fzw", 30), ("b.fzw", 10), ("c.fzw", 20), ("another", 500)];
        for (name, age) in files {
            fs::write(path(name), [0; 100]).unwrap();
            let read = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(path(name)).unwrap().set_modified(read).unwrap();
        }
        fs::write(own.path(), [0; 100]).unwrap();
        assert!(own.give_back(150));
        assert!(!path("a.fzw").exists() && !path("c.fzw").exists() && path("b.fzw").exists());
        assert!(own.give_back(1000));
        assert!(!own.give_back(1000), "nothing is left to be removed");
        assert!(own.path().exists() && path("another").exists());
        for (kind, full) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            assert_eq!(is_full(&kind.into()), full, "{kind}");
        }
    }

    /// A folder whose name is no UTF-8 is counted as any other.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_whose_name_is_no_text_makes_room_as_well() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join(OsStr::from_bytes(b"weights-\xff"));
        fs::create_dir(&folder).unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([3; 32]),
            adapter: None,
            precision: Precision::Int8,
        };
        fs::write(folder.join("old.fzw"), [0; 100]).unwrap();
        CacheFile::new(&folder, &key).make_room(50);
        assert!(!folder.join("old.fzw").exists());
    }
}
