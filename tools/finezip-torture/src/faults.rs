//! What the system can do to a program that writes: no space, no permission, nobody who reads, a
//! file that changes under it, another that wants the same name.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use finezip_models::seeded::SeededModel;
use finezip_torture::random::Random;

use crate::hub::{Hub, MODEL_NAME};
use crate::processes::{Binaries, Folder};
use crate::texts;

/// Processes that want the same thing at once.
const RIVALS: usize = 4;

/// Goes through all of it, `rounds` times where chance has a part.
pub(crate) fn run(rounds: u64) -> Result<()> {
    let binaries = Binaries::find()?;
    let text = texts::text(&mut Random::new(3), 300_000);
    let told = |what: &str, times: u64| println!("{what:<44} {times:>4} times, nothing broken");
    match Disk::mount()? {
        Some(disk) => {
            full_disk(&binaries, &disk, &text).context("a full disk")?;
            told("a full disk: compress, decompress, fetch, train", 1);
            read_only(&binaries, &disk).context("a read-only disk")?;
            told("a read-only folder", 1);
        }
        None => println!("a full and a read-only disk: NOT RUN, mounting one needs root"),
    }
    for _ in 0..rounds {
        closed_pipe(&binaries, &text).context("a closed pipe")?;
        changing_input(&binaries, &text).context("an input that changes")?;
        one_name(&binaries, &text).context("several processes, one name")?;
        one_model(&binaries).context("several processes, one model")?;
    }
    told("a reader that goes away", rounds);
    told("an input that grows, shrinks, is rewritten", rounds);
    told("4 processes that write one name", rounds);
    told("4 processes that fetch one model", rounds);
    Ok(())
}

/// A file system of 256 KiB in memory.
struct Disk(Folder);

impl Disk {
    fn mount() -> Result<Option<Self>> {
        let folder = Folder::new()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        Ok(mounted.is_ok_and(|status| status.success()).then_some(Self(folder)))
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.0.path())? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("{} stays mounted", self.0.path().display());
        }
    }
}

fn full_disk(binaries: &Binaries, disk: &Disk, text: &[u8]) -> Result<()> {
    let folder = &disk.0;
    let noise = Random::new(5).bytes(220_000);
    // The text fits, its archive does not.
    folder.write("noise", &noise)?;
    let compress = ["compress", "--model", "none", "--frame-size", "16K", "noise"];
    let told = "noise: cannot write to noise.fz: No space";
    refused(binaries.cli(folder).args(compress), 1, told)?;
    only(folder, &["noise"])?;
    // What was there before stays.
    folder.write("noise.fz", b"old")?;
    refused(binaries.cli(folder).args(compress).arg("-f"), 1, told)?;
    ensure!(folder.read("noise.fz")? == b"old", "the old archive is gone");
    only(folder, &["noise", "noise.fz"])?;
    disk.clear()?;
    // The archive fits, its text does not.
    let elsewhere = Folder::new()?;
    elsewhere.write("text", text)?;
    done(binaries.cli(&elsewhere).args(["compress", "--model", "none", "text"]))?;
    folder.write("text.fz", &elsewhere.read("text.fz")?)?;
    let told = "text.fz: cannot write to text: No space";
    refused(binaries.cli(folder).args(["decompress", "text.fz"]), 1, told)?;
    refused(binaries.cli(folder).args(["decompress", "--recover", "text.fz"]), 1, told)?;
    only(folder, &["text.fz"])?;
    disk.clear()?;
    // A model that does not fit into the cache, then a cache with more room.
    let hub = Hub::start(large_model()?);
    let mut fetch = hub.environment(binaries.cli(folder), folder);
    refused(fetch.args(["models", "fetch", MODEL_NAME]), 4, "")?;
    let mut fetch = hub.environment(binaries.cli(&elsewhere), &elsewhere);
    done(fetch.args(["models", "fetch", MODEL_NAME]))?;
    // A cache without room for prepared weights costs time and nothing else.
    disk.clear()?;
    elsewhere
        .write("small.gguf", &SeededModel { layers: 8, ..SeededModel::default() }.to_gguf()?)?;
    elsewhere.write("words", b"of the and in the of the and in the")?;
    let mut compress = binaries.cli(&elsewhere);
    compress.env("FINEZIP_CACHE", folder.file("cache"));
    done(compress.args(["compress", "-f", "--verify", "--model", "small.gguf", "words"]))?;
    disk.clear()?;
    // A fine-tuning run.
    fs::create_dir_all(elsewhere.file("data"))?;
    elsewhere.write("data/a.txt", &b"the of the in the and ".repeat(40))?;
    let mut train = binaries.finetune(&elsewhere);
    train.args(["--model", "small.gguf", "--data", "data", "--length", "32", "--steps", "6"]);
    train.args(["--rank", "32", "--save-every", "2", "--out"]).arg(folder.file("out"));
    let ran = train.output()?;
    ensure!(!ran.status.success(), "a fine-tuning run fits on a full disk");
    ensure!(!folder.file("out/adapter/adapter_config.json").exists(), "an adapter was left");
    disk.clear()
}

fn large_model() -> Result<Vec<u8>> {
    Ok(SeededModel { layers: 16, ..SeededModel::default() }.to_gguf()?)
}

fn read_only(binaries: &Binaries, disk: &Disk) -> Result<()> {
    let folder = &disk.0;
    folder.write("text", b"some text, and some more text")?;
    let remount = |how: &str| -> Result<()> {
        let status = Command::new("mount").args(["-o", how]).arg(folder.path()).status()?;
        ensure!(status.success(), "mount -o {how}: {status}");
        Ok(())
    };
    remount("remount,ro")?;
    let compress = ["compress", "--model", "none", "text"];
    let refused = refused(binaries.cli(folder).args(compress), 1, "cannot write to");
    let streamed = binaries.cli(folder).args(compress).arg("-c").output()?;
    remount("remount,rw")?;
    refused?;
    expect_done(&streamed)?;
    only(folder, &["text"])?;
    disk.clear()
}

/// A reader that goes away after some bytes ends the program with its own code, and quietly.
fn closed_pipe(binaries: &Binaries, text: &[u8]) -> Result<()> {
    let folder = Folder::new()?;
    folder.write("text", text)?;
    done(binaries.cli(&folder).args([
        "compress",
        "--model",
        "none",
        "--frame-size",
        "4K",
        "text",
    ]))?;
    for arguments in [
        &["decompress", "-c", "text.fz"][..],
        &["cat", "text.fz"],
        &["decompress", "--recover", "-c", "text.fz"],
        &["compress", "--model", "none", "--frame-size", "1K", "-c", "text"],
    ] {
        let mut command = binaries.cli(&folder);
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let ran = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(
            ran.status.code() == Some(141) && said.is_empty(),
            "{arguments:?}: {}: {said}",
            ran.status
        );
    }
    only(&folder, &["text", "text.fz"])
}

/// A file that changes while it is read is not taken for compressed.
fn changing_input(binaries: &Binaries, text: &[u8]) -> Result<()> {
    type Change = fn(&Path) -> Result<()>;
    let grow: Change = |path| {
        Ok(fs::OpenOptions::new().append(true).open(path)?.write_all(b"more and more text")?)
    };
    let shrink: Change =
        |path| Ok(fs::OpenOptions::new().write(true).open(path)?.set_len(100_000)?);
    let rewrite: Change = |path| {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        Ok(file.write_all(b"other text")?)
    };
    for change in [grow, shrink, rewrite] {
        let folder = Folder::new()?;
        folder.write("text", text)?;
        let mut command = binaries.cli(&folder);
        command.args(["compress", "--rm", "--model", "none", "--frame-size", "4K", "text"]);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        wait_for_partial(&folder, &mut child)?;
        change(&folder.file("text"))?;
        let ran = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.code() == Some(1) && said.contains("changed"), "{}: {said}", ran.status);
        only(&folder, &["text"])?;
    }
    Ok(())
}

fn wait_for_partial(folder: &Folder, child: &mut Child) -> Result<()> {
    while !folder.names()?.iter().any(|name| name.ends_with(".partial")) {
        ensure!(child.try_wait()?.is_none(), "it ended before it was disturbed");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Of several processes without `-f` one writes the name; with it the last one does. The archive
/// is whole in either case.
fn one_name(binaries: &Binaries, text: &[u8]) -> Result<()> {
    for force in [false, true] {
        let folder = Folder::new()?;
        folder.write("text", text)?;
        let run = |_| {
            let mut command = binaries.cli(&folder);
            command.args(["compress", "--model", "none", "--frame-size", "64K", "text"]);
            if force {
                command.arg("-f");
            }
            command.stderr(Stdio::piped()).spawn()
        };
        let rivals = (0..RIVALS).map(run).collect::<std::io::Result<Vec<_>>>()?;
        let mut codes = Vec::new();
        for rival in rivals {
            codes.push(rival.wait_with_output()?.status.code());
        }
        codes.sort_unstable();
        let expected = if force { [Some(0); RIVALS] } else { [Some(0), Some(1), Some(1), Some(1)] };
        ensure!(codes == expected, "codes {codes:?}");
        only(&folder, &["text", "text.fz"])?;
        let back = done(binaries.cli(&folder).args(["decompress", "-c", "text.fz"]))?;
        ensure!(back.stdout == text, "the archive does not give the text back");
    }
    Ok(())
}

/// All get the model, and it is fetched once.
fn one_model(binaries: &Binaries) -> Result<()> {
    let hub = Hub::start(large_model()?);
    let folder = Folder::new()?;
    let run = |_| {
        let mut command = hub.environment(binaries.cli(&folder), &folder);
        command.args(["models", "fetch", MODEL_NAME]).stderr(Stdio::piped()).spawn()
    };
    let rivals = (0..RIVALS).map(run).collect::<std::io::Result<Vec<_>>>()?;
    for rival in rivals {
        expect_done(&rival.wait_with_output()?)?;
    }
    ensure!(hub.downloads() == 1, "the model was downloaded {} times", hub.downloads());
    let mut command = hub.environment(binaries.cli(&folder), &folder);
    let path = done(command.args(["models", "path", MODEL_NAME]))?.stdout;
    let path = String::from_utf8(path)?;
    ensure!(fs::read(path.trim_end())? == hub.model(), "the model's file is another");
    Ok(())
}

fn done(command: &mut Command) -> Result<Output> {
    let ran = command.output()?;
    expect_done(&ran)?;
    Ok(ran)
}

fn expect_done(ran: &Output) -> Result<()> {
    ensure!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    Ok(())
}

/// The program fails with its code and says a word.
fn refused(command: &mut Command, code: i32, word: &str) -> Result<()> {
    let ran = command.output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    if ran.status.code() != Some(code) || !said.contains(word) || said.contains("panicked") {
        bail!("expected code {code} and {word:?}, found {}: {said}", ran.status);
    }
    Ok(())
}

/// No files but those named.
fn only(folder: &Folder, names: &[&str]) -> Result<()> {
    let found = folder.names()?;
    ensure!(found == names, "{found:?} instead of {names:?}");
    Ok(())
}
