//! Round trips with everything drawn at random, for as long as there is time: text, size,
//! options, the way in and the way out. A number stands for each trip and brings it back.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, GgmlType};
use finezip_torture::random::Random;

use crate::processes::{Binaries, Folder};
use crate::texts;

/// The longest text.
const MOST_BYTES: usize = 5 << 20;

/// With a model or a frame size that is slow, texts stay so short that trips stay many.
const MOST_SLOW_BYTES: usize = 200 << 10;

/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(60);

/// Goes on for `time`, from trip `first` on, never more than `trips`.
pub(crate) fn run(time: Duration, first: u64, trips: Option<u64>) -> Result<()> {
    let binaries = Binaries::find()?;
    let folder = Folder::new()?;
    for (name, model) in models() {
        folder.write(name, &model.to_gguf()?)?;
    }
    let begun = Instant::now();
    let (mut made, mut bytes, mut told) = (0, 0, begun);
    while begun.elapsed() < time && trips.is_none_or(|trips| made < trips) {
        let number = first + made;
        let length = trip(&binaries, &folder, number).with_context(|| {
            format!("trip {number}: `finezip-torture soak --first {number} --trips 1`")
        })?;
        (made, bytes) = (made + 1, bytes + length);
        if told.elapsed() >= TELL {
            println!("{made} round trips, {bytes} bytes, {:.0} s", begun.elapsed().as_secs_f64());
            told = Instant::now();
        }
    }
    println!(
        "{made} round trips of {bytes} bytes in {:.0} s, from {first} on: all came back",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn models() -> [(&'static str, SeededModel); 3] {
    let small = |architecture, weight_type| SeededModel {
        architecture,
        weight_type,
        hidden_size: 32,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        feed_forward: 32,
        ..SeededModel::default()
    };
    [
        ("llama.gguf", small(Architecture::Llama, GgmlType::F32)),
        ("gemma.gguf", small(Architecture::Gemma3, GgmlType::Q8_0)),
        ("qwen.gguf", small(Architecture::Qwen3, GgmlType::F16)),
    ]
}

/// The first of them, as a file.
pub(crate) fn llama() -> Result<Vec<u8>> {
    let [(_, model), ..] = models();
    Ok(model.to_gguf()?)
}

/// Compresses and decompresses, each by a way drawn at random; gives the text's length.
fn trip(binaries: &Binaries, folder: &Folder, number: u64) -> Result<usize> {
    let mut random = Random::new(number);
    let mut options = Vec::new();
    let (model, most) = draw_options(&mut random, &mut options);
    let length = random.magnitude(most);
    let text = texts::text(&mut random, length);
    let archive = compress(binaries, folder, &mut random, &text, &options)
        .with_context(|| format!("{length} bytes, {}", options.join(" ")))?;
    let mut reading = vec!["--threads".to_owned(), (1 + random.below(3)).to_string()];
    if let Some(model) = model {
        reading.extend(["--model".to_owned(), model.to_owned()]);
    }
    read_back(binaries, folder, &mut random, &archive, &text, &reading)
        .with_context(|| format!("{length} bytes, {}", options.join(" ")))?;
    Ok(length)
}

/// Draws how the text is coded; gives the model and the most bytes of text.
fn draw_options(random: &mut Random, options: &mut Vec<String>) -> (Option<&'static str>, usize) {
    let mut add = |parts: &[&str]| options.extend(parts.iter().map(|part| (*part).to_owned()));
    let mut most = MOST_BYTES;
    if random.one_in(2) {
        let bytes = 1 + random.magnitude(1 << 20);
        most = most.min(bytes.saturating_mul(300));
        add(&["--frame-size", &bytes.to_string()]);
    }
    add(&["--threads", &(1 + random.below(3)).to_string()]);
    if random.one_in(4) {
        add(&["--verify"]);
        most /= 2;
    }
    if random.one_in(3) {
        add(&["--model", "none"]);
        return (None, most);
    }
    let (model, _) = models()[random.below(3)];
    add(&["--model", model]);
    let mut schedules = vec!["rolling", "chunk-reset", "fixed-window"];
    match random.below(5) {
        0 => {
            add(&["--engine", "candle"]);
            schedules.remove(0);
            most = most.min(MOST_SLOW_BYTES / 8);
        }
        precision @ 1..=3 => add(&["--precision", ["int8", "int4", "f32"][precision - 1]]),
        _ => {}
    }
    match random.below(4) {
        0 => {
            let backend = *random.one_of(&["zlib", "zstd", "brotli", "bzip2"]);
            add(&["--coder", "rank", "--rank-backend", backend]);
        }
        1 => add(&["--coder", "ac"]),
        2 => add(&[&format!("-{}", 1 + random.below(9))]),
        _ => {
            let contexts = random.below(1 << 16);
            let (matches, sets, refinements) =
                (random.below(3), 1 + random.below(6), random.below(4));
            let bits = 12 + random.below(8);
            add(&[
                "--mixer",
                &format!(
                    "contexts={contexts},matches={matches},weight_sets={sets},refinements={refinements},table_bits={bits}"
                ),
            ]);
        }
    }
    if random.one_in(2) {
        let schedule = *random.one_of(&schedules);
        if schedule == "fixed-window" {
            most = most.min(2 << 10);
        }
        add(&["--schedule", schedule]);
    }
    if random.one_in(2) {
        add(&["--context", &(2 + random.magnitude(500)).to_string()]);
    }
    if random.one_in(2) {
        add(&["--batch", &(1 + random.magnitude(40)).to_string()]);
    }
    (Some(model), most.min(MOST_SLOW_BYTES))
}

fn compress(
    binaries: &Binaries,
    folder: &Folder,
    random: &mut Random,
    text: &[u8],
    options: &[String],
) -> Result<Vec<u8>> {
    let mut command = binaries.cli(folder);
    command.arg("compress").args(options).arg("-q");
    if random.one_in(2) {
        let ran = fed(command.arg("-c"), text)?;
        expect_done(&ran)?;
        return Ok(ran.stdout);
    }
    folder.write("text", text)?;
    expect_done(&command.args(["-f", "text"]).output()?)?;
    folder.read("text.fz")
}

fn read_back(
    binaries: &Binaries,
    folder: &Folder,
    random: &mut Random,
    archive: &[u8],
    text: &[u8],
    reading: &[String],
) -> Result<()> {
    folder.write("archive.fz", archive)?;
    let mut command = binaries.cli(folder);
    match random.below(5) {
        0 => {
            let ran = fed(command.args(["decompress", "-q"]).args(reading), archive)?;
            expect_done(&ran)?;
            ensure!(ran.stdout == text, "other bytes from stdin");
        }
        1 => {
            let from = random.below(text.len() + 1);
            let to = (from + random.magnitude(text.len())).min(text.len());
            let range = format!("{from}..{to}");
            let ran = command
                .args(["cat", "--range", &range])
                .args(reading)
                .arg("archive.fz")
                .output()?;
            expect_done(&ran)?;
            ensure!(ran.stdout == text[from..to], "other bytes in {range}");
        }
        way => {
            let recover = if way == 2 { &["--recover"][..] } else { &[] };
            command.args(["decompress", "-q", "-f"]).args(recover).args(reading);
            expect_done(&command.args(["-o", "back", "archive.fz"]).output()?)?;
            ensure!(folder.read("back")? == text, "other bytes in a file");
        }
    }
    Ok(())
}

/// Runs a command with bytes on stdin.
fn fed(command: &mut Command, bytes: &[u8]) -> Result<Output> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipe = child.stdin.take();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || pipe.map_or(Ok(()), |mut pipe| pipe.write_all(bytes)));
        let output = child.wait_with_output()?;
        // A program that failed need not have read it all; its code tells.
        let _ = writer.join();
        Ok(output)
    })
}

fn expect_done(ran: &Output) -> Result<()> {
    ensure!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    Ok(())
}
