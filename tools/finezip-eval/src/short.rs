//! `short`: what short texts take, coded one by one.
//!
//! Of each text some lines of 50 to 2,000 bytes, evenly spread, are coded; the lines between them
//! are what a dictionary is trained on and a prime is cut from, so that nothing has seen what it
//! codes. Peers get no headers that they can do without: no checksum, length or dictionary's
//! number. Messages of finezip-cli have all of theirs. Everything of ours is decoded and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use finezip_peers::{BROTLI_11, ZSTD_19_LEVEL};
use serde_json::Value;

use crate::args::ShortArguments;
use crate::median::median;
use crate::run::child::{self, Job};
use crate::run::{cli_path, group};
use crate::temporary::Temporary;
use crate::text::three_digits;

/// The lengths of lines that are taken.
const LENGTHS: std::ops::RangeInclusive<usize> = 50..=2000;

/// The longest that one process may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs the command.
pub(crate) fn run(arguments: &ShortArguments) -> Result<ExitCode> {
    group::watch().context("watching for signals")?;
    let cli = cli_path(arguments.cli.as_deref())?;
    println(
        "| text | messages | mean | zstd -19 | with dictionary | brotli 11 | message | primed | \
         record | primed | ms |",
    );
    println("|---|---|---|---|---|---|---|---|---|---|---|");
    for text in &arguments.texts {
        let row = Sample::new(text, arguments)?.row(&cli, arguments);
        println(&row.with_context(|| text.display().to_string())?);
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
fn println(line: &str) {
    println!("{line}");
}

/// Lines to code, and other lines of the same kind.
struct Sample {
    name: String,
    coded: Vec<Vec<u8>>,
    seen: Vec<Vec<u8>>,
}

impl Sample {
    fn new(path: &Path, arguments: &ShortArguments) -> Result<Self> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let lines: Vec<&[u8]> = text
            .split(|&byte| byte == b'\n')
            .filter(|line| LENGTHS.contains(&line.len()))
            .collect();
        // At least as many lines are seen as are coded.
        let every = (lines.len() / arguments.messages.max(1)).max(2);
        let is_coded = |at: usize| at % every == every / 2 && at / every < arguments.messages;
        let pick = |coded: bool| {
            let lines = lines.iter().enumerate().filter(move |(at, _)| is_coded(*at) == coded);
            lines.map(|(_, line)| line.to_vec()).collect::<Vec<_>>()
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sample = Self { name, coded: pick(true), seen: pick(false) };
        ensure!(!sample.coded.is_empty(), "no lines of 50 to 2,000 bytes in {}", path.display());
        Ok(sample)
    }

    fn row(&self, cli: &Path, arguments: &ShortArguments) -> Result<String> {
        let folder = Temporary::new()?;
        let dictionary = self.dictionary(folder.path(), arguments.dictionary_bytes)?;
        fs::write(folder.path().join("prime"), self.prime(arguments.prime_bytes))?;
        let prime = ["--prime", "prime"];
        let ours = Ours { cli, folder: folder.path(), options: &arguments.options };
        let (messages, seconds) = ours.messages(&self.coded, &[])?;
        let (primed_messages, _) = ours.messages(&self.coded, &prime)?;
        let bytes = [
            self.coded.iter().map(Vec::len).sum(),
            self.each(|line| zstd_bytes(line, &[]))?,
            self.each(|line| zstd_bytes(line, &dictionary))?,
            self.each(|line| Ok(BROTLI_11.compress(line)?.len()))?,
            messages,
            primed_messages,
            ours.records(&self.coded, &[])?,
            ours.records(&self.coded, &prime)?,
        ];
        let count = self.coded.len();
        let means = bytes.map(|bytes| format!("{:.1}", bytes as f64 / count as f64));
        Ok(format!(
            "| {} | {count} | {} | {} |",
            self.name,
            means.join(" | "),
            three_digits(seconds * 1000.0)
        ))
    }

    fn each(&self, bytes: impl Fn(&[u8]) -> Result<usize>) -> Result<usize> {
        self.coded.iter().map(|line| bytes(line)).sum()
    }

    /// A dictionary that the zstd program trains on the lines that are not coded.
    fn dictionary(&self, folder: &Path, bytes: usize) -> Result<Vec<u8>> {
        let samples = folder.join("samples");
        fs::create_dir(&samples)?;
        let mut names = Vec::new();
        for (number, line) in self.seen.iter().enumerate() {
            names.push(format!("{number}\n"));
            fs::write(samples.join(number.to_string()), line)?;
        }
        fs::write(samples.join("list"), names.concat())?;
        let job = Job {
            directory: Some(samples),
            ..Job::new("zstd")
                .arguments(["--train", "-q"])
                .argument(format!("-{ZSTD_19_LEVEL}"))
                .arguments(["--maxdict", &bytes.to_string()])
                .arguments(["-o", "../dictionary", "--filelist", "list"])
        };
        child::run(&job, folder, TIMEOUT).context("training the dictionary")?;
        Ok(fs::read(folder.join("dictionary"))?)
    }

    /// Lines that are not coded, evenly spread, as many as fit.
    fn prime(&self, bytes: usize) -> Vec<u8> {
        let mean = self.seen.iter().map(Vec::len).sum::<usize>() / self.seen.len().max(1) + 1;
        let every = (self.seen.len() * mean / bytes.max(1)).max(1);
        let mut prime = Vec::new();
        for line in self.seen.iter().step_by(every) {
            if prime.len() + line.len() < bytes {
                prime.extend_from_slice(line);
                prime.push(b'\n');
            }
        }
        prime
    }
}

fn zstd_bytes(line: &[u8], dictionary: &[u8]) -> Result<usize> {
    let mut compressor = zstd::bulk::Compressor::with_dictionary(ZSTD_19_LEVEL, dictionary)?;
    compressor.include_checksum(false)?;
    compressor.include_contentsize(false)?;
    compressor.include_dictid(false)?;
    Ok(compressor.compress(line)?.len())
}

/// finezip-cli in a folder of its own.
struct Ours<'a> {
    cli: &'a Path,
    folder: &'a Path,
    options: &'a [String],
}

impl Ours<'_> {
    /// What a run says on its output.
    fn done(&self, arguments: &[&str], files: &[PathBuf]) -> Result<Vec<u8>> {
        let output = self.folder.join("output");
        let job = Job {
            directory: Some(self.folder.to_owned()),
            stdout: Some(output.clone()),
            ..Job::new(self.cli).arguments(arguments).arguments(files)
        };
        child::run(&job, self.folder, TIMEOUT).with_context(|| format!("{arguments:?}"))?;
        Ok(fs::read(output)?)
    }

    /// Bytes of the lines' messages, and the median of the seconds that one took; all are made in
    /// one process, with the model open.
    fn messages(&self, lines: &[Vec<u8>], prime: &[&str]) -> Result<(usize, f64)> {
        let mut files = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            files.push(PathBuf::from(format!("m{number}")));
            fs::write(self.folder.join(&files[number]), line)?;
        }
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let compress = ["compress", "-q", "-f", "--compact", "--statistics", "statistics"];
        let profile = ["--write-profile", "profile"];
        self.done(&[&compress[..], &profile, prime, &options].concat(), &files)?;
        let archives: Vec<PathBuf> = files.iter().map(|file| file.with_extension("fz")).collect();
        let decompress = ["decompress", "-q", "-c", "--profile", "profile"];
        ensure!(
            self.done(&decompress, &archives)? == lines.concat(),
            "messages came back otherwise"
        );
        let statistics = fs::read_to_string(self.folder.join("statistics"))?;
        let (mut bytes, mut seconds) = (0, Vec::new());
        for line in statistics.lines() {
            let line: Value = serde_json::from_str(line)?;
            bytes += line["archive_bytes"].as_u64().context("archive_bytes")? as usize;
            seconds.push(line["seconds"].as_f64().context("seconds")?);
        }
        Ok((bytes, median(seconds, |&seconds| seconds).unwrap_or(0.0)))
    }

    /// Bytes of an archive of the lines as records.
    fn records(&self, lines: &[Vec<u8>], prime: &[&str]) -> Result<usize> {
        let text = [lines.join(&b'\n'), b"\n".to_vec()].concat();
        fs::write(self.folder.join("lines"), &text)?;
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let compress = ["compress", "-q", "-f", "--lines", "lines"];
        self.done(&[&compress[..], prime, &options].concat(), &[])?;
        let back = self.done(&["decompress", "-q", "-c", "lines.fz"], &[])?;
        ensure!(back == text, "records came back otherwise");
        Ok(fs::metadata(self.folder.join("lines.fz"))?.len() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_coded_are_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let line = |number: usize| format!("line {number} {}", "of some text".repeat(5));
        let text: Vec<String> = (0..100).map(line).chain(["short".into()]).collect();
        fs::write(&path, text.join("\n")).unwrap();
        let arguments = ShortArguments {
            texts: Vec::new(),
            messages: 20,
            dictionary_bytes: 1000,
            prime_bytes: 500,
            cli: None,
            options: Vec::new(),
        };
        let sample = Sample::new(&path, &arguments).unwrap();
        assert_eq!((sample.coded.len(), sample.seen.len()), (20, 80));
        assert!(sample.coded.iter().all(|line| !sample.seen.contains(line)));
        let prime = sample.prime(500);
        assert!((300..=500).contains(&prime.len()), "{}", prime.len());
        let lines = prime.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n');
        assert!(lines.into_iter().all(|line| sample.seen.contains(&line.to_vec())));
    }
}
