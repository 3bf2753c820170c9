//! Arguments drawn at random from what the program's own help lists: whatever they are, it ends
//! with a documented code, says why if it did nothing, leaves nothing unfinished, and what it made
//! comes back.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use finezip_torture::random::Random;

use crate::processes::{Binaries, Folder};

/// The commands that work on files.
const COMMANDS: [&str; 5] = ["compress", "decompress", "test", "list", "cat"];

/// The longest that a run may take: everything it works on is small.
const MOST_TIME: Duration = Duration::from_secs(120);

/// The codes of docs/cli.md, without that of an interrupt.
const CODES: [i32; 5] = [0, 1, 2, 3, 4];

/// Values for options that name none: numbers in and out of bounds, names of what is there and is
/// not, parts of the languages of `--range` and `--mixer`.
const VALUES: [&str; 44] = [
    "",
    "-",
    "0",
    "1",
    "2",
    "3",
    "7",
    "33",
    "64",
    "512",
    "4096",
    "65536",
    "1K",
    "1M",
    "2G",
    "9999999999G",
    "-1",
    "1.5",
    "1e3",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "0x10",
    "none",
    "nul",
    "lines",
    "..",
    "3..",
    "..9",
    "2..5",
    "9..2",
    "0..99999999999",
    "contexts=0",
    "matches=0,refinements=0",
    "contexts=65535,weight_sets=6",
    "weight_sets=0",
    "table_bits=99",
    "=,=",
    "caf\u{e9}",
    "\u{1F600}",
    "text",
    "llama.gguf",
    "missing",
    "folder",
];

/// What stands in the folder before each run.
struct Stage {
    files: BTreeMap<&'static str, Vec<u8>>,
}

/// An option as the help shows it.
#[derive(Debug, PartialEq)]
struct Flag {
    names: Vec<String>,
    value: Value,
    choices: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Value {
    None,
    Separate,
    /// With `=` and nothing else, or not at all.
    Attached,
}

/// Makes `count` runs, each of whose arguments follow from `seed` and its number.
pub(crate) fn run(count: u64, seed: u64) -> Result<()> {
    let binaries = Binaries::find()?;
    let folder = Folder::new()?;
    let mut flags = BTreeMap::new();
    for command in COMMANDS {
        let ran = binaries.cli(&folder).args([command, "--help"]).output()?;
        flags.insert(command, read_help(&String::from_utf8_lossy(&ran.stdout)));
        ensure!(flags[command].len() > 1, "{command} --help lists no options");
    }
    let stage = Stage::new(&binaries, &folder)?;
    let (mut codes, mut came_back) = (BTreeMap::<i32, u64>::new(), 0);
    for number in 0..count {
        let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(number));
        let command = *random.one_of(&COMMANDS);
        let arguments = draw(&mut random, command, &flags[command]);
        let (code, back) = one(&binaries, &folder, &stage, &arguments)
            .with_context(|| format!("run {number}: finezip-cli {}", quoted(&arguments)))?;
        *codes.entry(code).or_default() += 1;
        came_back += back;
    }
    let codes: Vec<String> =
        codes.iter().map(|(code, runs)| format!("code {code}: {runs}")).collect();
    println!(
        "{count} runs with arguments drawn at random ({}), {came_back} archives came back",
        codes.join(", ")
    );
    Ok(())
}

/// The options that a help text lists.
fn read_help(help: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut in_choices = false;
    for line in help.lines().map(str::trim) {
        if line.starts_with('-') && !line.starts_with("- ") {
            // The names end where the text begins, two spaces on.
            let usage = line.split("  ").next().unwrap_or(line);
            let is_name = |part: &&str| part.starts_with('-');
            let names = usage.split([' ', ',', '[', '=']).filter(is_name).map(str::to_owned);
            let value = match usage {
                usage if usage.contains("[=") => Value::Attached,
                usage if usage.contains('<') => Value::Separate,
                _ => Value::None,
            };
            flags.push(Flag { names: names.collect(), value, choices: Vec::new() });
            in_choices = false;
        } else if line == "Possible values:" {
            in_choices = true;
        } else if let (true, Some(flag)) = (in_choices, flags.last_mut())
            && let Some(choice) = line.strip_prefix("- ")
        {
            flag.choices.extend(choice.split(':').next().map(str::to_owned));
        }
    }
    flags
}

/// A command with a few options and files.
fn draw(random: &mut Random, command: &str, flags: &[Flag]) -> Vec<String> {
    let mut arguments = vec![command.to_owned()];
    if command == "compress" {
        // Nothing is fetched, and most runs have something that they can do.
        let model = match random.below(8) {
            0..=3 => "llama.gguf",
            4 | 5 => "none",
            _ => random.one_of(&VALUES),
        };
        arguments.extend(["--offline".into(), "--model".into(), model.to_owned()]);
    } else if command != "list" && random.one_in(2) {
        arguments.extend(["--model".into(), "llama.gguf".into()]);
    }
    for _ in 0..random.below(6) {
        let flag = random.one_of(flags);
        let name = random.one_of(&flag.names).clone();
        if flag.value == Value::None || (flag.value == Value::Attached && random.one_in(2)) {
            arguments.push(name);
            continue;
        }
        // As many steps as are asked for are made.
        let value = if name.contains("steps") {
            random.below(3).to_string()
        } else if !flag.choices.is_empty() && !random.one_in(8) {
            random.one_of(&flag.choices).clone()
        } else {
            (*random.one_of(&VALUES)).to_owned()
        };
        if flag.value == Value::Attached || (name.starts_with("--") && random.one_in(2)) {
            arguments.push(format!("{name}={value}"));
        } else {
            arguments.extend([name, value]);
        }
    }
    const INPUTS: [&str; 10] = [
        "text",
        "text",
        "noise",
        "empty",
        "archive.fz",
        "other.fz",
        "message.fz",
        "missing",
        "folder",
        "-",
    ];
    for _ in 0..random.below(3) {
        arguments.push((*random.one_of(&INPUTS)).to_owned());
    }
    arguments
}

impl Stage {
    fn new(binaries: &Binaries, folder: &Folder) -> Result<Self> {
        let mut files = BTreeMap::new();
        let text = "A line of text, and another one.\nThe third is the last: 3 of 3.\n";
        files.insert("text", text.repeat(3).into_bytes());
        files.insert("noise", Random::new(5).bytes(200));
        files.insert("empty", Vec::new());
        files.insert("llama.gguf", crate::soak::llama()?);
        for (name, bytes) in &files {
            folder.write(name, bytes)?;
        }
        let archives: [(&str, &[&str]); 3] = [
            ("archive.fz", &["--coder", "ac", "--frame-size", "64"]),
            ("other.fz", &["--coder", "rank"]),
            ("message.fz", &["--compact"]),
        ];
        for (name, options) in archives {
            let model = ["compress", "-q", "-f", "--model", "llama.gguf", "-o", name];
            let ran = binaries.cli(folder).args(model).args(options).arg("text").output()?;
            ensure!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
            files.insert(name, folder.read(name)?);
        }
        Ok(Self { files })
    }

    /// Puts everything back, and removes what does not belong there.
    fn set(&self, folder: &Folder) -> Result<()> {
        for name in folder.names()? {
            let path = folder.file(&name);
            if !self.files.contains_key(name.as_str()) {
                let removed =
                    if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.with_context(|| name.clone())?;
            }
        }
        for (name, bytes) in &self.files {
            if fs::read(folder.file(name)).ok().as_ref() != Some(bytes) {
                folder.write(name, bytes)?;
            }
        }
        fs::create_dir(folder.file("folder"))?;
        Ok(())
    }
}

/// One run, held against everything that holds of every run; gives its code, and how many
/// archives it made.
fn one(
    binaries: &Binaries,
    folder: &Folder,
    stage: &Stage,
    arguments: &[String],
) -> Result<(i32, u64)> {
    stage.set(folder)?;
    let ran = ended(binaries.cli(folder).args(arguments))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    let Some(code) = ran.status.code().filter(|code| CODES.contains(code)) else {
        bail!("ended with {}: {said}", ran.status);
    };
    ensure!(!said.contains("panicked"), "panicked: {said}");
    if code != 0 {
        ensure!(!said.trim().is_empty(), "code {code} without a word");
    }
    let names = folder.names()?;
    if let Some(name) = names.iter().find(|name| name.contains(".partial")) {
        bail!("{name} was left with code {code}: {said}");
    }
    // What it wrote under a new name, or over an old one.
    let mut made = 0;
    for name in &names {
        let path = folder.file(name);
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(&path)?;
        if stage.files.get(name.as_str()) == Some(&bytes) {
            continue;
        }
        ensure!(arguments[0] != "test" && arguments[0] != "list", "{name} was written");
        if arguments[0] == "compress" && is_archive(&bytes) && !asks(arguments, "--write-profile") {
            comes_back(binaries, folder, stage, name, arguments)?;
            made += 1;
        }
    }
    Ok((code, made))
}

fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(&finezip_core::archive::MAGIC)
}

fn asks(arguments: &[String], name: &str) -> bool {
    arguments.iter().any(|argument| argument.split('=').next() == Some(name))
}

/// Decompresses an archive and holds it against the inputs.
fn comes_back(
    binaries: &Binaries,
    folder: &Folder,
    stage: &Stage,
    name: &str,
    arguments: &[String],
) -> Result<()> {
    let mut command = binaries.cli(folder);
    command.args(["decompress", "-q", "-c"]);
    if !arguments.iter().any(|argument| argument == "none") {
        folder.write("model.gguf", &stage.files["llama.gguf"])?;
        command.args(["--model", "model.gguf"]);
    }
    let ran = ended(command.arg(name))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{name}: {}: {said}", ran.status);
    let is_input = ran.stdout.is_empty() || stage.files.values().any(|text| *text == ran.stdout);
    ensure!(is_input, "{name} holds other bytes than any input");
    Ok(())
}

/// Runs a command, for [`MOST_TIME`] at most.
fn ended(command: &mut Command) -> Result<Output> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let begun = Instant::now();
    // Neither pipe holds more than fits: everything here is small.
    while child.try_wait()?.is_none() {
        if begun.elapsed() > MOST_TIME {
            child.kill()?;
            child.wait()?;
            bail!("still running after {} s", MOST_TIME.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(child.wait_with_output()?)
}

fn quoted(arguments: &[String]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_read_as_it_is_written() {
        let help = "Files:\n  -o, --output <FILE>\n          Write to it\n\n  -9\n          Level 9\n\n      \
            --embed[=<P>]\n          Text - with - dashes\n\n          Possible values:\n          - int4: small\n          \
            - f16:  large\n\n      --rm             Remove it\n";
        let flag = |names: &[&str], value, choices: &[&str]| Flag {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            value,
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
        };
        assert_eq!(
            read_help(help),
            [
                flag(&["-o", "--output"], Value::Separate, &[]),
                flag(&["-9"], Value::None, &[]),
                flag(&["--embed"], Value::Attached, &["int4", "f16"]),
                flag(&["--rm"], Value::None, &[]),
            ]
        );
    }
}
