//! Random access: the frames of an archive without decoding them, and any range of its text.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

use crate::archive::descriptor::MOST_EXTRA_BYTES;
use crate::archive::end::{MIN_FRAME_BYTES, digest};
use crate::archive::limits::within;
use crate::archive::parser::read_descriptor;
use crate::archive::{
    ADAPTER_TAG, Descriptor, END_TAG, End, FOOTER_BYTES, FORMAT_VERSION, FrameHeader, Limits,
    MAGIC, Method, START_BYTES, TAIL_MAGIC, adapter, block_crc,
};
use crate::components::Components;
use crate::decompress::{Decompressor, MemberDecoder, expect_adapter, undescribed};
use crate::error::{Error, Result};

/// A frame in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// Number of its member in the archive.
    pub member: usize,
    /// Its number in the member.
    pub number: u64,
    /// Offset of its block in the archive.
    pub offset: u64,
    /// Bytes of its block.
    pub block_bytes: u64,
    /// Offset of its text.
    pub text_offset: u64,
    /// What its header says.
    pub header: FrameHeader,
    block_number: u64,
}

/// A member of an archive.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes, end and footer included.
    pub bytes: u64,
    /// Bytes of text.
    pub text_bytes: u64,
    /// What its frames need.
    pub descriptor: Option<Descriptor>,
    /// The adapter that travels with it, if one does.
    pub adapter: Option<AdapterInfo>,
}

/// An adapter in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Offset of its block in the archive.
    pub offset: u64,
    /// Bytes of its block.
    pub block_bytes: u64,
    block_number: u64,
}

/// An archive's index, read from its end.
pub struct ArchiveIndex {
    /// The members in order.
    pub members: Vec<MemberInfo>,
    /// The frames in order.
    pub frames: Vec<FrameInfo>,
}

impl ArchiveIndex {
    /// Reads the indexes of all members, from the last to the first, and their frames' headers.
    pub fn read<S: Read + Seek>(source: &mut S, limits: &Limits) -> Result<Self> {
        let mut end_of_member = source.seek(SeekFrom::End(0))?;
        if end_of_member == 0 {
            return Err(Error::NotAnArchive { found: Vec::new() });
        }
        let start = read_at(source, 0, end_of_member.min(START_BYTES))?;
        check_start(&start)?;
        let mut members = Vec::new();
        while end_of_member > 0 {
            let (start, end) = read_end(source, end_of_member, limits)?;
            members.push((start, end_of_member, end));
            end_of_member = start;
        }
        members.reverse();
        let mut index = Self { members: Vec::new(), frames: Vec::new() };
        let mut text_offset = 0;
        for (start, stop, end) in members {
            text_offset = index.add_member(source, start, stop, &end, text_offset, limits)?;
        }
        Ok(index)
    }

    /// Adds a member whose text begins at `first_text`, and gives the offset of the text after it.
    fn add_member<S: Read + Seek>(
        &mut self,
        source: &mut S,
        start: u64,
        stop: u64,
        end: &End,
        first_text: u64,
        limits: &Limits,
    ) -> Result<u64> {
        check_start(&read_at(source, start, START_BYTES)?)?;
        let adapter = end.adapter_offset().map(|offset| AdapterInfo {
            offset: start + offset,
            block_bytes: end.adapter_bytes,
            block_number: end.frames_before_descriptor,
        });
        let descriptor = match end.descriptor_offset() {
            Some(offset) => {
                // The limit is one of the body.
                let most = limits.descriptor_bytes.saturating_add(MOST_EXTRA_BYTES);
                within("bytes of descriptor", end.descriptor_bytes, most)?;
                let block = read_at(source, start + offset, end.descriptor_bytes)?;
                let number = end.frames_before_descriptor + u64::from(adapter.is_some());
                let read = read_descriptor(&block, number, limits)
                    .map_err(|error| error.at(None, start + offset))?;
                match read {
                    Some((descriptor, length)) if length as u64 == end.descriptor_bytes => {
                        Some(descriptor)
                    }
                    _ => {
                        return Err(Error::damaged("descriptor", "its length is not the index's")
                            .at(None, start + offset));
                    }
                }
            }
            None => None,
        };
        let first_frame = self.frames.len();
        let mut offset = start + START_BYTES;
        let mut text_offset = first_text;
        for (number, entry) in (0_u64..).zip(&end.frames) {
            let after_descriptor =
                end.descriptor_bytes > 0 && number >= end.frames_before_descriptor;
            if after_descriptor && number == end.frames_before_descriptor {
                offset += end.head_bytes();
            }
            let block_number = number + if after_descriptor { end.head_blocks() } else { 0 };
            let head = read_at(source, offset, entry.block_bytes.min(MAX_HEADER_BYTES))?;
            let header = match FrameHeader::read(&head, block_number, limits) {
                Ok(Some((header, length)))
                    if header.original_bytes == entry.original_bytes
                        && length as u64 + header.payload_bytes + 4 == entry.block_bytes =>
                {
                    header
                }
                Ok(_) => {
                    return Err(Error::damaged("frame header", "it is not what the index says")
                        .at(Some(number), offset));
                }
                Err(error) => return Err(error.at(Some(number), offset)),
            };
            self.frames.push(FrameInfo {
                member: self.members.len(),
                number,
                offset,
                block_bytes: entry.block_bytes,
                text_offset,
                header,
                block_number,
            });
            offset += entry.block_bytes;
            text_offset += entry.original_bytes;
        }
        // A frame of another archive may have the same number and lengths.
        let hashes: Vec<u64> =
            self.frames[first_frame..].iter().map(|frame| frame.header.content_hash).collect();
        if digest(&hashes) != end.digest {
            let what = "it does not list the frames that stand before it";
            return Err(Error::damaged("index", what).at(None, start + end.body_bytes()));
        }
        self.members.push(MemberInfo {
            offset: start,
            bytes: stop - start,
            text_bytes: text_offset - first_text,
            descriptor,
            adapter,
        });
        Ok(text_offset)
    }

    /// Bytes of text in the archive.
    pub fn text_bytes(&self) -> u64 {
        self.members.iter().fold(0, |sum, member| sum.saturating_add(member.text_bytes))
    }

    /// Writes a range of the text, decoding only the frames that hold it. The range is cut at the
    /// text's end. Gives the number of bytes written.
    pub fn extract<S: Read + Seek>(
        &self,
        source: &mut S,
        range: Range<u64>,
        decompressor: &Decompressor,
        writer: &mut dyn Write,
    ) -> Result<u64> {
        let mut decoder = MemberDecoder::new(decompressor);
        let mut held = None;
        let mut written = 0;
        for frame in &self.frames {
            let text_end = frame.text_offset + frame.header.original_bytes;
            if range.is_empty() || text_end <= range.start || frame.text_offset >= range.end {
                continue;
            }
            if let Some(parts) = self.parts_for(frame, &mut held, source, decompressor)? {
                decoder.set_components(Some(parts));
            }
            let payload = read_payload(source, frame)?;
            let text = decoder
                .frame(frame.number, &frame.header, &payload)
                .map_err(|error| error.at(Some(frame.number), frame.offset))?;
            let from = range.start.saturating_sub(frame.text_offset) as usize;
            let to = (range.end.min(text_end) - frame.text_offset) as usize;
            writer.write_all(&text[from..to])?;
            written += (to - from) as u64;
        }
        Ok(written)
    }
}

impl ArchiveIndex {
    /// The parts that decode a frame, if it takes any that are not at hand. `held` says which are:
    /// those of a member, and whether the language is among them.
    fn parts_for<S: Read + Seek>(
        &self,
        frame: &FrameInfo,
        held: &mut Option<(usize, bool)>,
        source: &mut S,
        decompressor: &Decompressor,
    ) -> Result<Option<Components>> {
        let method = frame.header.method;
        let with_language = method.needs_language();
        let is_held = held.is_some_and(|(member, has_language)| {
            member == frame.member && (has_language || !with_language)
        });
        if !method.needs_descriptor() {
            return Ok(None);
        }
        // Behind the descriptor it has a higher number among blocks than among frames.
        if frame.block_number == frame.number {
            return Err(undescribed(method));
        }
        if is_held {
            return Ok(None);
        }
        let parts = self.components_of(frame, with_language, source, decompressor)?;
        *held = Some((frame.member, with_language));
        Ok(Some(parts))
    }

    /// The parts that decode the frames of a frame's member, or those of them that do not take the
    /// model.
    fn components_of<S: Read + Seek>(
        &self,
        frame: &FrameInfo,
        with_language: bool,
        source: &mut S,
        decompressor: &Decompressor,
    ) -> Result<Components> {
        let member = &self.members[frame.member];
        let Some(descriptor) = &member.descriptor else {
            return Err(undescribed(frame.header.method));
        };
        if member.adapter.is_some() {
            expect_adapter(descriptor)?;
        }
        if !with_language {
            return decompressor.resolve_without_language(descriptor);
        }
        let adapter = match &member.adapter {
            Some(adapter) => Some(read_adapter(source, adapter, &decompressor.limits())?),
            None => None,
        };
        decompressor.resolve(descriptor, adapter.as_deref())
    }

    /// Records in the archive: those of all its frames, if it has been compressed as records.
    pub fn records(&self) -> u64 {
        self.frames.iter().fold(0, |sum, frame| sum.saturating_add(records_of(frame)))
    }

    /// Writes some records, each with what follows it in the text (a line end, for lines), decoding
    /// nothing else. The range is cut at the last record. Gives the number of bytes written.
    ///
    /// # Errors
    /// [`Error::NoRecords`] where a frame that is asked for, or stands before, has none; damage of
    /// the records asked for, not of others.
    pub fn extract_records<S: Read + Seek>(
        &self,
        source: &mut S,
        wanted: Range<u64>,
        decompressor: &Decompressor,
        writer: &mut dyn Write,
    ) -> Result<u64> {
        let mut decoder = MemberDecoder::new(decompressor);
        let mut held = None;
        let (mut first, mut written) = (0, 0);
        for frame in &self.frames {
            // What follows is not asked for, whatever it is.
            if first >= wanted.end {
                break;
            }
            let Method::Records { records, .. } = frame.header.method else {
                return Err(Error::NoRecords { frame: frame.number });
            };
            let within = wanted.start.max(first)..wanted.end.min(first + records);
            let numbers = within.start.saturating_sub(first)..within.end.saturating_sub(first);
            first += records;
            if within.is_empty() {
                continue;
            }
            if let Some(parts) = self.parts_for(frame, &mut held, source, decompressor)? {
                decoder.set_components(Some(parts));
            }
            // The frame's own checksum is over all of it; records have theirs.
            let (payload, _) = read_block(source, frame)?;
            let text = decoder
                .records(&frame.header, &payload, numbers)
                .map_err(|error| error.at(Some(frame.number), frame.offset))?;
            writer.write_all(&text)?;
            written += text.len() as u64;
        }
        Ok(written)
    }
}

fn records_of(frame: &FrameInfo) -> u64 {
    match frame.header.method {
        Method::Records { records, .. } => records,
        _ => 0,
    }
}

/// A frame header with all its numbers at their longest.
pub(crate) const MAX_HEADER_BYTES: u64 = 2 + 4 * 10 + 8 + 4;

fn check_start(start: &[u8]) -> Result<()> {
    if start.len() < START_BYTES as usize || start[..MAGIC.len()] != MAGIC {
        return Err(Error::NotAnArchive { found: start[..start.len().min(MAGIC.len())].to_vec() });
    }
    if start[MAGIC.len()] != FORMAT_VERSION {
        return Err(Error::FormatVersion { found: start[MAGIC.len()], known: FORMAT_VERSION });
    }
    Ok(())
}

fn read_at<S: Read + Seek>(source: &mut S, offset: u64, count: u64) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    source.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of the member that stops at `stop`, and where that member starts.
pub(crate) fn read_end<S: Read + Seek>(
    source: &mut S,
    stop: u64,
    limits: &Limits,
) -> Result<(u64, End)> {
    let truncated = || Error::Truncated { offset: stop, held: 0, frame: None };
    let footer_at = stop.checked_sub(FOOTER_BYTES).ok_or_else(truncated)?;
    let footer = read_at(source, footer_at, FOOTER_BYTES)?;
    if footer.len() as u64 != FOOTER_BYTES || footer[4..] != TAIL_MAGIC {
        return Err(truncated());
    }
    let length = u64::from(u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]));
    within("bytes of index", length, limits.end_bytes)?;
    let end_at = footer_at.checked_sub(length).ok_or_else(truncated)?;
    let block = read_at(source, end_at, length + FOOTER_BYTES)?;
    let damaged = |what: &str| Error::damaged("index", what).at(None, end_at);
    if block.first() != Some(&END_TAG) {
        return Err(damaged("it does not begin with E"));
    }
    let longer = || damaged("its frames are longer than the archive");
    // Before its entries are taken to memory, where they are longer.
    if End::frame_count(&block).is_some_and(|count| count > end_at / MIN_FRAME_BYTES) {
        return Err(longer());
    }
    // Its number is that of the blocks before it, which it lists itself.
    let unchecked = End::read_numbered(&block).map_err(|error| error.at(None, end_at))?;
    let Some((end, read)) = unchecked else { return Err(damaged("it ends too early")) };
    if read != block.len() {
        return Err(damaged("its length is not the footer's"));
    }
    let start = end_at.checked_sub(end.body_bytes()).ok_or_else(longer)?;
    Ok((start, end))
}

/// The stored form of an adapter.
fn read_adapter<S: Read + Seek>(
    source: &mut S,
    adapter: &AdapterInfo,
    limits: &Limits,
) -> Result<Vec<u8>> {
    let most = limits.adapter_bytes.saturating_add(adapter::MOST_EXTRA_BYTES);
    within("bytes of adapter", adapter.block_bytes, most)?;
    let block = read_at(source, adapter.offset, adapter.block_bytes)?;
    let damaged = |what: &str| Error::damaged("adapter", what).at(None, adapter.offset);
    if block.first() != Some(&ADAPTER_TAG) {
        return Err(damaged("it does not begin with A"));
    }
    match adapter::read(&block, adapter.block_number, limits)
        .map_err(|error| error.at(None, adapter.offset))?
    {
        Some((body, length)) if length as u64 == adapter.block_bytes => Ok(body.to_vec()),
        _ => Err(damaged("its length is not the index's")),
    }
}

fn read_payload<S: Read + Seek>(source: &mut S, frame: &FrameInfo) -> Result<Vec<u8>> {
    let (payload, found) = read_block(source, frame)?;
    let expected = block_crc(frame.block_number, &payload);
    if expected != found {
        return Err(
            Error::checksum("payload", found, expected).at(Some(frame.number), frame.offset)
        );
    }
    Ok(payload)
}

/// A frame's payload and the checksum that stands behind it.
fn read_block<S: Read + Seek>(source: &mut S, frame: &FrameInfo) -> Result<(Vec<u8>, u32)> {
    let payload_bytes = frame.header.payload_bytes;
    let payload_at = frame.offset + frame.block_bytes - payload_bytes - 4;
    let mut block = read_at(source, payload_at, payload_bytes + 4)?;
    if block.len() as u64 != payload_bytes + 4 {
        return Err(Error::Truncated {
            offset: frame.offset,
            held: block.len() as u64,
            frame: Some(frame.number),
        });
    }
    let crc = block.split_off(payload_bytes as usize);
    Ok((block, u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]])))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::archive::{IndexEntry, content_hash, start_bytes};
    use crate::progress::Progress;
    use crate::records::{self, RecordRule};

    /// An archive of a stored frame and a frame of records whose payload is no index of records,
    /// though every checksum holds.
    fn no_index_of_records() -> Vec<u8> {
        let mut archive = start_bytes().to_vec();
        let descriptor = Descriptor::default().to_block(0);
        archive.extend(&descriptor);
        let frames = [
            (1, Method::Stored, &b"text"[..], &b"text"[..]),
            (2, Method::Records { records: 1, tokens: 0 }, b"text", b"\x07zz"),
        ];
        let (mut entries, mut hashes) = (Vec::new(), Vec::new());
        for (number, method, text, payload) in frames {
            let header = FrameHeader {
                method,
                original_bytes: text.len() as u64,
                payload_bytes: payload.len() as u64,
                content_hash: content_hash(text),
            };
            let crc = block_crc(number, payload).to_le_bytes();
            let block = [&header.to_bytes(number), payload, &crc].concat();
            entries.push(IndexEntry {
                block_bytes: block.len() as u64,
                original_bytes: header.original_bytes,
            });
            hashes.push(header.content_hash);
            archive.extend(block);
        }
        let end = End {
            descriptor_bytes: descriptor.len() as u64,
            frames: entries,
            digest: digest(&hashes),
            ..End::default()
        };
        archive.extend(end.to_bytes(3).unwrap());
        archive
    }

    #[test]
    fn damage_is_named_by_its_frame_and_offset_whatever_reads_it() {
        let archive = no_index_of_records();
        let decompressor = Decompressor::without_model();
        let mut source = Cursor::new(&archive);
        let index = ArchiveIndex::read(&mut source, &Limits::default()).unwrap();
        let frame = index.frames[1];
        assert!(frame.offset > START_BYTES);
        let mut text = Vec::new();
        let all = 0..u64::MAX;
        let errors = [
            decompressor.decompress(&archive).unwrap_err(),
            index.extract(&mut source, all, &decompressor, &mut text).unwrap_err(),
        ];
        for error in errors {
            let Error::Damaged { part, frame: number, offset, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!((*part, *number, *offset), ("index of records", Some(1), frame.offset));
        }
        assert_eq!(text, b"text");
        let mut text = Vec::new();
        let recovery = decompressor.recover(&mut source, &mut text).unwrap();
        assert_eq!(text, b"text");
        let [loss] = &recovery.losses[..] else { panic!("{:?}", recovery.losses) };
        let place = format!("frame 1, index of records at offset {}", frame.offset);
        assert!(loss.why.contains(&place), "{}", loss.why);
    }

    #[test]
    fn the_limit_of_a_descriptor_is_one_of_its_body() {
        let archive = no_index_of_records();
        let limits = Limits { descriptor_bytes: 0, ..Limits::default() };
        let index = ArchiveIndex::read(&mut Cursor::new(&archive), &limits).unwrap();
        assert_eq!(index.members[0].descriptor, Some(Descriptor::default()));
    }

    #[test]
    fn a_frame_that_stands_without_its_description_is_refused_whatever_reads_it() {
        let (parts, text) = (Components::default(), b"one\ntwo");
        let rule = RecordRule::LINES;
        let coded = records::encode(&parts, rule, text, Progress::default(), None).unwrap();
        let decompressor = Decompressor::without_model();
        for (has_descriptor, frames_before_descriptor) in [(true, 0), (true, 1), (false, 0)] {
            let number = u64::from(has_descriptor) - frames_before_descriptor;
            let crc = block_crc(number, &coded.payload).to_le_bytes();
            let frame = [&coded.header.to_bytes(number)[..], &coded.payload, &crc].concat();
            let descriptor = if has_descriptor {
                Descriptor::default().to_block(frames_before_descriptor)
            } else {
                Vec::new()
            };
            let blocks = match frames_before_descriptor {
                0 => [&descriptor[..], &frame[..]].concat(),
                _ => [&frame[..], &descriptor[..]].concat(),
            };
            let end = End {
                descriptor_bytes: descriptor.len() as u64,
                frames_before_descriptor,
                frames: vec![IndexEntry {
                    block_bytes: frame.len() as u64,
                    original_bytes: text.len() as u64,
                }],
                digest: digest(&[coded.header.content_hash]),
                ..End::default()
            };
            let end = end.to_bytes(1 + u64::from(has_descriptor)).unwrap();
            let archive = [&start_bytes()[..], &blocks[..], &end[..]].concat();
            let is_read = has_descriptor && frames_before_descriptor == 0;
            let mut source = Cursor::new(&archive);
            let index = ArchiveIndex::read(&mut source, &Limits::default()).unwrap();
            let (mut all, mut first, mut recovered) = (Vec::new(), Vec::new(), Vec::new());
            for found in [
                decompressor.decompress(&archive).map(|_| ()),
                index.extract(&mut source, 0..9, &decompressor, &mut all).map(|_| ()),
                index.extract_records(&mut source, 0..1, &decompressor, &mut first).map(|_| ()),
            ] {
                match found {
                    Ok(()) => assert!(is_read),
                    Err(Error::Descriptor { what }) => {
                        assert!(!is_read && what.contains("stands without its"), "{what}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let recovery = decompressor.recover(&mut source, &mut recovered).unwrap();
            assert_eq!(recovery.is_whole(), is_read, "{:?}", recovery.losses);
            assert_eq!(recovered.is_empty(), !is_read);
        }
    }
}
