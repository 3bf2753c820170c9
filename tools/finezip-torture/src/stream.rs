//! A long stream through both programs, pipe to pipe, and the memory it takes: the second half
//! must take no more than the first.

use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use finezip_torture::random::Random;
use wait4::Wait4;
use xxhash_rust::xxh3::Xxh3;

use crate::processes::{Binaries, Folder};
use crate::texts;

/// Bytes made and read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What the peak of a long stream may be above that of a short one.
const MOST_GROWTH: f64 = 1.25;

/// Streams a short text, then one of `megabytes`, and compares peaks.
pub(crate) fn run(megabytes: u64, frame_size: &str, noise: u64) -> Result<()> {
    let binaries = Binaries::find()?;
    let short = stream(&binaries, megabytes.div_ceil(10).max(1), frame_size, noise)?;
    let long = stream(&binaries, megabytes, frame_size, noise)?;
    for (what, short, long) in [("compress", short.0, long.0), ("decompress", short.1, long.1)] {
        let growth = long as f64 / short as f64;
        ensure!(growth < MOST_GROWTH, "{what} took {short} bytes, then {long}");
    }
    Ok(())
}

/// Streams so many megabytes of text, of which `noise` in a hundred pieces are no text; gives the
/// peak memory of both programs.
fn stream(binaries: &Binaries, megabytes: u64, frame_size: &str, noise: u64) -> Result<(u64, u64)> {
    let folder = Folder::new()?;
    let begun = Instant::now();
    let mut compressor = binaries
        .cli(&folder)
        .args(["compress", "-q", "--model", "none", "--frame-size", frame_size])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut feed = compressor.stdin.take().context("a pipe")?;
    let archive = compressor.stdout.take().context("a pipe")?;
    let mut decompressor = binaries
        .cli(&folder)
        .args(["decompress", "-q"])
        .stdin(archive)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut back = decompressor.stdout.take().context("a pipe")?;
    let writer = thread::spawn(move || -> std::io::Result<u128> {
        let (mut random, mut hash) = (Random::new(megabytes), Xxh3::new());
        for _ in 0..megabytes {
            let is_noise = (random.below(100) as u64) < noise;
            let piece = if is_noise {
                random.bytes(PIECE_BYTES)
            } else {
                texts::text(&mut random, PIECE_BYTES)
            };
            hash.update(&piece);
            feed.write_all(&piece)?;
        }
        Ok(hash.digest128())
    });
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = back.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
    let compressed = compressor.wait4()?;
    let decompressed = decompressor.wait4()?;
    ensure!(compressed.status.success() && decompressed.status.success(), "a program failed");
    let fed = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(bytes == megabytes * PIECE_BYTES as u64 && fed == hash.digest128(), "other bytes");
    let peaks = (compressed.rusage.maxrss, decompressed.rusage.maxrss);
    println!(
        "{bytes} bytes from pipe to pipe in {:.0} s: peak memory {:.1} MB compressing, {:.1} MB \
         decompressing",
        begun.elapsed().as_secs_f64(),
        peaks.0 as f64 / 1e6,
        peaks.1 as f64 / 1e6
    );
    Ok(peaks)
}
