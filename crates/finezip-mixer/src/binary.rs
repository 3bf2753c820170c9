//! Arithmetic coding of binary decisions.
//!
//! A carry-propagating range coder (Martin 1979; Witten, Neal and Cleary 1987) with 64-bit
//! registers and 32-bit probabilities: mixing makes many nearly certain decisions a token, so what
//! the coder loses on each must be far below what the decision costs. The range is kept at or
//! above 2^56, hence the part of a decision is off by less than one part in 2^24 of it.

/// Codes decisions into bytes.
#[derive(Debug)]
pub(crate) struct BinaryEncoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

impl Default for BinaryEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl BinaryEncoder {
    /// An encoder that has coded nothing.
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u64::MAX, bytes: Vec::new() }
    }

    /// Codes `bit`, which is 1 with probability `one` / 2^32; `one` is at least 1.
    #[inline]
    pub(crate) fn encode(&mut self, bit: bool, one: u32) {
        let part = (self.range >> 32) * u64::from(one);
        if bit {
            self.range = part;
        } else {
            let (low, carry) = self.low.overflowing_add(part);
            self.low = low;
            self.range -= part;
            if carry {
                self.carry();
            }
        }
        while self.range < 1 << 56 {
            self.bytes.push((self.low >> 56) as u8);
            self.low <<= 8;
            self.range <<= 8;
        }
    }

    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Ends the code with the fewest bytes that tell it apart; zeros are understood to follow.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The value in [low, low + range) with the most zero bits at its end.
        let end = self.low.wrapping_add(self.range - 1);
        let wraps = end < self.low;
        let mut kept = 0;
        let value = loop {
            let mask = if kept == 0 { 0 } else { u64::MAX << (64 - 8 * kept) };
            let candidate = end & mask;
            if wraps || candidate >= self.low {
                break candidate;
            }
            kept += 1;
        };
        if wraps {
            self.carry();
        }
        self.bytes.extend_from_slice(&value.to_be_bytes()[..kept as usize]);
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }
}

/// Reads back what a [`BinaryEncoder`] wrote, given the same probabilities.
#[derive(Debug)]
pub(crate) struct BinaryDecoder<'a> {
    code: u64,
    range: u64,
    rest: &'a [u8],
}

impl<'a> BinaryDecoder<'a> {
    /// Starts at the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u64::MAX, rest: bytes };
        for _ in 0..8 {
            decoder.shift();
        }
        decoder
    }

    #[inline]
    fn shift(&mut self) {
        // Zeros follow the last byte.
        let (byte, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        self.code = self.code << 8 | u64::from(*byte);
    }

    /// The next decision, 1 with probability `one` / 2^32.
    #[inline]
    pub(crate) fn decode(&mut self, one: u32) -> bool {
        let part = (self.range >> 32) * u64::from(one);
        let bit = self.code < part;
        if bit {
            self.range = part;
        } else {
            self.code -= part;
            self.range -= part;
        }
        while self.range < 1 << 56 {
            self.range <<= 8;
            self.shift();
        }
        bit
    }

    /// Bytes that were not needed: more than none means the payload is not of these decisions.
    pub(crate) fn unread(&self) -> usize {
        self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decisions_come_back(decisions in prop::collection::vec((any::<bool>(), prop_oneof![
            any::<u32>(), Just(1u32), Just(u32::MAX), 1u32..100, u32::MAX - 100..u32::MAX,
        ]), 0..2000)) {
            let mut encoder = BinaryEncoder::new();
            for &(bit, one) in &decisions {
                encoder.encode(bit, one.max(1));
            }
            let bytes = encoder.finish();
            let mut decoder = BinaryDecoder::new(&bytes);
            for &(bit, one) in &decisions {
                prop_assert_eq!(decoder.decode(one.max(1)), bit);
            }
            prop_assert_eq!(decoder.unread(), 0);
        }
    }

    #[test]
    fn certain_decisions_cost_next_to_nothing() {
        let mut encoder = BinaryEncoder::new();
        for _ in 0..1_000_000 {
            encoder.encode(true, u32::MAX);
        }
        assert!(encoder.finish().len() <= 1);
    }
}
