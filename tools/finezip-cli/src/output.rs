//! Where bytes go: stdout, or a file that appears whole or not at all.
//!
//! A file is written under a temporary name in the folder of its target and renamed at the end;
//! an error, a panic or a signal removes it. Only what cannot be renamed over (a device, a named
//! pipe) is written directly. With `--verify` bytes for such a place wait in a temporary file.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use finezip_core::partial;
use tempfile::NamedTempFile;

use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::report::Report;

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
    place: Place,
    has_begun: bool,
}

enum Place {
    Nowhere,
    Stdout,
    Direct(File),
    /// A temporary file that takes the name of its target.
    Renamed {
        temporary: Temporary,
        target: PathBuf,
        replace: bool,
    },
    /// A temporary file that is copied to its target.
    Copied {
        temporary: Temporary,
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
                temporary: Temporary::create(&std::env::temp_dir(), "finezip", PRIVATE)?,
                target: Box::new(place),
            },
            place => place,
        };
        Ok(Self { place, has_begun: false })
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
    /// system does not take them, the output stands all the same, and it is said.
    pub(crate) fn finish(mut self, source: Option<&Metadata>, report: &Report) -> Outcome {
        self.flush()?;
        match self.place {
            Place::Nowhere | Place::Stdout | Place::Direct(_) => Ok(()),
            Place::Renamed { temporary, target, replace } => {
                if let Err(error) = take_attributes(temporary.file(), source) {
                    let name = target.display();
                    report.warning(format_args!(
                        "{name} does not get the times and permissions of its input: {error}"
                    ));
                }
                temporary.file().sync_all()?;
                temporary.rename(&target, replace)
            }
            Place::Copied { temporary, mut target } => {
                let mut held = File::open(temporary.path())?;
                match target.as_mut() {
                    Place::Direct(file) => io::copy(&mut held, file)?,
                    _ => {
                        let mut stdout = io::stdout().lock();
                        let count = io::copy(&mut held, &mut stdout)?;
                        stdout.flush()?;
                        count
                    }
                };
                Ok(())
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.place {
            Place::Nowhere => return Ok(bytes.len()),
            Place::Stdout => io::stdout().write(bytes)?,
            Place::Direct(file) => file.write(bytes)?,
            Place::Renamed { temporary, .. } | Place::Copied { temporary, .. } => {
                return temporary.file().write(bytes);
            }
        };
        self.has_begun |= count > 0;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Stdout => io::stdout().flush(),
            Place::Direct(file) => file.flush(),
            _ => Ok(()),
        }
    }
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
    let temporary = Temporary::create(folder, &name, mode)
        .map_err(|failure| failure.about(format_args!("cannot write to {}", folder.display())))?;
    Ok(Place::Renamed { temporary, target, replace })
}

/// The folder that a file lies in, the current one where its name has none.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
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

/// Gives a finished file the permissions and times of the file it was made from, as far as whoever
/// runs this may.
fn take_attributes(file: &File, source: Option<&Metadata>) -> io::Result<()> {
    let Some(source) = source.filter(|source| source.is_file()) else { return Ok(()) };
    let mut times = FileTimes::new();
    if let Ok(modified) = source.modified() {
        times = times.set_modified(modified);
    }
    if let Ok(accessed) = source.accessed() {
        times = times.set_accessed(accessed);
    }
    // Where times cannot be set, permissions can.
    let permissions = take_permissions(file, source);
    file.set_times(times).and(permissions)
}

/// Gives a file the group, the permissions and, for root, the owner of another.
#[cfg(unix)]
fn take_permissions(file: &File, source: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let (owner, group) = (Some(source.uid()), Some(source.gid()));
    // Only root gives files to others; to a group, whoever is in it.
    let given = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
    let mode = mode_under(source.permissions().mode(), given.is_ok());
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn take_permissions(file: &File, source: &Metadata) -> io::Result<()> {
    file.set_permissions(source.permissions())
}

/// The permissions of a file made from one with `mode`, in the same group or in another one: who is
/// not the owner may have been in the group or not, and is allowed there what both were. Nor is it
/// to run as its owner for others.
#[cfg(unix)]
fn mode_under(mode: u32, same_group: bool) -> u32 {
    let both = (mode >> 3) & mode & 0o007;
    if same_group { mode & 0o777 } else { (mode & 0o700) | (both << 3) | both }
}

/// Permissions of files in a folder that others use too.
const PRIVATE: u32 = 0o600;

/// The most bytes of a target's name in that of its unfinished file: names have an end.
const NAME_BYTES: usize = 200;

/// What the names of unfinished files end with.
const SUFFIX: &str = ".partial";

/// Unfinished files that are made before giving up, where another run takes each for abandoned in
/// the moment before it is locked.
const CLAIMS: u32 = 100;

/// A file under a temporary name, removed unless it is renamed.
struct Temporary(Option<NamedTempFile>);

impl Temporary {
    /// An unfinished file for `name`, with these permissions less the umask's. What killed runs
    /// have left of that name is removed first.
    fn create(folder: &Path, name: &str, mode: u32) -> Outcome<Self> {
        let most = name.len().min(NAME_BYTES);
        let end = (0..=most).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
        let prefix = format!(".{}.", &name[..end]);
        partial::remove_abandoned(folder, &prefix, SUFFIX);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(mode));
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

    fn path(&self) -> &Path {
        self.held().path()
    }

    fn file(&self) -> &File {
        self.held().as_file()
    }

    fn rename(mut self, target: &Path, replace: bool) -> Outcome {
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

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            let path = file.path().to_owned();
            interrupt::settle(&path, || drop(file));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_name_has_a_folder() {
        for (name, folder) in [("text.fz", "."), ("./text.fz", "."), ("a/b.fz", "a"), ("/b", "/")] {
            assert_eq!(folder_of(Path::new(name)), Path::new(folder), "{name}");
        }
    }

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

    #[test]
    fn in_another_group_all_are_allowed_what_both_group_and_others_were() {
        for (mode, same, other) in [
            (0o100_640, 0o640, 0o600),
            (0o100_604, 0o604, 0o600),
            (0o100_657, 0o657, 0o655),
            (0o106_755, 0o755, 0o755),
            (0o100_400, 0o400, 0o400),
        ] {
            assert_eq!(mode_under(mode, true), same, "{mode:o}");
            assert_eq!(mode_under(mode, false), other, "{mode:o}");
        }
    }
}
