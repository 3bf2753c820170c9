//! Adapters that are written to, in the manner of `flate2::write`.

use std::io::{self, Write};

use crate::archive::end::{check_writable, digest};
use crate::archive::{
    Block, BlockParser, Descriptor, End, FrameHeader, IndexEntry, Limits, Method, adapter,
    block_crc, start_bytes,
};
use crate::compress::{Compressor, DescriptionBytes};
use crate::decompress::{Decompressor, MemberDecoder};
use crate::error::{Error, Result};
use crate::progress::{Observer, Progress, Timing};
use crate::records::FrameSearch;

/// The most bytes that an encoder takes to the text it holds before it looks for whole frames, and
/// a decoder to the archive it holds before it looks for whole blocks.
const PIECE_BYTES: usize = 64 << 10;

/// What was compressed or decompressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of text.
    pub text_bytes: u64,
    /// Bytes of archive.
    pub archive_bytes: u64,
    /// Of these, bytes of embedded adapters.
    pub adapter_bytes: u64,
    /// Tokens in frames coded with a model.
    pub tokens: u64,
    /// Frames coded with a model.
    pub model_frames: u64,
    /// Frames coded otherwise.
    pub other_frames: u64,
    /// Time spent.
    pub timing: Timing,
}

impl Summary {
    /// How far a run is that has come to this.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            text_bytes: self.text_bytes,
            archive_bytes: self.archive_bytes,
            tokens: self.tokens,
        }
    }

    pub(crate) fn add_frame(&mut self, header: &FrameHeader, timing: Timing) {
        self.text_bytes += header.original_bytes;
        match header.method {
            Method::Model { tokens, .. } => {
                self.tokens += tokens;
                self.model_frames += 1;
            }
            Method::Records { tokens, .. } if tokens > 0 => {
                self.tokens += tokens;
                self.model_frames += 1;
            }
            _ => self.other_frames += 1,
        }
        self.timing += timing;
    }
}

/// Compresses what is written to it and writes an archive to `W`.
///
/// Holds one frame of text, and a little. [`Encoder::finish`] must be called: an archive without
/// its end is truncated. After an error nothing more is taken, and `finish` fails as well: the text
/// that was at hand then is lost, and an archive without it would look whole.
pub struct Encoder<'c, W: Write> {
    writer: W,
    compressor: &'c Compressor,
    observer: Option<Box<Observer<'static>>>,
    text: Vec<u8>,
    search: FrameSearch,
    blocks: u64,
    end: End,
    hashes: Vec<u64>,
    /// Bytes that the index's entries take.
    entry_bytes: u64,
    /// Bytes of an end block that readers take.
    end_limit: u64,
    summary: Summary,
    /// Whether text is lost to an error.
    failed: bool,
}

impl<'c, W: Write> Encoder<'c, W> {
    /// An encoder of one archive member.
    pub fn new(writer: W, compressor: &'c Compressor) -> Self {
        Self {
            writer,
            compressor,
            observer: None,
            text: Vec::new(),
            search: FrameSearch::default(),
            blocks: 0,
            end: End::default(),
            hashes: Vec::new(),
            entry_bytes: 0,
            end_limit: Limits::default().end_bytes,
            summary: Summary::default(),
            failed: false,
        }
    }

    /// Tells `observer` how far it is.
    #[must_use]
    pub fn observed(mut self, observer: Box<Observer<'static>>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Codes what is left, ends the archive and gives the writer back.
    pub fn finish(mut self) -> Result<(W, Summary)> {
        if self.failed {
            return Err(Error::failed_before("encoder"));
        }
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.write_frame(&text, true)?;
        }
        self.begin()?;
        self.end.digest = digest(&self.hashes);
        let end = self.end.to_bytes(self.blocks)?;
        self.put(&end)?;
        self.writer.flush()?;
        self.report();
        Ok((self.writer, self.summary))
    }

    fn report(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer(self.summary.progress());
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes)?;
        self.summary.archive_bytes += bytes.len() as u64;
        Ok(())
    }

    /// The adapter block, empty for none, and the descriptor block, at this place; without
    /// language for a member whose frames need the byte coder alone.
    fn description(&self, with_language: bool) -> [Vec<u8>; 2] {
        let descriptor = self.compressor.components().descriptor();
        let (adapter, descriptor) = match with_language {
            true => (self.compressor.embedded_adapter(), descriptor),
            false => (None, Descriptor { language: None, ..descriptor }),
        };
        let adapter = adapter.map_or_else(Vec::new, |body| adapter::to_block(body, self.blocks));
        let number = self.blocks + u64::from(!adapter.is_empty());
        [adapter, descriptor.to_block(number)]
    }

    fn begin(&mut self) -> Result<()> {
        if self.summary.archive_bytes == 0 { self.put(&start_bytes()) } else { Ok(()) }
    }

    /// The description is for all frames: where more follow, the first need not earn it alone.
    fn write_frame(&mut self, text: &[u8], is_last: bool) -> Result<()> {
        let before = self.summary.progress();
        // Of a member that has no description yet and ends here, this frame is the only one that
        // could need the model.
        let is_only = is_last && self.end.descriptor_bytes == 0;
        let description = if is_only {
            DescriptionBytes {
                model: self.description(true).iter().map(Vec::len).sum(),
                byte_coder: self.description(false).iter().map(Vec::len).sum(),
            }
        } else {
            DescriptionBytes::default()
        };
        let observer = self.observer.as_deref_mut();
        let frame = self.compressor.code_frame(text, description, before, observer)?;
        self.begin()?;
        if frame.header.method.needs_descriptor() && self.end.descriptor_bytes == 0 {
            let with_language = !is_only || frame.header.method.needs_language();
            let [adapter, descriptor] = self.description(with_language);
            self.put(&adapter)?;
            self.put(&descriptor)?;
            self.blocks += 1 + u64::from(!adapter.is_empty());
            self.end.adapter_bytes = adapter.len() as u64;
            self.end.descriptor_bytes = descriptor.len() as u64;
            self.end.frames_before_descriptor = self.end.frames.len() as u64;
            self.summary.adapter_bytes = adapter.len() as u64;
        }
        let header = frame.header.to_bytes(self.blocks);
        let crc = block_crc(self.blocks, &frame.payload).to_le_bytes();
        self.put(&header)?;
        self.put(&frame.payload)?;
        self.put(&crc)?;
        self.blocks += 1;
        let entry = IndexEntry {
            block_bytes: (header.len() + frame.payload.len() + crc.len()) as u64,
            original_bytes: frame.header.original_bytes,
        };
        self.entry_bytes += entry.bytes();
        check_writable(self.entry_bytes, self.end_limit)?;
        self.end.frames.push(entry);
        self.hashes.push(frame.header.content_hash);
        self.summary.add_frame(&frame.header, frame.timing);
        self.report();
        Ok(())
    }
}

impl<W: Write> Encoder<'_, W> {
    /// Takes text, and writes the frames that it makes whole.
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        self.text.extend_from_slice(piece);
        let text = std::mem::take(&mut self.text);
        let written = self.write_frames(&text);
        self.text = text;
        self.text.drain(..written?);
        Ok(())
    }

    /// Writes the frames at the beginning of `text` that nothing more can belong to, and gives
    /// their bytes of text.
    fn write_frames(&mut self, text: &[u8]) -> Result<usize> {
        let mut start = 0;
        while let Some(length) = self.compressor.frame_end(&text[start..], &mut self.search)? {
            self.search = FrameSearch::default();
            self.write_frame(&text[start..start + length], false)?;
            start += length;
        }
        Ok(start)
    }
}

impl<W: Write> Write for Encoder<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(Error::failed_before("encoder").into_io());
        }
        // Until all of it is done: an error or a panic leaves it so.
        self.failed = true;
        // In pieces: all of a long text would be held a second time.
        for piece in bytes.chunks(PIECE_BYTES) {
            self.take(piece).map_err(Error::into_io)?;
        }
        self.failed = false;
        Ok(bytes.len())
    }

    /// Does not end a frame: only what is whole is written.
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Decompresses the archive that is written to it and writes the text to `W`.
///
/// Text is written frame by frame, after its checksum has been held. [`Decoder::finish`] must be
/// called to know that the archive was whole. After an error nothing more is taken, and `finish`
/// fails as well: text would be missing before what comes next.
pub struct Decoder<'d, W: Write> {
    writer: W,
    parser: BlockParser,
    member: MemberDecoder<'d>,
    /// Whether text is lost to an error.
    failed: bool,
}

impl<'d, W: Write> Decoder<'d, W> {
    /// A decoder of one archive, of any number of members.
    pub fn new(writer: W, decompressor: &'d Decompressor) -> Self {
        Self {
            writer,
            parser: BlockParser::new(decompressor.limits()),
            member: MemberDecoder::new(decompressor),
            failed: false,
        }
    }

    /// Tells `observer` how far it is.
    #[must_use]
    pub fn observed(mut self, observer: Box<Observer<'static>>) -> Self {
        self.member.observe(observer);
        self
    }

    /// Checks that the archive is whole and gives the writer back.
    pub fn finish(mut self) -> Result<(W, Summary)> {
        if self.failed {
            return Err(Error::failed_before("decoder"));
        }
        self.parser.finish()?;
        self.writer.flush()?;
        self.member.report_end();
        Ok((self.writer, self.member.summary()))
    }

    fn blocks(&mut self) -> Result<()> {
        loop {
            let offset = self.parser.offset();
            let Some(block) = self.parser.next_block()? else { return Ok(()) };
            let is_frame = matches!(block, Block::Frame(..));
            let text = self.member.block(block, offset..self.parser.offset())?;
            if is_frame {
                self.writer.write_all(&text)?;
            }
        }
    }
}

impl<W: Write> Write for Decoder<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(Error::failed_before("decoder").into_io());
        }
        self.failed = true;
        // In pieces: all of a long archive would be held a second time.
        for piece in bytes.chunks(PIECE_BYTES) {
            self.parser.push(piece);
            self.member.archive_bytes(piece.len());
            self.blocks().map_err(Error::into_io)?;
        }
        self.failed = false;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RecordRule;

    /// Fails when it has been written to so many times.
    struct Failing(usize);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => return Err(io::Error::other("full")),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines of all lengths up to a hundred bytes.
    fn lines(bytes: usize) -> Vec<u8> {
        let line = |i: usize| [&vec![b'a' + (i % 26) as u8; i * 37 % 100][..], b"\n"].concat();
        (0..).flat_map(line).take(bytes).collect()
    }

    #[test]
    fn no_more_than_a_frame_and_a_piece_of_text_is_held() {
        let text = lines(12 * PIECE_BYTES);
        for (frame_bytes, records) in [
            (4096, None),
            (4096, Some(RecordRule::LINES)),
            (4096, Some(RecordRule::Bytes(1000))),
            (3 * PIECE_BYTES, None),
        ] {
            let mut builder = Compressor::builder().frame_bytes(frame_bytes);
            if let Some(rule) = records {
                builder = builder.records(rule);
            }
            let compressor = builder.build().unwrap();
            // A vector grows to twice what it has to hold.
            let most = 2 * (frame_bytes + 2 * PIECE_BYTES);
            let mut encoder = Encoder::new(Vec::new(), &compressor);
            encoder.write_all(&text).unwrap();
            assert!(encoder.text.capacity() <= most, "{frame_bytes}, {records:?}");
            // Nor is it while frames are written.
            let mut encoder = Encoder::new(Failing(4), &compressor);
            encoder.write_all(&text).unwrap_err();
            assert!((1..=most).contains(&encoder.text.len()), "{frame_bytes}, {records:?}");
        }
    }

    #[test]
    fn no_more_than_a_block_and_a_piece_of_archive_is_held() {
        let compressor = Compressor::builder().frame_bytes(4096).build().unwrap();
        let archive = compressor.compress(&lines(3 * 4096)).unwrap();
        let archives = archive.repeat(2 * PIECE_BYTES / archive.len() + 1);
        let decompressor = Decompressor::without_model();
        let mut decoder = Decoder::new(Failing(0), &decompressor);
        decoder.write_all(&archives).unwrap_err();
        assert_eq!(decoder.member.summary().archive_bytes, PIECE_BYTES as u64);
    }

    #[test]
    fn more_frames_than_a_readable_index_holds_are_refused_while_they_are_written() {
        let limit = 200;
        let compressor = Compressor::builder().frame_bytes(1).build().unwrap();
        let text = vec![b'a'; 1000];
        let mut encoder = Encoder::new(Vec::new(), &compressor);
        encoder.end_limit = limit;
        let error = Error::from_io(encoder.write_all(&text).unwrap_err());
        assert!(matches!(error, Error::Settings(_)), "{error}");
        assert!(error.to_string().contains("raise the frame size"), "{error}");
        let written = encoder.summary.text_bytes as usize;
        assert!((50..100).contains(&written), "{written} frames");

        // What was not refused is read.
        let archive = compressor.compress(&text[..written]).unwrap();
        let limits = crate::Limits { end_bytes: limit, ..crate::Limits::default() };
        let decompressor = Decompressor::without_model().with_limits(limits);
        assert_eq!(decompressor.decompress(&archive).unwrap(), &text[..written]);
        let index = crate::ArchiveIndex::read(&mut io::Cursor::new(&archive), &limits).unwrap();
        assert_eq!(index.frames.len(), written);
    }
}
