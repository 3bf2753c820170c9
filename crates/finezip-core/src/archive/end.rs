//! The end of a member: an index for random access and a digest over its frames.

use super::bytes::{ByteReader, Short, put_varint, varint_bytes};
use super::frame::most_payload;
use super::limits::Limits;
use super::{END_TAG, FOOTER_BYTES, START_BYTES, TAIL_MAGIC, block_crc, content_hash};
use crate::error::{Error, Result};

/// A frame block without payload and with all its numbers at their shortest.
pub(crate) const MIN_FRAME_BYTES: u64 = 2 + 2 + 8 + 4 + 4;
/// More than a block has besides its payload or body.
const MAX_FRAMING_BYTES: u64 = 64;
/// Entries that [`End::is_plausible`] looks at; they take 160 bytes at most.
const ENTRIES_LOOKED_AT: u64 = 8;
/// More than an end block has besides its entries.
const MAX_BESIDES_BYTES: u64 = 1 + 4 * 10 + 8 + 4;

/// Where one frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Bytes of the frame block: header, payload and checksums.
    pub block_bytes: u64,
    /// Bytes of text.
    pub original_bytes: u64,
}

/// The content of an end block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Bytes of the descriptor block, 0 for none.
    pub descriptor_bytes: u64,
    /// Bytes of the adapter block directly before the descriptor block, 0 for none; only with a
    /// descriptor block.
    pub adapter_bytes: u64,
    /// Frames that stand before the descriptor block, and before its adapter block.
    pub frames_before_descriptor: u64,
    /// The frames in order.
    pub frames: Vec<IndexEntry>,
    /// XXH3-64 over the frames' content hashes, 8 bytes little-endian each.
    pub digest: u64,
}

impl IndexEntry {
    /// Bytes that it takes in the index.
    pub(crate) fn bytes(&self) -> u64 {
        (varint_bytes(self.block_bytes) + varint_bytes(self.original_bytes)) as u64
    }
}

/// An error where an end block whose entries take so many bytes may be longer than readers allow.
pub(crate) fn check_writable(entry_bytes: u64, limit: u64) -> Result<()> {
    if entry_bytes.saturating_add(MAX_BESIDES_BYTES) > limit {
        return Err(Error::Settings(format!(
            "frames too small for a text of this length: the index of more than {limit} bytes could \
             not be read; raise the frame size"
        )));
    }
    Ok(())
}

/// The digest of a member whose frames have these content hashes.
pub fn digest(content_hashes: &[u64]) -> u64 {
    let bytes: Vec<u8> = content_hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    content_hash(&bytes)
}

impl End {
    /// The end block and the footer, as block `number` of its member.
    pub(crate) fn to_bytes(&self, number: u64) -> Result<Vec<u8>> {
        let mut out = vec![END_TAG];
        put_varint(&mut out, self.descriptor_bytes);
        if self.descriptor_bytes > 0 {
            let has_adapter = self.adapter_bytes > 0;
            put_varint(&mut out, self.frames_before_descriptor << 1 | u64::from(has_adapter));
            if has_adapter {
                put_varint(&mut out, self.adapter_bytes);
            }
        }
        put_varint(&mut out, self.frames.len() as u64);
        for frame in &self.frames {
            put_varint(&mut out, frame.block_bytes);
            put_varint(&mut out, frame.original_bytes);
        }
        out.extend_from_slice(&self.digest.to_le_bytes());
        let crc = block_crc(number, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        let length = u32::try_from(out.len())
            .map_err(|_| Error::Settings("more frames than an index can hold".into()))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&TAIL_MAGIC);
        Ok(out)
    }

    /// Reads an end block with its footer; `Ok(None)` if `bytes` end within it. With it comes its
    /// length, footer included.
    pub(crate) fn read(bytes: &[u8], number: u64) -> Result<Option<(Self, usize)>> {
        let (end, length) = match Self::read_fields(bytes) {
            Err(Short::End) => return Ok(None),
            Err(Short::Varint) => {
                return Err(Error::damaged(
                    "index",
                    "a number is not a varint in its shortest form",
                ));
            }
            Ok(read) => read,
        };
        let Some(rest) = bytes.get(length..length + 4 + FOOTER_BYTES as usize) else {
            return Ok(None);
        };
        let expected = block_crc(number, &bytes[..length]);
        let found = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        if expected != found {
            return Err(Error::checksum("index", found, expected));
        }
        let block_bytes = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        if block_bytes != length + 4 || rest[8..] != TAIL_MAGIC {
            return Err(Error::damaged("footer", "it does not match the index before it"));
        }
        Ok(Some((end, length + 4 + FOOTER_BYTES as usize)))
    }

    /// Like [`End::read`] for an end found from behind: its number in the member is the number of
    /// blocks it lists. All of these must be as long as blocks are.
    pub(crate) fn read_numbered(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let mut reader = ByteReader::new(bytes);
        let Ok(head) = Head::read(&mut reader) else { return Self::read(bytes, 0) };
        // Before they are taken to memory, where they are longer.
        for _ in 0..head.count {
            let (Ok(block_bytes), Ok(_)) = (reader.varint(), reader.varint()) else { break };
            if block_bytes < MIN_FRAME_BYTES {
                let what = format!("it lists a frame of {block_bytes} bytes");
                return Err(Error::damaged("index", what));
            }
        }
        Self::read(bytes, head.count.saturating_add(head.blocks()))
    }

    /// Frames that an end block lists, once that number of it is there.
    pub(crate) fn frame_count(bytes: &[u8]) -> Option<u64> {
        Head::read(&mut ByteReader::new(bytes)).ok().map(|head| head.count)
    }

    /// Whether `bytes`, a few hundred at least where the archive goes on, begin like an end block:
    /// its first entries are lengths that frames can have. What looks like one by chance is found
    /// out without reading as many entries as it claims.
    pub(crate) fn is_plausible(bytes: &[u8], limits: &Limits) -> bool {
        let mut reader = ByteReader::new(bytes);
        let mut check = || -> Result<bool, Short> {
            if reader.byte()? != END_TAG {
                return Ok(false);
            }
            let descriptor_bytes = reader.varint()?;
            if descriptor_bytes > limits.descriptor_bytes.saturating_add(MAX_FRAMING_BYTES) {
                return Ok(false);
            }
            let count = if descriptor_bytes > 0 {
                let before = reader.varint()?;
                let adapter_bytes = if before & 1 == 1 { reader.varint()? } else { 0 };
                if adapter_bytes > limits.adapter_bytes.saturating_add(MAX_FRAMING_BYTES) {
                    return Ok(false);
                }
                let count = reader.varint()?;
                if before >> 1 > count {
                    return Ok(false);
                }
                count
            } else {
                reader.varint()?
            };
            for _ in 0..count.min(ENTRIES_LOOKED_AT) {
                let (block_bytes, original_bytes) = (reader.varint()?, reader.varint()?);
                if original_bytes > limits.frame_bytes
                    || block_bytes > most_payload(original_bytes).saturating_add(MAX_FRAMING_BYTES)
                    || block_bytes < MIN_FRAME_BYTES
                {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        check().unwrap_or(false)
    }

    fn read_fields(bytes: &[u8]) -> Result<(Self, usize), Short> {
        let mut reader = ByteReader::new(bytes);
        let Head { descriptor_bytes, adapter_bytes, frames_before_descriptor, count } =
            Head::read(&mut reader)?;
        // Every entry takes two bytes at least: no count makes us allocate more than we were given.
        let mut frames = Vec::with_capacity((count as usize).min(bytes.len() / 2));
        for _ in 0..count {
            frames.push(IndexEntry {
                block_bytes: reader.varint()?,
                original_bytes: reader.varint()?,
            });
        }
        let digest = u64::from_le_bytes(reader.array()?);
        let end =
            Self { descriptor_bytes, adapter_bytes, frames_before_descriptor, frames, digest };
        Ok((end, reader.position()))
    }

    /// Bytes of text in the member.
    pub fn original_bytes(&self) -> u64 {
        self.frames.iter().fold(0, |sum, frame| sum.saturating_add(frame.original_bytes))
    }

    /// Bytes from the member's first byte to its end block, saturating where they are forged.
    pub fn body_bytes(&self) -> u64 {
        let head = START_BYTES.saturating_add(self.head_bytes());
        self.frames.iter().fold(head, |sum, frame| sum.saturating_add(frame.block_bytes))
    }

    /// Bytes of the descriptor block and its adapter block.
    pub fn head_bytes(&self) -> u64 {
        self.descriptor_bytes.saturating_add(self.adapter_bytes)
    }

    /// Blocks that are no frames: the descriptor and its adapter.
    pub(crate) fn head_blocks(&self) -> u64 {
        u64::from(self.descriptor_bytes > 0) + u64::from(self.adapter_bytes > 0)
    }

    /// Offset of the adapter block from the member's first byte, if it has one.
    pub fn adapter_offset(&self) -> Option<u64> {
        (self.adapter_bytes > 0).then(|| self.head_offset())
    }

    /// Offset of the descriptor block from the member's first byte, if it has one.
    pub fn descriptor_offset(&self) -> Option<u64> {
        (self.descriptor_bytes > 0).then(|| self.head_offset().saturating_add(self.adapter_bytes))
    }

    /// Where the frames before the descriptor end.
    fn head_offset(&self) -> u64 {
        let before = usize::try_from(self.frames_before_descriptor).unwrap_or(usize::MAX);
        self.frames[..before.min(self.frames.len())]
            .iter()
            .fold(START_BYTES, |sum, frame| sum.saturating_add(frame.block_bytes))
    }
}

/// What stands before the entries of an end block.
struct Head {
    descriptor_bytes: u64,
    adapter_bytes: u64,
    frames_before_descriptor: u64,
    count: u64,
}

impl Head {
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, Short> {
        reader.byte()?;
        let descriptor_bytes = reader.varint()?;
        let before = if descriptor_bytes > 0 { reader.varint()? } else { 0 };
        let adapter_bytes = if before & 1 == 1 { reader.varint()? } else { 0 };
        let count = reader.varint()?;
        Ok(Self { descriptor_bytes, adapter_bytes, frames_before_descriptor: before >> 1, count })
    }

    /// Blocks that are no frames.
    fn blocks(&self) -> u64 {
        u64::from(self.descriptor_bytes > 0) + u64::from(self.adapter_bytes > 0)
    }
}

/// How far an end block has arrived: its numbers are counted as they come, so that a long index is
/// read when it is whole and not at every piece of it.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// Bytes of the block that were looked at.
    position: usize,
    /// Numbers of its entries that are still to come, once their count is known.
    left: Option<u64>,
}

impl Arrival {
    /// Whether the block and its footer are whole, or not what [`End::read`] can read, given all
    /// its bytes that are there by now.
    pub(crate) fn is_over(&mut self, bytes: &[u8]) -> bool {
        match self.skip_numbers(bytes) {
            Ok(()) => bytes.len() >= self.position + 8 + 4 + FOOTER_BYTES as usize,
            Err(short) => short == Short::Varint,
        }
    }

    /// Bytes of the block that were looked at.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Whether the footer of a block that is over fits it.
    pub(crate) fn has_footer(&self, bytes: &[u8]) -> bool {
        let block_bytes = self.position + 8 + 4;
        bytes.get(block_bytes..block_bytes + FOOTER_BYTES as usize).is_some_and(|footer| {
            footer[4..] == TAIL_MAGIC
                && u32::try_from(block_bytes).is_ok_and(|bytes| footer[..4] == bytes.to_le_bytes())
        })
    }

    fn skip_numbers(&mut self, bytes: &[u8]) -> Result<(), Short> {
        let mut left = match self.left {
            Some(left) => left,
            None => {
                let mut reader = ByteReader::new(bytes);
                let left = Head::read(&mut reader)?.count.saturating_mul(2);
                self.position = reader.position();
                left
            }
        };
        let mut reader = ByteReader::new(&bytes[self.position..]);
        let (mut read, mut skipped) = (0, Ok(()));
        while left > 0 && skipped.is_ok() {
            skipped = reader.varint().map(|_| {
                left -= 1;
                read = reader.position();
            });
        }
        self.position += read;
        self.left = Some(left);
        skipped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ends_come_back(
            descriptor_bytes in 0_u64..1000,
            adapter_bytes in prop_oneof![Just(0_u64), 1_u64..1 << 30],
            before in prop_oneof![0_u64..10, Just(u64::MAX >> 1)],
            entries in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            digest in any::<u64>(),
        ) {
            let end = End {
                descriptor_bytes,
                adapter_bytes: if descriptor_bytes > 0 { adapter_bytes } else { 0 },
                frames_before_descriptor: if descriptor_bytes > 0 { before } else { 0 },
                frames: entries
                    .iter()
                    .map(|&(block_bytes, original_bytes)| IndexEntry { block_bytes, original_bytes })
                    .collect(),
                digest,
            };
            let bytes = end.to_bytes(7).unwrap();
            for cut in 0..bytes.len() {
                prop_assert_eq!(End::read(&bytes[..cut], 7).unwrap(), None);
            }
            prop_assert_eq!(End::read(&bytes, 7).unwrap(), Some((end, bytes.len())));
            prop_assert!(End::read(&bytes, 8).is_err());
        }
    }

    #[test]
    fn an_arriving_index_is_over_when_it_is_whole_and_looked_at_once() {
        let frames = (0..100)
            .map(|i| IndexEntry { block_bytes: 1 << (i % 63), original_bytes: 3 << (i % 50) })
            .collect();
        let end = End { descriptor_bytes: 300, adapter_bytes: 5, frames, ..End::default() };
        let whole = end.to_bytes(102).unwrap();
        for piece in [1, 2, 7, 100] {
            let mut arrival = Arrival::default();
            let mut arrived = Vec::new();
            for bytes in whole.chunks(piece) {
                arrived.extend_from_slice(bytes);
                assert_eq!(arrival.is_over(&arrived), arrived.len() == whole.len(), "by {piece}");
                if arrival.left.is_some() {
                    // No valid number: looking at it again would end the arrival.
                    arrived[..arrival.position].fill(0xFF);
                }
            }
            assert!(arrival.has_footer(&arrived) && !arrival.has_footer(&arrived[1..]));
        }
        assert!(Arrival::default().is_over(&[&[END_TAG, 0, 1], &[0xFF; 10][..]].concat()));
    }

    #[test]
    fn an_index_that_readers_would_refuse_is_refused() {
        assert!(check_writable(1000 - MAX_BESIDES_BYTES, 1000).is_ok());
        let error = check_writable(1001 - MAX_BESIDES_BYTES, 1000).unwrap_err();
        assert!(matches!(error, Error::Settings(_)), "{error}");
        let frames = vec![IndexEntry { block_bytes: u64::MAX, original_bytes: 1 }; 9];
        let entries: u64 = frames.iter().map(IndexEntry::bytes).sum();
        let end = End {
            descriptor_bytes: u64::MAX,
            adapter_bytes: u64::MAX,
            frames_before_descriptor: u64::MAX >> 1,
            frames,
            digest: 0,
        };
        let bytes = end.to_bytes(0).unwrap().len() as u64 - FOOTER_BYTES;
        assert!(bytes <= entries + MAX_BESIDES_BYTES, "{bytes} bytes, {entries} of entries");
    }

    #[test]
    fn a_frame_shorter_than_any_is_not_listed() {
        for (block_bytes, is_read) in [(MIN_FRAME_BYTES, true), (MIN_FRAME_BYTES - 1, false)] {
            let entry = |block_bytes| IndexEntry { block_bytes, original_bytes: 0 };
            let frames = [40, block_bytes, 40].map(entry).to_vec();
            let end = End { descriptor_bytes: 6, frames, ..End::default() };
            let bytes = end.to_bytes(4).unwrap();
            let read = End::read_numbered(&bytes);
            match is_read {
                true => assert_eq!(read.unwrap(), Some((end, bytes.len()))),
                false => assert!(read.is_err()),
            }
        }
    }

    #[test]
    fn a_forged_count_allocates_nothing() {
        let mut bytes = vec![END_TAG, 0];
        put_varint(&mut bytes, u64::MAX);
        bytes.extend_from_slice(&[1; 50]);
        assert_eq!(End::read(&bytes, 0).unwrap(), None);
    }
}
