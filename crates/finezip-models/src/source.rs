//! Bytes by offset, from a file that is held open or from memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// A file (held open, so that it stays the same one) or a piece of memory.
#[derive(Debug)]
pub(crate) struct ByteSource {
    name: String,
    length: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File { path: PathBuf, file: Mutex<File> },
    Memory(Arc<[u8]>),
}

impl ByteSource {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
        Ok(Self {
            name: path.display().to_string(),
            length: metadata.len(),
            place: Place::File { path: path.to_owned(), file: Mutex::new(file) },
        })
    }

    pub(crate) fn memory(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { name: name.into(), length: bytes.len() as u64, place: Place::Memory(bytes) }
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in all.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end.
    pub(crate) fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let room = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..room];
        match &self.place {
            Place::Memory(bytes) => {
                let start = offset.min(bytes.len() as u64) as usize;
                buffer.copy_from_slice(&bytes[start..start + room]);
            }
            Place::File { path, file } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset))
                    .and_then(|_| file.read_exact(buffer))
                    .map_err(|error| Error::io(path, error))?;
            }
        }
        Ok(room)
    }

    /// The `length` bytes at `offset`, which must lie inside.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(Error::malformed(
                &self.name,
                offset,
                format!("{length} bytes"),
                format!("{}", self.length.saturating_sub(offset)),
            ));
        }
        let mut bytes = vec![0; length];
        self.read_some(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Feeds all bytes to a hash.
    pub(crate) fn hash(&self, hasher: &mut blake3::Hasher) -> Result<()> {
        if let Place::Memory(bytes) = &self.place {
            hasher.update(bytes);
            return Ok(());
        }
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < self.length {
            let count = self.read_some(offset, &mut buffer)?;
            hasher.update(&buffer[..count]);
            offset += count as u64;
        }
        Ok(())
    }
}

/// Reads a source from its start through a buffer, and knows where it stands.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    source: &'a ByteSource,
    buffer: Vec<u8>,
    buffer_start: u64,
    position: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a ByteSource) -> Self {
        Self { source, buffer: Vec::new(), buffer_start: 0, position: 0 }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from here to the end.
    pub(crate) fn remaining(&self) -> u64 {
        self.source.length() - self.position
    }

    /// An error at this place.
    pub(crate) fn malformed(&self, expected: impl ToString, found: impl ToString) -> Error {
        Error::malformed(self.source.name(), self.position, expected, found)
    }

    /// Checks that `count` items of at least `item_bytes` bytes can follow, before memory is set
    /// aside for them.
    pub(crate) fn check_count(&self, what: &str, count: u64, item_bytes: u64) -> Result<usize> {
        if count.checked_mul(item_bytes).is_none_or(|bytes| bytes > self.remaining()) {
            let expected = format!("at most {} {what}", self.remaining() / item_bytes.max(1));
            return Err(self.malformed(expected, count));
        }
        usize::try_from(count).map_err(|_| self.malformed(format!("fewer {what}"), count))
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `target` with the next bytes.
    pub(crate) fn fill(&mut self, target: &mut [u8]) -> Result<()> {
        if target.len() as u64 > self.remaining() {
            let expected = format!("{} more bytes", target.len());
            return Err(self.malformed(expected, format!("the end after {}", self.remaining())));
        }
        let mut filled = 0;
        while filled < target.len() {
            let start = (self.position - self.buffer_start) as usize;
            let ready = self.buffer.get(start..).unwrap_or_default();
            if ready.is_empty() {
                self.buffer.resize(1 << 18, 0);
                let count = self.source.read_some(self.position, &mut self.buffer)?;
                self.buffer.truncate(count);
                self.buffer_start = self.position;
                continue;
            }
            let count = ready.len().min(target.len() - filled);
            target[filled..filled + count].copy_from_slice(&ready[..count]);
            filled += count;
            self.position += count as u64;
        }
        Ok(())
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A 64-bit length, then so many bytes, appended to `target`.
    pub(crate) fn append_text(&mut self, target: &mut Vec<u8>) -> Result<()> {
        let length = self.u64()?;
        let length = self.check_count("bytes of text", length, 1)?;
        let start = target.len();
        target.resize(start + length, 0);
        self.fill(&mut target[start..])
    }

    /// Passes over `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Result<()> {
        if count > self.remaining() {
            let expected = format!("{count} more bytes");
            return Err(self.malformed(expected, format!("the end after {}", self.remaining())));
        }
        self.position += count;
        if self.position - self.buffer_start > self.buffer.len() as u64 {
            self.buffer.clear();
            self.buffer_start = self.position;
        }
        Ok(())
    }
}
