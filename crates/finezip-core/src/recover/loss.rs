//! What a damaged archive has lost, in terms of its text and of its bytes.

use std::fmt;
use std::ops::Range;

/// Something that is not as a compressor wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Number of the member in the archive, from 0.
    pub member: usize,
    /// What is lost.
    pub what: Lost,
    /// The bytes of the archive that are damaged, or at which something is missing (an empty
    /// range).
    pub archive: Range<u64>,
    /// How it was found.
    pub why: String,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// Frames with their text.
    Frames {
        /// Number of the first in its member.
        first: u64,
        /// How many there are.
        count: u64,
        /// Offset of their text in the whole text, where the lengths of all before are known.
        text_offset: Option<u64>,
        /// Bytes of their text, where they are known.
        text_bytes: Option<u64>,
        /// Offset in what was written at which their text would stand.
        output_offset: u64,
    },
    /// The index at a member's end: whether frames followed the last one found is not known.
    Index,
    /// The first bytes of a member; no text.
    Start,
    /// The description of what frames are coded with. Frames that need it are lost as well,
    /// unless the description of another member fits.
    Descriptor,
    /// The adapter that travels with it. Frames coded with it are lost as well, unless it is
    /// found elsewhere.
    Adapter,
    /// The order: a block that stands twice or out of its place; no text.
    Order,
    /// Nothing: bytes stand here that are no part of the archive.
    Nothing,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member;
        match &self.what {
            Lost::Frames { first, count, text_offset, text_bytes, output_offset } => {
                match count {
                    1 => write!(f, "member {member}, frame {first}: ")?,
                    _ => {
                        write!(f, "member {member}, frames {first} to {}: ", last(*first, *count))?
                    }
                }
                match (text_offset, text_bytes) {
                    (Some(from), Some(bytes)) => {
                        write!(f, "bytes {from}..{} of the text", from.saturating_add(*bytes))?;
                    }
                    (Some(from), None) => {
                        write!(f, "text from byte {from} on, how much is not known,")?
                    }
                    (None, Some(bytes)) => write!(f, "{bytes} bytes of text")?,
                    (None, None) => write!(f, "text of unknown length")?,
                }
                write!(f, " lost, at byte {output_offset} of what was written")?;
            }
            Lost::Index => write!(
                f,
                "member {member}: its index is lost; whether text followed its last frame is not \
                 known"
            )?,
            Lost::Start => write!(f, "member {member}: its first bytes are lost, but no text")?,
            Lost::Descriptor => write!(
                f,
                "member {member}: the description of what its frames are coded with is lost"
            )?,
            Lost::Adapter => {
                write!(f, "member {member}: the adapter its frames are coded with is lost")?
            }
            Lost::Order => {
                write!(f, "member {member}: blocks are not in their order; no text is lost")?;
            }
            Lost::Nothing => write!(f, "bytes that are no part of the archive")?,
        }
        let Range { start, end } = self.archive;
        write!(f, " (archive bytes {start}..{end}: {})", self.why)
    }
}

/// The last of `count` frames from `first` on.
fn last(first: u64, count: u64) -> u64 {
    first.saturating_add(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_past_the_last_are_told() {
        let (first, text_offset, text_bytes) = (u64::MAX, Some(5), Some(u64::MAX));
        let what = Lost::Frames { first, count: 2, text_offset, text_bytes, output_offset: 0 };
        let loss = Loss { member: 0, what, archive: 0..1, why: "forged".into() };
        assert!(loss.to_string().contains("bytes 5..18446744073709551615 of the text lost"));
    }
}
