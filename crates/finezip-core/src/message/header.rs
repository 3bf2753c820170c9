//! What stands before a message's payload: 5 to 12 bytes.

use crate::archive::bytes::{ByteReader, Short, put_varint, varint_bytes};
use crate::archive::limits::within;
use crate::error::{Error, Result};
use crate::short::Form;

use super::profile::ProfilePrefix;

/// The first byte of a message of version 1 whose form is 0. No text in UTF-8 begins with any of
/// the sixteen bytes from here on, nor does an archive.
const FIRST: u8 = 0x90;

/// The most bytes of text, and the most tokens, that a message may have.
pub const MAX_MESSAGE_BYTES: u64 = 64 << 10;

/// Bytes of a header.
pub(super) fn header_bytes(form: Form, count: u64) -> usize {
    let profile = if form.needs_profile() { size_of::<ProfilePrefix>() } else { 0 };
    let count = if form == Form::Stored { 0 } else { varint_bytes(count) };
    1 + profile + count + size_of::<u32>()
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// How its payload is made.
    pub form: Form,
    /// The profile it needs; none where its form needs none.
    pub profile: Option<ProfilePrefix>,
    /// Tokens if the model coded it, else bytes of text.
    pub count: u64,
    /// CRC-32 of the profile's identifier and the text.
    pub check: u32,
    /// The text, coded.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Whether this is the first byte of a message, of whatever version.
    pub fn begins_with(byte: u8) -> bool {
        byte & 0xF0 == FIRST
    }

    /// The whole message.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![FIRST | self.form as u8];
        if let Some(ProfilePrefix(prefix)) = self.profile {
            out.extend_from_slice(&prefix.to_le_bytes());
        }
        if self.form != Form::Stored {
            put_varint(&mut out, self.count);
        }
        out.extend_from_slice(&self.check.to_le_bytes());
        out.extend_from_slice(self.payload);
        out
    }

    /// Reads a message, which is all of `bytes`, without decoding it.
    ///
    /// # Errors
    /// [`Error::Message`] where it is none or ends too early, [`Error::FormatVersion`] for a newer
    /// one, [`Error::Limit`] for one that says it is longer than [`MAX_MESSAGE_BYTES`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let Some(&first) = bytes.first() else {
            return Err(Error::Message { what: "it is empty".into() });
        };
        if !Self::begins_with(first) {
            return Err(Error::Message {
                what: format!("it begins with {first:02x}, a message with 90 to 9f"),
            });
        }
        let version = (first >> 2 & 3) + 1;
        if version != 1 {
            return Err(Error::FormatVersion { found: version, known: 1 });
        }
        let message = Self::read_fields(bytes).map_err(|short| Error::Message {
            what: match short {
                Short::End => "it ends within its header".into(),
                Short::Varint => "its length is not a varint in its shortest form".into(),
            },
        })?;
        if message.form == Form::Model && message.count == 0 {
            // Its payload would be looked at by nobody.
            return Err(Error::Message {
                what: "it is coded by the model and has 0 tokens, where at least 1 is expected"
                    .into(),
            });
        }
        within("bytes of text in a message", message.count, MAX_MESSAGE_BYTES)?;
        within("bytes of payload in a message", message.payload.len() as u64, MAX_MESSAGE_BYTES)?;
        Ok(message)
    }

    fn read_fields(bytes: &'a [u8]) -> Result<Self, Short> {
        let mut reader = ByteReader::new(bytes);
        let form = Form::from_bits(u64::from(reader.byte()?));
        let profile = match form.needs_profile() {
            true => Some(ProfilePrefix(u32::from_le_bytes(reader.array()?))),
            false => None,
        };
        let count = if form == Form::Stored { None } else { Some(reader.varint()?) };
        let check = u32::from_le_bytes(reader.array()?);
        let payload = &bytes[reader.position()..];
        let count = count.unwrap_or(payload.len() as u64);
        Ok(Self { form, profile, count, check, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(form: Form, count: u64) -> Vec<u8> {
        let profile = form.needs_profile().then_some(ProfilePrefix(7));
        Message { form, profile, count, check: 0, payload: &[] }.to_bytes()
    }

    #[test]
    fn headers_take_5_to_12_bytes() {
        let counts = [1, 127, 128, 16_383, 16_384, MAX_MESSAGE_BYTES];
        for (form, bytes) in [
            (Form::Stored, [5; 6]),
            (Form::Zstd, [6, 6, 7, 7, 8, 8]),
            (Form::Model, [10, 10, 11, 11, 12, 12]),
            (Form::Bytes, [10, 10, 11, 11, 12, 12]),
        ] {
            for (count, bytes) in counts.into_iter().zip(bytes) {
                assert_eq!(header_bytes(form, count), bytes, "{form:?}, {count}");
                assert_eq!(message(form, count).len(), bytes, "{form:?}, {count}");
            }
        }
    }

    #[test]
    fn a_message_of_the_model_has_tokens() {
        for payload in [&[][..], b"any"] {
            let forged = [&message(Form::Model, 0), payload].concat();
            let error = Message::parse(&forged).unwrap_err();
            assert!(matches!(error, Error::Message { .. }), "{error}");
        }
        assert!(Message::parse(&message(Form::Model, 1)).is_ok());
        assert!(Message::parse(&message(Form::Stored, 0)).is_ok());
    }
}
