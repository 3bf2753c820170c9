//! The match model: where the last bytes have occurred before, the byte that followed is expected.

use crate::arithmetic::STRETCH;
use crate::maps::AdaptiveMap;

/// Lengths are told apart up to this many bytes.
const LONGEST: usize = 65_535;

/// Follows the latest earlier place where the last `minimum` bytes occurred.
#[derive(Debug)]
pub(crate) struct MatchModel {
    minimum: usize,
    /// Last position after each hash of `minimum` bytes; 0 for none.
    positions: Vec<u32>,
    hash_bits: u32,
    pointer: usize,
    length: usize,
    /// Probability that the expected bit comes, by length and recent success.
    hits: AdaptiveMap,
    missed: u8,
    at: Option<usize>,
    expected_bit: bool,
}

fn bucket(length: usize) -> usize {
    match length {
        0..=15 => length,
        16..=23 => 16,
        24..=31 => 17,
        32..=47 => 18,
        48..=95 => 19,
        96..=255 => 20,
        256..=1023 => 21,
        _ => 22,
    }
}

/// Places that are remembered of a text of `length` bytes, as a power of 2.
fn hash_bits(length: usize) -> u32 {
    (usize::BITS - length.leading_zeros()).clamp(10, 22)
}

impl MatchModel {
    /// Bytes that the places of a text of `length` bytes take.
    pub(crate) fn memory_bytes(length: usize) -> u64 {
        (size_of::<u32>() as u64) << hash_bits(length)
    }

    /// For texts of about `length` bytes.
    pub(crate) fn new(minimum: usize, length: usize) -> Self {
        let hash_bits = hash_bits(length);
        let mut hits = AdaptiveMap::new(23 * 8 * 4, 1023);
        for at in 0..23 * 8 * 4 {
            let length = at / 32;
            hits.preset(at, 65_535 - 65_535 / (length as u32 + 2), 0);
        }
        Self {
            minimum,
            positions: vec![0; 1 << hash_bits],
            hash_bits,
            pointer: 0,
            length: 0,
            hits,
            missed: 0,
            at: None,
            expected_bit: false,
        }
    }

    /// Moves on by the last byte of `text`.
    #[inline]
    pub(crate) fn advance(&mut self, text: &[u8]) {
        let Some(&last) = text.last() else { return };
        if self.length > 0 && text[self.pointer] == last {
            self.length = (self.length + 1).min(LONGEST);
            self.pointer += 1;
        } else {
            if self.length > 0 {
                self.missed = (self.missed << 1 | 1) & 7;
            }
            self.length = 0;
        }
        if text.len() < self.minimum {
            return;
        }
        let hash = text[text.len() - self.minimum..].iter().fold(0u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x2F0B_4C47).rotate_left(9)
        });
        let entry =
            &mut self.positions[(hash.wrapping_mul(0x9E37_79B1) >> (32 - self.hash_bits)) as usize];
        if self.length == 0 && *entry > 0 {
            self.pointer = *entry as usize;
            let most = self.pointer.min(32);
            self.length = (1..=most)
                .take_while(|&back| text[self.pointer - back] == text[text.len() - back])
                .count();
            if self.length < self.minimum.min(8) {
                self.length = 0;
            }
        }
        *entry = text.len() as u32;
    }

    /// The byte expected next.
    #[inline(always)]
    pub(crate) fn expected(&self, text: &[u8]) -> Option<u8> {
        if self.length > 0 { text.get(self.pointer).copied() } else { None }
    }

    /// How long the match is, in 16 steps; 0 for none.
    #[inline(always)]
    pub(crate) fn strength(&self) -> usize {
        if self.length == 0 { 0 } else { (bucket(self.length) * 15 / 22).max(1) }
    }

    /// Two inputs for the next bit, given the bits of this byte so far below a leading one.
    #[inline(always)]
    pub(crate) fn predict(&mut self, text: &[u8], partial: usize, bits: u32, inputs: &mut [f32]) {
        self.at = None;
        inputs[0] = 0.0;
        inputs[1] = 0.0;
        let Some(expected) = self.expected(text) else { return };
        let expected = usize::from(expected) | 256;
        if expected >> (8 - bits) != partial {
            return;
        }
        self.expected_bit = expected >> (7 - bits) & 1 == 1;
        let recent = (self.missed.count_ones() as usize).min(3);
        let at = (bucket(self.length) * 8 + bits as usize) * 4 + recent;
        self.at = Some(at);
        let step = self.hits.step(at);
        let sign = if self.expected_bit { 1.0 } else { -1.0 };
        inputs[0] = sign * STRETCH[step];
        inputs[1] = sign * (step as f32 - 2048.0) * (1.0 / 1024.0);
    }

    /// The expected bit, when there is one.
    #[inline(always)]
    pub(crate) fn expected_bit(&self) -> Option<bool> {
        self.at.map(|_| self.expected_bit)
    }

    /// Learns the bit.
    #[inline(always)]
    pub(crate) fn learn(&mut self, bit: bool) {
        if let Some(at) = self.at {
            self.hits.learn(at, bit == self.expected_bit);
            if bits_end(at) && bit == self.expected_bit {
                self.missed = self.missed << 1 & 7;
            }
        }
    }
}

fn bits_end(at: usize) -> bool {
    at / 4 % 8 == 7
}
