//! Reading past damage: every frame that is whole, in order, and what of the text is lost.
//!
//! The ordinary readers stop at the first thing that is wrong. [`Decompressor::recover`] is for
//! an archive of which there is no other copy: `survey` finds the blocks that are whole
//! wherever they stand, `member` puts those of a member in order and says what is missing among
//! them, and here they are decoded, each held against the hash of its text as always.

mod loss;
mod member;
mod survey;
#[cfg(test)]
mod tests;
mod window;

use std::io::{Read, Seek, Write};
use std::ops::Range;

pub use loss::{Loss, Lost};
use member::{Member, Piece};
use survey::{Found, Survey, Surveyor};
use window::Window;

use crate::archive::{Descriptor, FORMAT_VERSION, FrameHeader, MAGIC, Method};
use crate::components::Components;
use crate::decompress::{Decompressor, MemberDecoder, undescribed};
use crate::error::{Error, Result};
use crate::write::Summary;

/// Descriptions of other members that are tried where a member's own is lost.
const MOST_GUESSES: usize = 64;

/// What was read from an archive past its damage.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// What was written.
    pub summary: Summary,
    /// Members that were found.
    pub members: usize,
    /// Everything that was not as it should be, in the order of the text.
    pub losses: Vec<Loss>,
}

impl Recovery {
    /// Whether the archive was whole: what was written is the text that was compressed.
    pub fn is_whole(&self) -> bool {
        self.losses.is_empty()
    }

    /// Whether text is lost, or may be because an index is.
    pub fn loses_text(&self) -> bool {
        self.losses.iter().any(|loss| matches!(loss.what, Lost::Frames { .. } | Lost::Index))
    }

    /// Whether [`Recovery::lost_bytes`] is all that is lost: every index and every length is known.
    pub fn is_lost_text_known(&self) -> bool {
        !self
            .losses
            .iter()
            .any(|loss| matches!(loss.what, Lost::Frames { text_bytes: None, .. } | Lost::Index))
    }

    /// Bytes of text known to be lost.
    pub fn lost_bytes(&self) -> u64 {
        self.losses.iter().fold(0, |sum, loss| match loss.what {
            Lost::Frames { text_bytes: Some(bytes), .. } => sum.saturating_add(bytes),
            _ => sum,
        })
    }
}

impl Decompressor {
    /// Writes the text of every frame of a damaged archive that is whole, in order, and tells
    /// what is lost. Of a whole archive that is its text, and nothing is lost.
    ///
    /// Memory: one frame, about a hundred bytes for each frame of the archive, and about a thousand
    /// for each member; no more members are believed than fit the archive, and a thousand besides.
    ///
    /// # Errors
    /// If reading or writing fails, if a part that a frame takes (a model, say) is not at hand, or
    /// if there is nothing of an archive in `source`. Damage is no error.
    pub fn recover<S: Read + Seek>(
        &self,
        source: &mut S,
        writer: &mut dyn Write,
    ) -> Result<Recovery> {
        let mut window = Window::new(source)?;
        let survey = Surveyor::new(&mut window, self.limits())?.run()?;
        if survey.members.is_empty() {
            let found = window.bytes(0, MAGIC.len() + 1)?;
            return Err(match found.strip_prefix(&MAGIC) {
                Some(&[version]) if version != FORMAT_VERSION => {
                    Error::FormatVersion { found: version, known: FORMAT_VERSION }
                }
                _ => Error::NotAnArchive { found: found[..found.len().min(MAGIC.len())].to_vec() },
            });
        }
        let mut decoding = Decoding {
            decompressor: self,
            decoder: MemberDecoder::new(self),
            window,
            writer,
            text_at: Some(0),
            recovery: Recovery { members: survey.members.len(), ..Recovery::default() },
        };
        decoding.archive(&survey)?;
        decoding.writer.flush()?;
        let length = decoding.window.length();
        let mut recovery = decoding.recovery;
        recovery.summary = decoding.decoder.summary();
        recovery.summary.archive_bytes = length;
        Ok(recovery)
    }
}

/// Decodes what a survey has found.
struct Decoding<'d, 's, S> {
    decompressor: &'d Decompressor,
    decoder: MemberDecoder<'d>,
    window: Window<'s, S>,
    writer: &'d mut dyn Write,
    /// Offset in the whole text of the next frame's, while it is known.
    text_at: Option<u64>,
    recovery: Recovery,
}

impl<S: Read + Seek> Decoding<'_, '_, S> {
    fn archive(&mut self, survey: &Survey) -> Result<()> {
        let length = self.window.length();
        // One at a time: what is known of a member takes more than what was found of it.
        let member = |number: usize| {
            let found = &survey.members[number];
            let stop = survey.members.get(number + 1).map_or(length, |next| next.offset);
            Member::new(number, found, found.offset..stop)
        };
        let numbers = 0..survey.members.len();
        let mut others: Vec<Candidate<'_>> = Vec::new();
        // They are for members without a descriptor.
        if survey.members.iter().any(|member| !member.has_descriptor) {
            let described = numbers.clone().filter(|&number| survey.members[number].has_descriptor);
            for Member { descriptor, adapter, .. } in described.map(member) {
                if let Some(descriptor) = descriptor
                    && !others.iter().any(|other| other.descriptor == descriptor)
                {
                    others.push(Candidate { descriptor, adapter });
                }
                if others.len() == MOST_GUESSES {
                    break;
                }
            }
        }
        for member in numbers.map(member) {
            self.member(member, &others)?;
        }
        self.unexplained(&survey.gaps);
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, others: &[Candidate<'_>]) -> Result<()> {
        let loses_adapter = member.losses.iter().any(|loss| loss.what == Lost::Adapter);
        let mut parts = match member.descriptor {
            Some(descriptor) => Parts {
                candidates: vec![Candidate { descriptor, adapter: member.adapter.clone() }],
                may_be_missing: loses_adapter,
                is_guess: false,
                resolved: None,
                is_complete: false,
            },
            None => Parts {
                candidates: others.to_vec(),
                may_be_missing: true,
                is_guess: true,
                resolved: None,
                is_complete: false,
            },
        };
        let (before, after): (Vec<_>, Vec<_>) = member
            .losses
            .into_iter()
            .partition(|loss| matches!(loss.what, Lost::Start | Lost::Descriptor | Lost::Adapter));
        self.recovery.losses.extend(before);
        let mut number = 0;
        for piece in &member.pieces {
            let lost = match piece {
                Piece::Missing { archive, text_bytes, .. } => {
                    Some((archive.clone(), *text_bytes, "no readable frame".to_owned()))
                }
                Piece::Damaged { block, header } => {
                    let end = block.end.min(self.window.length());
                    let why = "the payload's checksum does not hold".to_owned();
                    Some((block.offset..end, Some(header.original_bytes), why))
                }
                Piece::Undescribed { block, header } => {
                    let why = undescribed(header.method).to_string();
                    Some((block.offset..block.end, Some(header.original_bytes), why))
                }
                Piece::Whole { block, header } => self
                    .frame(number, block, header, &mut parts)?
                    .map(|why| (block.offset..block.end, Some(header.original_bytes), why)),
            };
            if let Some((archive, text_bytes, why)) = lost {
                let what = Lost::Frames {
                    first: number,
                    count: piece.frames(),
                    text_offset: self.text_at,
                    text_bytes,
                    output_offset: self.decoder.summary().text_bytes,
                };
                self.recovery.losses.push(Loss { member: member.number, what, archive, why });
            }
            // Lengths that an index has forged may have no sum.
            let bytes = piece.text_bytes();
            self.text_at = self.text_at.zip(bytes).and_then(|(at, bytes)| at.checked_add(bytes));
            number += piece.frames();
        }
        if !member.is_end_known {
            self.text_at = None;
        }
        self.recovery.losses.extend(after);
        Ok(())
    }

    /// Writes the text of a frame, or says why it is lost.
    fn frame(
        &mut self,
        number: u64,
        block: &Found,
        header: &FrameHeader,
        parts: &mut Parts<'_>,
    ) -> Result<Option<String>> {
        let payload =
            self.window.bytes(block.payload_offset(), header.payload_bytes as usize)?.to_vec();
        if !header.method.needs_descriptor() {
            self.decoder.set_components(None);
            return self.decode(number, block, header, &payload);
        }
        let mut why = if parts.is_guess {
            "the description of what it is coded with is lost".to_owned()
        } else {
            "the adapter it is coded with is lost".to_owned()
        };
        for candidate in 0..parts.candidates.len() {
            let method = header.method;
            if !parts.resolve(candidate, method, self.decompressor, &mut self.window)? {
                continue;
            }
            self.decoder.set_components(parts.resolved.as_ref().map(|(_, held)| held.clone()));
            match self.decode(number, block, header, &payload)? {
                None => {
                    // What has decoded one frame is tried first for the next.
                    parts.candidates.swap(0, candidate);
                    parts.resolved = parts.resolved.take().map(|(_, held)| (0, held));
                    return Ok(None);
                }
                Some(error) if !parts.is_guess => why = error,
                Some(_) => {}
            }
        }
        Ok(Some(why))
    }

    fn decode(
        &mut self,
        number: u64,
        block: &Found,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<Option<String>> {
        match self.decoder.frame(number, header, payload) {
            Ok(text) => {
                self.writer.write_all(&text)?;
                Ok(None)
            }
            // Not the archive's fault.
            Err(error @ (Error::Io(_) | Error::Engine { .. })) => Err(error),
            Err(error) => Ok(Some(error.at(Some(number), block.offset).to_string())),
        }
    }

    /// Gaps in which nothing is known to be missing hold bytes that do not belong there.
    fn unexplained(&mut self, gaps: &[Range<u64>]) {
        let mut damaged: Vec<Range<u64>> =
            self.recovery.losses.iter().map(|loss| loss.archive.clone()).collect();
        damaged.sort_unstable_by_key(|range| range.start);
        // Gaps ascend: a loss that ends before one ends before all that follow.
        let mut damaged = damaged.into_iter().peekable();
        let mut reaches = None;
        for gap in gaps {
            while let Some(range) = damaged.next_if(|range| range.start <= gap.end) {
                reaches = reaches.max(Some(range.end));
            }
            if reaches.is_none_or(|end| end < gap.start) {
                self.recovery.losses.push(Loss {
                    member: self.recovery.members - 1,
                    what: Lost::Nothing,
                    archive: gap.clone(),
                    why: "no block can be read there".into(),
                });
            }
        }
    }
}

impl Piece<'_> {
    fn text_bytes(&self) -> Option<u64> {
        match self {
            Self::Whole { header, .. }
            | Self::Undescribed { header, .. }
            | Self::Damaged { header, .. } => Some(header.original_bytes),
            Self::Missing { text_bytes, .. } => *text_bytes,
        }
    }
}

/// A description of parts, and where the adapter that travels with it stands.
#[derive(Clone)]
struct Candidate<'a> {
    descriptor: &'a Descriptor,
    adapter: Option<Range<u64>>,
}

impl Candidate<'_> {
    /// The parts it describes, or why they are not at hand; the outer error is that of reading.
    fn find<S: Read + Seek>(
        &self,
        with_language: bool,
        decompressor: &Decompressor,
        window: &mut Window<'_, S>,
    ) -> Result<Result<Components>> {
        if !with_language {
            return Ok(decompressor.resolve_without_language(self.descriptor));
        }
        let adapter = match &self.adapter {
            Some(body) => Some(window.bytes(body.start, (body.end - body.start) as usize)?),
            None => None,
        };
        Ok(decompressor.resolve(self.descriptor, adapter))
    }
}

/// What may decode a member's frames: what it says itself, or, where that is lost, what other
/// members say. The hash of each frame's text decides.
struct Parts<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Whether parts that are not at hand are one more thing lost, and no reason to stop.
    may_be_missing: bool,
    is_guess: bool,
    resolved: Option<(usize, Components)>,
    /// Whether what is resolved is all that its description names, and not that without the
    /// language.
    is_complete: bool,
}

impl Parts<'_> {
    /// Finds the parts of a candidate that frames of `method` take; whether there are any, which
    /// for a member's own must be so.
    fn resolve<S: Read + Seek>(
        &mut self,
        number: usize,
        method: Method,
        decompressor: &Decompressor,
        window: &mut Window<'_, S>,
    ) -> Result<bool> {
        let with_language = method.needs_language();
        let is_enough = self.is_complete || !with_language;
        if is_enough && self.resolved.as_ref().is_some_and(|(held, _)| *held == number) {
            return Ok(true);
        }
        match self.candidates[number].find(with_language, decompressor, window)? {
            Ok(components) => {
                self.resolved = Some((number, components));
                self.is_complete = with_language;
                Ok(true)
            }
            Err(_) if self.may_be_missing => Ok(false),
            Err(error) => Err(error),
        }
    }
}
