//! A folder of its own for each test, and the binary run in it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use finezip_models::seeded::SeededModel;
use serde_json::Value;
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Sandbox(TempDir);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A folder with a small model and a `text`.
    pub(crate) fn with_small_model(text: &[u8]) -> Self {
        let sandbox = Self::new();
        sandbox.write("small.gguf", SeededModel::default().to_gguf().unwrap());
        sandbox.write("text", text);
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names of all files, in order, hidden ones included.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The binary, to be run in this folder.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_finezip-cli"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    /// Runs the binary with nothing on stdin.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        self.run_with(arguments, b"")
    }

    /// Runs the binary with `stdin`.
    pub(crate) fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(move || {
                // A run that fails early does not read it.
                let _ = pipe.write_all(stdin);
            });
            child.wait_with_output().unwrap()
        });
        let ran = Ran {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// Runs the binary, which must do all it is asked for.
    pub(crate) fn done<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        self.run(arguments).expect_code(0)
    }

    /// What `list --json` says of an archive.
    pub(crate) fn listed(&self, name: &str) -> Value {
        let printed = self.done(&["list", "--json", name]).stdout;
        serde_json::from_slice::<Value>(&printed).unwrap()[0].clone()
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    /// All of `parts` stand in what was said.
    #[track_caller]
    pub(crate) fn expect_said(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in: {}", self.stderr);
        }
        self
    }
}

/// Bytes that no compressor makes smaller (xorshift64*).
pub(crate) fn random_bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..count)
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
        })
        .collect()
}

/// A text of the fixtures.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/texts");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
