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
/// name, which may differ between two machines.
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

    #[test]
    fn any_setting_changes_the_identifier() {
        let mut other = profile();
        other.descriptor.byte_coder = Some(Record::new("byte-mixer", 1).with("table_bits", 27));
        assert_ne!(other.id(), profile().id());
        assert_ne!(other.id().prefix(), profile().id().prefix());
    }
}
