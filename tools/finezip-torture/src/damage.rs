//! Every byte of every specimen changed, every length cut, frames dropped, repeated and swapped,
//! archives spliced: each is found, and what is recovered is made of whole frames.

use std::io::Cursor;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use finezip_core::{ArchiveIndex, Limits};
use finezip_torture::random::Random;
use finezip_torture::specimens::{Specimen, specimens};

use crate::processes::{Binaries, Folder};

/// What a changed byte is combined with: each bit alone, all, halves, and the rest of the
/// patterns that carries and cases bring about.
const PATTERNS: [u8; 14] =
    [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF, 0x0F, 0xF0, 0x03, 0x55, 0xAA];

/// Bytes that a burst of damage covers.
const BURST_BYTES: usize = 16;

/// What damaged archives are held against, of all specimens.
struct Whole<'a> {
    /// Their members: these one after another are no damage.
    members: Vec<&'a [u8]>,
    /// The texts of their frames: nothing else may come out.
    texts: Vec<&'a [u8]>,
}

/// What was tried on one specimen.
#[derive(Default)]
struct Tally {
    cases: usize,
}

/// Tries everything on every specimen, or on that of one name, and `samples` cases through the
/// command.
pub(crate) fn run(samples: usize, seed: u64, only: Option<&str>) -> Result<()> {
    // Before the work that takes long.
    let binaries = Binaries::find()?;
    let specimens = specimens()?;
    let mut random = Random::new(seed);
    println!("{:<16} {:>7} {:>8} {:>8}", "archive", "bytes", "cases", "found");
    let whole = Whole {
        members: specimens.iter().flat_map(|specimen| members(&specimen.archive)).collect(),
        texts: specimens.iter().map(frame_texts).collect::<Result<Vec<_>>>()?.concat(),
    };
    let mut all = 0;
    let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
    let chosen = |specimen: &Specimen| only.is_none_or(|name| specimen.name == name);
    ensure!(specimens.iter().any(chosen), "no archive of that name");
    for (number, specimen) in specimens.iter().enumerate().filter(|(_, one)| chosen(one)) {
        let mut tally = Tally::default();
        let mut keep = Reservoir { size: samples.div_ceil(specimens.len()), seen: 0, kept: vec![] };
        for_each_case(specimen, &specimens, &mut random, &mut |what, damaged, random| {
            check(specimen, &whole, damaged, &mut tally)
                .map_err(|error| error.context(format!("{}: {what}", specimen.name)))?;
            keep.offer(damaged, random);
            Ok(())
        })?;
        println!(
            "{:<16} {:>7} {:>8} {:>8}",
            specimen.name,
            specimen.archive.len(),
            tally.cases,
            tally.cases
        );
        all += tally.cases;
        kept.extend(keep.kept.into_iter().map(|damaged| (number, damaged)));
    }
    println!("{all} cases of damage, all of them found, no wrong byte given out");
    let tried = through_the_command(&binaries, &specimens, &whole, &kept)?;
    println!("{tried} of them through finezip-cli: exit code 3 each, no file left");
    Ok(())
}

/// A sample of which every member is as likely.
struct Reservoir {
    size: usize,
    seen: usize,
    kept: Vec<Vec<u8>>,
}

impl Reservoir {
    fn offer(&mut self, damaged: &[u8], random: &mut Random) {
        self.seen += 1;
        if self.kept.len() < self.size {
            self.kept.push(damaged.to_vec());
        } else if let Some(place) = self.kept.get_mut(random.below(self.seen)) {
            *place = damaged.to_vec();
        }
    }
}

type Work<'w> = dyn FnMut(&str, &[u8], &mut Random) -> Result<()> + 'w;

fn for_each_case(
    specimen: &Specimen,
    others: &[Specimen],
    random: &mut Random,
    work: &mut Work<'_>,
) -> Result<()> {
    let archive = &specimen.archive;
    for at in 0..archive.len() {
        for pattern in PATTERNS {
            let mut damaged = archive.clone();
            damaged[at] ^= pattern;
            work(&format!("byte {at} ^ {pattern:#04x}"), &damaged, random)?;
        }
        let mut damaged = archive.clone();
        let burst = at..(at + BURST_BYTES).min(archive.len());
        for byte in &mut damaged[burst] {
            *byte = random.number() as u8;
        }
        work(&format!("noise from byte {at} on"), &damaged, random)?;
        let without = [&archive[..at], &archive[at + 1..]].concat();
        work(&format!("byte {at} left out"), &without, random)?;
        let with = [&archive[..at], &[random.number() as u8], &archive[at..]].concat();
        work(&format!("a byte put in at {at}"), &with, random)?;
        work(&format!("cut to {at} bytes"), &archive[..at], random)?;
        if at > 0 {
            work(&format!("the first {at} bytes cut off"), &archive[at..], random)?;
        }
    }
    work("a byte put at the end", &[&archive[..], &[0]].concat(), random)?;
    moved_frames(specimen, random, work)?;
    for other in others {
        for from in borders(&specimen.archive)? {
            for to in borders(&other.archive)? {
                let spliced = [&archive[..from], &other.archive[to..]].concat();
                work(&format!("byte {from}, then {} from {to} on", other.name), &spliced, random)?;
            }
        }
    }
    Ok(())
}

fn moved_frames(specimen: &Specimen, random: &mut Random, work: &mut Work<'_>) -> Result<()> {
    let archive = &specimen.archive;
    let blocks = blocks(archive)?;
    for (i, one) in blocks.iter().enumerate() {
        let piece = &archive[one.clone()];
        let without = [&archive[..one.start], &archive[one.end..]].concat();
        work(&format!("frame {i} dropped"), &without, random)?;
        for (j, other) in blocks.iter().enumerate().skip(i + 1) {
            let between = &archive[one.end..other.start];
            let swapped = [
                &archive[..one.start],
                &archive[other.clone()],
                between,
                piece,
                &archive[other.end..],
            ];
            work(&format!("frames {i} and {j} swapped"), &swapped.concat(), random)?;
        }
        for to in borders(archive)? {
            let repeated = [&archive[..to], piece, &archive[to..]].concat();
            work(&format!("frame {i} put in at {to}"), &repeated, random)?;
        }
    }
    Ok(())
}

/// Where frames lie.
fn blocks(archive: &[u8]) -> Result<Vec<Range<usize>>> {
    let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default())?;
    let range = |offset: u64, bytes: u64| offset as usize..(offset + bytes) as usize;
    Ok(index.frames.iter().map(|frame| range(frame.offset, frame.block_bytes)).collect())
}

/// Where an archive may be cut between its parts.
fn borders(archive: &[u8]) -> Result<Vec<usize>> {
    let mut borders: Vec<usize> =
        blocks(archive)?.into_iter().flat_map(|block| [block.start, block.end]).collect();
    borders.extend([0, 5, archive.len() - 8, archive.len()]);
    borders.sort_unstable();
    borders.dedup();
    Ok(borders)
}

/// Holds one damaged archive against what must be true of it.
fn check(specimen: &Specimen, whole: &Whole<'_>, damaged: &[u8], tally: &mut Tally) -> Result<()> {
    // Nothing, cut at a member's border, and put together of whole archives: no damage.
    if is_whole(damaged, whole) {
        return Ok(());
    }
    tally.cases += 1;
    let decompressor = specimen.decompressor();
    if decompressor.decompress(damaged).is_ok() {
        bail!("it was decoded without an error");
    }
    // The index's way does not read what it does not need, but gives no wrong bytes.
    let mut source = Cursor::new(damaged);
    if let Ok(index) = ArchiveIndex::read(&mut source, &decompressor.limits()) {
        let mut text = Vec::new();
        if index.extract(&mut source, 0..u64::MAX, &decompressor, &mut text).is_ok() {
            ensure!(text == specimen.text, "its index led to other bytes");
        }
    }
    let mut text = Vec::new();
    if let Ok(recovery) = decompressor.recover(&mut Cursor::new(damaged), &mut text) {
        ensure!(!recovery.is_whole(), "it was recovered as if it were whole");
        ensure!(made_of_frames(&text, whole), "other bytes than its frames' came out");
    }
    Ok(())
}

/// Whether bytes are whole members one after another.
fn is_whole(bytes: &[u8], whole: &Whole<'_>) -> bool {
    let mut rest = bytes;
    loop {
        if rest.is_empty() {
            return !bytes.is_empty();
        }
        match whole.members.iter().find_map(|member| rest.strip_prefix(*member)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

fn members(archive: &[u8]) -> Vec<&[u8]> {
    let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default());
    let members = index.map(|index| index.members).unwrap_or_default();
    let range = |offset: u64, bytes: u64| offset as usize..(offset + bytes) as usize;
    members.iter().map(|member| &archive[range(member.offset, member.bytes)]).collect()
}

/// Whether a text is made of frames' texts, those of the specimen or of what it was spliced with.
fn made_of_frames(text: &[u8], whole: &Whole<'_>) -> bool {
    // The places up to which the text is accounted for.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for at in 0..text.len() {
        if reached[at] {
            for piece in whole.texts.iter().filter(|piece| text[at..].starts_with(piece)) {
                reached[at + piece.len()] = true;
            }
        }
    }
    reached[text.len()]
}

fn frame_texts(specimen: &Specimen) -> Result<Vec<&[u8]>> {
    let index = ArchiveIndex::read(&mut Cursor::new(&specimen.archive), &Limits::default())?;
    let text = |offset: u64, bytes: u64| &specimen.text[offset as usize..(offset + bytes) as usize];
    let frames = index.frames.iter();
    Ok(frames.map(|frame| text(frame.text_offset, frame.header.original_bytes)).collect())
}

/// The same through the real command.
fn through_the_command(
    binaries: &Binaries,
    specimens: &[Specimen],
    whole: &Whole<'_>,
    cases: &[(usize, Vec<u8>)],
) -> Result<usize> {
    let folder = Folder::new()?;
    folder.write("small.gguf", specimens[0].model_file())?;
    let mut tried = 0;
    for (number, damaged) in cases {
        let specimen = &specimens[*number];
        if is_whole(damaged, whole) {
            continue;
        }
        folder.write("bad.fz", damaged)?;
        let arguments = ["decompress", "bad.fz", "-o", "out", "--model", "small.gguf"];
        let ran = binaries.cli(&folder).args(arguments).output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(
            ran.status.code() == Some(3) && folder.names()? == ["bad.fz", "small.gguf"],
            "{}: {:?}, {:?}: {said}",
            specimen.name,
            ran.status,
            folder.names()?
        );
        tried += 1;
    }
    Ok(tried)
}
