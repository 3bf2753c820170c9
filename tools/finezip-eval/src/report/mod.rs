//! `finezip-eval report`: tables and plots of results.

mod beside_peers;
mod comparisons;
mod conditions;
mod document;
mod findings;
mod html;
mod markdown;
mod pictures;
mod plot;
mod tables;

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::args::{ReportArguments, TargetArguments};
use crate::run::Text;
use crate::run::machine::Machine;
use crate::run::results::{self, Line};
use crate::text::bytes_short;
use comparisons::Setting;
use document::Block;

/// A text with as many methods, one of them ours, has a section of its own.
const OWN_SECTION: usize = 3;

/// Runs the command.
pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitCode> {
    write(&arguments.results, None, &arguments.targets)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the report of files of results: of all that they hold, or of the cells that have one of
/// the keys, whose texts have the names that stand there.
pub(crate) fn write(
    results: &[PathBuf],
    texts: Option<&HashMap<String, Vec<Text>>>,
    targets: &TargetArguments,
) -> Result<()> {
    let mut lines = Vec::new();
    for path in results {
        lines.extend(results::read(path)?);
    }
    if let Some(texts) = texts {
        lines = of_keys(lines, texts);
    }
    ensure!(!lines.is_empty(), "no cells to report in {}", joined(results));
    let blocks = blocks(&latest(lines));
    let folder = plots_folder(targets);
    if let Some(folder) = &folder {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for block in &blocks {
            if let Block::Picture(picture) = block {
                picture.write(folder)?;
            }
        }
    }
    if let Some(path) = &targets.markdown {
        let plots = match &folder {
            Some(folder) => relative(folder, path)?,
            None => String::new(),
        };
        let at = || path.display().to_string();
        let earlier = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => Some(read.with_context(at)?),
        };
        let text = markdown::placed(earlier.as_deref(), &markdown::render(&blocks, &plots))
            .with_context(at)?;
        replace(path, &text).with_context(at)?;
    }
    if let Some(path) = &targets.html {
        replace(path, &html::render(&blocks)?).with_context(|| path.display().to_string())?;
    }
    if targets.markdown.is_none() && targets.html.is_none() {
        let plots = folder.as_deref().map_or("plots".into(), |path| path.display().to_string());
        let text = markdown::placed(None, &markdown::render(&blocks, &plots))?;
        std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")?;
    }
    Ok(())
}

fn joined(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    // Those of an ordinary file, less what the user's mask takes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn plots_folder(targets: &TargetArguments) -> Option<PathBuf> {
    let beside = |path: &PathBuf| path.with_file_name("plots");
    targets.plots.clone().or_else(|| targets.markdown.as_ref().map(beside))
}

/// The folder as a link in the file names it: from where the file lies.
fn relative(folder: &Path, file: &Path) -> Result<String> {
    let whole = |path: &Path| std::path::absolute(path).context("the folder for plots");
    let (folder, file) = (whole(folder)?, whole(file)?);
    let names = |path: &Path| -> Vec<String> {
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let (to, from) = (names(&folder), names(file.parent().unwrap_or(Path::new(""))));
    let common = to.iter().zip(&from).take_while(|(one, other)| one == other).count();
    let up = from.iter().skip(common).map(|_| "..".to_owned());
    let down = to.into_iter().skip(common);
    let parts: Vec<String> = up.chain(down).collect();
    Ok(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// The lines of a grid's cells, under every name that it has for their texts.
fn of_keys(lines: Vec<Line>, texts: &HashMap<String, Vec<Text>>) -> Vec<Line> {
    let of_grid = lines.into_iter().flat_map(|line| {
        let inputs = texts.get(&line.key).into_iter().flatten();
        inputs.map(|input| Line { input: input.clone(), ..line.clone() }).collect::<Vec<_>>()
    });
    of_grid.collect()
}

/// Of lines of one cell by several binaries, the latest. Grids call different texts by one name:
/// of those, too, the latest, since what stands under one name is compared.
fn latest(mut lines: Vec<Line>) -> Vec<Line> {
    let mut newest: HashMap<(Machine, String), (bool, u64, String)> = HashMap::new();
    let name_of = |line: &Line| (line.machine.clone(), line.input.name.clone());
    for line in &lines {
        // A text that was not there has no hash, and gives way to one that was.
        let hash = line.input.sha256.clone();
        let found = (!hash.is_empty(), line.unix_time, hash);
        let kept = newest.entry(name_of(line)).or_insert_with(|| found.clone());
        if (kept.0, kept.1) <= (found.0, found.1) {
            *kept = found;
        }
    }
    lines.retain(|line| newest.get(&name_of(line)).is_some_and(|kept| kept.2 == line.input.sha256));
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        let same = |other: &&mut Line| {
            other.method == line.method
                && other.machine == line.machine
                && other.input.name == line.input.name
        };
        match kept.iter_mut().find(same) {
            Some(other) if other.unix_time <= line.unix_time => *other = line,
            Some(_) => {}
            None => kept.push(line),
        }
    }
    kept
}

/// The whole report: for each machine the same sections.
fn blocks(lines: &[Line]) -> Vec<Block> {
    let mut machines: Vec<&Machine> = Vec::new();
    for line in lines {
        if !machines.contains(&&line.machine) {
            machines.push(&line.machine);
        }
    }
    let mut blocks = Vec::new();
    for (number, machine) in machines.into_iter().enumerate() {
        let of_machine: Vec<&Line> = lines.iter().filter(|line| line.machine == *machine).collect();
        let prefix = if number == 0 { String::new() } else { format!("machine-{}-", number + 1) };
        sections(&mut blocks, machine, &of_machine, &prefix);
    }
    blocks
}

fn sections(blocks: &mut Vec<Block>, machine: &Machine, lines: &[&Line], prefix: &str) {
    blocks.push(Block::Heading(2, "How it was measured".into()));
    blocks.push(Block::Paragraph(conditions::of(machine, lines)));
    blocks.push(Block::Table(conditions::binaries(lines)));
    if let Some(table) = conditions::texts(lines) {
        blocks.push(Block::Table(table));
    }
    texts(blocks, lines, prefix);
    if let Some(table) = findings::table(lines) {
        blocks.push(Block::Heading(2, "Findings: the paper's, and ours, on this scale".into()));
        blocks.push(Block::Table(table));
    }
    for setting in Setting::ALL {
        let comparisons = comparisons::of(setting, lines);
        if comparisons.is_empty() {
            continue;
        }
        blocks.push(Block::Heading(2, setting.heading().into()));
        for mut picture in pictures::of_setting(setting, &comparisons) {
            picture.name = format!("{prefix}{}", picture.name);
            blocks.push(Block::Picture(picture));
        }
        for comparison in &comparisons {
            blocks.push(Block::Paragraph(format!("{}:", comparison.common)));
            blocks.push(Block::Table(tables::of_comparison(setting, comparison)));
        }
    }
    if let Some(table) = tables::of_distributions(lines) {
        blocks.push(Block::Heading(2, "The model's distributions".into()));
        blocks.push(Block::Table(table));
        blocks.extend(pictures::positions(prefix, lines).into_iter().map(Block::Picture));
    }
    if let Some(table) = tables::of_failures(lines) {
        blocks.push(Block::Heading(2, "Cells that failed".into()));
        blocks.push(Block::Table(table));
    }
}

/// Every text with all methods, the plainest settings.
fn texts(blocks: &mut Vec<Block>, lines: &[&Line], prefix: &str) {
    let plain: Vec<&Line> = lines.iter().copied().filter(|line| tables::is_plain(line)).collect();
    let mut names: Vec<&str> = Vec::new();
    for line in plain.iter().filter(|line| line.measures().is_some()) {
        if !names.contains(&line.input.name.as_str()) {
            names.push(&line.input.name);
        }
    }
    if let Some(table) = tables::of_texts(&plain) {
        blocks.push(Block::Heading(2, "Bits a byte by text".into()));
        blocks.push(Block::Table(table));
        if let Some(said) = conditions::containers(lines) {
            blocks.push(Block::Paragraph(said));
        }
    }
    for name in names {
        let is_of_text = |line: &&Line| line.input.name == name && line.measures().is_some();
        let of_text: Vec<&Line> = plain.iter().copied().filter(is_of_text).collect();
        let has_ours = of_text.iter().any(|line| line.method.finezip().is_some());
        if of_text.len() < OWN_SECTION || !has_ours {
            continue;
        }
        let bytes = of_text.first().map_or(0, |line| line.input.bytes);
        blocks.push(Block::Heading(2, format!("{name} ({})", bytes_short(bytes))));
        let picture_name = format!("{prefix}speed-{}", file_name(name));
        let picture = pictures::size_and_speed(picture_name, name, &of_text);
        blocks.extend(picture.map(Block::Picture));
        blocks.push(Block::Table(tables::of_text(&of_text)));
    }
}

/// A name that every file system takes.
fn file_name(name: &str) -> String {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::run::config::{Finezip, Method};
    use crate::run::results::{Measures, Outcome, Tool};

    /// A cell that went well.
    pub(crate) fn line(method: Method, text: &str, archive_bytes: u64) -> Line {
        let measures = Measures { archive_bytes, repeats: 1, ..Measures::default() };
        Line {
            key: format!("{method:?} {text}"),
            method,
            input: Text { name: text.into(), file: text.into(), bytes: 1000, sha256: text.into() },
            tool: Tool { name: "t".into(), version: None, sha256: "0123456789abcdef0".into() },
            machine: Machine::default(),
            weights: std::collections::BTreeMap::new(),
            floor_bytes: None,
            unix_time: 1,
            outcome: Outcome::Done(Box::new(measures)),
            derived: None,
        }
    }

    #[test]
    fn the_latest_of_a_cell_counts() {
        let peer = || Method::Peer { name: "zlib-9".into() };
        let mut newer = line(peer(), "a", 5);
        newer.unix_time = 2;
        newer.key = "other binary".into();
        let kept = latest(vec![newer.clone(), line(peer(), "a", 7), line(peer(), "b", 7)]);
        assert_eq!(kept, [newer, line(peer(), "b", 7)]);
    }

    #[test]
    fn texts_of_one_name_do_not_mix() {
        let peer = |name: &str| Method::Peer { name: name.into() };
        let mut short = line(peer("zlib-9"), "a", 5);
        let mut missing = line(peer("xz-9e"), "a", 5);
        (missing.input.sha256, missing.unix_time) = (String::new(), 9);
        let mut long = line(peer("zstd-19"), "a", 50);
        (long.input.sha256, long.unix_time) = ("longer".into(), 2);
        let lines = [short.clone(), missing, long.clone()];
        assert_eq!(latest(lines.to_vec()), [long.clone()]);
        // Under the names that the grid has now.
        let names = ["b", "c"].map(|name| Text { name: name.into(), ..short.input.clone() });
        let keys = HashMap::from([(short.key.clone(), names.to_vec())]);
        let found = of_keys(lines.to_vec(), &keys);
        short.input.name = "c".into();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], short);
    }

    #[test]
    fn a_text_beside_peers_has_a_table_with_times() {
        let peer = |name: &str, text| line(Method::Peer { name: name.into() }, text, 5);
        let ours = |text| {
            line(Method::Finezip(Finezip { model: "none".into(), ..Finezip::default() }), text, 4)
        };
        let lines = [
            peer("zlib-9", "peers alone"),
            peer("xz-9e", "peers alone"),
            peer("zstd-19", "peers alone"),
            peer("zlib-9", "ours too"),
            peer("xz-9e", "ours too"),
            ours("ours too"),
            peer("zlib-9", "two"),
            ours("two"),
        ];
        let mut blocks = Vec::new();
        texts(&mut blocks, &lines.iter().collect::<Vec<_>>(), "");
        let headings: Vec<&str> = blocks
            .iter()
            .filter_map(|block| match block {
                Block::Heading(_, text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(headings, ["Bits a byte by text", "ours too (1 KB)"]);
    }

    #[test]
    fn what_is_no_report_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (results, markdown) = (folder.path().join("results"), folder.path().join("all.md"));
        let targets = TargetArguments { markdown: Some(markdown.clone()), html: None, plots: None };
        let write = || write(std::slice::from_ref(&results), None, &targets);
        fs::write(&results, "").unwrap();
        fs::write(&markdown, "kept").unwrap();
        let said = write().unwrap_err().to_string();
        assert!(said.contains("no cells"), "{said}");
        assert_eq!(fs::read(&markdown).unwrap(), b"kept");
        // Of a file that is no text nobody knows what may go.
        let cell = line(Method::Peer { name: "zlib-9".into() }, "a", 5);
        fs::write(&results, serde_json::to_vec(&cell).unwrap()).unwrap();
        fs::write(&markdown, b"\xff").unwrap();
        assert!(write().is_err());
        assert_eq!(fs::read(&markdown).unwrap(), b"\xff");
        fs::remove_file(&markdown).unwrap();
        write().unwrap();
        assert!(fs::read_to_string(&markdown).unwrap().contains("How it was measured"));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), 3, "results, report and plots");
    }

    #[test]
    fn plots_are_named_from_where_the_markdown_lies() {
        let relative =
            |folder: &str, file: &str| relative(Path::new(folder), Path::new(file)).unwrap();
        assert_eq!(relative("docs/plots", "docs/results.md"), "plots");
        assert_eq!(relative("docs/plots", "./docs/results.md"), "plots");
        assert_eq!(relative("plots", "results.md"), "plots");
        assert_eq!(relative("plots", "docs/results.md"), "../plots");
        assert_eq!(relative("docs", "docs/results.md"), ".");
        assert_eq!(relative("/a/b c", "/a/d/results.md"), "../b c");
    }
}
