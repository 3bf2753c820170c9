//! Adapters that are read from, in the manner of `flate2::read`.

use std::io::{self, Read};

use crate::archive::BlockParser;
use crate::compress::Compressor;
use crate::decompress::{Decompressor, MemberDecoder};
use crate::error::{Error, Result};
use crate::progress::Observer;
use crate::write::{self, Summary};

const READ_BYTES: usize = 64 << 10;

/// Reads an archive from `R` and gives the text.
///
/// After an error of the archive it gives no more text, but errors: a frame would be missing before
/// what comes next. An error of `R` itself may pass, and reading may then go on.
pub struct Decoder<'d, R: Read> {
    reader: R,
    parser: BlockParser,
    member: MemberDecoder<'d>,
    input: Vec<u8>,
    text: Vec<u8>,
    given: usize,
    ended: bool,
    /// Whether text is lost to an error.
    failed: bool,
}

impl<'d, R: Read> Decoder<'d, R> {
    /// A decoder of one archive, of any number of members, to the reader's end.
    pub fn new(reader: R, decompressor: &'d Decompressor) -> Self {
        Self {
            reader,
            parser: BlockParser::new(decompressor.limits()),
            member: MemberDecoder::new(decompressor),
            input: vec![0; READ_BYTES],
            text: Vec::new(),
            given: 0,
            ended: false,
            failed: false,
        }
    }

    /// Tells `observer` how far it is.
    #[must_use]
    pub fn observed(mut self, observer: Box<Observer<'static>>) -> Self {
        self.member.observe(observer);
        self
    }

    /// What has been decompressed so far.
    pub fn summary(&self) -> Summary {
        self.member.summary()
    }

    /// Gets more text; nothing more only at the archive's end.
    fn fill(&mut self) -> Result<()> {
        self.given = 0;
        self.text.clear();
        while self.text.is_empty() && !self.ended {
            if self.next_block()? {
                continue;
            }
            let count = match self.reader.read(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if count == 0 {
                self.parser.finish()?;
                self.ended = true;
                self.member.report_end();
            }
            self.member.archive_bytes(count);
            self.parser.push(&self.input[..count]);
        }
        Ok(())
    }
}

impl<R: Read> Decoder<'_, R> {
    /// Decodes the next block, if it is there as a whole.
    fn next_block(&mut self) -> Result<bool> {
        if self.failed {
            return Err(Error::failed_before("decoder"));
        }
        // Until the block is done: an error or a panic leaves it so.
        self.failed = true;
        let offset = self.parser.offset();
        let block = self.parser.next_block()?;
        let is_there = block.is_some();
        if let Some(block) = block {
            self.text = self.member.block(block, offset..self.parser.offset())?;
        }
        self.failed = false;
        Ok(is_there)
    }
}

impl<R: Read> Read for Decoder<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() && !out.is_empty() {
            self.fill().map_err(Error::into_io)?;
        }
        Ok(give(&self.text, &mut self.given, out))
    }
}

/// Reads text from `R` and gives an archive.
///
/// After an error of compressing it gives no more of it, but errors. An error of `R` itself may
/// pass, and reading may then go on.
pub struct Encoder<'c, R: Read> {
    reader: R,
    encoder: Option<write::Encoder<'c, Shared>>,
    shared: Shared,
    input: Vec<u8>,
    archive: Vec<u8>,
    given: usize,
    /// Whether a part of the archive is lost to an error.
    failed: bool,
}

/// Where the inner encoder's archive bytes wait to be read.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|held| held.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'c, R: Read> Encoder<'c, R> {
    /// An encoder of all that `reader` has.
    pub fn new(reader: R, compressor: &'c Compressor) -> Self {
        let shared = Shared::default();
        Self {
            reader,
            encoder: Some(write::Encoder::new(shared.clone(), compressor)),
            shared,
            input: vec![0; READ_BYTES],
            archive: Vec::new(),
            given: 0,
            failed: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.given = 0;
        self.archive.clear();
        while self.archive.is_empty() {
            if self.failed {
                return Err(Error::failed_before("encoder").into_io());
            }
            let Some(encoder) = &mut self.encoder else { return Ok(()) };
            let count = match self.reader.read(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            // Until all of it is done: an error or a panic leaves it so.
            self.failed = true;
            if count > 0 {
                io::Write::write_all(encoder, &self.input[..count])?;
            } else if let Some(encoder) = self.encoder.take() {
                encoder.finish().map_err(Error::into_io)?;
            }
            self.failed = false;
            self.archive = self.shared.with(std::mem::take);
        }
        Ok(())
    }
}

impl<R: Read> Read for Encoder<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.archive.len() && !out.is_empty() {
            self.fill()?;
        }
        Ok(give(&self.archive, &mut self.given, out))
    }
}

/// Copies what of `held` has not been given yet to `out`.
fn give(held: &[u8], given: &mut usize, out: &mut [u8]) -> usize {
    let count = (held.len() - *given).min(out.len());
    out[..count].copy_from_slice(&held[*given..*given + count]);
    *given += count;
    count
}
