//! The byte compressors behind the rank coder.
//!
//! Each writes a stream of its own standard format, and reads one within a limit of memory,
//! whatever the stream says of itself.

use std::io::Read;

use finezip_core::{Error, Result};
use zlib_rs::{DeflateConfig, Method, ReturnCode, Strategy};

use super::RANK;

/// A byte compressor; the number is what archives record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// zlib (RFC 1950), levels 1 to 9.
    #[default]
    Zlib = 0,
    /// Zstandard (RFC 8878), levels 1 to 22.
    Zstd = 1,
    /// Brotli (RFC 7932), levels 0 to 11.
    Brotli = 2,
    /// bzip2, what the FineZip paper uses; levels 1 to 9.
    Bzip2 = 3,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Zlib, Self::Zstd, Self::Brotli, Self::Bzip2];

    /// The backend of a recorded number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|&backend| backend as u64 == number)
    }

    /// Its usual name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
            Self::Brotli => "brotli",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The levels it has.
    pub fn levels(self) -> std::ops::RangeInclusive<u32> {
        match self {
            Self::Zlib | Self::Bzip2 => 1..=9,
            Self::Zstd => 1..=22,
            Self::Brotli => 0..=11,
        }
    }

    /// The highest level but for Zstandard, where levels over 19 take more memory for nothing.
    pub fn default_level(self) -> u32 {
        match self {
            Self::Zstd => 19,
            _ => *self.levels().end(),
        }
    }

    pub(crate) fn compress(self, bytes: &[u8], level: u32) -> Result<Vec<u8>> {
        match self {
            Self::Zlib => {
                // Ranks repeat by chance more than in phrases: matches often cost more than they
                // save, which zlib does not find out by itself.
                let plain = zlib(bytes, level, Strategy::Default)?;
                let huffman = zlib(bytes, level, Strategy::HuffmanOnly)?;
                Ok(if huffman.len() < plain.len() { huffman } else { plain })
            }
            Self::Zstd => Ok(zstd::bulk::compress(bytes, level as i32)?),
            Self::Brotli => {
                let mut encoder = brotli::CompressorReader::new(bytes, 1 << 16, level, 24);
                let mut payload = Vec::new();
                encoder.read_to_end(&mut payload)?;
                Ok(payload)
            }
            Self::Bzip2 => {
                let level = bzip2::Compression::new(level);
                let mut payload = Vec::new();
                bzip2::bufread::BzEncoder::new(bytes, level).read_to_end(&mut payload)?;
                Ok(payload)
            }
        }
    }

    /// What `payload` holds, at most `limit` bytes. Takes memory in proportion to the limit,
    /// besides the 16 MiB or less of a compressor's window.
    pub(crate) fn decompress(self, payload: &[u8], limit: usize) -> Result<Vec<u8>> {
        let damaged = |error: std::io::Error| {
            Error::payload(RANK, format!("no {} stream: {error}", self.name()))
        };
        let (bytes, rest) = match self {
            Self::Zlib => {
                let mut decoder = flate2::bufread::ZlibDecoder::new(payload);
                (read(&mut decoder, limit).map_err(damaged)?, decoder.into_inner())
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)?.single_frame();
                // The encoder knew the length and chose no larger window.
                decoder.window_log_max(window_log(limit))?;
                (read(&mut decoder, limit).map_err(damaged)?, decoder.finish())
            }
            Self::Brotli => {
                // The mark of a window over the standard's 16 MiB (RFC 7932 section 9.1).
                if payload.first().is_some_and(|byte| byte & 0x7F == 0x11) {
                    return Err(Error::payload(RANK, "a brotli stream with a large window"));
                }
                let mut decoder = brotli::Decompressor::new(payload, 1 << 12);
                let bytes = read(&mut decoder, limit).map_err(damaged)?;
                // Read again at its end, this decoder reports bytes that it has taken in beyond.
                if bytes.len() <= limit {
                    decoder.read(&mut [0]).map_err(damaged)?;
                }
                (bytes, decoder.into_inner())
            }
            Self::Bzip2 => {
                let mut decoder = bzip2::bufread::BzDecoder::new(payload);
                (read(&mut decoder, limit).map_err(damaged)?, decoder.into_inner())
            }
        };
        if bytes.len() > limit {
            return Err(Error::payload(RANK, format!("more than {limit} bytes of ranks")));
        }
        if !rest.is_empty() {
            return Err(Error::payload(
                RANK,
                format!("{} bytes after the {} stream", rest.len(), self.name()),
            ));
        }
        Ok(bytes)
    }
}

/// Reads to the end or to one byte over the limit.
fn read(decoder: &mut impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The logarithm of the smallest Zstandard window that holds `bytes`.
fn window_log(bytes: usize) -> u32 {
    (usize::BITS - bytes.saturating_sub(1).leading_zeros()).clamp(10, 27)
}

fn zlib(bytes: &[u8], level: u32, strategy: Strategy) -> Result<Vec<u8>> {
    let config = DeflateConfig {
        level: level as i32,
        method: Method::Deflated,
        window_bits: 15,
        mem_level: 9,
        strategy,
    };
    let mut payload = vec![0; zlib_rs::compress_bound(bytes.len())];
    let (written, code) = zlib_rs::compress_slice(&mut payload, bytes, config);
    let length = written.len();
    if code != ReturnCode::Ok {
        return Err(Error::payload(RANK, format!("zlib ended with {code:?}")));
    }
    payload.truncate(length);
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_numbers_stay() {
        let numbers = Backend::ALL.map(|backend| (backend as u64, backend.name()));
        assert_eq!(numbers, [(0, "zlib"), (1, "zstd"), (2, "brotli"), (3, "bzip2")]);
        for backend in Backend::ALL {
            assert_eq!(Backend::from_number(backend as u64), Some(backend));
            assert!(backend.levels().contains(&backend.default_level()));
        }
        assert_eq!(Backend::from_number(4), None);
    }

    #[test]
    fn a_stream_that_holds_too_much_is_refused_without_reading_it_all() {
        for backend in Backend::ALL {
            let payload = backend.compress(&vec![0; 10_000_000], 6).unwrap();
            assert_eq!(backend.decompress(&payload, 10_000_000).unwrap().len(), 10_000_000);
            for limit in [0, 1, 1000, 9_999_999] {
                assert!(backend.decompress(&payload, limit).is_err(), "{backend:?} {limit}");
            }
        }
    }

    #[test]
    fn bytes_before_or_after_the_end_are_an_error() {
        let bytes: Vec<u8> = (0..2000_u32).map(|i| (i * i % 251) as u8).collect();
        for backend in Backend::ALL {
            let payload = backend.compress(&bytes, backend.default_level()).unwrap();
            for cut in [1, 2, payload.len() / 2, payload.len()] {
                let short = &payload[..payload.len() - cut];
                let found = backend.decompress(short, 4000);
                assert!(found.is_err(), "{backend:?} without {cut} bytes");
            }
            let long = [payload.as_slice(), &[0]].concat();
            assert!(backend.decompress(&long, 4000).is_err(), "{backend:?} with one more byte");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_at_every_level(
            bytes in prop::collection::vec(0_u8..9, 0..3000), level in 0..30_u32,
        ) {
            for backend in Backend::ALL {
                let level = level.clamp(*backend.levels().start(), *backend.levels().end());
                let payload = backend.compress(&bytes, level).unwrap();
                prop_assert_eq!(backend.decompress(&payload, bytes.len()).unwrap(), bytes.clone());
            }
        }

        #[test]
        fn garbage_is_bytes_within_the_limit_or_an_error(
            payload in prop::collection::vec(any::<u8>(), 0..200), whole: bool,
        ) {
            for backend in Backend::ALL {
                // Half of the time after a start that is right.
                let mut bytes = backend.compress(&[7; 30], backend.default_level()).unwrap();
                bytes.truncate(if whole { 0 } else { bytes.len() / 2 });
                bytes.extend(&payload);
                if let Ok(found) = backend.decompress(&bytes, 1000) {
                    prop_assert!(found.len() <= 1000);
                }
            }
        }
    }
}
