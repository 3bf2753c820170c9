//! What is measured, as results name it: binaries with versions and hashes, models and adapters.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::cell::Bench;
use super::child::{self, Job};
use super::config::CommandLines;
use super::inputs::{hash_file, hash_path};
use super::results::Tool;

/// The longest that a program may take to say its version.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// Hashes of models and adapters by path, each made once.
#[derive(Default)]
pub(super) struct Hashes(HashMap<PathBuf, String>);

impl Hashes {
    /// The hash of a path; of one that cannot be read nothing, and its cells fail by themselves.
    pub(super) fn of(&mut self, path: &Path) -> String {
        let made = || hash_path(path).unwrap_or_default();
        self.0.entry(path.to_owned()).or_insert_with(made).clone()
    }
}

/// The binaries that were asked for, each hashed once.
#[derive(Default)]
pub(super) struct Tools {
    tools: HashMap<PathBuf, Tool>,
    versions: HashMap<PathBuf, Option<String>>,
}

impl Tools {
    /// The binary at a path; of those that are ours with the version.
    pub(super) fn of(&mut self, path: &Path, bench: &Bench) -> Result<Tool> {
        if let Some(tool) = self.tools.get(path) {
            return Ok(tool.clone());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = if path == bench.own || path == bench.cli {
            let to = bench.folder.join("version");
            let ask = Job { stdout: Some(to.clone()), ..Job::new(path).argument("--version") };
            bench.once(&ask)?;
            Some(fs::read_to_string(&to)?.trim().to_owned())
        } else {
            None
        };
        let tool = Tool { name, version, sha256: hash_file(path)?.0 };
        self.tools.insert(path.to_owned(), tool.clone());
        Ok(tool)
    }

    /// The version that a program of the PATH says: the first of its lines that has a number.
    /// Programs differ in where they say it, and whether that is a success.
    pub(super) fn said(
        &mut self,
        path: &Path,
        lines: &CommandLines,
        folder: &Path,
    ) -> Option<String> {
        let arguments = lines.version.as_ref()?;
        let ask = || {
            let to = folder.join("version");
            let job = Job { stdout: Some(to.clone()), ..Job::new(path).arguments(arguments) };
            // Whatever became of it, what it said counts.
            let _ = child::run(&job, folder, LONGEST_ANSWER);
            let read = |path: &Path| fs::read(path).unwrap_or_default();
            let said = [read(&to), read(&folder.join(child::MESSAGES))].concat();
            let text = String::from_utf8_lossy(&said);
            let number = |line: &&str| line.contains(|letter: char| letter.is_ascii_digit());
            text.lines().find(number).map(|line| line.trim().to_owned())
        };
        self.versions.entry(path.to_owned()).or_insert_with(ask).clone()
    }
}
