//! The index of a frame of records: how each is coded, where its payload lies, and checks.

use std::ops::Range;

use crate::archive::bytes::{ByteReader, Short, put_bytes, put_varint};
use crate::archive::{FrameHeader, block_crc};
use crate::bytes::Zstd;
use crate::error::{Error, Result};
use crate::short::{Coded, Form};

use super::split::Split;

/// Records whose payloads share a checksum.
const GROUP: usize = 16;

/// The most bytes that two varints take.
const MAX_ENTRY_BYTES: u64 = 20;

const PART: &str = "index of records";

/// How one record is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) form: Form,
    /// Tokens if the model coded it, else bytes of text; 0 for an empty record.
    pub(super) count: u64,
    payload_bytes: u64,
    /// The lower half of a CRC-32 of its number and text; 0 for an empty record.
    check: u16,
}

/// What stands before the payloads of a frame of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) split: Split,
    pub(super) entries: Vec<Entry>,
    /// CRC-32 of the number and the payloads of each group of records.
    groups: Vec<u32>,
}

/// The check of a record's text; there is nothing to check in an empty one.
fn text_check(number: usize, text: &[u8]) -> u16 {
    if text.is_empty() { 0 } else { block_crc(number as u64, text) as u16 }
}

impl Index {
    /// The index of records and what they became.
    pub(super) fn new(split: Split, records: &[&[u8]], coded: &[Coded<Vec<u8>>]) -> Self {
        let entries = coded.iter().zip(records).enumerate().map(|(number, (one, text))| Entry {
            form: one.form,
            count: one.count,
            payload_bytes: one.payload.len() as u64,
            check: text_check(number, text),
        });
        let groups = coded.chunks(GROUP).enumerate().map(|(number, group)| {
            let bytes: Vec<u8> = group.iter().flat_map(|one| one.payload.iter().copied()).collect();
            block_crc(number as u64, &bytes)
        });
        Self { split, entries: entries.collect(), groups: groups.collect() }
    }

    /// The index with its checksum.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.split.put(&mut out);
        // Column by column: numbers of a kind are alike.
        let mut lengths = Vec::new();
        for entry in &self.entries {
            put_varint(&mut lengths, entry.count << 2 | entry.form as u64);
        }
        for entry in self.entries.iter().filter(|entry| entry.form != Form::Stored) {
            put_varint(&mut lengths, entry.payload_bytes);
        }
        put_varint(&mut out, lengths.len() as u64);
        let packed = Zstd::compress(&lengths)?;
        // As long as the lengths themselves, it is they.
        put_bytes(&mut out, if packed.len() < lengths.len() { &packed } else { &lengths });
        for entry in self.entries.iter().filter(|entry| entry.count > 0) {
            out.extend_from_slice(&entry.check.to_le_bytes());
        }
        for group in &self.groups {
            out.extend_from_slice(&group.to_le_bytes());
        }
        let crc = block_crc(self.entries.len() as u64, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// Reads the index of a frame of `records` records; with it comes its length.
    pub(super) fn read(payload: &[u8], records: u64) -> Result<(Self, usize)> {
        let (packed, split, checks_at) = match Self::read_head(payload) {
            Ok(Some(read)) => read,
            Ok(None) => return Err(damaged("records are divided in a way that is not known")),
            Err(short) => return Err(damaged(said(short))),
        };
        let (lengths_bytes, packed) = packed;
        if lengths_bytes > records.saturating_mul(MAX_ENTRY_BYTES) {
            return Err(damaged(&format!("{lengths_bytes} bytes for {records} records")));
        }
        let lengths = match lengths_bytes == packed.len() as u64 {
            true => packed.to_vec(),
            false => Zstd::decompress(packed, lengths_bytes as usize)
                .map_err(|error| damaged(&error.to_string()))?,
        };
        let mut entries = entries(&lengths, records).map_err(|short| damaged(said(short)))?;
        let mut reader = ByteReader::new(&payload[checks_at..]);
        let mut groups = Vec::new();
        let end = |_| damaged(said(Short::End));
        for entry in entries.iter_mut().filter(|entry| entry.count > 0) {
            entry.check = u16::from_le_bytes(reader.array().map_err(end)?);
        }
        for _ in 0..entries.len().div_ceil(GROUP) {
            groups.push(u32::from_le_bytes(reader.array().map_err(end)?));
        }
        let crc_at = checks_at + reader.position();
        let found = u32::from_le_bytes(reader.array().map_err(end)?);
        let expected = block_crc(records, &payload[..crc_at]);
        if expected != found {
            return Err(Error::checksum(PART, found, expected));
        }
        Ok((Self { split, entries, groups }, crc_at + size_of::<u32>()))
    }

    #[allow(clippy::type_complexity, reason = "the parts of a head, taken apart at once")]
    fn read_head(payload: &[u8]) -> Result<Option<((u64, &[u8]), Split, usize)>, Short> {
        let mut reader = ByteReader::new(payload);
        let Some(split) = Split::read(&mut reader)? else { return Ok(None) };
        let lengths_bytes = reader.varint()?;
        let packed = reader.bytes()?;
        Ok(Some(((lengths_bytes, packed), split, reader.position())))
    }

    /// Where each record's payload lies in `bytes`, which are all payloads: an error unless they
    /// are as long together, and as many tokens and bytes of text, as the header says.
    pub(super) fn places(
        &self,
        bytes: &[u8],
        header: &FrameHeader,
        tokens: u64,
    ) -> Result<Vec<Range<usize>>> {
        let mut end = 0_u64;
        let mut places = Vec::with_capacity(self.entries.len());
        let (mut coded_tokens, mut least_text) =
            (0_u64, self.split.total(self.entries.len() as u64));
        for entry in &self.entries {
            let start = end;
            end = end.saturating_add(entry.payload_bytes);
            if end > bytes.len() as u64 {
                return Err(damaged("its records are longer than the frame"));
            }
            places.push(start as usize..end as usize);
            if entry.count == 0 {
                // Its payload would be looked at by nobody.
                if entry.form != Form::Stored {
                    return Err(damaged("a record that is coded has no text"));
                }
                // It would be no part of the text at all.
                if self.split == Split::Nothing {
                    return Err(damaged("a record is empty, and no delimiter ends it"));
                }
            }
            if entry.form == Form::Model {
                coded_tokens = coded_tokens.saturating_add(entry.count);
            }
            // A token stands for a byte at least.
            least_text = least_text.saturating_add(entry.count);
        }
        if end != bytes.len() as u64 {
            return Err(damaged("its records are shorter than the frame"));
        }
        if coded_tokens != tokens || least_text > header.original_bytes {
            return Err(damaged("its records are not of the frame's length"));
        }
        Ok(places)
    }

    /// Checks the stored bytes of the groups that some records belong to.
    pub(super) fn check_stored(
        &self,
        bytes: &[u8],
        places: &[Range<usize>],
        wanted: Range<usize>,
    ) -> Result<()> {
        for number in wanted.start / GROUP..wanted.end.div_ceil(GROUP) {
            let group = &places[number * GROUP..places.len().min((number + 1) * GROUP)];
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let expected = block_crc(number as u64, &bytes[first.start..last.end]);
            if expected != self.groups[number] {
                let first = number * GROUP;
                return Err(damaged(&format!(
                    "records {first} to {} of the frame have checksum {:08x}, expected {expected:08x}",
                    first + group.len() - 1,
                    self.groups[number],
                )));
            }
        }
        Ok(())
    }

    /// Checks a record's text; `hint` says why it may be another though its payload is whole.
    pub(super) fn check_text(
        &self,
        number: usize,
        text: &[u8],
        hint: impl FnOnce() -> Option<String>,
    ) -> Result<()> {
        let (expected, found) = (self.entries[number].check, text_check(number, text));
        if expected != found {
            let hint = hint().map_or_else(String::new, |hint| format!("; {hint}"));
            return Err(damaged(&format!(
                "record {number} of the frame decoded to text with check {found:04x}, expected \
                 {expected:04x}{hint}"
            )));
        }
        Ok(())
    }
}

fn damaged(what: &str) -> Error {
    Error::damaged(PART, what)
}

fn said(short: Short) -> &'static str {
    match short {
        Short::End => "it ends too early",
        Short::Varint => "a number is not a varint in its shortest form",
    }
}

/// The entries of the unpacked lengths, which must end with them.
fn entries(lengths: &[u8], records: u64) -> Result<Vec<Entry>, Short> {
    let mut reader = ByteReader::new(lengths);
    // Every record takes a byte at least.
    let mut entries = Vec::with_capacity((records as usize).min(lengths.len()));
    for _ in 0..records {
        let number = reader.varint()?;
        let (form, count) = (Form::from_bits(number), number >> 2);
        entries.push(Entry { form, count, payload_bytes: count, check: 0 });
    }
    for entry in entries.iter_mut().filter(|entry| entry.form != Form::Stored) {
        entry.payload_bytes = reader.varint()?;
    }
    if reader.is_at_end() { Ok(entries) } else { Err(Short::End) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::Method;

    fn coded() -> impl Strategy<Value = Vec<(Vec<u8>, Coded<Vec<u8>>)>> {
        let payload = prop::collection::vec(any::<u8>(), 0..20);
        let one = (payload, 0_u64..4, 1_u64..300).prop_map(|(payload, form, count)| {
            let form = Form::from_bits(form);
            let count = if form == Form::Stored { payload.len() as u64 } else { count };
            let text = if count == 0 { Vec::new() } else { payload.clone() };
            (text, Coded { form, count, payload })
        });
        prop::collection::vec(one, 0..70)
    }

    const HEADER: FrameHeader = FrameHeader {
        method: Method::Records { records: 2, tokens: 1 },
        original_bytes: 9,
        payload_bytes: 9,
        content_hash: 0,
    };

    #[test]
    fn a_record_that_is_coded_has_text() {
        for form in [Form::Zstd, Form::Model, Form::Bytes] {
            for (count, is_valid) in [(1, true), (0, false)] {
                let coded = Coded { form, count, payload: b"any".to_vec() };
                let stored = Coded { form: Form::Stored, count: 0, payload: Vec::new() };
                let index = Index::new(Split::Between(b'\n'), &[b"text", b""], &[coded, stored]);
                let tokens = if form == Form::Model { count } else { 0 };
                let places = index.places(b"any", &HEADER, tokens);
                assert_eq!(places.is_ok(), is_valid, "{form:?}: {places:?}");
            }
        }
    }

    #[test]
    fn an_empty_record_has_a_delimiter() {
        for (split, is_valid) in [(Split::AfterEach(b'\n'), true), (Split::Nothing, false)] {
            let stored = Coded { form: Form::Stored, count: 0, payload: Vec::new() };
            let index = Index::new(split, &[b"", b""], &[stored.clone(), stored]);
            let places = index.places(b"", &HEADER, 0);
            assert_eq!(places.is_ok(), is_valid, "{places:?}");
        }
    }

    #[test]
    fn damage_anywhere_is_that_of_the_index() {
        let stored = Coded { form: Form::Stored, count: 1, payload: b"a".to_vec() };
        let index = Index::new(Split::Nothing, &[&b"a"[..]; 100], &vec![stored; 100]);
        let bytes = index.to_bytes().unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x55;
            let error = Index::read(&changed, 100).unwrap_err();
            assert!(matches!(error, Error::Damaged { part: PART, .. }), "byte {place}: {error}");
        }
    }

    proptest! {
        #[test]
        fn indexes_come_back_and_cut_or_changed_ones_do_not(
            coded in coded(),
            split in prop_oneof![
                Just(Split::Nothing),
                any::<u8>().prop_map(Split::AfterEach),
                any::<u8>().prop_map(Split::Between),
            ],
            at in any::<prop::sample::Index>(),
            change in 1_u8..,
        ) {
            let texts: Vec<&[u8]> = coded.iter().map(|(text, _)| text.as_slice()).collect();
            let records = coded.len() as u64;
            let coded: Vec<Coded<Vec<u8>>> = coded.iter().map(|(_, one)| one.clone()).collect();
            let index = Index::new(split, &texts, &coded);
            let mut bytes = index.to_bytes().unwrap();
            let (read, length) = Index::read(&bytes, records).unwrap();
            prop_assert_eq!((&read, length), (&index, bytes.len()));
            prop_assert!(Index::read(&bytes[..at.index(bytes.len())], records).is_err());
            prop_assert!(Index::read(&bytes, records + 1).is_err());
            for (number, text) in texts.iter().enumerate() {
                prop_assert!(read.check_text(number, text, || None).is_ok());
            }
            let place = at.index(bytes.len());
            bytes[place] ^= change;
            prop_assert!(Index::read(&bytes, records).is_err());
        }

        #[test]
        fn any_bytes_are_no_index(bytes in prop::collection::vec(any::<u8>(), 0..60), records in 0_u64..9) {
            prop_assert!(Index::read(&bytes, records).is_err());
        }
    }
}
