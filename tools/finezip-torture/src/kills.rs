//! Programs killed without warning at any moment of their work: what they were to leave is whole
//! or not there, and the next run does its work and clears away what the killed one left.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use finezip_models::seeded::SeededModel;
use finezip_torture::random::Random;

use crate::hub::{Hub, MODEL_NAME};
use crate::processes::{Binaries, Folder};
use crate::texts;

/// Looks at a folder, or makes it ready.
type Check<'a> = Box<dyn Fn(&Folder) -> Result<()> + 'a>;

/// What is killed.
struct Work<'a> {
    name: &'static str,
    /// The share of all kills, in tenths.
    tenths: u64,
    run: Box<dyn Fn(&Folder) -> Command + 'a>,
    /// Makes the folder as it is before the work.
    prepare: Check<'a>,
    /// Holds that what is there right after a kill is whole or not there at all.
    killed: Check<'a>,
    /// Holds that the work is done and nothing else is left.
    done: Check<'a>,
}

/// Kills `count` runs in all, some of each kind of work.
pub(crate) fn run(count: u64, seed: u64) -> Result<()> {
    let binaries = Binaries::find()?;
    let mut random = Random::new(seed);
    let text = texts::text(&mut Random::new(7), 60_000);
    let hub = Hub::start(SeededModel { layers: 24, ..SeededModel::default() }.to_gguf()?);
    let works = [
        compressing(&binaries, &text),
        replacing(&binaries, &text),
        decompressing(&binaries, &text)?,
        fine_tuning(&binaries)?,
        fetching(&binaries, &hub),
    ];
    let (mut all, mut landed) = (0, 0);
    for work in &works {
        let (tried, killed) = torment(work, (count * work.tenths).div_ceil(10), &mut random)
            .with_context(|| work.name)?;
        println!("{:<24} {tried:>5} runs, {killed:>5} of them killed, nothing lost", work.name);
        (all, landed) = (all + tried, landed + killed);
    }
    println!("{landed} kills in {all} runs: no partial file under a final name, no broken cache");
    Ok(())
}

/// Runs and kills until so many kills have come before the end.
fn torment(work: &Work<'_>, kills: u64, random: &mut Random) -> Result<(u64, u64)> {
    let folder = Folder::new()?;
    (work.prepare)(&folder)?;
    let begun = Instant::now();
    let status = quiet((work.run)(&folder)).status()?;
    ensure!(status.success(), "it fails without being killed: {status}");
    let usual = begun.elapsed();
    (work.done)(&folder)?;
    let (mut tried, mut landed) = (0, 0);
    while landed < kills {
        ensure!(tried < 20 * kills + 100, "only {landed} of {tried} runs lived to be killed");
        let folder = Folder::new()?;
        (work.prepare)(&folder)?;
        // One run may be killed several times before it is let through.
        for _ in 0..=random.below(3) {
            let mut child = quiet((work.run)(&folder)).spawn()?;
            let share = random.below(1000) as u32;
            sleep(usual * share / 1000);
            child.kill()?;
            let status = child.wait()?;
            tried += 1;
            landed += u64::from(status.code().is_none());
            (work.killed)(&folder).with_context(|| format!("killed after {share}/1000"))?;
            if status.success() {
                break;
            }
        }
        if (work.done)(&folder).is_err() {
            let ran = (work.run)(&folder).output()?;
            let said = String::from_utf8_lossy(&ran.stderr);
            ensure!(ran.status.success(), "the run after the kill: {}: {said}", ran.status);
        }
        (work.done)(&folder)?;
    }
    Ok((tried, landed))
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const COMPRESS: [&str; 7] = ["compress", "-f", "--model", "none", "--frame-size", "8K", "text"];

fn compressing<'a>(binaries: &'a Binaries, text: &'a [u8]) -> Work<'a> {
    Work {
        name: "compress",
        tenths: 3,
        run: Box::new(|folder| arguments(binaries.cli(folder), &COMPRESS)),
        prepare: Box::new(|folder| folder.write("text", text)),
        killed: Box::new(|folder| {
            if folder.file("text.fz").exists() {
                decodes(binaries, folder, text)?;
            }
            only(folder, &["text", "text.fz"], true)
        }),
        done: Box::new(|folder| {
            only(folder, &["text", "text.fz"], false)?;
            decodes(binaries, folder, text)
        }),
    }
}

/// An archive that is replaced is the old one until it is the new one.
fn replacing<'a>(binaries: &'a Binaries, text: &'a [u8]) -> Work<'a> {
    const OLD: &[u8] = b"the old archive";
    Work {
        name: "compress, replacing",
        tenths: 2,
        prepare: Box::new(|folder| {
            folder.write("text", text)?;
            folder.write("text.fz", OLD)
        }),
        killed: Box::new(|folder| {
            if folder.read("text.fz")? != OLD {
                decodes(binaries, folder, text)?;
            }
            only(folder, &["text", "text.fz"], true)
        }),
        ..compressing(binaries, text)
    }
}

fn decompressing<'a>(binaries: &'a Binaries, text: &'a [u8]) -> Result<Work<'a>> {
    let made = Folder::new()?;
    made.write("text", text)?;
    ensure!(quiet(arguments(binaries.cli(&made), &COMPRESS)).status()?.success(), "compressing");
    let archive = made.read("text.fz")?;
    let is_back = move |folder: &Folder| -> Result<()> {
        ensure!(folder.read("text")? == text, "the text is another");
        Ok(())
    };
    Ok(Work {
        name: "decompress",
        tenths: 2,
        run: Box::new(|folder| arguments(binaries.cli(folder), &["decompress", "-f", "text.fz"])),
        prepare: Box::new(move |folder| folder.write("text.fz", &archive)),
        killed: Box::new(move |folder| {
            if folder.file("text").exists() {
                is_back(folder)?;
            }
            only(folder, &["text", "text.fz"], true)
        }),
        done: Box::new(move |folder| {
            only(folder, &["text", "text.fz"], false)?;
            is_back(folder)
        }),
    })
}

/// A run goes on where it was killed and ends with the bytes of one that was not.
fn fine_tuning(binaries: &Binaries) -> Result<Work<'_>> {
    const RUN: [&str; 17] = [
        "--model",
        "first.gguf",
        "--data",
        "data",
        "--out",
        "out",
        "--length",
        "32",
        "--steps",
        "24",
        "--lr",
        "0.01",
        "--eval-every",
        "8",
        "--save-every",
        "3",
        "--qlora",
    ];
    const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];
    let prepare = |folder: &Folder| -> Result<()> {
        let weight_type = finezip_models::GgmlType::Q8_0;
        let model = SeededModel { weight_type, ..SeededModel::default() };
        folder.write("first.gguf", &model.to_gguf()?)?;
        fs::create_dir_all(folder.file("data"))?;
        for i in 0..8 {
            let sentence = format!("the {} of the {} is in the {}; ", i % 7, i % 5, i % 3);
            folder.write(&format!("data/{i}.txt"), sentence.repeat(8).as_bytes())?;
        }
        Ok(())
    };
    let whole = Folder::new()?;
    prepare(&whole)?;
    let status = quiet(arguments(binaries.finetune(&whole), &RUN)).status()?;
    ensure!(status.success(), "fine-tuning");
    let adapter = |folder: &Folder| FILES.map(|name| folder.read(&format!("out/adapter/{name}")));
    let expected = adapter(&whole).into_iter().collect::<Result<Vec<_>>>()?;
    let is_whole = move |folder: &Folder| -> Result<()> {
        for (name, (found, expected)) in
            FILES.iter().zip(adapter(folder).into_iter().zip(&expected))
        {
            ensure!(found? == *expected, "{name} is another than without a kill");
        }
        Ok(())
    };
    let is_there_whole = is_whole.clone();
    Ok(Work {
        name: "fine-tune",
        tenths: 1,
        run: Box::new(|folder| arguments(binaries.finetune(folder), &RUN)),
        prepare: Box::new(prepare),
        killed: Box::new(move |folder| {
            // Its files appear one after the other; once the last is there all are.
            let all = FILES.iter().all(|name| folder.file("out/adapter").join(name).exists());
            if all { is_there_whole(folder) } else { Ok(()) }
        }),
        done: Box::new(move |folder| {
            is_whole(folder)?;
            no_partial_file(&folder.file("out"))
        }),
    })
}

fn fetching<'a>(binaries: &'a Binaries, hub: &'a Hub) -> Work<'a> {
    let is_here = |folder: &Folder| -> Result<bool> {
        let path = hub
            .environment(binaries.cli(folder), folder)
            .args(["models", "path", MODEL_NAME])
            .output()?;
        if !path.status.success() {
            return Ok(false);
        }
        let path = String::from_utf8(path.stdout)?;
        ensure!(fs::read(path.trim_end())? == hub.model(), "the model's file is another");
        Ok(true)
    };
    Work {
        name: "models fetch",
        tenths: 2,
        run: Box::new(|folder| {
            let command = hub.environment(binaries.cli(folder), folder);
            arguments(command, &["models", "fetch", MODEL_NAME])
        }),
        prepare: Box::new(|_| Ok(())),
        killed: Box::new(move |folder| is_here(folder).map(|_| ())),
        done: Box::new(move |folder| {
            ensure!(is_here(folder)?, "the model is not here");
            no_partial_file(&folder.file("cache/models"))
        }),
    }
}

fn arguments(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// The archive decodes to the text.
fn decodes(binaries: &Binaries, folder: &Folder, text: &[u8]) -> Result<()> {
    let ran = binaries.cli(folder).args(["decompress", "-c", "text.fz"]).output()?;
    ensure!(ran.status.success() && ran.stdout == text, "the archive does not give the text back");
    Ok(())
}

/// No files but those named and, where that is allowed, unfinished ones.
fn only(folder: &Folder, names: &[&str], may_be_unfinished: bool) -> Result<()> {
    for name in folder.names()? {
        let is_unfinished = name.starts_with('.') && name.ends_with(".partial");
        ensure!(
            names.contains(&name.as_str()) || (may_be_unfinished && is_unfinished),
            "{name} was left"
        );
    }
    Ok(())
}

/// No unfinished file below a folder.
fn no_partial_file(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        ensure!(
            !name.to_string_lossy().ends_with(".partial"),
            "{} was left",
            entry.path().display()
        );
        if entry.file_type()?.is_dir() {
            no_partial_file(&entry.path())?;
        }
    }
    Ok(())
}
