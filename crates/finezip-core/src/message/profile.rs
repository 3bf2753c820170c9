//! What a message refers to instead of carrying it: everything its decoder must have.
//!
//! A profile is the content of an archive's descriptor. Both sides of a channel hold it, as a file
//! or because they made it of the same settings, and messages name it by some bytes of its hash.

use std::fmt;

use crate::archive::parser::read_descriptor;
use crate::archive::{Descriptor, Limits};
use crate::error::{Error, Result};

/// The first bytes of a profile file, of which the last is its version.
const START: [u8; 5] = [0x8F, b'F', b'Z', b'P', 1];

/// XXH3 of everything that decides how text is decoded: the descriptor's body without the model's
/// name, which may differ between two machines, and with the prime as it is, whatever form it is
/// stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileId(pub u64);

impl ProfileId {
    /// The part of it that messages hold.
    pub fn prefix(self) -> ProfilePrefix {
        ProfilePrefix((self.0 >> 32) as u32)
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The upper half of a [`ProfileId`]: enough to tell one's profiles apart. The whole of it takes
/// part in a message's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfilePrefix(pub u32);

impl fmt::Display for ProfilePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The parts with which messages are coded, as a file can hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What a decoder must have.
    pub descriptor: Descriptor,
}

impl Profile {
    /// Its identifier.
    pub fn id(&self) -> ProfileId {
        ProfileId(self.descriptor.identity())
    }

    /// The profile as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&START[..], &self.descriptor.to_block(0)].concat()
    }

    /// Whether a file begins like a profile.
    pub fn is_profile(start: &[u8]) -> bool {
        start.starts_with(&START[..4])
    }

    /// Reads a profile file.
    ///
    /// # Errors
    /// [`Error::NotAProfile`] for other files and other versions, and what a descriptor may say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let refuse = |what: &str| Err(Error::NotAProfile { what: what.into() });
        let Some(block) = bytes.strip_prefix(&START[..4]) else {
            return refuse("it does not begin with 8f 46 5a 50");
        };
        match block.split_first() {
            Some((1, block)) if block.first() == Some(&crate::archive::DESCRIPTOR_TAG) => {
                match read_descriptor(block, 0, &Limits::default())? {
                    Some((descriptor, length)) if length == block.len() => Ok(Self { descriptor }),
                    Some(_) => refuse("it goes on after its descriptor"),
                    None => refuse("it ends too early"),
                }
            }
            Some((1, _)) => refuse("no descriptor follows its version"),
            Some((version, _)) => refuse(&format!("version {version}; 1 is known")),
            None => refuse("it ends too early"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::bytes::put_bytes;
    use crate::archive::{DESCRIPTOR_TAG, block_crc, content_hash};
    use crate::bytes::Zstd;
    use crate::record::Record;

    fn profile() -> Profile {
        let byte_coder = Some(Record::new("byte-mixer", 1).with("table_bits", 28));
        Profile { descriptor: Descriptor { language: None, byte_coder } }
    }

    #[test]
    fn profiles_come_back_and_nothing_else_is_one() {
        let file = profile().to_bytes();
        assert_eq!(Profile::from_bytes(&file).unwrap(), profile());
        for length in 0..file.len() {
            assert!(Profile::from_bytes(&file[..length]).is_err(), "cut to {length}");
        }
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 0x20;
            assert!(Profile::from_bytes(&damaged).is_err(), "byte {place}");
        }
        assert!(Profile::from_bytes(&[&file[..], b"x"].concat()).is_err());
    }

    /// A prime that Zstandard makes smaller, and the identifier of its profile: a constant, because
    /// every message with a prime holds it.
    const PRIME: &[u8] = b"the end of the thing, the end of the thing, the end of the thing\n";
    const PRIMED_ID: ProfileId = ProfileId(0x7786_3980_1276_282a);

    /// The body of a profile, written by hand, with the content of its prime's field.
    fn body(name: &[u8], prime_field: &[u8], has_later_field: bool) -> Vec<u8> {
        let mut body = Vec::new();
        let fields: [(u8, &[u8]); 9] = [
            (1, name),
            (2, &[3; 32]),
            (3, b"\x05exact\x01"),
            (5, &[7; 16]),
            (6, b"\x07rolling\x01\x05lanes\x40"),
            (7, b"\x0Aarithmetic\x01"),
            (8, b"\x0Abyte-mixer\x01"),
            (10, prime_field),
            (200, b"later"),
        ];
        for (tag, content) in &fields[..if has_later_field { 9 } else { 8 }] {
            body.push(*tag);
            put_bytes(&mut body, content);
        }
        body
    }

    fn file(body: &[u8]) -> Vec<u8> {
        let mut block = vec![DESCRIPTOR_TAG];
        put_bytes(&mut block, body);
        let crc = block_crc(0, &block).to_le_bytes();
        [&START[..], &block, &crc].concat()
    }

    #[test]
    fn the_identifier_does_not_depend_on_how_a_prime_is_stored() {
        let stored = [&[0], PRIME].concat();
        let packed = |payload: Vec<u8>| [&[1, PRIME.len() as u8], &payload[..]].concat();
        // Another level stands for another version of Zstandard, which promises no bytes.
        let ours = packed(Zstd::compress(PRIME).unwrap());
        let other = packed(zstd::bulk::compress(PRIME, 1).unwrap());
        assert!(ours.len() < stored.len() && other != ours);
        for (name, has_later_field) in [(&b"any"[..], false), (b"another", false), (b"any", true)] {
            for field in [&stored, &ours, &other] {
                let read = Profile::from_bytes(&file(&body(name, field, has_later_field))).unwrap();
                assert_eq!(read.descriptor.language.as_ref().unwrap().prime, PRIME);
                assert_eq!(read.id(), PRIMED_ID, "found {}", read.id());
                // Read from what is written of it.
                assert_eq!(Profile::from_bytes(&read.to_bytes()).unwrap().id(), PRIMED_ID);
            }
        }
        // As the format says: over the body without the name, with the prime in form 0.
        assert_eq!(content_hash(&body(b"", &stored, false)), PRIMED_ID.0);
    }

    #[test]
    fn any_setting_changes_the_identifier() {
        let mut other = profile();
        other.descriptor.byte_coder = Some(Record::new("byte-mixer", 1).with("table_bits", 27));
        assert_ne!(other.id(), profile().id());
        assert_ne!(other.id().prefix(), profile().id().prefix());
    }
}
