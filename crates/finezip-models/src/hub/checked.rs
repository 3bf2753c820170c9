//! Which files have been checked against their SHA-256.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use finezip_core::partial;
use sha2::{Digest, Sha256};

use super::Progress;
use crate::error::{Error, Result};

const READ_BYTES: usize = 1 << 20;

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// Names of unfinished notes.
const PARTIAL_PREFIX: &str = ".note-";
const PARTIAL_SUFFIX: &str = ".partial";

/// SHA-256 of a file, in hexadecimal digits.
pub(super) fn sha256(path: &Path, progress: &mut dyn Progress) -> Result<String> {
    let mut file = File::open(path).map_err(|error| Error::io(path, error))?;
    let total = file.metadata().map_err(|error| Error::io(path, error))?.len();
    progress.stage("checking SHA-256");
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut done = 0;
    loop {
        let count = file.read(&mut buffer).map_err(|error| Error::io(path, error))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        done += count as u64;
        progress.bytes(done, Some(total));
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Size and time of change of a file: what tells that it is still the one that was checked.
fn state(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    Ok(format!("{} {modified}", metadata.len()))
}

/// Notes of checked files, one a model, in a folder of the store.
pub(super) struct Notes {
    pub(super) folder: PathBuf,
}

impl Notes {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.checked"))
    }

    /// The hash that a file was found to have, if it has not changed since.
    pub(super) fn recall(&self, name: &str, file: &Path) -> Option<String> {
        let note = fs::read_to_string(self.path(name)).ok()?;
        let mut lines = note.lines();
        let (hash, noted_state, noted_path) = (lines.next()?, lines.next()?, lines.next()?);
        let same = noted_path == file.to_string_lossy() && state(file).ok()? == noted_state;
        same.then(|| hash.to_owned())
    }

    /// Remembers the hash of a file. The folder may be nobody's to write to, or the disk full: the
    /// file is no worse for that, and just read again the next time.
    pub(super) fn remember(&self, name: &str, file: &Path, hash: &str) {
        let Ok(state) = state(file) else { return };
        let note = format!("{hash}\n{state}\n{}\n", file.display());
        let _ = self.write(&self.path(name), &note);
    }

    /// A file turned out not to be what its note says. Without a note it is just read again.
    pub(super) fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    /// The hash that the first download of a model without a pinned one had.
    pub(super) fn first_seen(&self, name: &str) -> Option<String> {
        let hash = fs::read_to_string(self.folder.join(format!("{name}.sha256"))).ok()?;
        let hash = hash.trim();
        // What a power cut has left of a note says nothing.
        let is_hash = hash.len() == SHA256_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| hash.to_owned())
    }

    /// Trusts a hash from now on.
    pub(super) fn trust(&self, name: &str, hash: &str) -> Result<()> {
        self.write(&self.folder.join(format!("{name}.sha256")), &format!("{hash}\n"))
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let io = |error| Error::io(path, error);
        fs::create_dir_all(&self.folder).map_err(io)?;
        partial::remove_abandoned(&self.folder, PARTIAL_PREFIX, PARTIAL_SUFFIX);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL_PREFIX).suffix(PARTIAL_SUFFIX);
        let mut file = builder.tempfile_in(&self.folder).map_err(io)?;
        while !partial::claim(file.as_file(), file.path()).map_err(io)? {
            file = builder.tempfile_in(&self.folder).map_err(io)?;
        }
        file.write_all(text.as_bytes()).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        Ok(())
    }
}
