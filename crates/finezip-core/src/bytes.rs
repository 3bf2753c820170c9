//! Coding bytes without a model: what a frame falls back to.

use zstd::zstd_safe;

use crate::error::{Error, Result};
use crate::record::Record;

/// A compressor of whole frames that needs no language model.
pub trait ByteCoder: Send + Sync {
    /// Name, version and every parameter.
    fn record(&self) -> Record;

    /// The most bytes that decoding a text of this length takes besides the text: what readers
    /// hold against [`Limits::coder_bytes`](crate::Limits) first.
    fn memory_bytes(&self, _text_bytes: usize) -> u64 {
        0
    }

    /// The payload for `text`.
    fn compress(&self, text: &[u8]) -> Result<Vec<u8>>;

    /// The text of a payload, which is `text_bytes` long: never more, whatever the payload says.
    fn decompress(&self, payload: &[u8], text_bytes: usize) -> Result<Vec<u8>>;
}

/// Zstandard (RFC 8878), the format's own byte compressor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zstd;

/// High, because frames are small beside the time a model takes.
const ZSTD_LEVEL: i32 = 19;

impl Zstd {
    pub(crate) fn compress(text: &[u8]) -> Result<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.include_checksum(false)?;
        compressor.include_contentsize(false)?;
        compressor.include_dictid(false)?;
        Ok(compressor.compress(text)?)
    }

    pub(crate) fn decompress(payload: &[u8], text_bytes: usize) -> Result<Vec<u8>> {
        // Which would pass over other frames behind the first.
        let frame_bytes = zstd_safe::find_frame_compressed_size(payload)
            .map_err(|code| Error::payload("zstd", zstd_safe::get_error_name(code)))?;
        if frame_bytes != payload.len() {
            let message = format!("a frame of {frame_bytes} bytes, expected {}", payload.len());
            return Err(Error::payload("zstd", message));
        }
        let text = zstd::bulk::decompress(payload, text_bytes)
            .map_err(|error| Error::payload("zstd", error))?;
        expect_length("zstd", text, text_bytes)
    }
}

/// `text`, or an error if it has not the length that was declared.
pub(crate) fn expect_length(coder: &str, text: Vec<u8>, text_bytes: usize) -> Result<Vec<u8>> {
    if text.len() != text_bytes {
        return Err(Error::payload(
            coder,
            format!("{} bytes of text, expected {text_bytes}", text.len()),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_payload_is_one_frame() {
        let payload = Zstd::compress(b"text").unwrap();
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0];
        for other in [&Zstd::compress(b"").unwrap()[..], &skippable, &[0]] {
            for payload in [[&payload[..], other].concat(), [other, &payload[..]].concat()] {
                assert!(Zstd::decompress(&payload, 4).is_err(), "{payload:02x?}");
            }
        }
        assert_eq!(Zstd::decompress(&payload, 4).unwrap(), b"text");
    }

    proptest! {
        #[test]
        fn zstd_comes_back(text in prop::collection::vec(any::<u8>(), 0..2000)) {
            let payload = Zstd::compress(&text).unwrap();
            prop_assert_eq!(Zstd::decompress(&payload, text.len()).unwrap(), text.clone());
            prop_assert!(Zstd::decompress(&payload, text.len() + 1).is_err());
            if !text.is_empty() {
                prop_assert!(Zstd::decompress(&payload, text.len() - 1).is_err());
            }
        }
    }
}
