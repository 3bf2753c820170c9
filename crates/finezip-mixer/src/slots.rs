//! The hash table of bit histories.
//!
//! A slot holds what one context remembers of one nibble: a check of 16 bits and, for each of the
//! 15 places in the binary tree of the nibble, a count state and a recent history. Two slots make
//! a cache line; a context looks into both, and takes the less used one when it is new.

use crate::history::{COUNT_STATES, CountStates, recent_after};
use crate::pages::{PageSize, Pages};

/// Words of 16 bits a slot.
const SLOT_WORDS: usize = 16;
const LINE_WORDS: usize = 2 * SLOT_WORDS;

/// The table: one for all contexts of a model.
#[derive(Debug)]
pub(crate) struct Slots {
    words: Pages<u16>,
    line_mask: u32,
}

/// The table at work.
#[derive(Debug)]
pub(crate) struct OpenSlots<'a> {
    words: &'a mut [u16],
    line_mask: u32,
    states: &'static CountStates,
}

impl Slots {
    /// A table of `2^line_bits` cache lines of 64 bytes.
    pub(crate) fn new(line_bits: u32) -> Self {
        let line_mask = ((1u64 << line_bits) - 1) as u32;
        Self { words: Pages::zeroed(LINE_WORDS << line_bits, PageSize::Large), line_mask }
    }

    /// Opens the table: once a decision, not once a context.
    #[inline(always)]
    pub(crate) fn open(&mut self) -> OpenSlots<'_> {
        OpenSlots { words: &mut self.words, line_mask: self.line_mask, states: &COUNT_STATES }
    }
}

impl OpenSlots<'_> {
    /// Touches a context's cache line, so that it is on its way when [`OpenSlots::find`] wants it.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u32) -> u16 {
        self.words[self.line(hash)]
    }

    #[inline(always)]
    fn line(&self, hash: u32) -> usize {
        (hash & self.line_mask) as usize * LINE_WORDS
    }

    /// The slot of a context, which is emptied where it belonged to another.
    #[inline(always)]
    pub(crate) fn find(&mut self, hash: u32) -> usize {
        let line = self.line(hash);
        // The check takes the bits the line does not; zero means an empty slot.
        let check = ((hash >> 16) as u16 ^ (hash as u16).wrapping_mul(0x9E35)) | 1;
        let words = &mut self.words[line..line + LINE_WORDS];
        if words[0] == check {
            return line;
        }
        if words[SLOT_WORDS] == check {
            return line + SLOT_WORDS;
        }
        // The count states are numbered in the order of use, so the first bit's tells which slot
        // has been seen less.
        let second = (words[1] & 0xff) > (words[SLOT_WORDS + 1] & 0xff);
        let at = if second { SLOT_WORDS } else { 0 };
        words[at..at + SLOT_WORDS].fill(0);
        words[at] = check;
        line + at
    }

    /// Count state and recent history at place `node` (1 to 15) of a slot.
    #[inline(always)]
    pub(crate) fn get(&self, slot: usize, node: usize) -> (u8, u8) {
        let word = self.words[slot + node];
        (word as u8, (word >> 8) as u8)
    }

    /// Learns an outcome at a place of a slot.
    #[inline(always)]
    pub(crate) fn learn(&mut self, slot: usize, node: usize, bit: bool) {
        let word = &mut self.words[slot + node];
        let state = self.states.next(*word as u8, bit);
        *word = u16::from(recent_after((*word >> 8) as u8, bit)) << 8 | u16::from(state);
    }
}
