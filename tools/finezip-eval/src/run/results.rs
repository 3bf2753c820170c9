//! The file of results: one JSON object a line, on the disk before the next cell begins.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::child::Cost;
use super::config::Method;
use super::inputs::Text;
use super::machine::Machine;
use crate::text::hex;

/// What was measured, as read from its binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tool {
    /// The binary's file name.
    pub(crate) name: String,
    /// What it says to `--version`, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// SHA-256 of the binary.
    pub(crate) sha256: String,
}

/// A line of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The hash of all that decides what is measured.
    pub(crate) key: String,
    /// What compressed.
    pub(crate) method: Method,
    /// What was compressed.
    pub(crate) input: Text,
    /// With what.
    pub(crate) tool: Tool,
    /// SHA-256 of what the method's names do not say: a model of a path, an adapter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) weights: BTreeMap<String, String>,
    /// Where.
    pub(crate) machine: Machine,
    /// The most memory that the measuring tool had had by then: no peak is measured below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor_bytes: Option<u64>,
    /// When it was done, in seconds since 1970.
    pub(crate) unix_time: u64,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// What follows from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) derived: Option<Derived>,
}

/// What follows from length and measures: the report reckons it anew, other readers need not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Derived {
    /// Bits of archive a byte of text.
    pub(crate) bits_per_byte: f64,
    /// Archive by text.
    pub(crate) ratio: f64,
    /// Bytes of text a second, starting and opening the model included.
    pub(crate) compress_bytes_per_second: f64,
    /// The same of the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decompress_bytes_per_second: Option<f64>,
    /// Tokens of the model a second of compressing, without its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_second: Option<f64>,
    /// What arithmetic coding takes beyond the ideal code length, as a part of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coder_overhead: Option<f64>,
}

impl Derived {
    /// Of a text of so many bytes; of an empty one nothing follows.
    pub(crate) fn of(measures: &Measures, text_bytes: u64) -> Option<Self> {
        if text_bytes == 0 {
            return None;
        }
        let bytes = text_bytes as f64;
        let ratio = measures.archive_bytes as f64 / bytes;
        let rate = |cost: &Cost| bytes / cost.seconds.max(1e-9);
        let told = measures.finezip.as_ref();
        let tokens = told.filter(|told| told.tokens > 0 && told.work_seconds > 0.0);
        let measured = told.and_then(|told| told.distributions.as_ref());
        let measured = measured.filter(|measured| measured.ideal_bytes > 0.0);
        Some(Self {
            bits_per_byte: 8.0 * ratio,
            ratio,
            compress_bytes_per_second: rate(&measures.compress),
            decompress_bytes_per_second: measures.decompress.as_ref().map(rate),
            tokens_per_second: tokens.map(|told| told.tokens as f64 / told.work_seconds),
            coder_overhead: measured.map(|it| it.payload_bytes as f64 / it.ideal_bytes - 1.0),
        })
    }
}

/// What came of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The text came back.
    Done(Box<Measures>),
    /// It did not, or something else went wrong.
    Failed {
        /// What.
        error: String,
    },
}

/// What was measured of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measures {
    /// Size of the archive.
    pub(crate) archive_bytes: u64,
    /// SHA-256 of the archive, the last one where runs may differ.
    pub(crate) archive_sha256: String,
    /// Compressing: the median run, of an even number the mean of the two in the middle.
    pub(crate) compress: Cost,
    /// Decompressing, unless it was not part of the cell: the median run likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decompress: Option<Cost>,
    /// How many runs there were.
    pub(crate) repeats: usize,
    /// What finezip-cli tells of its archive and its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finezip: Option<FinezipMeasures>,
}

/// What finezip-cli tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FinezipMeasures {
    /// Tokens coded by the model.
    pub(crate) tokens: u64,
    /// Lanes of the first frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lanes: Option<u64>,
    /// Frames of each method.
    pub(crate) frames: BTreeMap<String, u64>,
    /// Compressing without starting and opening the model.
    pub(crate) work_seconds: f64,
    /// Of that, computing logits.
    pub(crate) engine_seconds: f64,
    /// Of that, coding.
    pub(crate) coder_seconds: f64,
    /// The archive's description of model, engine, schedule and coder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<serde_json::Value>,
    /// Bytes of the adapter's files, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adapter_bytes: Option<u64>,
    /// Ideal code length, ranks and positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distributions: Option<Distributions>,
}

/// What `compress --ideal --statistics` measures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distributions {
    /// Tokens measured.
    pub(crate) tokens: u64,
    /// Sum of `-log2 p(token)`, in bytes.
    pub(crate) ideal_bytes: f64,
    /// What arithmetic coding made of them.
    pub(crate) payload_bytes: u64,
    /// Tokens of rank 0.
    pub(crate) rank_0: u64,
    /// Tokens of ranks 0 to 15.
    pub(crate) ranks_0_to_15: u64,
    /// By place in the lane, in powers of two.
    pub(crate) positions: Vec<Position>,
}

/// Tokens at places `from` up to the next one's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The first place.
    pub(crate) from: u64,
    /// How many tokens there are.
    pub(crate) tokens: u64,
    /// Sum of `-log2 p(token)`.
    pub(crate) ideal_bits: f64,
}

impl Line {
    /// What was measured, if all went well.
    pub(crate) fn measures(&self) -> Option<&Measures> {
        match &self.outcome {
            Outcome::Done(measures) => Some(measures),
            Outcome::Failed { .. } => None,
        }
    }
}

/// The key of a cell: SHA-256 of everything that decides what is measured.
pub(crate) fn key(
    method: &Method,
    input: &Text,
    tool: &Tool,
    weights: &BTreeMap<String, String>,
    machine: &Machine,
    repeats: usize,
) -> Result<String> {
    // What the PATH has may be a script that is the same for every version.
    let tool = match (method, &tool.version) {
        (Method::Command { .. }, Some(version)) => format!("{} {version}", tool.sha256),
        _ => tool.sha256.clone(),
    };
    let parts = (method, &input.sha256, tool, weights, machine, repeats);
    let parts = serde_json::to_vec(&parts)?;
    Ok(hex(&Sha256::digest(parts)))
}

/// Reads results. Of lines with one key the last one counts, in the place of the first; a last
/// line that was cut off is passed over.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let (whole, last) = bytes.split_at(end_of_whole_lines(&bytes));
    let last = (!is_cut_off(last)).then_some(last);
    let mut lines: Vec<Line> = Vec::new();
    let mut places = HashMap::new();
    for (number, text) in whole.split(|&byte| byte == b'\n').chain(last).enumerate() {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_slice(text)
            .with_context(|| format!("{}, line {}", path.display(), number + 1))?;
        match places.get(&line.key).and_then(|&place: &usize| lines.get_mut(place)) {
            Some(earlier) => *earlier = line,
            None => {
                places.insert(line.key.clone(), lines.len());
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// Where the last line with an end ends.
fn end_of_whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
}

/// Whether what stands after the last end of a line is no line.
fn is_cut_off(last: &[u8]) -> bool {
    serde_json::from_slice::<Line>(last).is_err()
}

/// Adds lines to a file.
pub(crate) struct Results(File);

impl Results {
    /// Opens the file to add lines, without one at its end that was cut off.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let at = || path.display().to_string();
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(at)?;
        let bytes = fs::read(path).with_context(at)?;
        let (whole, last) = bytes.split_at(end_of_whole_lines(&bytes));
        let mut results = Self(file);
        if is_cut_off(last) {
            results.0.set_len(whole.len() as u64).with_context(at)?;
        } else {
            results.0.write_all(b"\n").with_context(at)?;
        }
        Ok(results)
    }

    /// Adds a line, which is on the disk when this returns.
    pub(crate) fn add(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.0.write_all(&text).context("writing a result")?;
        self.0.sync_data().context("writing a result")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, error: &str) -> Line {
        Line {
            key: key.into(),
            method: Method::Peer { name: "zlib-9".into() },
            input: Text { name: "a".into(), file: "a".into(), bytes: 3, sha256: "00".into() },
            tool: Tool { name: "t".into(), version: None, sha256: "11".into() },
            weights: BTreeMap::new(),
            machine: Machine::default(),
            floor_bytes: None,
            unix_time: 5,
            outcome: Outcome::Failed { error: error.into() },
            derived: None,
        }
    }

    #[test]
    fn what_follows_is_told() {
        let cost = Cost { seconds: 2.0, ..Cost::default() };
        let distributions =
            Distributions { ideal_bytes: 100.0, payload_bytes: 101, ..Distributions::default() };
        let finezip = FinezipMeasures {
            tokens: 300,
            work_seconds: 1.5,
            distributions: Some(distributions),
            ..FinezipMeasures::default()
        };
        let measures = Measures {
            archive_bytes: 125,
            compress: cost,
            finezip: Some(finezip),
            ..Measures::default()
        };
        let derived = Derived::of(&measures, 1000).unwrap();
        assert_eq!((derived.bits_per_byte, derived.ratio), (1.0, 0.125));
        assert_eq!(derived.compress_bytes_per_second, 500.0);
        assert_eq!(derived.decompress_bytes_per_second, None);
        assert_eq!(derived.tokens_per_second, Some(200.0));
        assert!((derived.coder_overhead.unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(Derived::of(&measures, 0), None);
    }

    #[test]
    fn lines_come_back_the_last_of_a_key_and_none_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let mut results = Results::open(&path).unwrap();
        for (key, error) in [("a", "one"), ("b", "two"), ("a", "three")] {
            results.add(&line(key, error)).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"key\":\"c\""].concat()).unwrap();
        assert_eq!(read(&path).unwrap(), [line("a", "three"), line("b", "two")]);
        let mut results = Results::open(&path).unwrap();
        results.add(&line("c", "four")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
        // Cut within a character; a blank line; a whole line whose end is missing.
        let last = serde_json::to_vec(&line("d", "five")).unwrap();
        for (tail, expected) in
            [(&b"{\"key\":\"\xe2\x80"[..], 2), (b"\n\n", 2), (&last[..], 3), (b"", 2)]
        {
            fs::write(&path, [&whole[..], tail].concat()).unwrap();
            assert_eq!(read(&path).unwrap().len(), expected);
            Results::open(&path).unwrap().add(&line("e", "six")).unwrap();
            let found = read(&path).unwrap();
            assert_eq!((found.len(), &found[expected]), (expected + 1, &line("e", "six")));
        }
    }

    #[test]
    fn keys_change_with_all_that_counts() {
        let base = line("", "");
        let of = |line: &Line, repeats| {
            let Line { method, input, tool, weights, machine, .. } = line;
            key(method, input, tool, weights, machine, repeats).unwrap()
        };
        let mut keys = vec![of(&base, 1), of(&base, 2)];
        let mut other = base.clone();
        other.method = Method::Peer { name: "xz-9e".into() };
        keys.push(of(&other, 1));
        other = base.clone();
        other.input.sha256 = "01".into();
        keys.push(of(&other, 1));
        other = base.clone();
        other.tool.sha256 = "12".into();
        keys.push(of(&other, 1));
        other = base.clone();
        other.machine.cores = 7;
        keys.push(of(&other, 1));
        other = base.clone();
        other.weights.insert("adapter".into(), "13".into());
        keys.push(of(&other, 1));
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        // A name is not content, and time does not count.
        other = base.clone();
        other.input.name = "b".into();
        other.unix_time = 6;
        assert_eq!(of(&other, 1), of(&base, 1));
    }
}
