//! A frame: an independently decodable piece of the text.

use super::bytes::{ByteReader, Short, put_varint};
use super::limits::{Limits, within};
use super::{FRAME_TAG, block_crc, number_of};
use crate::error::{Error, Result};
use crate::records::MAX_RECORDS;

/// The most bytes that the index of a frame of records takes for each of them, and besides.
const MAX_INDEX_BYTES: u64 = 28;
const MAX_HEAD_BYTES: u64 = 64;

/// The highest number of a method.
const LAST_METHOD: u8 = 4;

/// How a frame's payload is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The bytes themselves.
    Stored,
    /// One Zstandard frame (RFC 8878) without dictionary.
    Zstd,
    /// Tokens coded under the descriptor's model.
    Model {
        /// Tokens in the frame.
        tokens: u64,
        /// Lanes of its plan.
        lanes: u64,
    },
    /// Bytes coded by the descriptor's byte coder.
    Bytes,
    /// Records, each coded by itself.
    Records {
        /// Records in the frame.
        records: u64,
        /// Tokens in those that are coded under the descriptor's model.
        tokens: u64,
    },
}

impl Method {
    /// Whether frames of this method stand behind a descriptor.
    pub fn needs_descriptor(&self) -> bool {
        matches!(self, Self::Model { .. } | Self::Bytes | Self::Records { .. })
    }

    /// Whether frames of this method take the descriptor's model.
    pub fn needs_language(&self) -> bool {
        matches!(self, Self::Model { .. } | Self::Records { tokens: 1.., .. })
    }

    /// The method's name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
            Self::Model { .. } => "model",
            Self::Bytes => "bytes",
            Self::Records { .. } => "records",
        }
    }
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the payload is made.
    pub method: Method,
    /// Bytes of text.
    pub original_bytes: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// XXH3-64 of the text.
    pub content_hash: u64,
}

impl FrameHeader {
    /// The header with its checksum, as block `number` of its member.
    pub(crate) fn to_bytes(self, number: u64) -> Vec<u8> {
        let mut out = vec![FRAME_TAG];
        out.push(match self.method {
            Method::Stored => 0,
            Method::Zstd => 1,
            Method::Model { .. } => 2,
            Method::Bytes => 3,
            Method::Records { .. } => 4,
        });
        put_varint(&mut out, self.original_bytes);
        put_varint(&mut out, self.payload_bytes);
        if let Method::Model { tokens, lanes } = self.method {
            put_varint(&mut out, tokens);
            put_varint(&mut out, lanes);
        }
        if let Method::Records { records, tokens } = self.method {
            put_varint(&mut out, records);
            put_varint(&mut out, tokens);
        }
        out.extend_from_slice(&self.content_hash.to_le_bytes());
        let crc = block_crc(number, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header that starts with the frame tag; `Ok(None)` if `bytes` end within it. With it
    /// comes its length, checksum included.
    pub(crate) fn read(
        bytes: &[u8],
        number: u64,
        limits: &Limits,
    ) -> Result<Option<(Self, usize)>> {
        match Self::read_fields(bytes) {
            Err(Short::End) => Ok(None),
            Err(Short::Varint) => {
                Err(Error::damaged("frame header", "a number is not a varint in its shortest form"))
            }
            Ok((method, header, length)) => {
                let Some(crc) = bytes.get(length..length + 4) else { return Ok(None) };
                let expected = block_crc(number, &bytes[..length]);
                let found = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
                if expected != found {
                    return Err(Error::checksum("frame header", found, expected));
                }
                if method > LAST_METHOD {
                    return Err(Error::damaged(
                        "frame header",
                        format!("method {method} is unknown; a newer finezip wrote it"),
                    ));
                }
                header.check(limits)?;
                Ok(Some((header, length + 4)))
            }
        }
    }

    /// Like [`FrameHeader::read`] where the number is not known: the number under which the
    /// checksum holds comes with it. `None` for what no compressor writes.
    pub(crate) fn read_unnumbered(bytes: &[u8], limits: &Limits) -> Option<(Self, usize, u64)> {
        let (method, header, length) = Self::read_fields(bytes).ok()?;
        let crc = bytes.get(length..length + 4)?;
        if bytes[0] != FRAME_TAG || method > LAST_METHOD || header.check(limits).is_err() {
            return None;
        }
        let crc = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        Some((header, length + 4, number_of(crc, &bytes[..length])))
    }

    fn read_fields(bytes: &[u8]) -> Result<(u8, Self, usize), Short> {
        let mut reader = ByteReader::new(bytes);
        reader.byte()?;
        let method = reader.byte()?;
        let original_bytes = reader.varint()?;
        let payload_bytes = reader.varint()?;
        let kind = match method {
            0 => Method::Stored,
            1 => Method::Zstd,
            2 => Method::Model { tokens: reader.varint()?, lanes: reader.varint()? },
            4 => Method::Records { records: reader.varint()?, tokens: reader.varint()? },
            _ => Method::Bytes,
        };
        let content_hash = u64::from_le_bytes(reader.array()?);
        Ok((
            method,
            Self { method: kind, original_bytes, payload_bytes, content_hash },
            reader.position(),
        ))
    }

    /// Checks what no honest compressor writes.
    fn check(&self, limits: &Limits) -> Result<()> {
        within("bytes of text in a frame", self.original_bytes, limits.frame_bytes)?;
        let most = match self.method {
            Method::Records { records, .. } => {
                within("records in a frame", records, MAX_RECORDS)?;
                most_payload_of_records(self.original_bytes, records)
            }
            _ => self.original_bytes,
        };
        within("bytes of payload in a frame", self.payload_bytes, most)?;
        match self.method {
            Method::Stored if self.payload_bytes != self.original_bytes => Err(Error::damaged(
                "frame header",
                format!(
                    "a stored frame of {} bytes has {} bytes of payload",
                    self.original_bytes, self.payload_bytes
                ),
            )),
            Method::Model { tokens, lanes } => {
                within("tokens in a frame", tokens, self.original_bytes)?;
                within("lanes in a frame", lanes, limits.lanes)?;
                within("lanes in a frame", lanes, tokens)?;
                if lanes == 0 {
                    return Err(Error::damaged("frame header", "a model frame without lanes"));
                }
                Ok(())
            }
            Method::Records { tokens, .. } => {
                within("tokens in a frame", tokens, self.original_bytes).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

/// The most bytes of payload that so many records with so many bytes of text have.
fn most_payload_of_records(original_bytes: u64, records: u64) -> u64 {
    original_bytes.saturating_add(records.saturating_mul(MAX_INDEX_BYTES) + MAX_HEAD_BYTES)
}

/// The most bytes of payload that a frame with so many bytes of text has, whatever its method: no
/// record but has a byte of text or a delimiter.
pub(super) fn most_payload(original_bytes: u64) -> u64 {
    most_payload_of_records(original_bytes, original_bytes.min(MAX_RECORDS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_come_back(
            original_bytes in 1_u64..1 << 26,
            hash in any::<u64>(),
            number in any::<u64>(),
            kind in 0..5,
            a in any::<u64>(),
            b in any::<u64>(),
        ) {
            let tokens = 1 + a % original_bytes;
            let method = match kind {
                0 => Method::Stored,
                1 => Method::Zstd,
                2 => Method::Model { tokens, lanes: 1 + b % tokens.min(1024) },
                3 => Method::Bytes,
                _ => Method::Records { records: b % (1 << 20), tokens },
            };
            let payload_bytes =
                if kind == 0 { original_bytes } else { b % (original_bytes + 1) };
            let header = FrameHeader { method, original_bytes, payload_bytes, content_hash: hash };
            let bytes = header.to_bytes(number);
            let limits = Limits::default();
            for cut in 0..bytes.len() {
                prop_assert_eq!(FrameHeader::read(&bytes[..cut], number, &limits).unwrap(), None);
            }
            let read = FrameHeader::read(&bytes, number, &limits).unwrap();
            prop_assert_eq!(read, Some((header, bytes.len())));
            prop_assert!(FrameHeader::read(&bytes, number ^ 1, &limits).is_err());
            let number = number % (1 << 32);
            let bytes = header.to_bytes(number);
            let read = FrameHeader::read_unnumbered(&bytes, &limits);
            prop_assert_eq!(read, Some((header, bytes.len(), number)));
        }
    }
}
