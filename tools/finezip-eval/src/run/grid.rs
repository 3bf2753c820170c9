//! A grid: a TOML file whose lists multiply into cells.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::config::{CommandLines, Finezip, Method};
use super::peers;
use crate::text::{grouped, hex};

/// The grids that are built in, by name.
const BUILT_IN: [(&str, &str); 4] = [
    ("small", include_str!("../../grids/small.toml")),
    ("whole", include_str!("../../grids/whole.toml")),
    ("medium", include_str!("../../grids/medium.toml")),
    ("large", include_str!("../../grids/large.toml")),
];

/// Programs of the PATH that are known without a grid's saying so.
const COMMANDS: &str = include_str!("../../grids/commands.toml");

/// The names of the programs of the PATH that are known.
pub(crate) fn known_commands() -> Vec<String> {
    // A test reads it, so that there is no failure to tell of.
    let known: BTreeMap<String, CommandLines> = toml::from_str(COMMANDS).unwrap_or_default();
    known.into_keys().collect()
}

/// A grid as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grid {
    /// Runs of each cell; the median counts.
    #[serde(default = "one")]
    pub(crate) repeats: usize,
    /// The longest that one process may take.
    #[serde(default = "an_hour")]
    pub(crate) timeout_seconds: u64,
    /// Inputs by name.
    pub(crate) inputs: BTreeMap<String, Input>,
    /// Programs of the PATH by name, beside those known.
    #[serde(default)]
    commands: BTreeMap<String, CommandLines>,
    /// Peers.
    #[serde(default)]
    peers: Vec<PeerBlock>,
    /// Configurations of finezip-cli.
    #[serde(default)]
    finezip: Vec<FinezipBlock>,
    /// Adapters by name, each made when the first cell is reached that uses it.
    #[serde(default)]
    pub(crate) adapters: BTreeMap<String, Training>,
}

/// An adapter that finezip-finetune makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    /// The model it is for.
    pub(crate) model: String,
    /// The input that is learned from.
    pub(crate) input: String,
    /// The input that says which step's adapter is the best: not what is measured in the end.
    pub(crate) held_out: String,
    /// Steps to make.
    pub(crate) steps: u64,
    /// More options of finezip-finetune, as they are.
    #[serde(default)]
    pub(crate) options: Vec<String>,
}

impl Training {
    /// The inputs it reads.
    pub(crate) fn inputs(&self) -> [&String; 2] {
        [&self.input, &self.held_out]
    }
}

fn one() -> usize {
    1
}

fn an_hour() -> u64 {
    3600
}

/// A text to compress.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The file, in one of the data folders.
    #[serde(default)]
    pub(crate) file: String,
    /// Or several files, joined.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Without so many bytes of each file at its start.
    #[serde(default)]
    pub(crate) skip: u64,
    /// Of each file only so many bytes, from there on.
    #[serde(default)]
    pub(crate) bytes_each: Option<u64>,
    /// Only so many bytes from the start of all.
    #[serde(default)]
    pub(crate) bytes: Option<u64>,
    /// The SHA-256 of the whole file, if it must be a certain one.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
}

impl Input {
    /// The files it is made of.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        let one = (!self.file.is_empty()).then_some(self.file.as_str());
        one.into_iter().chain(self.files.iter().map(String::as_str))
    }

    /// What it is the start of, in a few words: inputs of one source differ in length alone.
    pub(crate) fn source(&self) -> String {
        let mut source = match self.files.split_first() {
            None => self.file.clone(),
            Some((first, [])) => first.clone(),
            Some((first, rest)) => {
                // Which ones, as their hash tells.
                let hash = hex(&Sha256::digest(rest.join("\n")));
                let (start, _) = hash.split_at(4);
                format!("{first} and {} more ({start})", rest.len())
            }
        };
        // Of one file, a length is a length; of several, it decides what they are a mixture of.
        if let Some(bytes) = self.bytes_each.filter(|_| self.files.len() > 1) {
            source.push_str(&format!(", {} bytes of each", grouped(bytes)));
        }
        if self.skip > 0 {
            source.push_str(&format!(", from byte {}", grouped(self.skip)));
        }
        source
    }
}

/// Every method with every input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerBlock {
    inputs: Vec<String>,
    methods: Vec<String>,
}

/// Every combination of what the lists hold. A list that is not there leaves the choice to
/// finezip-cli; 0 in a list of numbers and "" in one of names do so too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinezipBlock {
    inputs: Vec<String>,
    models: Vec<String>,
    #[serde(default)]
    adapters: Vec<String>,
    #[serde(default)]
    engines: Vec<String>,
    #[serde(default)]
    precisions: Vec<String>,
    #[serde(default)]
    coders: Vec<String>,
    #[serde(default)]
    schedules: Vec<String>,
    #[serde(default)]
    contexts: Vec<u64>,
    #[serde(default)]
    batches: Vec<u64>,
    #[serde(default)]
    frame_bytes: Vec<u64>,
    #[serde(default)]
    threads: Vec<u64>,
    #[serde(default)]
    options: Vec<Vec<String>>,
    /// Whether ideal code length and ranks are measured too.
    #[serde(default)]
    ideal: bool,
}

/// One cell before its input is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    /// The input's name.
    pub(crate) input: String,
    /// What compresses it.
    pub(crate) method: Method,
}

impl Cell {
    /// In a few words, for people and `--only`.
    pub(crate) fn describe(&self) -> String {
        format!("{}: {}", self.input, self.method.label())
    }
}

impl Grid {
    /// The grid of a name that is built in, or of a file.
    pub(crate) fn open(name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).with_context(|| format!("the grid {name}"));
        }
        let text = fs::read_to_string(name).with_context(|| {
            let known = BUILT_IN.map(|(name, _)| name).join(", ");
            format!("{name}: not a grid that is built in ({known}), nor a file to read")
        })?;
        Self::parse(&text).with_context(|| name.to_owned())
    }

    /// Reads TOML, and checks that all names mean something.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut grid: Self = toml::from_str(text)?;
        let known: BTreeMap<String, CommandLines> = toml::from_str(COMMANDS)?;
        for (name, lines) in known {
            grid.commands.entry(name).or_insert(lines);
        }
        ensure!(grid.repeats > 0, "repeats is at least 1, 0 was given");
        for block in &grid.finezip {
            let named = !block.models.is_empty() && block.models.iter().all(|it| !it.is_empty());
            ensure!(
                named,
                "models names the models, \"none\" among them: it has none, or one \"\""
            );
        }
        for (name, input) in &grid.inputs {
            ensure!(
                input.file.is_empty() != input.files.is_empty(),
                "the input {name} has either a file or files"
            );
            ensure!(
                input.sha256.is_none() || input.files.is_empty(),
                "the input {name}: sha256 is for one file"
            );
        }
        for block in &grid.peers {
            for method in &block.methods {
                grid.peer(method)?;
            }
        }
        let used = grid.peers.iter().flat_map(|block| &block.inputs);
        let used = used.chain(grid.finezip.iter().flat_map(|block| &block.inputs));
        for name in used.chain(grid.adapters.values().flat_map(Training::inputs)) {
            ensure!(grid.inputs.contains_key(name), "the input {name} is not in [inputs]");
        }
        Ok(grid)
    }

    fn peer(&self, name: &str) -> Result<Method> {
        let name = name.to_owned();
        if peers::is_known(&name) {
            return Ok(Method::Peer { name });
        }
        match self.commands.get(&name) {
            Some(lines) => Ok(Method::Command { name, lines: lines.clone() }),
            None => bail!(
                "{name} is neither linked in ({}) nor a command ({})",
                peers::names().join(", "),
                self.commands.keys().cloned().collect::<Vec<_>>().join(", "),
            ),
        }
    }

    /// All cells, each once, in the order of the file.
    pub(crate) fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |input: &String, method: Method| {
            let cell = Cell { input: input.clone(), method };
            if seen.insert(cell.clone()) {
                cells.push(cell);
            }
        };
        for block in &self.peers {
            for input in &block.inputs {
                for method in &block.methods {
                    add(input, self.peer(method)?);
                }
            }
        }
        for block in &self.finezip {
            for input in &block.inputs {
                for finezip in block.configurations() {
                    if block.ideal && finezip.has_model() {
                        add(input, Method::Ideal(finezip.distributions()));
                    }
                    add(input, Method::Finezip(finezip));
                }
            }
        }
        Ok(cells)
    }

    /// The files of all inputs.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        self.inputs.values().flat_map(Input::parts).map(str::to_owned).collect()
    }
}

impl FinezipBlock {
    fn configurations(&self) -> Vec<Finezip> {
        let mut all = vec![Finezip::default()];
        multiply(&mut all, &self.models, |cell, model| cell.model = model.clone());
        multiply(&mut all, &self.adapters, |cell, name| cell.adapter = given(name));
        multiply(&mut all, &self.engines, |cell, name| cell.engine = given(name));
        multiply(&mut all, &self.precisions, |cell, name| cell.precision = given(name));
        multiply(&mut all, &self.schedules, |cell, name| cell.schedule = given(name));
        multiply(&mut all, &self.contexts, |cell, &number| cell.context = positive(number));
        multiply(&mut all, &self.batches, |cell, &number| cell.batch = positive(number));
        multiply(&mut all, &self.frame_bytes, |cell, &number| cell.frame_bytes = positive(number));
        multiply(&mut all, &self.threads, |cell, &number| cell.threads = positive(number));
        multiply(&mut all, &self.options, |cell, options| cell.options = options.clone());
        multiply(&mut all, &self.coders, |cell, name| cell.coder = given(name));
        for cell in &mut all {
            if !cell.has_model() {
                // What belongs to a language model has no meaning without one.
                *cell = Finezip {
                    model: cell.model.clone(),
                    frame_bytes: cell.frame_bytes,
                    threads: cell.threads,
                    options: cell.options.clone(),
                    ..Finezip::default()
                };
            } else if cell.engine.as_deref() == Some("candle") {
                cell.precision = None;
            }
        }
        all
    }
}

/// Replaces each cell by one for each value; without values all stay.
fn multiply<T>(cells: &mut Vec<Finezip>, values: &[T], set: impl Fn(&mut Finezip, &T)) {
    if values.is_empty() {
        return;
    }
    let all = cells.iter().flat_map(|cell| {
        values.iter().map(|value| {
            let mut cell = cell.clone();
            set(&mut cell, value);
            cell
        })
    });
    *cells = all.collect();
}

fn given(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn positive(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: &str = r#"
        [inputs]
        a = { file = "a.txt" }
        b = { file = "a.txt", bytes = 10 }
        [commands.cat]
        programs = ["cat"]
        compress = { arguments = [], stdin = true, stdout = true }
        decompress = { arguments = ["{archive}"], stdout = true }
        [[peers]]
        inputs = ["a"]
        methods = ["zstd-19", "cat"]
        [[finezip]]
        inputs = ["a", "b"]
        models = ["m", "none"]
        coders = ["ac", ""]
        contexts = [0, 64]
        engines = ["exact", "candle"]
        precisions = ["int8", "f32"]
        ideal = true
    "#;

    #[test]
    fn lists_multiply_and_repetitions_fall_together() {
        let cells = Grid::parse(GRID).unwrap().cells().unwrap();
        let of = |input: &str| cells.iter().filter(|cell| cell.input == input).count();
        // Ideal: exact in two precisions and candle, in two contexts; each of these with two
        // coders; `none` once.
        assert_eq!(of("b"), 6 + 6 * 2 + 1);
        assert_eq!(of("a"), of("b") + 2);
        let ideal = cells.iter().filter(|cell| matches!(cell.method, Method::Ideal(_))).count();
        assert_eq!(ideal, 12);
        let distinct: HashSet<_> = cells.iter().collect();
        assert_eq!(distinct.len(), cells.len());
        assert!(matches!(&cells[1].method, Method::Command { name, .. } if name == "cat"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, said) in [
            (GRID.replace("zstd-19", "zstd-99"), "zstd-99 is neither"),
            (GRID.replace("inputs = [\"a\"]", "inputs = [\"c\"]"), "the input c is not"),
            (GRID.replace("contexts", "contests"), "unknown field"),
            (format!("repeats = 0\n{GRID}"), "at least 1"),
            (GRID.replace("file = \"a.txt\", ", ""), "either a file or files"),
            (GRID.replace("bytes = 10", "files = [\"b\"]"), "either a file or files"),
            (GRID.replace("[\"m\", \"none\"]", "[\"m\", \"\"]"), "models names"),
            (GRID.replace("[\"m\", \"none\"]", "[]"), "models names"),
        ] {
            let error = format!("{:#}", Grid::parse(&text).unwrap_err());
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn sources_are_one_where_only_the_length_differs() {
        let one = |skip, bytes| Input { file: "a".into(), skip, bytes, ..Input::default() };
        assert_eq!(one(0, Some(10)).source(), one(0, None).source());
        assert_ne!(one(5, None).source(), one(0, None).source());
        let files = vec!["a".to_owned(), "b".to_owned()];
        let joined = Input { files, ..Input::default() };
        let starts = Input { bytes_each: Some(14_000), ..joined.clone() };
        assert_eq!(joined.source(), "a and 1 more (3e23)");
        assert_eq!(starts.source(), "a and 1 more (3e23), 14,000 bytes of each");
        let other = Input { files: vec!["a".to_owned(), "c".to_owned()], ..joined.clone() };
        assert_ne!(other.source(), joined.source());
        assert_ne!(one(100_000, None).source(), one(100_040, None).source());
    }

    #[test]
    fn programs_of_the_path_are_known() {
        assert!(known_commands().contains(&"zpaq-m5".to_owned()));
    }

    #[test]
    fn the_built_in_grids_are_whole() {
        for (name, _) in BUILT_IN {
            let grid = Grid::open(name).unwrap();
            let cells = grid.cells().unwrap();
            assert!(cells.len() > 20, "{name}");
            assert!(cells.iter().any(|cell| cell.method.model().is_some()), "{name}");
        }
        assert!(Grid::open("no such file").is_err());
    }
}
