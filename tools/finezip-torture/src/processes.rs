//! The programs under test, and folders of their own to run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Where the programs are.
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Those that were built beside this one, or that `FINEZIP_BINARIES` names the folder of.
    pub(crate) fn find() -> Result<Self> {
        let folder = match std::env::var_os("FINEZIP_BINARIES") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let own = std::env::current_exe()?;
                let folder = own.parent().context("this program lies in no folder")?;
                // Tests run it from a folder below.
                let is_below = folder.file_name().is_some_and(|name| name == "deps");
                if is_below { folder.join("..") } else { folder.to_owned() }
            }
        };
        for name in ["finezip-cli", "finezip-finetune"] {
            if !folder.join(name).is_file() {
                bail!(
                    "{name} is not in {}: build it with `cargo build -p finezip-cli -p finezip-finetune`, or name \
                     the folder it is in with FINEZIP_BINARIES",
                    folder.display()
                );
            }
        }
        Ok(Self { folder: fs::canonicalize(folder)? })
    }

    /// `finezip-cli`, to be run in a folder, with nothing on stdin.
    pub(crate) fn cli(&self, folder: &Folder) -> Command {
        self.command("finezip-cli", folder)
    }

    /// `finezip-finetune`, likewise.
    pub(crate) fn finetune(&self, folder: &Folder) -> Command {
        self.command("finezip-finetune", folder)
    }

    fn command(&self, name: &str, folder: &Folder) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.env("FINEZIP_CACHE", folder.path().join("cache"));
        command
    }
}

/// A folder that goes away at the end.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.file(name), bytes).with_context(|| name.to_owned())
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.file(name)).with_context(|| name.to_owned())
    }

    /// The names of its files, in order, without the programs' cache.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "cache" {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
