//! Which files are read and written, and what is never written over.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use finezip_lora::adapter::CONFIG_FILE;

use crate::args::OutputArguments;
use crate::exit::{Failure, Outcome};
use crate::input::{DASH, is_stdin};
use crate::output::{Target, folder_of};

/// The suffix of archives.
pub(crate) const SUFFIX: &str = "fz";

/// The direction in which files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// FILE to FILE.fz.
    AddSuffix,
    /// FILE.fz to FILE.
    RemoveSuffix,
}

/// Which files are read and written.
#[derive(Clone, Debug)]
pub(crate) struct FileSettings {
    /// The inputs, `-` for stdin.
    pub(crate) inputs: Vec<PathBuf>,
    output: Option<Target>,
    naming: Naming,
    /// Whether existing files are replaced.
    pub(crate) force: bool,
    remove_inputs: bool,
}

impl FileSettings {
    /// Resolves files and output options.
    pub(crate) fn new(
        files: Vec<PathBuf>,
        output: &OutputArguments,
        naming: Naming,
    ) -> Outcome<Self> {
        let inputs = inputs(files);
        let target = match &output.output {
            _ if output.stdout => Some(Target::Stdout),
            Some(path) if path.as_os_str() == DASH => Some(Target::Stdout),
            Some(path) => Some(Target::File(path.clone())),
            None => None,
        };
        if inputs.len() > 1 && matches!(target, Some(Target::File(_))) {
            return Err(Failure::usage(format!(
                "-o names one output, {} inputs were given; -c writes them one after another",
                inputs.len()
            )));
        }
        if output.rm && target == Some(Target::Stdout) {
            return Err(Failure::usage("--rm does not go with output to stdout"));
        }
        Ok(Self { inputs, output: target, naming, force: output.force, remove_inputs: output.rm })
    }

    /// Where the output of `input` goes.
    pub(crate) fn target(&self, input: &Path) -> Outcome<Target> {
        let target = match &self.output {
            Some(target) => target.clone(),
            None if is_stdin(input) => Target::Stdout,
            None => Target::File(self.named_after(input)?),
        };
        let Target::File(path) = &target else { return Ok(target) };
        // A name may be a link to its input.
        if is_same_file(input, path) {
            return Err(Failure::file("the output would replace the input; name another file"));
        }
        if self.remove_inputs && path.exists() && !path.is_file() {
            return Err(Failure::usage(format!(
                "--rm does not go with {}, which keeps nothing",
                path.display()
            )));
        }
        Ok(target)
    }

    /// The name of the output without -o.
    fn named_after(&self, input: &Path) -> Outcome<PathBuf> {
        let has_suffix = input.extension().is_some_and(|extension| extension == SUFFIX);
        match self.naming {
            Naming::AddSuffix if has_suffix && !self.force => Err(Failure::file(format!(
                "it has the suffix .{SUFFIX} already; -f compresses it all the same"
            ))),
            Naming::AddSuffix => {
                let mut name = input.as_os_str().to_owned();
                name.push(".");
                name.push(SUFFIX);
                Ok(name.into())
            }
            Naming::RemoveSuffix if has_suffix => Ok(input.with_extension("")),
            Naming::RemoveSuffix => Err(Failure::file(format!(
                "expected a name that ends with .{SUFFIX}; say where to write with -o FILE or -c"
            ))),
        }
    }

    /// An error if a file `beside` the outputs would take the place of an input, of what else is
    /// `read`, of an output, of another of them or, without -f, of any other file.
    pub(crate) fn may_write(&self, beside: &[&Path], read: &[&Path]) -> Outcome {
        for (number, path) in beside.iter().enumerate() {
            if let Some(why) = self.why_not(path, &beside[..number], read) {
                return Err(Failure::file(format!("{} {why}", path.display())).unnamed());
            }
        }
        Ok(())
    }

    /// Why nothing may be written to `path`, if so, where `earlier` paths are written to as well.
    fn why_not(&self, path: &Path, earlier: &[&Path], read: &[&Path]) -> Option<&'static str> {
        let is_it = |other: &Path| is_same_place(other, path);
        let is_input = |input: &PathBuf| !is_stdin(input) && is_it(input);
        let is_output = |input: &PathBuf| match self.target(input) {
            Ok(Target::File(output)) => is_it(&output),
            _ => false,
        };
        if self.inputs.iter().any(is_input) {
            Some("is an input, and would be replaced")
        } else if read.iter().any(|other| is_it(other) || is_part_of(path, other)) {
            Some("is read as well, and would be replaced")
        } else if self.inputs.iter().any(is_output) {
            Some("is an output as well; name another file")
        } else if earlier.iter().any(|other| is_it(other)) {
            Some("is named for two things; name two files")
        } else if !self.force && path.is_file() {
            Some("exists already; -f replaces it")
        } else {
            None
        }
    }

    /// Removes an input whose output stands, if that was asked for: the file that was `opened`,
    /// and no other that has taken its name or what was added to it since. Devices and pipes stay:
    /// they are ways to bytes, and others use them.
    pub(crate) fn remove_input(&self, input: &Path, opened: Option<&Metadata>) -> Outcome {
        let removable = opened.filter(|opened| self.remove_inputs && opened.is_file());
        let Some(opened) = removable else { return Ok(()) };
        let cannot = |error: io::Error| Failure::from(error).about("cannot remove the input");
        let now = std::fs::metadata(input).map_err(cannot)?;
        if !is_as_it_was(opened, &now) {
            return Err(Failure::file(
                "it has changed meanwhile and was kept, though the output of what it was stands",
            ));
        }
        std::fs::remove_file(input).map_err(cannot)
    }

    /// Whether several outputs follow one another in one place.
    pub(crate) fn are_joined(&self) -> bool {
        self.inputs.len() > 1 && self.output == Some(Target::Stdout)
    }

    /// Whether the user may be asked: not where stdin is the input.
    pub(crate) fn may_ask(&self) -> bool {
        !self.inputs.iter().any(|input| is_stdin(input))
    }
}

/// The inputs: stdin where none is given.
pub(crate) fn inputs(files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.is_empty() { vec![DASH.into()] } else { files }
}

/// Whether an input that is a file is the file at `path`.
fn is_same_file(input: &Path, path: &Path) -> bool {
    let places = (input.canonicalize(), path.canonicalize());
    !is_stdin(input) && matches!(places, (Ok(from), Ok(to)) if from == to)
}

/// Whether what is written to one path would be found at the other. Devices and pipes keep nothing,
/// and may be named more than once.
fn is_same_place(one: &Path, other: &Path) -> bool {
    let keeps = |path: &Path| path.is_file() || !path.exists();
    let is_one = || place(one).is_some_and(|found| place(other) == Some(found));
    keeps(one) && keeps(other) && (is_linked(one, other) || is_one())
}

/// Where a path leads, or would lead once there is something.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = folder_of(path).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    })
}

/// Whether a file is one of those that a model's or an adapter's folder is read for.
fn is_part_of(file: &Path, folder: &Path) -> bool {
    const SETTINGS: [&str; 4] =
        ["config.json", "tokenizer.json", "model.safetensors.index.json", CONFIG_FILE];
    let Some(place) = file.canonicalize().ok().filter(|place| place.is_file()) else {
        return false;
    };
    let is_read = place.extension().is_some_and(|extension| extension == "safetensors")
        || SETTINGS.iter().any(|name| place.file_name() == Some(OsStr::new(name)));
    is_read && folder.canonicalize().is_ok_and(|folder| place.parent() == Some(&*folder))
}

/// Whether two names are hard links to one file: what replaces one leaves the other as it is, what
/// is written into one is in both.
fn is_linked(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |path: &Path| {
            let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
            Some((metadata.dev(), metadata.ino()))
        };
        place(one).is_some_and(|found| place(other) == Some(found))
    }
    #[cfg(not(unix))]
    {
        // Rust's standard library does not tell there.
        let _ = (one, other);
        false
    }
}

/// Whether metadata are of the same file, with the same content as far as they tell.
pub(crate) fn is_as_it_was(before: &Metadata, now: &Metadata) -> bool {
    let content = |metadata: &Metadata| (metadata.len(), metadata.modified().ok());
    #[cfg(unix)]
    let place = |metadata: &Metadata| {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    };
    #[cfg(not(unix))]
    let place = |_: &Metadata| ();
    content(before) == content(now) && place(before) == place(now)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn removing(folder: &Path) -> FileSettings {
        FileSettings {
            inputs: vec![folder.join("input")],
            output: None,
            naming: Naming::AddSuffix,
            force: false,
            remove_inputs: true,
        }
    }

    #[test]
    fn only_what_was_read_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (files, input) = (removing(folder.path()), folder.path().join("input"));
        let kept = |opened: &Metadata| {
            let failure = files.remove_input(&input, Some(opened)).unwrap_err();
            assert!(failure.message.contains("was kept"), "{}", failure.message);
            assert!(input.exists());
        };
        fs::write(&input, "as it was opened").unwrap();
        let opened = fs::metadata(&input).unwrap();
        // Added to.
        fs::write(&input, "as it was opened, and more").unwrap();
        kept(&opened);
        // Another file under its name, as editors save, of the same length and time.
        fs::write(folder.path().join("new"), "as it is savedto").unwrap();
        let new = fs::File::options().write(true).open(folder.path().join("new")).unwrap();
        new.set_modified(opened.modified().unwrap()).unwrap();
        fs::rename(folder.path().join("new"), &input).unwrap();
        #[cfg(unix)]
        kept(&opened);
        let opened = fs::metadata(&input).unwrap();
        // Not without --rm, not what was read from stdin.
        let keeping = FileSettings { remove_inputs: false, ..files.clone() };
        keeping.remove_input(&input, Some(&opened)).unwrap();
        files.remove_input(&input, None).unwrap();
        assert!(input.exists());
        files.remove_input(&input, Some(&opened)).unwrap();
        assert!(!input.exists());
    }

    /// A socket stands in for devices, which no test is to put at risk.
    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (files, input) = (removing(folder.path()), folder.path().join("input"));
        let _socket = std::os::unix::net::UnixListener::bind(&input).unwrap();
        let opened = fs::metadata(&input).unwrap();
        files.remove_input(&input, Some(&opened)).unwrap();
        assert!(input.exists());
    }
}
