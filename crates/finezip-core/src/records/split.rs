//! Where a record ends: what cuts a text into records, and what puts it together again.

use crate::archive::bytes::{ByteReader, Short};

use super::MAX_RECORDS;

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordRule {
    /// A byte that is not part of it: a line end for lines, NUL for what `find -print0` writes.
    Delimiter(u8),
    /// A number of bytes, at least 1; the last record of a text may be shorter.
    Bytes(usize),
}

impl RecordRule {
    /// A record a line. The carriage return of a line end of two bytes is part of the record.
    pub const LINES: Self = Self::Delimiter(b'\n');

    /// Where to end a frame that may have `frame_bytes` bytes, given text of which more may
    /// follow: after a whole record, or nowhere yet. What `search` has seen is not looked at again.
    pub(crate) fn frame_end(
        self,
        text: &[u8],
        frame_bytes: usize,
        search: &mut FrameSearch,
    ) -> Option<usize> {
        match self {
            Self::Delimiter(delimiter) => search.frame_end(text, frame_bytes, delimiter),
            Self::Bytes(bytes) => {
                let records = (frame_bytes / bytes).clamp(1, MAX_RECORDS as usize);
                let end = records.saturating_mul(bytes);
                (text.len() > end).then_some(end)
            }
        }
    }
}

/// How far a text that grows has been looked through for the end of its first frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameSearch {
    /// Bytes looked at.
    seen: usize,
    /// Records that end among them.
    records: usize,
    /// The end of the last of these.
    last: Option<usize>,
}

impl FrameSearch {
    /// The frame's end: that of its last record within `frame_bytes`, else that of its first
    /// record; `None` until there is text behind it.
    fn frame_end(&mut self, text: &[u8], frame_bytes: usize, delimiter: u8) -> Option<usize> {
        while self.seen < text.len() && !self.is_over(frame_bytes) {
            if text[self.seen] == delimiter {
                self.records += 1;
                self.last = Some(self.seen + 1);
            }
            self.seen += 1;
        }
        // Text that ends with `frame_bytes` is one frame, whatever it ends with.
        let may_end = self.is_full() || text.len() > frame_bytes;
        self.last.filter(|&end| may_end && end < text.len())
    }

    /// Whether the frame has as many records as it may have.
    fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS as usize
    }

    /// Whether no other record can be the frame's last.
    fn is_over(&self, frame_bytes: usize) -> bool {
        self.is_full() || (self.last.is_some() && self.seen >= frame_bytes)
    }
}

/// What stands between the records of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Nothing.
    Nothing,
    /// A byte after each record.
    AfterEach(u8),
    /// A byte after each record but the last.
    Between(u8),
}

impl Split {
    /// The records of a frame's text and what stands between them.
    pub(super) fn of(rule: RecordRule, text: &[u8]) -> (Self, Vec<&[u8]>) {
        match rule {
            RecordRule::Bytes(bytes) => (Self::Nothing, text.chunks(bytes.max(1)).collect()),
            RecordRule::Delimiter(delimiter) => {
                let mut records: Vec<&[u8]> = text.split(|&byte| byte == delimiter).collect();
                // What follows the last delimiter is a record unless it is empty.
                match records.pop() {
                    Some(last) if !last.is_empty() => {
                        records.push(last);
                        (Self::Between(delimiter), records)
                    }
                    _ => (Self::AfterEach(delimiter), records),
                }
            }
        }
    }

    /// What follows a record.
    pub(super) fn after(self, is_last: bool) -> Option<u8> {
        match self {
            Self::Nothing => None,
            Self::AfterEach(delimiter) => Some(delimiter),
            Self::Between(delimiter) => (!is_last).then_some(delimiter),
        }
    }

    /// Bytes that stand between and after `records` records.
    pub(super) fn total(self, records: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::AfterEach(_) => records,
            Self::Between(_) => records.saturating_sub(1),
        }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => out.push(0),
            Self::AfterEach(delimiter) => out.extend([1, delimiter]),
            Self::Between(delimiter) => out.extend([2, delimiter]),
        }
    }

    /// `None` for a way that is not known.
    pub(super) fn read(reader: &mut ByteReader<'_>) -> Result<Option<Self>, Short> {
        Ok(match reader.byte()? {
            0 => Some(Self::Nothing),
            1 => Some(Self::AfterEach(reader.byte()?)),
            2 => Some(Self::Between(reader.byte()?)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same of a whole text.
    fn frame_end(rule: RecordRule, text: &[u8], frame_bytes: usize) -> Option<usize> {
        rule.frame_end(text, frame_bytes, &mut FrameSearch::default())
    }

    proptest! {
        #[test]
        fn records_and_what_is_between_are_the_text(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 1..60),
            bytes in 1_usize..9,
            by_bytes in any::<bool>(),
        ) {
            let rule = if by_bytes { RecordRule::Bytes(bytes) } else { RecordRule::LINES };
            let (split, records) = Split::of(rule, &text);
            let mut again = Vec::new();
            for (at, record) in records.iter().enumerate() {
                again.extend_from_slice(record);
                again.extend(split.after(at + 1 == records.len()));
            }
            let total: usize = records.iter().map(|record| record.len()).sum();
            prop_assert_eq!(total as u64 + split.total(records.len() as u64), text.len() as u64);
            prop_assert_eq!(again, text);
        }

        #[test]
        fn frames_end_with_a_record_and_not_before_it_is_needed(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            frame_bytes in 1_usize..30,
        ) {
            match frame_end(RecordRule::LINES, &text, frame_bytes) {
                Some(end) => {
                    prop_assert!(text.len() > frame_bytes && end < text.len());
                    prop_assert_eq!(text[end - 1], b'\n');
                    let earlier = &text[..(end - 1).min(frame_bytes)];
                    prop_assert!(end <= frame_bytes || !earlier.contains(&b'\n'));
                }
                None => {
                    let searched = text.len().saturating_sub(1);
                    prop_assert!(text.len() <= frame_bytes || !text[..searched].contains(&b'\n'));
                }
            }
        }

        #[test]
        fn a_frame_ends_at_the_same_place_however_its_text_comes(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            frame_bytes in 1_usize..30,
            rule in prop_oneof![Just(RecordRule::LINES), (1_usize..9).prop_map(RecordRule::Bytes)],
            pieces in prop::collection::vec(1_usize..9, 60),
        ) {
            let mut search = FrameSearch::default();
            let mut held = 0;
            let mut found = None;
            for piece in pieces {
                held = text.len().min(held + piece);
                found = rule.frame_end(&text[..held], frame_bytes, &mut search);
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!(found, frame_end(rule, &text, frame_bytes));
        }
    }

    /// What has been seen may change without being noticed: it is not looked at again.
    #[test]
    fn no_byte_is_looked_at_twice() {
        let mut text = b"one two\nthree four".to_vec();
        let mut search = FrameSearch::default();
        assert_eq!(RecordRule::LINES.frame_end(&text, 30, &mut search), None);
        text.fill(b'\n');
        text.extend_from_slice(b" five six seven eight");
        assert_eq!(RecordRule::LINES.frame_end(&text, 30, &mut search), Some(8));
        // Nor is what comes after the frame.
        assert_eq!(search.seen, 30);
    }

    #[test]
    fn a_frame_has_no_more_records_than_it_may() {
        let text = vec![b'\n'; MAX_RECORDS as usize + 5];
        let end = frame_end(RecordRule::LINES, &text, text.len());
        assert_eq!(end, Some(MAX_RECORDS as usize));
        let end = frame_end(RecordRule::Bytes(1), &text, text.len());
        assert_eq!(end, Some(MAX_RECORDS as usize));
    }
}
