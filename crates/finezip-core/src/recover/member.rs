//! One member of a damaged archive: what its blocks say together, and what is missing among them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::loss::{Loss, Lost};
use super::survey::{Found, FoundMember, Kind};
use crate::archive::{Descriptor, End, FrameHeader, IndexEntry, end};

/// What is known of a frame, or of several that are missing together.
pub(super) enum Piece<'a> {
    /// It is there, and its payload's checksum holds.
    Whole { block: &'a Found, header: FrameHeader },
    /// It is there, but before the description that it needs, or without one.
    Undescribed { block: &'a Found, header: FrameHeader },
    /// Its header is there; its payload is damaged.
    Damaged { block: &'a Found, header: FrameHeader },
    /// So many frames are not there.
    Missing { count: u64, archive: Range<u64>, text_bytes: Option<u64> },
}

impl Piece<'_> {
    pub(super) fn frames(&self) -> u64 {
        match self {
            Self::Whole { .. } | Self::Undescribed { .. } | Self::Damaged { .. } => 1,
            Self::Missing { count, .. } => *count,
        }
    }
}

/// A member put in order.
pub(super) struct Member<'a> {
    pub(super) number: usize,
    pub(super) descriptor: Option<&'a Descriptor>,
    /// Where the body of its embedded adapter stands in the archive.
    pub(super) adapter: Option<Range<u64>>,
    /// Its frames by their numbers: no more pieces than about two for each block that is there.
    pub(super) pieces: Vec<Piece<'a>>,
    /// What is lost besides frames.
    pub(super) losses: Vec<Loss>,
    /// Whether the number of its frames is known.
    pub(super) is_end_known: bool,
}

impl<'a> Member<'a> {
    /// Puts the blocks of member `number`, which takes `extent` of the archive, in order.
    pub(super) fn new(number: usize, found: &'a FoundMember, extent: Range<u64>) -> Self {
        let mut losses = Vec::new();
        let mut lose = |what, archive, why: String| {
            losses.push(Loss { member: number, what, archive, why });
        };
        if !found.has_start {
            lose(Lost::Start, extent.start..extent.start, "no magic and version before it".into());
        }
        let blocks = in_order(found, &mut lose);
        let index = index_of(found, &blocks, extent.clone(), &mut lose);
        let descriptor = blocks.iter().find_map(|(&number, &block)| match &block.kind {
            Kind::Descriptor(descriptor) => Some((number, descriptor.as_ref())),
            _ => None,
        });
        // One before another descriptor is not its adapter.
        let adapter = blocks.iter().find_map(|(number, block)| match &block.kind {
            Kind::Adapter { body } if descriptor.is_none_or(|(its, _)| number + 1 == its) => {
                Some(body.clone())
            }
            _ => None,
        });
        let head = Head::of(&blocks, descriptor, adapter.is_some(), index);
        if let (Some(at), None) = (head.descriptor(), descriptor) {
            lose(Lost::Descriptor, around(&blocks, at, &extent), "no readable block".into());
        }
        if let (Some(at), None) = (head.adapter(), &adapter) {
            lose(Lost::Adapter, around(&blocks, at, &extent), "no readable block".into());
        }
        let frame_count = match index {
            Some(end) => end.frames.len() as u64,
            None => {
                let after_last = blocks.last_key_value().map_or(0, |(&number, _)| number + 1);
                head.frames_below(after_last)
            }
        };
        let mut pieces = Vec::new();
        let mut frame = 0;
        while frame < frame_count {
            let piece = piece(&blocks, &head, frame..frame_count, index, &extent);
            frame += piece.frames();
            pieces.push(piece);
        }
        Self {
            number,
            descriptor: descriptor.map(|(_, descriptor)| descriptor),
            adapter,
            pieces,
            losses,
            is_end_known: index.is_some(),
        }
    }
}

/// The numbers of the blocks that are no frames: the descriptor, and before it the adapter.
struct Head {
    /// The first of them; that many frames stand before.
    first: u64,
    has_adapter: bool,
    has_descriptor: bool,
}

impl Head {
    /// What the blocks that were found say, or the index where it is known.
    fn of(
        blocks: &Blocks<'_>,
        descriptor: Option<(u64, &Descriptor)>,
        adapter_is_there: bool,
        index: Option<&End>,
    ) -> Self {
        if let Some(end) = index {
            return Self {
                first: end.frames_before_descriptor,
                has_adapter: end.adapter_bytes > 0,
                has_descriptor: end.descriptor_bytes > 0,
            };
        }
        let Some((number, descriptor)) = descriptor else {
            let missing = missing_descriptor(blocks);
            let (first, has_descriptor) = (missing.unwrap_or(0), missing.is_some());
            return Self { first, has_adapter: false, has_descriptor };
        };
        // A block missing before a descriptor that names an adapter is taken to be that.
        let names_one =
            descriptor.language.as_ref().is_some_and(|language| language.model.adapter.is_some());
        let is_missing = number.checked_sub(1).is_some_and(|before| !blocks.contains_key(&before));
        let has_adapter = adapter_is_there || (names_one && is_missing);
        Self { first: number - u64::from(has_adapter), has_adapter, has_descriptor: true }
    }

    fn adapter(&self) -> Option<u64> {
        self.has_adapter.then_some(self.first)
    }

    fn descriptor(&self) -> Option<u64> {
        self.has_descriptor.then_some(self.first + u64::from(self.has_adapter))
    }

    /// Whether a block of this number stands behind the descriptor.
    fn describes(&self, number: u64) -> bool {
        self.descriptor().is_some_and(|descriptor| descriptor < number)
    }

    fn blocks(&self) -> u64 {
        u64::from(self.has_adapter) + u64::from(self.has_descriptor)
    }

    /// How many of its blocks have numbers below this one.
    fn blocks_below(&self, number: u64) -> u64 {
        number.saturating_sub(self.first).min(self.blocks())
    }

    /// How many frames have numbers below this one.
    fn frames_below(&self, number: u64) -> u64 {
        number - self.blocks_below(number)
    }

    fn number_of_frame(&self, frame: u64) -> u64 {
        frame + if frame >= self.first { self.blocks() } else { 0 }
    }

    /// The frame that has a number, if it is not that of a block of the head.
    fn frame_of_number(&self, number: u64) -> Option<u64> {
        let frame = self.frames_below(number);
        (self.number_of_frame(frame) == number).then_some(frame)
    }
}

type Blocks<'a> = BTreeMap<u64, &'a Found>;

/// All blocks but the end by number, of repeated ones the first that is whole. Neighbours out of
/// their order are one loss.
fn in_order<'a>(
    found: &'a FoundMember,
    lose: &mut impl FnMut(Lost, Range<u64>, String),
) -> Blocks<'a> {
    let mut blocks = Blocks::new();
    let mut last: Option<u64> = None;
    let mut disordered: Option<(Range<u64>, String)> = None;
    for block in &found.blocks {
        if matches!(block.kind, Kind::End(_)) {
            continue;
        }
        if let Some(last) = last.filter(|&last| block.number <= last) {
            match &mut disordered {
                Some((archive, _)) if archive.end == block.offset => archive.end = block.end,
                _ => {
                    let why = format!("block {} stands after block {last}", block.number);
                    if let Some((archive, why)) = disordered.replace((block.offset..block.end, why))
                    {
                        lose(Lost::Order, archive, why);
                    }
                }
            }
        }
        last = last.max(Some(block.number));
        let held = blocks.entry(block.number).or_insert(block);
        if !held.is_whole() && block.is_whole() {
            *held = block;
        }
    }
    if let Some((archive, why)) = disordered {
        lose(Lost::Order, archive, why);
    }
    blocks
}

/// The index, if it is there and is that of these blocks.
fn index_of<'a>(
    found: &'a FoundMember,
    blocks: &Blocks<'_>,
    extent: Range<u64>,
    lose: &mut impl FnMut(Lost, Range<u64>, String),
) -> Option<&'a End> {
    let end = found.blocks.iter().find_map(|block| match &block.kind {
        Kind::End(end) => Some((block, end)),
        _ => None,
    });
    let Some((block, end)) = end else {
        let last = blocks.values().map(|block| block.end).max().unwrap_or(extent.start);
        let why = "no readable index and footer".into();
        lose(Lost::Index, last.min(extent.end)..extent.end, why);
        return None;
    };
    if !lists(end, blocks) {
        let why = "it lists other blocks than those before it".into();
        lose(Lost::Index, block.offset..block.end, why);
        return None;
    }
    Some(end)
}

/// Whether every block there is one that the index lists, and the digest that of the frames if
/// all are there.
fn lists(end: &End, blocks: &Blocks<'_>) -> bool {
    let head = Head::of(blocks, None, false, Some(end));
    let mut hashes = Vec::new();
    for (&number, &block) in blocks {
        let block_bytes = block.end - block.offset;
        let fits = match &block.kind {
            Kind::Adapter { .. } => {
                head.adapter() == Some(number) && end.adapter_bytes == block_bytes
            }
            Kind::Descriptor(_) => {
                head.descriptor() == Some(number) && end.descriptor_bytes == block_bytes
            }
            Kind::Frame { header, .. } => {
                let entry = IndexEntry { block_bytes, original_bytes: header.original_bytes };
                hashes.push(header.content_hash);
                let frame = head.frame_of_number(number);
                frame.is_some_and(|frame| end.frames.get(frame as usize) == Some(&entry))
            }
            Kind::End(_) => true,
        };
        if !fits {
            return false;
        }
    }
    hashes.len() < end.frames.len() || end::digest(&hashes) == end.digest
}

/// Without index and descriptor: the number the descriptor must have had, if frames need one and
/// a number before the first of them is free.
fn missing_descriptor(blocks: &Blocks<'_>) -> Option<u64> {
    let needs = |block: &Found| match &block.kind {
        Kind::Frame { header, .. } => header.method.needs_descriptor(),
        _ => false,
    };
    let (&first, _) = blocks.iter().find(|&(_, &block)| needs(block))?;
    (0..first).find(|number| !blocks.contains_key(number))
}

/// The bytes between the blocks around a missing one.
fn around(blocks: &Blocks<'_>, number: u64, extent: &Range<u64>) -> Range<u64> {
    let from = blocks.range(..number).next_back().map_or(extent.start, |(_, block)| block.end);
    let to = blocks.range(number..).next().map_or(extent.end, |(_, block)| block.offset);
    let from = from.min(extent.end);
    from..to.max(from)
}

/// What the first of `frames` is, together with those after it that are missing from one place.
fn piece<'a>(
    blocks: &Blocks<'a>,
    head: &Head,
    frames: Range<u64>,
    index: Option<&End>,
    extent: &Range<u64>,
) -> Piece<'a> {
    let number = head.number_of_frame(frames.start);
    match blocks.get(&number) {
        Some(&block) => match block.kind {
            Kind::Frame { header, is_whole: true, .. } => {
                match header.method.needs_descriptor() && !head.describes(number) {
                    true => Piece::Undescribed { block, header },
                    false => Piece::Whole { block, header },
                }
            }
            Kind::Frame { header, .. } => Piece::Damaged { block, header },
            _ => Piece::Missing { count: 1, archive: block.offset..block.end, text_bytes: None },
        },
        None => {
            let next = blocks.range(number..).next().map(|(&next, _)| head.frames_below(next));
            let stop = next.map_or(frames.end, |next| next.min(frames.end));
            let listed = index.and_then(|end| {
                end.frames.get(usize::try_from(frames.start).ok()?..usize::try_from(stop).ok()?)
            });
            Piece::Missing {
                count: stop - frames.start,
                archive: around(blocks, number, extent),
                text_bytes: listed.and_then(|entries| {
                    entries
                        .iter()
                        .try_fold(0_u64, |sum, entry| sum.checked_add(entry.original_bytes))
                }),
            }
        }
    }
}
