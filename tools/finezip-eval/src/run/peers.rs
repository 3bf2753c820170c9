//! Byte compressors that are linked in, each at the settings its name tells.
//!
//! They run in a process of their own like every other cell: `finezip-eval peer`, which reads a
//! file whole, codes it, and writes it. Containers are the usual ones; PPMd has none, so its
//! stream ends with a mark.

use std::fs;
use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use liblzma::stream::{Check, PRESET_EXTREME, Stream};

use crate::args::{Direction, PeerArguments};

/// Memory of the PPMd model, as powers of two: as 7-Zip's for long texts, for short ones what they
/// can fill, since all of it is made ready at the start.
const PPMD_BITS: std::ops::RangeInclusive<u32> = 20..=28;

/// The memory for a text, as a power of two, which the archive begins with.
fn ppmd_bits(text_bytes: usize) -> u8 {
    // 32 bytes of model for each of text are more than it fills.
    let bits = (text_bytes as u64 * 32).max(1).next_power_of_two().trailing_zeros();
    bits.clamp(*PPMD_BITS.start(), *PPMD_BITS.end()) as u8
}

/// The window of `zstd --ultra --long` on the command line.
const LONG_WINDOW_LOG: u32 = 27;

/// The level of `zstd-19`.
pub(crate) const ZSTD_LEVEL: i32 = 19;

/// What `brotli-11` makes of a text.
pub(crate) fn brotli_11(text: &[u8]) -> Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 24,
        size_hint: text.len(),
        ..Default::default()
    };
    let mut archive = Vec::new();
    brotli::BrotliCompress(&mut &*text, &mut archive, &params)?;
    Ok(archive)
}

/// A compressor at its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Zlib,
    Bzip2,
    Xz,
    Zstd { level: i32, long: bool },
    Brotli,
    Ppmd { order: u32 },
}

/// All by name.
const PEERS: [(&str, Peer); 9] = [
    ("zlib-9", Peer::Zlib),
    ("bzip2-9", Peer::Bzip2),
    ("xz-9e", Peer::Xz),
    ("zstd-3", Peer::Zstd { level: 3, long: false }),
    ("zstd-19", Peer::Zstd { level: ZSTD_LEVEL, long: false }),
    ("zstd-22-long", Peer::Zstd { level: 22, long: true }),
    ("brotli-11", Peer::Brotli),
    ("ppmd-o6", Peer::Ppmd { order: 6 }),
    ("ppmd-o16", Peer::Ppmd { order: 16 }),
];

/// The crates that each is made of, the one that is called first.
const CRATES: [(&str, &[&str]); 6] = [
    ("zlib", &["flate2", "zlib-rs"]),
    ("bzip2", &["bzip2", "libbz2-rs-sys"]),
    ("xz", &["liblzma", "liblzma-sys"]),
    ("zstd", &["zstd", "zstd-sys"]),
    ("brotli", &["brotli"]),
    ("ppmd", &["ppmd-rust"]),
];

/// What this binary was linked with.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// The crates of a peer with their versions.
pub(crate) fn version(name: &str) -> String {
    let crates = CRATES.iter().find(|(known, _)| name.starts_with(known)).map(|(_, crates)| crates);
    let versions = crates.into_iter().copied().flatten().filter_map(|name| {
        let entry = format!("\nname = \"{name}\"\nversion = \"");
        let (_, rest) = LOCK.split_once(&entry)?;
        Some(format!("{name} {}", rest.split_once('"')?.0))
    });
    versions.collect::<Vec<_>>().join(", ")
}

/// Their names.
pub(crate) fn names() -> Vec<&'static str> {
    PEERS.iter().map(|(name, _)| *name).collect()
}

/// Whether there is one of this name.
pub(crate) fn is_known(name: &str) -> bool {
    PEERS.iter().any(|(known, _)| *known == name)
}

/// `finezip-eval peer`: codes one file.
pub(crate) fn run(arguments: &PeerArguments) -> Result<ExitCode> {
    let Some((_, peer)) = PEERS.iter().find(|(name, _)| *name == arguments.method) else {
        bail!("{} is not linked in; there are {}", arguments.method, names().join(", "));
    };
    let from = &arguments.from;
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    let coded = match arguments.direction {
        Direction::Compress => peer.compress(&bytes)?,
        Direction::Decompress => peer.decompress(&bytes)?,
    };
    fs::write(&arguments.to, coded).with_context(|| arguments.to.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

impl Peer {
    fn compress(self, text: &[u8]) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        match self {
            Self::Zlib => {
                let best = flate2::Compression::best();
                flate2::read::ZlibEncoder::new(text, best).read_to_end(&mut archive)?;
            }
            Self::Bzip2 => {
                let best = bzip2::Compression::best();
                bzip2::read::BzEncoder::new(text, best).read_to_end(&mut archive)?;
            }
            Self::Xz => {
                let stream = Stream::new_easy_encoder(9 | PRESET_EXTREME, Check::Crc64)?;
                liblzma::read::XzEncoder::new_stream(text, stream).read_to_end(&mut archive)?;
            }
            Self::Zstd { level, long } => {
                let mut encoder = zstd::stream::write::Encoder::new(archive, level)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(text.len() as u64))?;
                if long {
                    encoder.long_distance_matching(true)?;
                    encoder.window_log(LONG_WINDOW_LOG)?;
                }
                encoder.write_all(text)?;
                archive = encoder.finish()?;
            }
            Self::Brotli => archive = brotli_11(text)?,
            Self::Ppmd { order } => {
                let bits = ppmd_bits(text.len());
                archive.push(bits);
                let mut encoder = ppmd_rust::Ppmd7Encoder::new(archive, order, 1 << bits)?;
                encoder.write_all(text)?;
                archive = encoder.finish(true)?;
            }
        }
        Ok(archive)
    }

    fn decompress(self, archive: &[u8]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        match self {
            Self::Zlib => {
                flate2::read::ZlibDecoder::new(archive).read_to_end(&mut text)?;
            }
            Self::Bzip2 => {
                bzip2::read::BzDecoder::new(archive).read_to_end(&mut text)?;
            }
            Self::Xz => {
                liblzma::read::XzDecoder::new(archive).read_to_end(&mut text)?;
            }
            Self::Zstd { .. } => {
                let mut decoder = zstd::stream::read::Decoder::new(archive)?;
                decoder.window_log_max(LONG_WINDOW_LOG)?;
                decoder.read_to_end(&mut text)?;
            }
            Self::Brotli => {
                brotli::BrotliDecompress(&mut &*archive, &mut text)?;
            }
            Self::Ppmd { order } => {
                let (&bits, archive) = archive.split_first().context("an empty archive")?;
                ensure!(PPMD_BITS.contains(&u32::from(bits)), "memory of 2^{bits} bytes");
                ppmd_rust::Ppmd7Decoder::new(archive, order, 1 << bits)?.read_to_end(&mut text)?;
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_comes_back_and_makes_text_smaller() {
        let text = include_bytes!("../../../../fixtures/texts/alice.txt");
        for (name, peer) in PEERS {
            let archive = peer.compress(text).unwrap();
            assert!(archive.len() * 3 < text.len() * 2, "{name}: {}", archive.len());
            assert!(peer.decompress(&archive).unwrap() == text, "{name}");
            let nothing = peer.compress(b"").unwrap();
            assert!(peer.decompress(&nothing).unwrap().is_empty(), "{name}");
            let version = version(name);
            assert!(version.contains(|letter: char| letter.is_ascii_digit()), "{name}: {version}");
        }
    }
}
