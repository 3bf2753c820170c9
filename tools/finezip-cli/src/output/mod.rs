//! Where bytes go: stdout, or a file that appears whole or not at all.
//!
//! A file is written under a temporary name in the folder of its target and renamed at the end;
//! an error, a panic or a signal removes it. Only what cannot be renamed over (a device, a named
//! pipe) is written directly. With `--verify` bytes for such a place wait in a temporary file.

mod attributes;
mod unfinished;

pub(crate) use unfinished::folder_of;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use attributes::take_attributes;
use unfinished::Unfinished;

use crate::exit::{Failure, Outcome};
use crate::report::Report;

/// Permissions of files in a folder that others use too.
const PRIVATE: u32 = 0o600;

/// The place that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
    /// Nothing is kept.
    Nowhere,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Nowhere => Ok(()),
        }
    }
}

/// How a place may be written to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteOptions {
    /// Existing files are replaced, terminals written to.
    pub(crate) force: bool,
    /// The user may be asked (stdin is not the input).
    pub(crate) may_ask: bool,
    /// Nothing is to appear before [`Output::finish`], so that it can be read again.
    pub(crate) whole: bool,
    /// The bytes are not for people.
    pub(crate) binary: bool,
    /// It is made from a file, whose permissions it gets when it is finished: until then nobody
    /// else may read it.
    pub(crate) private: bool,
}

/// An output that is open for writing.
pub(crate) struct Output {
    /// What errors call it.
    name: String,
    place: Place,
    has_begun: bool,
}

enum Place {
    Nowhere,
    Stdout,
    Direct(File),
    /// A temporary file that takes the name of its target.
    Renamed {
        temporary: Unfinished,
        target: PathBuf,
        replace: bool,
    },
    /// A temporary file that is copied to its target.
    Copied {
        temporary: Unfinished,
        target: Box<Place>,
    },
}

impl Output {
    /// Opens an output, or says why not.
    pub(crate) fn create(target: &Target, options: WriteOptions) -> Outcome<Self> {
        let place = match target {
            Target::Nowhere => Place::Nowhere,
            Target::Stdout => {
                if options.binary && !options.force && io::stdout().is_terminal() {
                    return Err(Failure::usage(
                        "an archive is not shown on a terminal; use -o FILE, `> FILE`, or -f to do it all the same",
                    ));
                }
                Place::Stdout
            }
            Target::File(path) => open_path(path, options)?,
        };
        let place = match place {
            Place::Stdout | Place::Direct(_) if options.whole => Place::Copied {
                temporary: Unfinished::create(&std::env::temp_dir(), "finezip", PRIVATE)?,
                target: Box::new(place),
            },
            place => place,
        };
        Ok(Self { name: target.to_string(), place, has_begun: false })
    }

    /// Whether bytes have gone where they cannot be taken back from.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Opens what has been written so far for reading; the output must have been created
    /// [`WriteOptions::whole`].
    pub(crate) fn read_again(&mut self) -> Outcome<File> {
        self.flush()?;
        match &self.place {
            Place::Renamed { temporary, .. } | Place::Copied { temporary, .. } => {
                Ok(File::open(temporary.path())?)
            }
            _ => Err(Failure::file("what was written cannot be read again")),
        }
    }

    /// Lets the output appear. A file gets the permissions and times of `source`; where the file
    /// system does not take them, the output stands all the same, and it is said. Where this fails,
    /// [`Output::has_begun`] tells whether something has appeared.
    pub(crate) fn finish(&mut self, source: Option<&Metadata>, report: &Report) -> Outcome {
        self.flush()?;
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Nowhere | Place::Stdout | Place::Direct(_) => Ok(()),
            Place::Renamed { temporary, target, replace } => {
                if let Err(error) = take_attributes(temporary.file(), source) {
                    let name = target.display();
                    report.warning(format_args!(
                        "{name} does not get the times and permissions of its input: {error}"
                    ));
                }
                temporary.file().sync_all().map_err(|error| unwritten(&self.name, error))?;
                temporary.rename(&target, replace)
            }
            Place::Copied { temporary, mut target } => {
                let mut held = File::open(temporary.path())?;
                // As far as is known: a copy that fails does not say how far it came.
                self.has_begun = true;
                let copied = match target.as_mut() {
                    Place::Direct(file) => io::copy(&mut held, file).map(|_| ()),
                    _ => {
                        let mut stdout = io::stdout().lock();
                        io::copy(&mut held, &mut stdout).and_then(|_| stdout.flush())
                    }
                };
                Ok(copied.map_err(|error| unwritten(&self.name, error))?)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (written, is_held) = match &mut self.place {
            Place::Nowhere => return Ok(bytes.len()),
            Place::Stdout => (io::stdout().write(bytes), false),
            Place::Direct(file) => (file.write(bytes), false),
            Place::Renamed { temporary, .. } | Place::Copied { temporary, .. } => {
                (temporary.file().write(bytes), true)
            }
        };
        let count = written.map_err(|error| unwritten(&self.name, error))?;
        self.has_begun |= count > 0 && !is_held;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.place {
            Place::Stdout => io::stdout().flush(),
            Place::Direct(file) => file.flush(),
            _ => Ok(()),
        };
        flushed.map_err(|error| unwritten(&self.name, error))
    }
}

/// The same error, which says what could not be written: it is met while an input is at work.
fn unwritten(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to {name}: {error}"))
}

/// Opens the file at `path`, after asking where it exists.
fn open_path(path: &Path, options: WriteOptions) -> Outcome<Place> {
    let mut replace = options.force;
    // A link is followed, so that what it points at is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Failure::file(format!("{} is a folder", path.display())));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Ok(Place::Direct(OpenOptions::new().write(true).open(&target)?));
        }
        Ok(_) if !replace => {
            if !(options.may_ask && ask_to_replace(path)?) {
                return Err(Failure::file(format!(
                    "{} exists already; -f replaces it",
                    path.display()
                )));
            }
            replace = true;
        }
        // Its name would be taken, and what it points at would not come into being.
        Err(_) if fs::symlink_metadata(&target).is_ok_and(|found| found.is_symlink()) => {
            let path = path.display();
            return Err(Failure::file(format!("{path} is a link to what is not there")));
        }
        _ => {}
    }
    let folder = folder_of(&target);
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mode = if options.private { PRIVATE } else { 0o666 };
    let temporary = Unfinished::create(folder, &name, mode)
        .map_err(|failure| failure.about(format_args!("cannot write to {}", folder.display())))?;
    Ok(Place::Renamed { temporary, target, replace })
}

/// Asks on a terminal whether a file may be replaced; no where there is nobody to ask.
fn ask_to_replace(path: &Path) -> Outcome<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(
        io::stderr().lock(),
        "finezip-cli: {} exists already; replace it (y/n)? ",
        path.display()
    )?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_unfinished_and_made_from_a_file_is_open_to_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::File(folder.path().join("text"));
        let options = WriteOptions { private: true, ..WriteOptions::default() };
        let output = Output::create(&target, options).unwrap();
        let unfinished: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(unfinished.len(), 1);
        let metadata = unfinished[0].as_ref().unwrap().metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        drop(output);
    }
}
