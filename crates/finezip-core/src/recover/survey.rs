//! Which blocks of a damaged archive are whole, and to which member they belong.
//!
//! Blocks are walked one after another. Where no block stands, the walk goes on at the next one
//! the index knows of, if the archive has an index that fits; else at the next byte from which a
//! block can be read whose checksum holds under a number that may come next: a header tells its
//! own number (see [`crate::archive::number_of`]). A block found by chance would have to pass 32
//! bits of checksum for its header and 32 for its payload, and 64 more when it is decoded.
//!
//! Looking for blocks may take a fixed number of steps for each byte of the archive. What was forged
//! so that every place looks like a block of megabytes has used them up soon, and from there on
//! blocks are looked for only where an index says that they stand, and no further than to where it
//! says that the next one does.
//!
//! What is kept is bounded by the archive's length as well: blocks that no compressor writes, a
//! member's second descriptor above all, are a few bytes each and are left out, and no more members
//! begin than an archive of that length can have.

use std::io::{Read, Seek};
use std::ops::Range;

use super::window::Window;
use crate::archive::descriptor::MOST_EXTRA_BYTES;
use crate::archive::end::Arrival;
use crate::archive::parser::{descriptor_length, read_unnumbered_descriptor};
use crate::archive::{
    ADAPTER_TAG, DESCRIPTOR_TAG, Descriptor, END_TAG, End, FOOTER_BYTES, FRAME_TAG, FrameHeader,
    Limits, MAGIC, START_BYTES, adapter, start_bytes,
};
use crate::error::{Error, Result};
use crate::index::{MAX_HEADER_BYTES, read_end};

/// Blocks that may be missing between two that are there, for the second to be believed.
const BELIEVED_BLOCKS: u64 = 1 << 20;

/// Bytes that may be read, checksummed or looked through for each byte of an archive, and besides:
/// many times what a walk takes that has to search through gaps of noise.
const WORK_FACTOR: u64 = 64;
const WORK_BESIDES: u64 = 16 << 20;
/// What a byte that is parsed, or whose checksum is run backwards, counts for.
const PARSE_WORK: u64 = 8;

/// Bytes of a member without text: its start, an end block with no entries, and the footer.
pub(super) const MIN_MEMBER_BYTES: u64 = START_BYTES + 15 + FOOTER_BYTES;
/// Members that may be found besides those that fit the archive: damage may have made them shorter.
pub(super) const MEMBERS_BESIDES: u64 = 1024;

/// Bytes of an end block that are looked at before all of it is read.
const END_PROBE_BYTES: usize = 256;

/// A block that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    /// The offset after it, by its header; a damaged frame may be shorter in truth.
    pub(super) end: u64,
    /// Its number in its member.
    pub(super) number: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// An adapter, directly before its descriptor.
    Adapter {
        body: Range<u64>,
    },
    Descriptor(Box<Descriptor>),
    Frame {
        header: FrameHeader,
        header_bytes: u64,
        /// Whether the payload's checksum holds.
        is_whole: bool,
    },
    End(End),
}

/// The blocks of a member, in the order in which they stand.
#[derive(Debug, Default)]
pub(super) struct FoundMember {
    pub(super) offset: u64,
    pub(super) has_start: bool,
    pub(super) has_end: bool,
    /// Whether a descriptor is among its blocks.
    pub(super) has_descriptor: bool,
    pub(super) blocks: Vec<Found>,
}

impl FoundMember {
    /// The number that would come next.
    fn expected(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.number + 1)
    }
}

/// What was found in an archive.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) members: Vec<FoundMember>,
    /// Bytes that belong to no block that is kept, or to the payload of a damaged one.
    pub(super) gaps: Vec<Range<u64>>,
}

/// Where the indexes that can be reached from the archive's end say that something begins.
#[derive(Default)]
struct Known {
    /// Offsets of members and blocks, ascending.
    places: Vec<u64>,
    /// Offsets of members, ascending: never more than fit the archive.
    members: Vec<u64>,
}

/// Looks for the blocks of an archive.
pub(super) struct Surveyor<'w, 's, S> {
    window: &'w mut Window<'s, S>,
    limits: Limits,
    known: Known,
    /// Whether all places known behind the walk's own were tried, and no block stands there.
    known_is_tried: bool,
    survey: Survey,
}

impl<'w, 's, S: Read + Seek> Surveyor<'w, 's, S> {
    pub(super) fn new(window: &'w mut Window<'s, S>, limits: Limits) -> Result<Self> {
        let known = Known::read(window, &limits)?;
        Ok(Self { window, limits, known, known_is_tried: false, survey: Survey::default() })
    }

    /// Walks the whole archive.
    pub(super) fn run(mut self) -> Result<Survey> {
        let mut at = 0;
        let mut gap = None;
        while at < self.window.length() {
            let is_after_gap = gap.is_some();
            if self.is_start(at)? && self.may_begin(at) {
                self.close(gap.take(), at);
                self.begin_member(at, true);
                at += START_BYTES;
                continue;
            }
            let Some(block) = self.block_at(at)? else {
                let begun = gap.is_none();
                let from = *gap.get_or_insert(at);
                at = self.next_place(from, at, begun)?;
                continue;
            };
            let (end, header_end) = (block.end, block.payload_offset());
            let is_kept = self.is_kept(&block, is_after_gap);
            if !is_kept && block.is_whole() {
                // What follows is judged as if it were not there: it begins no gap.
                if gap.is_none() {
                    self.leave_out(at..end);
                }
                at = end;
            } else if is_kept && (block.is_whole() || self.begins_piece(end, block.number + 1)?) {
                self.close(gap.take(), at);
                self.add(block, is_after_gap);
                at = end;
            } else if is_kept && block.number == self.expected() {
                // Its length or what follows is wrong: anything may stand in its payload's place.
                self.close(gap.take(), at);
                self.add(block, is_after_gap);
                gap = Some(header_end);
                at = self.next_place(at, header_end - 1, true)?;
            } else {
                let begun = gap.is_none();
                let from = *gap.get_or_insert(at);
                at = self.next_place(from, at, begun)?;
            }
        }
        self.close(gap, self.window.length());
        Ok(self.survey)
    }

    fn close(&mut self, gap: Option<u64>, at: u64) {
        if let Some(from) = gap {
            self.leave_out(from..at);
        }
    }

    /// Notes bytes that belong to no block that is kept, together with those right before them.
    fn leave_out(&mut self, bytes: Range<u64>) {
        match self.survey.gaps.last_mut() {
            _ if bytes.is_empty() => {}
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ => self.survey.gaps.push(bytes),
        }
    }

    /// Whether a member may begin at `at`: no more do than fit the archive, except where an index
    /// says so.
    fn may_begin(&self, at: u64) -> bool {
        let most = self.window.length() / MIN_MEMBER_BYTES + MEMBERS_BESIDES;
        (self.survey.members.len() as u64) < most || self.known.members.binary_search(&at).is_ok()
    }

    fn begin_member(&mut self, offset: u64, has_start: bool) {
        self.survey.members.push(FoundMember { offset, has_start, ..FoundMember::default() });
    }

    /// The number of the block that would come next.
    fn expected(&self) -> u64 {
        match self.survey.members.last() {
            Some(member) if !member.has_end => member.expected(),
            _ => 0,
        }
    }

    /// The member that a block belongs to; none if the last has ended, or if numbers begin again
    /// where a start may have been lost.
    fn member_of(&self, block: &Found, is_after_gap: bool) -> Option<&FoundMember> {
        self.survey.members.last().filter(|member| {
            let begins_again = is_after_gap
                && member.blocks.last().is_some_and(|last| block.number <= last.number);
            !member.has_end && !begins_again
        })
    }

    /// Whether a block is one that its member can have, or may begin another member. A member has
    /// one descriptor, and its adapter directly before that.
    fn is_kept(&self, block: &Found, is_after_gap: bool) -> bool {
        match self.member_of(block, is_after_gap) {
            Some(member) => !member.has_descriptor || !block.is_of_head(),
            None => self.may_begin(block.offset),
        }
    }

    /// Adds a block to its member, or to a new one.
    fn add(&mut self, block: Found, is_after_gap: bool) {
        if self.member_of(&block, is_after_gap).is_none() {
            self.begin_member(block.offset, false);
        }
        if let Some(member) = self.survey.members.last_mut() {
            member.has_end = matches!(block.kind, Kind::End(_));
            member.has_descriptor |= matches!(block.kind, Kind::Descriptor(_));
            member.blocks.push(block);
        }
    }

    /// Where to look next, after nothing was found at `at`. Where the gap has just begun at a place
    /// the index knows, its later places are tried first.
    fn next_place(&mut self, gap_begins: u64, at: u64, has_just_begun: bool) -> Result<u64> {
        if has_just_begun
            && !self.known_is_tried
            && let Ok(place) = self.known.places.binary_search(&gap_begins)
        {
            for next in place + 1..self.known.places.len() {
                let offset = self.known.places[next];
                if offset > at && self.is_piece(offset)? {
                    return Ok(offset);
                }
            }
            self.known_is_tried = true;
        }
        let tags = [ADAPTER_TAG, DESCRIPTOR_TAG, FRAME_TAG, END_TAG, MAGIC[0]];
        Ok(self.window.find(at + 1, &tags)?.unwrap_or(self.window.length()))
    }

    fn is_start(&mut self, at: u64) -> Result<bool> {
        let start = start_bytes();
        Ok(self.window.bytes(at, start.len())? == start)
    }

    /// Whether a member starts or a whole block stands at `at`.
    fn is_piece(&mut self, at: u64) -> Result<bool> {
        Ok(self.is_start(at)? || self.block_at(at)?.is_some_and(|block| block.is_whole()))
    }

    /// Whether the archive ends at `at`, a member starts there, or a block of this number stands
    /// there, its payload whole or not.
    fn begins_piece(&mut self, at: u64, number: u64) -> Result<bool> {
        Ok(at == self.window.length()
            || self.is_start(at)?
            || self.block_at(at)?.is_some_and(|block| block.number == number))
    }

    /// How far a block at `at` may reach to be looked at: anywhere, until too much work was done.
    fn reach(&self, at: u64) -> u64 {
        let length = self.window.length();
        if self.window.work() <= length.saturating_mul(WORK_FACTOR).saturating_add(WORK_BESIDES) {
            return u64::MAX;
        }
        match self.known.places.binary_search(&at) {
            Ok(place) => self.known.places.get(place + 1).copied().unwrap_or(length),
            Err(_) => at,
        }
    }

    /// The block at `at`, if its header or index holds.
    fn block_at(&mut self, at: u64) -> Result<Option<Found>> {
        if self.reach(at) <= at {
            return Ok(None);
        }
        let Some(&tag) = self.window.bytes(at, 1)?.first() else { return Ok(None) };
        let found = match tag {
            FRAME_TAG => self.frame_at(at)?,
            ADAPTER_TAG => self.adapter_at(at)?,
            DESCRIPTOR_TAG => self.descriptor_at(at)?,
            END_TAG => self.end_at(at)?,
            _ => None,
        };
        let most = self.expected() + BELIEVED_BLOCKS;
        Ok(found.filter(|block| block.number < most))
    }

    fn frame_at(&mut self, at: u64) -> Result<Option<Found>> {
        let head = self.window.bytes(at, MAX_HEADER_BYTES as usize)?;
        let Some((header, header_bytes, number)) = FrameHeader::read_unnumbered(head, &self.limits)
        else {
            return Ok(None);
        };
        if number >= self.expected() + BELIEVED_BLOCKS {
            return Ok(None);
        }
        let header_bytes = header_bytes as u64;
        let crc_at = (at + header_bytes).saturating_add(header.payload_bytes);
        let end = crc_at.saturating_add(4);
        if end > self.reach(at) {
            return Ok(None);
        }
        let crc = self.window.block_crc(number, at + header_bytes, header.payload_bytes)?;
        let is_whole = match (crc, self.window.bytes(crc_at, 4)?) {
            (Some(crc), stored) => stored == crc.to_le_bytes(),
            (None, _) => false,
        };
        let kind = Kind::Frame { header, header_bytes, is_whole };
        Ok(Some(Found { offset: at, end, number, kind }))
    }

    /// An adapter's number is that of the descriptor right after it, less one; what has no
    /// descriptor after it is no adapter, which saves reading megabytes at every byte like its tag.
    fn adapter_at(&mut self, at: u64) -> Result<Option<Found>> {
        let head = self.window.bytes(at, adapter::MOST_EXTRA_BYTES as usize)?;
        let Some((head_bytes, body_bytes)) = adapter::read_head(head, &self.limits) else {
            return Ok(None);
        };
        let body = at + head_bytes..(at + head_bytes).saturating_add(body_bytes);
        let end = body.end.saturating_add(adapter::CRC_BYTES);
        if end > self.reach(at) {
            return Ok(None);
        }
        let number = match self.window.byte(end)? {
            Some(DESCRIPTOR_TAG) => self.descriptor_at(end)?.map(|descriptor| descriptor.number),
            _ => None,
        };
        let Some(number) = number.and_then(|number| number.checked_sub(1)) else {
            return Ok(None);
        };
        let crc = self.window.block_crc(number, at, end - adapter::CRC_BYTES - at)?;
        let stored = self.window.bytes(body.end, adapter::CRC_BYTES as usize)?;
        let holds = crc.is_some_and(|crc| stored == crc.to_le_bytes());
        Ok(holds.then_some(Found { offset: at, end, number, kind: Kind::Adapter { body } }))
    }

    fn descriptor_at(&mut self, at: u64) -> Result<Option<Found>> {
        let most = usize::try_from(self.limits.descriptor_bytes.saturating_add(MOST_EXTRA_BYTES));
        let bytes = self.window.bytes(at, most.unwrap_or(usize::MAX))?;
        let Some(length) = descriptor_length(bytes, &self.limits) else { return Ok(None) };
        if at + length as u64 > self.reach(at) {
            return Ok(None);
        }
        self.window.add_work(PARSE_WORK * length as u64);
        let bytes = self.window.bytes(at, length)?;
        let read = read_unnumbered_descriptor(bytes, &self.limits);
        Ok(read.map(|(descriptor, length, number)| Found {
            offset: at,
            end: at + length as u64,
            number,
            kind: Kind::Descriptor(Box::new(descriptor)),
        }))
    }

    fn end_at(&mut self, at: u64) -> Result<Option<Found>> {
        let limit = self
            .limits
            .end_bytes
            .saturating_add(FOOTER_BYTES)
            .min(self.reach(at).saturating_sub(at));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if !End::is_plausible(self.window.bytes(at, END_PROBE_BYTES)?, &self.limits) {
            return Ok(None);
        }
        let mut wanted = END_PROBE_BYTES.min(limit);
        let mut arrival = Arrival::default();
        loop {
            let bytes = self.window.bytes(at, wanted)?;
            let is_all = bytes.len() < wanted || wanted >= limit;
            let before = arrival.position();
            let is_over = arrival.is_over(bytes);
            let scanned = (arrival.position() - before) as u64;
            self.window.add_work(scanned);
            if is_over {
                break;
            }
            if is_all {
                return Ok(None);
            }
            wanted = wanted.saturating_mul(8).min(limit);
        }
        // One footer fits one index only, so that nothing else is read in full.
        let bytes = self.window.bytes(at, wanted)?;
        if !arrival.has_footer(bytes) {
            return Ok(None);
        }
        let Ok(Some((end, length))) = End::read_numbered(bytes) else { return Ok(None) };
        let number = end.frames.len() as u64 + end.head_blocks();
        self.window.add_work(PARSE_WORK * length as u64);
        Ok(Some(Found { offset: at, end: at + length as u64, number, kind: Kind::End(end) }))
    }
}

impl Found {
    /// Whether all its checksums hold.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.kind, Kind::Frame { is_whole: false, .. })
    }

    /// Whether it is a descriptor, or the adapter before one.
    fn is_of_head(&self) -> bool {
        matches!(self.kind, Kind::Adapter { .. } | Kind::Descriptor(_))
    }

    /// The offset after its header; after all of it where there is no payload.
    pub(super) fn payload_offset(&self) -> u64 {
        match self.kind {
            Kind::Frame { header_bytes, .. } => self.offset + header_bytes,
            _ => self.end,
        }
    }
}

impl Known {
    /// Reads all indexes that can be reached from the archive's end.
    fn read<S: Read + Seek>(window: &mut Window<'_, S>, limits: &Limits) -> Result<Self> {
        let mut known = Self::default();
        let mut stop = window.length();
        while stop > 0 {
            let (start, end) = match read_end(window.source(), stop, limits) {
                Ok(read) => read,
                Err(Error::Io(error)) => return Err(error.into()),
                Err(_) => break,
            };
            known.members.push(start);
            known.add_places(start, &end);
            stop = start;
        }
        known.members.reverse();
        known.places.sort_unstable();
        known.places.dedup();
        Ok(known)
    }

    /// Adds the offsets of a member and its blocks.
    fn add_places(&mut self, start: u64, end: &End) {
        self.places.push(start);
        let mut at = start + START_BYTES;
        for (number, frame) in (0..).zip(&end.frames) {
            if end.descriptor_bytes > 0 && number == end.frames_before_descriptor {
                self.places.extend([at, at + end.adapter_bytes]);
                at += end.head_bytes();
            }
            self.places.push(at);
            at += frame.block_bytes;
        }
        self.places.push(at);
    }
}
