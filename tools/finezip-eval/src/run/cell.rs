//! One cell: compress, decompress, compare, several times over.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::child::{self, Cost, Job};
use super::config::{CommandLine, CommandLines, Finezip, Method, is_path};
use super::inputs::{compare, hash_file};
use super::results::{Distributions, FinezipMeasures, Measures};
use crate::median::{Mean, median};

/// What cells are run with.
pub(crate) struct Bench {
    /// finezip-cli.
    pub(crate) cli: PathBuf,
    /// This binary, which holds the peers.
    pub(crate) own: PathBuf,
    /// A folder for archives and outputs.
    pub(crate) folder: PathBuf,
    /// Runs of each cell.
    pub(crate) repeats: usize,
    /// The longest that one process may take.
    pub(crate) timeout: Duration,
}

impl Bench {
    /// Runs a cell over the text at `path`. Programs get a copy of it, so that what they do to
    /// that changes neither what they are held against nor another cell.
    pub(crate) fn run(&self, method: &Method, path: &Path) -> Result<Measures> {
        let folder = self.path("given");
        fs::create_dir_all(&folder)?;
        let copy = folder.join(path.file_name().context("a text's name")?);
        fs::copy(path, &copy).with_context(|| copy.display().to_string())?;
        let text = Given { path, copy: &copy };
        let measures = match method {
            Method::Finezip(finezip) => self.finezip(finezip, text),
            Method::Ideal(finezip) => self.ideal(finezip, text),
            Method::Peer { name } => self.peer(name, text),
            Method::Command { lines, .. } => self.command(lines, text),
        };
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        measures
    }

    /// Runs one process to its end, for what it does and not for what it costs.
    pub(crate) fn once(&self, job: &Job) -> Result<Cost> {
        child::run(job, &self.folder, self.timeout)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Compresses with `there` to `archive`, decompresses with `back`, and compares; the median
    /// costs, the last archive, and the statistics that belong to the median time, if there are
    /// any. Of what is repeatable, every run must make the same archive.
    fn round_trips(
        &self,
        text: Given<'_>,
        archive: &Path,
        there: &Job,
        back: &Job,
        is_repeatable: bool,
    ) -> Result<(Measures, Option<Statistics>)> {
        let (output, statistics) = (self.path("output"), self.path("statistics"));
        let (mut compress, mut decompress) = (Vec::new(), Vec::new());
        let mut made: Option<(String, u64)> = None;
        for _ in 0..self.repeats {
            for leftover in [archive, &output, &statistics] {
                if leftover.exists() {
                    fs::remove_file(leftover)?;
                }
            }
            let cost = self.once(there).context("compressing")?;
            compress.push(Compressed { cost, told: Statistics::read(&statistics)? });
            decompress.push(self.once(back).context("decompressing")?);
            compare(text.path, &output)?;
            let found = hash_file(archive).context("the archive")?;
            ensure!(
                !is_repeatable || made.as_ref().is_none_or(|before| *before == found),
                "two runs made different archives"
            );
            made = Some(found);
        }
        let (archive_sha256, archive_bytes) = made.context("no run")?;
        let Compressed { cost: compress, told } =
            median(compress, |run| run.cost.seconds).context("no run")?;
        let measures = Measures {
            archive_bytes,
            archive_sha256,
            compress,
            decompress: median(decompress, |cost| cost.seconds),
            repeats: self.repeats,
            finezip: None,
        };
        Ok((measures, told))
    }

    fn compress_job(&self, finezip: &Finezip, input: &Path) -> Job {
        Job::new(&self.cli)
            .arguments(["compress", "-q", "-f", "--offline", "--statistics"])
            .argument(self.path("statistics"))
            .arguments(["-o".into(), self.path("archive").into_os_string()])
            .arguments(finezip.arguments())
            .argument(input)
    }

    fn finezip(&self, finezip: &Finezip, text: Given<'_>) -> Result<Measures> {
        let mut back = Job::new(&self.cli)
            .arguments(["decompress", "-q", "-f", "-o"])
            .argument(self.path("output"))
            .arguments(finezip.machine_arguments());
        if finezip.has_model() && is_path(&finezip.model) {
            back = back.arguments(["--model", &finezip.model]);
        }
        if let Some(adapter) = &finezip.adapter {
            back = back.arguments(["--adapter", adapter]);
        }
        let back = back.argument(self.path("archive"));
        let there = self.compress_job(finezip, text.copy);
        let archive = self.path("archive");
        let (mut measures, statistics) =
            self.round_trips(text, &archive, &there, &back, finezip.is_repeatable())?;
        let (told, holds_adapter) = self.told(statistics)?;
        let adapter = finezip.adapter.as_deref().filter(|_| !holds_adapter);
        let adapter_bytes = adapter.map(Path::new).map(weight_bytes).transpose()?;
        measures.finezip = Some(FinezipMeasures { adapter_bytes, ..told });
        Ok(measures)
    }

    /// Compresses once more, with what slows it down.
    fn ideal(&self, finezip: &Finezip, text: Given<'_>) -> Result<Measures> {
        let job = self.compress_job(finezip, text.copy).argument("--ideal");
        let compress = self.once(&job)?;
        let (archive_sha256, archive_bytes) = hash_file(&self.path("archive"))?;
        let (told, _) = self.told(Statistics::read(&self.path("statistics"))?)?;
        Ok(Measures {
            archive_bytes,
            archive_sha256,
            compress,
            decompress: None,
            repeats: 1,
            finezip: Some(told),
        })
    }

    /// What finezip-cli tells of the archive, and of a run by its statistics; and whether the
    /// archive holds its adapter.
    fn told(&self, statistics: Option<Statistics>) -> Result<(FinezipMeasures, bool)> {
        let statistics = statistics.context("there are no --statistics")?;
        let list = self.path("list");
        let job = Job {
            stdout: Some(list.clone()),
            ..Job::new(&self.cli).arguments(["list", "--json"]).argument(self.path("archive"))
        };
        self.once(&job).context("listing the archive")?;
        let listed: Value = serde_json::from_slice(&fs::read(&list)?).context("list --json")?;
        let members = listed[0]["members"].as_array().context("list --json shows no members")?;
        let mut told = FinezipMeasures {
            work_seconds: statistics.seconds,
            engine_seconds: statistics.engine_seconds,
            coder_seconds: statistics.coder_seconds,
            distributions: statistics.measured,
            ..FinezipMeasures::default()
        };
        let mut holds_adapter = false;
        for member in members {
            holds_adapter |= !member["adapter_bytes"].is_null();
            told.language = Some(member["language"].clone()).filter(|language| !language.is_null());
            for frame in member["frames"].as_array().into_iter().flatten() {
                let method = frame["method"].as_str().unwrap_or("unknown").to_owned();
                *told.frames.entry(method).or_default() += 1;
                told.tokens += frame["tokens"].as_u64().unwrap_or(0);
                told.lanes = told.lanes.or(frame["lanes"].as_u64());
            }
        }
        Ok((told, holds_adapter))
    }

    fn peer(&self, name: &str, text: Given<'_>) -> Result<Measures> {
        let job = |direction: &str, from: &Path, to: &str| {
            Job::new(&self.own)
                .arguments(["peer", direction, name])
                .argument(from)
                .argument(self.path(to))
        };
        let archive = self.path("archive");
        let there = job("compress", text.copy, "archive");
        let back = job("decompress", &archive, "output");
        Ok(self.round_trips(text, &archive, &there, &back, true)?.0)
    }

    fn command(&self, lines: &CommandLines, text: Given<'_>) -> Result<Measures> {
        let model = match &lines.model {
            Some(name) => self.model_path(name)?,
            None => PathBuf::new(),
        };
        let program = lines.program().context("not on the PATH any more")?;
        let (archive, output) = (self.path(&lines.archive), self.path("output"));
        let places = [
            ("{input}", text.copy),
            ("{archive}", &archive),
            ("{output}", &output),
            ("{model}", &model),
        ];
        let job = |line: &CommandLine, from: &Path, to: &Path| Job {
            stdin: line.stdin.then(|| from.to_owned()),
            stdout: line.stdout.then(|| to.to_owned()),
            ..Job::new(&program)
                .arguments(line.arguments.iter().map(|argument| replaced(argument, &places)))
        };
        let there = job(&lines.compress, text.copy, &archive);
        let back = job(&lines.decompress, &archive, &output);
        // Archives of programs may hold the time: zpaq's do.
        Ok(self.round_trips(text, &archive, &there, &back, false)?.0)
    }

    fn model_path(&self, name: &str) -> Result<PathBuf> {
        let to = self.path("model-path");
        let job = Job {
            stdout: Some(to.clone()),
            ..Job::new(&self.cli).arguments(["models", "path", name])
        };
        self.once(&job).with_context(|| format!("the model {name}"))?;
        let path = fs::read_to_string(&to)?;
        if path.trim().is_empty() {
            bail!("finezip-cli knows no path of the model {name}");
        }
        Ok(PathBuf::from(path.trim()))
    }
}

/// A text, and the copy of it that programs get.
#[derive(Clone, Copy)]
struct Given<'a> {
    path: &'a Path,
    copy: &'a Path,
}

/// What one run of compressing took, and told of itself.
#[derive(Debug, PartialEq)]
struct Compressed {
    cost: Cost,
    told: Option<Statistics>,
}

impl Mean for Compressed {
    fn mean(self, other: Self) -> Self {
        let told = self.told.zip(other.told).map(|(one, other)| one.mean(other));
        Self { cost: self.cost.mean(other.cost), told }
    }
}

/// What `finezip-cli compress --statistics` tells of a run.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Statistics {
    seconds: f64,
    engine_seconds: f64,
    coder_seconds: f64,
    /// With `--ideal`.
    measured: Option<Distributions>,
}

impl Statistics {
    /// Reads them; programs that are not finezip-cli leave none.
    fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).context("--statistics")?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("--statistics"),
        }
    }
}

impl Mean for Statistics {
    fn mean(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.mean(other.seconds),
            engine_seconds: self.engine_seconds.mean(other.engine_seconds),
            coder_seconds: self.coder_seconds.mean(other.coder_seconds),
            // What is measured is of the text, and the same in every run.
            measured: self.measured,
        }
    }
}

/// Bytes of an adapter: a file, or the safetensors files of a folder.
fn weight_bytes(path: &Path) -> Result<u64> {
    let at = || path.display().to_string();
    if path.is_file() {
        return Ok(fs::metadata(path).with_context(at)?.len());
    }
    let mut total = 0;
    for entry in fs::read_dir(path).with_context(at)? {
        let entry = entry.with_context(at)?;
        if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
            total += entry.metadata().with_context(at)?.len();
        }
    }
    Ok(total)
}

fn replaced(argument: &str, places: &[(&str, &Path)]) -> String {
    places.iter().fold(argument.to_owned(), |argument, (mark, path)| {
        argument.replace(mark, &path.to_string_lossy())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_run_keeps_what_is_its_own() {
        let run = |seconds, peak_bytes, engine_seconds| {
            let told = Statistics { engine_seconds, ..Statistics::default() };
            let cost = Cost { seconds, peak_bytes, ..Cost::default() };
            Compressed { cost, told: Some(told) }
        };
        let of = |runs: Vec<Compressed>| median(runs, |run| run.cost.seconds);
        let (short, middle, long) = (run(1.0, 30, 7.0), run(2.0, 10, 8.0), run(4.0, 20, 5.0));
        assert_eq!(of(vec![long, short, middle]), Some(run(2.0, 10, 8.0)));
        assert_eq!(of(vec![run(4.0, 20, 5.0), run(1.0, 30, 7.0)]), Some(run(2.5, 25, 6.0)));
    }

    #[test]
    fn marks_become_paths() {
        let places = [("{input}", Path::new("/a/b"))];
        assert_eq!(replaced("--from={input}", &places), "--from=/a/b");
        assert_eq!(replaced("plain", &places), "plain");
    }
}
