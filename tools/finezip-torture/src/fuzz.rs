//! Mutations of valid input, fed to a target in this process: panics are caught, and the
//! memory that each input takes is counted.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use finezip_torture::random::Random;
use finezip_torture::targets::Target;

/// The most that an input of a few KiB may make a reader take, whatever it declares: a frame of
/// the limits in force, lanes, and the tables of mixers.
const MOST_BYTES: usize = 256 << 20;

/// Runs `inputs` mutations of a target's seeds and saves each that does harm in `save`.
pub(crate) fn run(target: Target, inputs: u64, seed: u64, save: &Path) -> Result<()> {
    let seeds = (target.seeds)();
    let mut random = Random::new(seed);
    let (mut harmful, mut most) = (0, 0);
    let begun = Instant::now();
    panic::set_hook(Box::new(|_| {}));
    for number in 0..inputs {
        let input = mutated(&seeds, &mut random);
        crate::MEMORY.reset_peak_usage();
        let before = crate::MEMORY.current_usage();
        let ran = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let taken = crate::MEMORY.peak_usage().saturating_sub(before);
        most = most.max(taken);
        if ran.is_err() || taken > MOST_BYTES {
            harmful += 1;
            let folder = save.join(target.name);
            fs::create_dir_all(&folder)?;
            let path = folder.join(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&input)));
            fs::write(&path, &input).context("saving a harmful input")?;
            let what = if ran.is_err() { "a panic".into() } else { format!("{taken} bytes taken") };
            println!("{}: input {number}: {what}: {}", target.name, path.display());
        }
    }
    let _ = panic::take_hook();
    println!(
        "{}: {inputs} inputs in {:.0} s, {harmful} harmful, at most {:.1} MiB taken",
        target.name,
        begun.elapsed().as_secs_f64(),
        most as f64 / f64::from(1 << 20)
    );
    if harmful > 0 {
        bail!("{}: {harmful} inputs did harm", target.name);
    }
    Ok(())
}

/// Writes a target's seeds to a folder of its name in `out`.
pub(crate) fn write_seeds(target: Target, out: &Path) -> Result<()> {
    let folder = out.join(target.name);
    fs::create_dir_all(&folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).context("writing a seed")?;
    }
    Ok(())
}

/// Numbers that lengths and counts are forged with.
const EXTREMES: [u64; 10] =
    [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 40, u64::MAX];

/// A seed changed at a few places.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.one_of(seeds).clone();
    for _ in 0..=random.magnitude(12) {
        let at = random.below(input.len() + 1);
        let here = at.min(input.len().saturating_sub(1));
        match random.below(9) {
            0 | 1 if !input.is_empty() => input[here] ^= 1 << random.below(8),
            2 if !input.is_empty() => input[here] = random.number() as u8,
            3 => input.insert(at, random.number() as u8),
            4 if !input.is_empty() => {
                let end = (here + 1 + random.magnitude(32)).min(input.len());
                input.drain(here..end);
            }
            5 => {
                // A number as files hold it.
                let number = random.one_of(&EXTREMES).to_le_bytes();
                let count = 1 << random.below(4);
                let end = (at + count).min(input.len());
                input.splice(at..end, number[..count].iter().copied());
            }
            6 => {
                // A varint.
                let mut number = *random.one_of(&EXTREMES);
                let end = (at + random.below(3)).min(input.len());
                let mut digits = Vec::new();
                while number >= 0x80 {
                    digits.push(number as u8 | 0x80);
                    number >>= 7;
                }
                digits.push(number as u8);
                input.splice(at..end, digits);
            }
            7 => {
                let other = random.one_of(seeds);
                let from = random.below(other.len());
                let to = (from + random.magnitude(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
    input
}
