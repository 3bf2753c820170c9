//! Byte compressors that FineZip is measured beside, each at the settings its name tells.
//!
//! Containers are the usual ones; PPMd has none, so its stream ends with a mark.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};

use liblzma::stream::{Check, PRESET_EXTREME, Stream};

/// Memory of the PPMd model, as powers of two: as 7-Zip's for long texts, for short ones what they
/// can fill, since all of it is made ready at the start.
const PPMD_BITS: std::ops::RangeInclusive<u32> = 20..=28;

/// The window of `zstd --ultra --long` on the command line.
const LONG_WINDOW_LOG: u32 = 27;

/// A compressor at its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    name: &'static str,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settings {
    Zlib,
    Bzip2,
    Xz,
    Zstd { level: i32, long: bool },
    Brotli,
    Ppmd { order: u32 },
}

/// zlib at level 9.
pub const ZLIB_9: Peer = Peer { name: "zlib-9", settings: Settings::Zlib };
/// bzip2 at level 9.
pub const BZIP2_9: Peer = Peer { name: "bzip2-9", settings: Settings::Bzip2 };
/// xz at level 9, extreme.
pub const XZ_9E: Peer = Peer { name: "xz-9e", settings: Settings::Xz };
/// Zstandard at level 3.
pub const ZSTD_3: Peer =
    Peer { name: "zstd-3", settings: Settings::Zstd { level: 3, long: false } };
/// The level of [`ZSTD_19`].
pub const ZSTD_19_LEVEL: i32 = 19;
/// Zstandard at level 19.
pub const ZSTD_19: Peer =
    Peer { name: "zstd-19", settings: Settings::Zstd { level: ZSTD_19_LEVEL, long: false } };
/// Zstandard at level 22, with matches over 128 MiB.
pub const ZSTD_22_LONG: Peer =
    Peer { name: "zstd-22-long", settings: Settings::Zstd { level: 22, long: true } };
/// Brotli at level 11.
pub const BROTLI_11: Peer = Peer { name: "brotli-11", settings: Settings::Brotli };
/// PPMd, variant H, of order 6.
pub const PPMD_O6: Peer = Peer { name: "ppmd-o6", settings: Settings::Ppmd { order: 6 } };
/// PPMd, variant H, of order 16.
pub const PPMD_O16: Peer = Peer { name: "ppmd-o16", settings: Settings::Ppmd { order: 16 } };

/// All of them.
pub const ALL: [Peer; 9] =
    [ZLIB_9, BZIP2_9, XZ_9E, ZSTD_3, ZSTD_19, ZSTD_22_LONG, BROTLI_11, PPMD_O6, PPMD_O16];

/// What a program of this workspace is linked with.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The one of this name.
pub fn named(name: &str) -> Option<Peer> {
    ALL.into_iter().find(|peer| peer.name == name)
}

/// What PPMd says of its stream.
fn ppmd(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PPMd: {error}"))
}

/// The memory for a text, as a power of two, which the archive begins with.
fn ppmd_bits(text_bytes: usize) -> u8 {
    // 32 bytes of model for each of text are more than it fills.
    let bits = (text_bytes as u64 * 32).max(1).next_power_of_two().trailing_zeros();
    bits.clamp(*PPMD_BITS.start(), *PPMD_BITS.end()) as u8
}

impl Peer {
    /// Its name: the compressor's, and what it is set to.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The crates it is made of with their versions, the one that is called first.
    pub fn version(self) -> String {
        let crates: &[&str] = match self.settings {
            Settings::Zlib => &["flate2", "zlib-rs"],
            Settings::Bzip2 => &["bzip2", "libbz2-rs-sys"],
            Settings::Xz => &["liblzma", "liblzma-sys"],
            Settings::Zstd { .. } => &["zstd", "zstd-sys"],
            Settings::Brotli => &["brotli"],
            Settings::Ppmd { .. } => &["ppmd-rust"],
        };
        let versions = crates.iter().filter_map(|name| {
            let entry = format!("\nname = \"{name}\"\nversion = \"");
            let (_, rest) = LOCK.split_once(&entry)?;
            Some(format!("{name} {}", rest.split_once('"')?.0))
        });
        versions.collect::<Vec<_>>().join(", ")
    }

    /// The archive of a text.
    ///
    /// # Errors
    /// If the compressor cannot have the memory it is set to.
    pub fn compress(self, text: &[u8]) -> io::Result<Vec<u8>> {
        let mut archive = Vec::new();
        match self.settings {
            Settings::Zlib => {
                let best = flate2::Compression::best();
                flate2::read::ZlibEncoder::new(text, best).read_to_end(&mut archive)?;
            }
            Settings::Bzip2 => {
                let best = bzip2::Compression::best();
                bzip2::read::BzEncoder::new(text, best).read_to_end(&mut archive)?;
            }
            Settings::Xz => {
                let stream = Stream::new_easy_encoder(9 | PRESET_EXTREME, Check::Crc64)?;
                liblzma::read::XzEncoder::new_stream(text, stream).read_to_end(&mut archive)?;
            }
            Settings::Zstd { level, long } => {
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
            Settings::Brotli => {
                let params = brotli::enc::BrotliEncoderParams {
                    quality: 11,
                    lgwin: 24,
                    size_hint: text.len(),
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut &*text, &mut archive, &params)?;
            }
            Settings::Ppmd { order } => {
                let bits = ppmd_bits(text.len());
                archive.push(bits);
                let encoder = ppmd_rust::Ppmd7Encoder::new(archive, order, 1 << bits);
                let mut encoder = encoder.map_err(ppmd)?;
                encoder.write_all(text)?;
                archive = encoder.finish(true)?;
            }
        }
        Ok(archive)
    }

    /// The text of an archive.
    ///
    /// # Errors
    /// If it is none of this compressor's.
    pub fn decompress(self, archive: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        match self.settings {
            Settings::Zlib => {
                flate2::read::ZlibDecoder::new(archive).read_to_end(&mut text)?;
            }
            Settings::Bzip2 => {
                bzip2::read::BzDecoder::new(archive).read_to_end(&mut text)?;
            }
            Settings::Xz => {
                liblzma::read::XzDecoder::new(archive).read_to_end(&mut text)?;
            }
            Settings::Zstd { .. } => {
                let mut decoder = zstd::stream::read::Decoder::new(archive)?;
                decoder.window_log_max(LONG_WINDOW_LOG)?;
                decoder.read_to_end(&mut text)?;
            }
            Settings::Brotli => {
                brotli::BrotliDecompress(&mut &*archive, &mut text)?;
            }
            Settings::Ppmd { order } => {
                let (&bits, archive) =
                    archive.split_first().ok_or_else(|| ppmd("an empty archive"))?;
                if !PPMD_BITS.contains(&u32::from(bits)) {
                    return Err(ppmd(format!("memory of 2^{bits} bytes")));
                }
                let decoder = ppmd_rust::Ppmd7Decoder::new(archive, order, 1 << bits);
                decoder.map_err(ppmd)?.read_to_end(&mut text)?;
            }
        }
        Ok(text)
    }
}
