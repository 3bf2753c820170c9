//! Which tokens followed a context: one cache line a context, read once a token.
//!
//! A line holds a check of 16 bits and up to fifteen tokens with counts, the latest first. For
//! every decision on the way down the trie the counts of the tokens that are still possible are
//! split by the decision, so a context costs one memory access a token instead of one a decision.

/// Words of 32 bits a line; the first holds the check.
const LINE_WORDS: usize = 16;

/// The most tokens a line holds.
pub(crate) const LONGEST: usize = LINE_WORDS - 1;

/// The lines of one context.
#[derive(Debug)]
pub(crate) struct FollowerTable {
    words: Vec<u32>,
    start: usize,
    mask: usize,
    /// The line of the current context.
    line: usize,
}

/// Tokens of a context's line that are still possible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    places: [u32; LONGEST],
    counts: [u32; LONGEST],
    length: usize,
}

impl Active {
    pub(crate) const NONE: Self = Self { places: [0; LONGEST], counts: [0; LONGEST], length: 0 };

    /// Counts below `middle` and from it on, and whether the latest token is of the latter.
    #[inline(always)]
    pub(crate) fn split(&self, middle: u32) -> (u32, u32, bool) {
        let (mut zeros, mut ones) = (0, 0);
        for (place, count) in self.places[..self.length].iter().zip(&self.counts) {
            if *place >= middle { ones += count } else { zeros += count }
        }
        (zeros, ones, self.length > 0 && self.places[0] >= middle)
    }

    /// Keeps the tokens on the side of `middle` that the outcome took.
    #[inline(always)]
    pub(crate) fn keep(&mut self, middle: u32, outcome: bool) {
        let mut kept = 0;
        for at in 0..self.length {
            let (place, count) = (self.places[at], self.counts[at]);
            self.places[kept] = place;
            self.counts[kept] = count;
            kept += usize::from((place >= middle) == outcome);
        }
        self.length = kept;
    }

    /// Whether no token is left.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl FollowerTable {
    /// A table of `2^line_bits` lines of 64 bytes.
    pub(crate) fn new(line_bits: u32) -> Self {
        let words = vec![0u32; (LINE_WORDS << line_bits) + LINE_WORDS];
        let start = words.as_ptr().align_offset(64).min(LINE_WORDS);
        Self { words, start, mask: (1 << line_bits) - 1, line: start }
    }

    /// Moves to the context of a hash and reads its line; `active` is empty where it is new.
    #[inline(always)]
    pub(crate) fn open(&mut self, hash: u64, active: &mut Active) {
        let line = |at: u64| self.start + (at as usize & self.mask) * LINE_WORDS;
        let check = (hash >> 48) as u32 | 1;
        let first = line(hash);
        // The neighbour in the same pair of lines.
        let second = line(hash ^ 1);
        active.length = 0;
        for at in [first, second] {
            if self.words[at] & 0xffff == check {
                self.line = at;
                for &word in &self.words[at + 1..at + LINE_WORDS] {
                    if word == 0 {
                        break;
                    }
                    active.places[active.length] = word >> 8;
                    active.counts[active.length] = word & 0xff;
                    active.length += 1;
                }
                return;
            }
        }
        // Take the line that has been used less.
        let uses = |at: usize| self.words[at] >> 16;
        self.line = if uses(second) < uses(first) { second } else { first };
        self.words[self.line..self.line + LINE_WORDS].fill(0);
        self.words[self.line] = check;
    }

    /// Learns the token that followed the open context.
    #[inline(always)]
    pub(crate) fn learn(&mut self, place: u32) {
        let words = &mut self.words[self.line..self.line + LINE_WORDS];
        let uses = words[0] >> 16;
        words[0] = words[0] & 0xffff | (uses + u32::from(uses < 0xffff)) << 16;
        let mut found = None;
        let mut count = 0;
        let mut length = LONGEST;
        for (at, word) in words[1..].iter().enumerate() {
            if *word == 0 {
                length = at;
                break;
            }
            if *word >> 8 == place {
                found = Some(at);
                count = *word & 0xff;
                break;
            }
        }
        let found = found.unwrap_or(length.min(LONGEST - 1));
        words.copy_within(1..1 + found, 2);
        words[1] = place << 8 | (count + 1).min(255);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_come_back_latest_first() {
        let mut table = FollowerTable::new(4);
        let mut active = Active::NONE;
        for place in [5, 9, 5, 700] {
            table.open(77 << 40, &mut active);
            table.learn(place);
        }
        table.open(77 << 40, &mut active);
        assert_eq!(&active.places[..active.length], &[700, 5, 9]);
        assert_eq!(&active.counts[..active.length], &[1, 2, 1]);
        assert_eq!(active.split(9), (2, 2, true));
        active.keep(9, false);
        assert_eq!(active.split(6), (2, 0, false));
        table.open(78 << 48, &mut active);
        assert!(active.is_empty());
    }

    #[test]
    fn a_full_line_loses_the_oldest() {
        let mut table = FollowerTable::new(1);
        let mut active = Active::NONE;
        for place in 1..=20 {
            table.open(3, &mut active);
            table.learn(place);
        }
        table.open(3, &mut active);
        let wanted: Vec<u32> = (6..=20).rev().collect();
        assert_eq!(&active.places[..active.length], &wanted[..]);
    }
}
