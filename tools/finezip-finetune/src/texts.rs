//! From paths to texts.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use finezip_lora::data::{Text, split_held_out};

/// Text to learn from and text to measure on.
pub(crate) struct Texts {
    /// To learn from.
    pub(crate) training: Vec<Text>,
    /// To measure on.
    pub(crate) held_out: Vec<Text>,
}

/// Reads the text that paths and patterns name; where nothing is named to measure on, a share is
/// set aside. What is measured on is not learned from. What lies below `out` is no text: runs write
/// there.
pub(crate) fn gather(
    data: &[String],
    held_out: &[String],
    share: f64,
    out: &Path,
) -> Result<Texts> {
    let training = read(data, out).context("--data")?;
    if held_out.is_empty() {
        let (training, held_out) = split_held_out(training, share)?;
        return Ok(Texts { training, held_out });
    }
    let held_out = read(held_out, out).context("--held-out")?;
    let training = without(training, &held_out)?;
    Ok(Texts { training, held_out })
}

/// The texts to learn from whose content is in no text to measure on.
fn without(mut training: Vec<Text>, held_out: &[Text]) -> Result<Vec<Text>> {
    let measured: HashSet<&[u8]> = held_out.iter().map(|text| &text.bytes[..]).collect();
    let given = training.len();
    training.retain(|text| !measured.contains(&text.bytes[..]));
    let dropped = given - training.len();
    if dropped > 0 && training.is_empty() {
        bail!("--data: expected text that is not in --held-out, found {given} files that all are");
    }
    if dropped > 0 {
        say(&format!("{dropped} of {given} files of --data are in --held-out: not learned from"));
    }
    Ok(training)
}

/// A line on stderr. Nobody is left to tell where it is gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// All files that are named, each once, in the order of their paths, but for those below `out`.
fn read(patterns: &[String], out: &Path) -> Result<Vec<Text>> {
    let mut files = BTreeSet::new();
    for pattern in patterns {
        let before = files.len();
        // A name that exists is that file, whatever signs it has.
        if Path::new(pattern).exists() {
            add(Path::new(pattern), &mut files)?;
            continue;
        }
        let paths = glob::glob(pattern).with_context(|| format!("pattern {pattern}"))?;
        for path in paths {
            add(&path?, &mut files)?;
        }
        if files.len() == before {
            bail!("{pattern}: no such file, and no file fits it as a pattern");
        }
    }
    // Before the first run it is not there, and nothing is below it.
    if let Ok(out) = out.canonicalize() {
        let given = files.len();
        files.retain(|file| !file.canonicalize().is_ok_and(|file| file.starts_with(&out)));
        let left_out = given - files.len();
        if left_out > 0 && files.is_empty() {
            bail!("all {given} files are below the run's own folder, {}", out.display());
        }
        if left_out > 0 {
            say(&format!(
                "{left_out} files below {} are left out: runs write there",
                out.display()
            ));
        }
    }
    let text = |path: PathBuf| {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(Text { name: path.display().to_string(), bytes })
    };
    files.into_iter().map(text).collect()
}

/// Adds a file, or all files below a folder; links to folders are not followed.
fn add(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.insert(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    for entry in entries {
        let entry = entry.with_context(|| path.display().to_string())?;
        let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
        if kind.is_dir() || kind.is_file() || entry.path().is_file() {
            add(&entry.path(), files)?;
        }
    }
    Ok(())
}
