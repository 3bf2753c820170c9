//! Bytes in, blocks out: the one reader of archives, whatever they come from.
//!
//! Bytes are pushed as they arrive and blocks are taken as they become whole, so that the same
//! code serves a pipe, a file and a test that cuts an archive at every byte. Never more than one
//! block is held, and what was pushed together with its end.

use super::bytes::{ByteReader, Short};
use super::limits::{Limits, within};
use super::{
    ADAPTER_TAG, DESCRIPTOR_TAG, Descriptor, END_TAG, End, FOOTER_BYTES, FORMAT_VERSION, FRAME_TAG,
    FrameHeader, IndexEntry, MAGIC, START_BYTES, adapter, block_crc, end, number_of,
};
use crate::error::{Error, Result};

/// A whole and checked piece of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A member begins.
    Start,
    /// The adapter that the descriptor right after it names, as stored.
    Adapter(Vec<u8>),
    /// What the member's frames need.
    Descriptor(Box<Descriptor>),
    /// A frame: its number in the member (frames only, from 0), its header and its payload.
    Frame(u64, FrameHeader, Vec<u8>),
    /// A member ends; all its frames were as its index says.
    End(End),
}

/// Reads an archive that is pushed to it.
#[derive(Debug)]
pub struct BlockParser {
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that belong to blocks already taken.
    taken: usize,
    /// Offset in the archive of the next block.
    offset: u64,
    members: u64,
    member: Option<Member>,
}

/// What was seen of the member at hand.
#[derive(Debug, Default)]
struct Member {
    blocks: u64,
    descriptor_bytes: u64,
    adapter_bytes: u64,
    frames_before_descriptor: u64,
    frames: Vec<IndexEntry>,
    /// Bytes that they take in an index.
    entry_bytes: u64,
    hashes: Vec<u64>,
    end: end::Arrival,
}

impl BlockParser {
    /// A parser at the start of an archive.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), taken: 0, offset: 0, members: 0, member: None }
    }

    /// Adds the archive's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Offset in the archive of the next block, for messages.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next whole block, or `None` if more bytes are needed.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        let frame = self.member.as_ref().map(|member| member.frames.len() as u64);
        self.parse().map_err(|error| error.at(frame, self.offset))
    }

    /// Ends the archive: an error unless it ends where a member does.
    pub fn finish(&self) -> Result<()> {
        if self.members == 0 && self.member.is_none() {
            return Err(Error::NotAnArchive { found: self.rest().to_vec() });
        }
        if self.member.is_some() || !self.rest().is_empty() {
            return Err(Error::Truncated {
                offset: self.offset,
                held: self.rest().len() as u64,
                frame: self.member.as_ref().map(|member| member.frames.len() as u64),
            });
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    fn take(&mut self, length: usize) {
        self.taken += length;
        self.offset += length as u64;
    }

    fn parse(&mut self) -> Result<Option<Block>> {
        let Some(&tag) = self.rest().first() else { return Ok(None) };
        if self.member.is_none() {
            return self.parse_start();
        }
        let awaits_descriptor = self
            .member
            .as_ref()
            .is_some_and(|member| member.adapter_bytes > 0 && member.descriptor_bytes == 0);
        if awaits_descriptor && tag != DESCRIPTOR_TAG {
            return Err(Error::damaged("block", "an adapter without a descriptor right after it"));
        }
        match tag {
            ADAPTER_TAG => self.parse_adapter(),
            DESCRIPTOR_TAG => self.parse_descriptor(),
            FRAME_TAG => self.parse_frame(),
            END_TAG => self.parse_end(),
            _ => Err(Error::damaged("block", format!("tag {tag:#04x} is none of A, D, F, E"))),
        }
    }

    fn parse_start(&mut self) -> Result<Option<Block>> {
        let rest = self.rest();
        let seen = rest.len().min(MAGIC.len());
        if rest[..seen] != MAGIC[..seen] {
            if self.members > 0 {
                return Err(Error::damaged(
                    "archive",
                    "bytes after its last member that do not begin another",
                ));
            }
            return Err(Error::NotAnArchive { found: rest[..seen].to_vec() });
        }
        let Some(&version) = rest.get(MAGIC.len()) else { return Ok(None) };
        if version != FORMAT_VERSION {
            return Err(Error::FormatVersion { found: version, known: FORMAT_VERSION });
        }
        self.take(START_BYTES as usize);
        self.members += 1;
        self.member = Some(Member::default());
        Ok(Some(Block::Start))
    }

    fn parse_adapter(&mut self) -> Result<Option<Block>> {
        let rest = &self.buffer[self.taken..];
        let Some(member) = &mut self.member else { return Ok(None) };
        if member.descriptor_bytes > 0 {
            return Err(Error::damaged("block", "an adapter after the member's descriptor"));
        }
        let Some((body, length)) = adapter::read(rest, member.blocks, &self.limits)? else {
            return Ok(None);
        };
        let body = body.to_vec();
        member.blocks += 1;
        member.adapter_bytes = length as u64;
        self.take(length);
        Ok(Some(Block::Adapter(body)))
    }

    fn parse_descriptor(&mut self) -> Result<Option<Block>> {
        let rest = &self.buffer[self.taken..];
        let Some(member) = &mut self.member else { return Ok(None) };
        if member.descriptor_bytes > 0 {
            return Err(Error::damaged("block", "a second descriptor in one member"));
        }
        let Some((descriptor, length)) = read_descriptor(rest, member.blocks, &self.limits)? else {
            return Ok(None);
        };
        member.blocks += 1;
        member.descriptor_bytes = length as u64;
        member.frames_before_descriptor = member.frames.len() as u64;
        self.take(length);
        Ok(Some(Block::Descriptor(Box::new(descriptor))))
    }

    fn parse_frame(&mut self) -> Result<Option<Block>> {
        let rest = &self.buffer[self.taken..];
        let Some(member) = &mut self.member else { return Ok(None) };
        let Some((header, header_bytes)) = FrameHeader::read(rest, member.blocks, &self.limits)?
        else {
            return Ok(None);
        };
        // Within limits, so it fits.
        let payload_end = header_bytes + header.payload_bytes as usize;
        let Some(crc) = rest.get(payload_end..payload_end + 4) else { return Ok(None) };
        let payload = &rest[header_bytes..payload_end];
        let expected = block_crc(member.blocks, payload);
        let found = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        if expected != found {
            return Err(Error::checksum("payload", found, expected));
        }
        let length = payload_end + 4;
        let entry =
            IndexEntry { block_bytes: length as u64, original_bytes: header.original_bytes };
        // No index that may be read lists more: frames without end take no memory without end.
        let entry_bytes = member.entry_bytes + entry.bytes();
        member.entry_bytes = within("bytes of index", entry_bytes, self.limits.end_bytes)?;
        let payload = payload.to_vec();
        let number = member.frames.len() as u64;
        member.blocks += 1;
        member.hashes.push(header.content_hash);
        member.frames.push(entry);
        self.take(length);
        Ok(Some(Block::Frame(number, header, payload)))
    }

    fn parse_end(&mut self) -> Result<Option<Block>> {
        let rest = &self.buffer[self.taken..];
        let Some(member) = &mut self.member else { return Ok(None) };
        let others = || {
            let what = "it does not list the frames that stand before it";
            Error::damaged("index", what)
        };
        // As many entries as there are frames are taken to memory, and no more.
        if End::frame_count(rest).is_some_and(|count| count != member.frames.len() as u64) {
            return Err(others());
        }
        // No further than it may reach, however much of it is there: a block that goes on is
        // refused before its entries are taken to memory.
        let most = self.limits.end_bytes.saturating_add(FOOTER_BYTES);
        let reach = usize::try_from(most).map_or(rest.len(), |most| most.min(rest.len()));
        let found = match member.end.is_over(&rest[..reach]) {
            true => End::read(&rest[..reach], member.blocks)?,
            false => None,
        };
        let Some((found, length)) = found else {
            within("bytes of index and footer", rest.len() as u64, most)?;
            return Ok(None);
        };
        let expected = End {
            descriptor_bytes: member.descriptor_bytes,
            adapter_bytes: member.adapter_bytes,
            frames_before_descriptor: member.frames_before_descriptor,
            frames: member.frames.clone(),
            digest: end::digest(&member.hashes),
        };
        if found != expected {
            return Err(others());
        }
        self.member = None;
        self.take(length);
        Ok(Some(Block::End(found)))
    }
}

/// Reads a descriptor block, block `number` of its member; `Ok(None)` if `bytes` end within it.
/// With it comes its length, checksum included.
pub(crate) fn read_descriptor(
    bytes: &[u8],
    number: u64,
    limits: &Limits,
) -> Result<Option<(Descriptor, usize)>> {
    let mut reader = ByteReader::new(bytes);
    let length = match reader.byte().and_then(|_| reader.varint()) {
        Err(Short::End) => return Ok(None),
        Err(Short::Varint) => {
            return Err(Error::damaged("descriptor", "its length is not a varint"));
        }
        Ok(length) => within("bytes of descriptor", length, limits.descriptor_bytes)?,
    };
    let Ok(body) = reader.take(length as usize) else { return Ok(None) };
    let crc_at = reader.position();
    let Ok(crc) = reader.array() else { return Ok(None) };
    let (expected, found) = (block_crc(number, &bytes[..crc_at]), u32::from_le_bytes(crc));
    if expected != found {
        return Err(Error::checksum("descriptor", found, expected));
    }
    Ok(Some((Descriptor::from_body(body)?, reader.position())))
}

/// Bytes of the descriptor block that `bytes` begin with, checksum included, judged by its length
/// and the lengths of its fields alone; `None` for what is no descriptor.
pub(crate) fn descriptor_length(bytes: &[u8], limits: &Limits) -> Option<usize> {
    let mut reader = ByteReader::new(bytes);
    let (tag, length) = (reader.byte().ok()?, reader.varint().ok()?);
    if tag != DESCRIPTOR_TAG || length > limits.descriptor_bytes {
        return None;
    }
    let body = reader.take(usize::try_from(length).ok()?).ok()?;
    reader.array::<4>().ok()?;
    Descriptor::has_fields(body).then(|| reader.position())
}

/// Like [`read_descriptor`] where the number is not known: the number under which the checksum
/// holds comes with it. `None` for what is no whole descriptor.
pub(crate) fn read_unnumbered_descriptor(
    bytes: &[u8],
    limits: &Limits,
) -> Option<(Descriptor, usize, u64)> {
    let mut reader = ByteReader::new(bytes);
    let tag = reader.byte().ok()?;
    let length = reader.varint().ok()?;
    if tag != DESCRIPTOR_TAG || length > limits.descriptor_bytes {
        return None;
    }
    let body = reader.take(length as usize).ok()?;
    let crc_at = reader.position();
    let crc = u32::from_le_bytes(reader.array().ok()?);
    let descriptor = Descriptor::from_body(body).ok()?;
    Some((descriptor, reader.position(), number_of(crc, &bytes[..crc_at])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Method, content_hash, start_bytes};

    /// A parser that has taken a member's start.
    fn begun(limits: Limits) -> BlockParser {
        let mut parser = BlockParser::new(limits);
        parser.push(&start_bytes());
        assert_eq!(parser.next_block().unwrap(), Some(Block::Start));
        parser
    }

    #[test]
    fn frames_that_no_index_may_list_are_refused_before_it_comes() {
        let mut parser = begun(Limits { end_bytes: 100, ..Limits::default() });
        let header = FrameHeader {
            method: Method::Stored,
            original_bytes: 0,
            payload_bytes: 0,
            content_hash: content_hash(b""),
        };
        let mut taken = 0;
        let error = loop {
            parser.push(&header.to_bytes(taken));
            parser.push(&block_crc(taken, b"").to_le_bytes());
            match parser.next_block() {
                Ok(block) => assert!(matches!(block, Some(Block::Frame(..)))),
                Err(error) => break error,
            }
            taken += 1;
            assert!(taken < 1000);
        };
        assert!(matches!(error, Error::Limit { what: "bytes of index", .. }), "{error}");
        assert_eq!(taken, 50);
    }

    #[test]
    fn an_index_of_more_frames_than_there_are_is_refused_before_its_entries_come() {
        let mut parser = begun(Limits::default());
        parser.push(&[END_TAG, 0]);
        assert_eq!(parser.next_block().unwrap(), None);
        parser.push(&[1]);
        let error = parser.next_block().unwrap_err();
        assert!(matches!(error, Error::Damaged { part: "index", .. }), "{error}");
    }
}
