//! A folder of its own for each test, the binary run in it, and finezip-cli beside it.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// A program that takes finezip-cli's place: it copies, and writes down how it was called.
#[cfg(unix)]
pub(crate) const RECORDER: &str = r#"#!/bin/sh
echo "$*" >> calls
command=$1
for last; do :; done
while [ $# -gt 0 ]; do
    case $1 in
        -o) output=$2 ;;
        --statistics) echo '{"seconds": 1, "engine_seconds": 1, "coder_seconds": 0}' > "$2" ;;
    esac
    shift
done
case $command in
    --version) echo recorder 1 ;;
    models) echo model ;;
    list) echo '[{"members": [{"frames": [{"method": "model", "tokens": 9, "lanes": 2}]}]}]' ;;
    compress | decompress) if [ "$output" ]; then cp "$last" "$output"; fi ;;
esac
"#;

/// A folder that goes away with the test.
pub(crate) struct Sandbox(TempDir);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a program.
    #[cfg(unix)]
    pub(crate) fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;

        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Starts the binary in this folder.
    #[cfg(target_os = "linux")]
    pub(crate) fn start(&self, arguments: &[&str]) -> std::process::Child {
        Command::new(env!("CARGO_BIN_EXE_finezip-eval"))
            .args(arguments)
            .current_dir(self.0.path())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs the binary in this folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_finezip-eval"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ran { code: output.status.code(), stderr }
    }
}

/// Whether a process runs; one that has ended, and whose status nobody has taken, does not.
#[cfg(target_os = "linux")]
pub(crate) fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits for what is to come.
#[cfg(target_os = "linux")]
pub(crate) fn until<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it has not come in a minute");
}

/// finezip-cli of the same build: it lies beside the binary where the whole workspace was built,
/// and is built where it does not.
pub(crate) fn cli() -> PathBuf {
    static CLI: OnceLock<PathBuf> = OnceLock::new();
    CLI.get_or_init(|| {
        let own = Path::new(env!("CARGO_BIN_EXE_finezip-eval"));
        let path = own.with_file_name(format!("finezip-cli{}", std::env::consts::EXE_SUFFIX));
        if !path.is_file() {
            let folder = own.parent().unwrap();
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--package", "finezip-cli", "--target-dir"]);
            build.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
            if folder.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "finezip-cli cannot be built");
        }
        path
    })
    .clone()
}

/// A zip archive of paths and contents.
pub(crate) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in members {
        writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The lines of results so far.
pub(crate) fn lines(sandbox: &Sandbox) -> Vec<Value> {
    let text = String::from_utf8(sandbox.read("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
