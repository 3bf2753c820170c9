//! Bytes of an archive by their offset, a piece of it held at a time.

use std::io::{Read, Seek, SeekFrom};

use crate::error::Result;

/// Bytes read at once: few calls, little memory.
const PIECE_BYTES: usize = 256 << 10;

/// What reading a single byte far away counts for.
const FAR_BYTE_WORK: u64 = 512;

/// A source of which a piece is held.
pub(super) struct Window<'s, S> {
    source: &'s mut S,
    length: u64,
    held: Vec<u8>,
    held_at: u64,
    work: u64,
}

impl<'s, S: Read + Seek> Window<'s, S> {
    pub(super) fn new(source: &'s mut S) -> Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        Ok(Self { source, length, held: Vec::new(), held_at: 0, work: 0 })
    }

    /// Bytes of the whole source.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that were read or checksummed so far, and other work noted.
    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// Notes work that is like that on so many bytes.
    pub(super) fn add_work(&mut self, bytes: u64) {
        self.work = self.work.saturating_add(bytes);
    }

    /// The source itself. What is held stays valid: nobody writes to it.
    pub(super) fn source(&mut self) -> &mut S {
        self.source
    }

    /// `count` bytes from `offset` on, fewer where the source ends.
    pub(super) fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8]> {
        let count = count.min(usize::try_from(self.length.saturating_sub(offset)).unwrap_or(count));
        let held_end = self.held_at + self.held.len() as u64;
        if offset < self.held_at || offset + count as u64 > held_end {
            self.source.seek(SeekFrom::Start(offset))?;
            self.held.clear();
            self.held_at = offset;
            let wanted = count.max(PIECE_BYTES) as u64;
            self.source.by_ref().take(wanted).read_to_end(&mut self.held)?;
            self.work = self.work.saturating_add(self.held.len() as u64);
        }
        let from = (offset - self.held_at) as usize;
        // A source that has become shorter meanwhile gives what it has.
        Ok(&self.held[from.min(self.held.len())..(from + count).min(self.held.len())])
    }

    /// The byte at `offset`, if there is one. What is held stays held: this looks far ahead.
    pub(super) fn byte(&mut self, offset: u64) -> Result<Option<u8>> {
        if let Some(ahead) = offset.checked_sub(self.held_at)
            && let Some(&byte) = usize::try_from(ahead).ok().and_then(|at| self.held.get(at))
        {
            return Ok(Some(byte));
        }
        if offset >= self.length {
            return Ok(None);
        }
        let mut byte = Vec::with_capacity(1);
        self.source.seek(SeekFrom::Start(offset))?;
        self.source.by_ref().take(1).read_to_end(&mut byte)?;
        self.add_work(FAR_BYTE_WORK);
        Ok(byte.first().copied())
    }

    /// The CRC-32 of a block's number and of `count` bytes from `offset` on; `None` where the
    /// source ends before.
    pub(super) fn block_crc(
        &mut self,
        number: u64,
        mut offset: u64,
        count: u64,
    ) -> Result<Option<u32>> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&number.to_le_bytes());
        let end = offset.saturating_add(count);
        if end > self.length {
            return Ok(None);
        }
        self.add_work(count);
        while offset < end {
            let wanted = (end - offset).min(PIECE_BYTES as u64) as usize;
            let bytes = self.bytes(offset, wanted)?;
            if bytes.len() < wanted {
                return Ok(None);
            }
            hasher.update(bytes);
            offset += wanted as u64;
        }
        Ok(Some(hasher.finalize()))
    }

    /// The first offset from `offset` on at which one of `wanted` stands.
    pub(super) fn find(&mut self, mut offset: u64, wanted: &[u8]) -> Result<Option<u64>> {
        loop {
            let bytes = self.bytes(offset, PIECE_BYTES / 4)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(at) = bytes.iter().position(|byte| wanted.contains(byte)) {
                return Ok(Some(offset + at as u64));
            }
            offset += bytes.len() as u64;
        }
    }
}
