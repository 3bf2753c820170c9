//! A range coder over 64 bits: integers in, bytes out (Martin 1979, "Range encoding").
//!
//! The encoder holds an interval `[low, low + range)`; coding a symbol that owns `size` of
//! `total` parts, after `start` parts, narrows it. `range` is kept at `2^56` or more by shifting
//! out the top byte of `low`; a carry runs back into the bytes already written. With totals of at
//! most `2^49` a symbol's share is exact to one part in 128 at the very worst and, for the totals
//! that [softmax weights](crate::softmax) have, to one in a million.
//!
//! The end costs one byte at the most: the smallest multiple of `2^56` in the interval is written,
//! and trailing zero bytes are left off because the decoder reads zeros past the end.
//! `docs/coder.md` proves that what is coded is decoded.

use crate::error::{Error, Result};

/// The largest total a symbol may be coded under: room for 524,287 of the largest weights.
pub const MAX_TOTAL: u64 = 1 << 49;

const BOTTOM: u64 = 1 << 56;

/// Codes symbols into bytes.
#[derive(Debug, Clone)]
pub struct RangeEncoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

impl Default for RangeEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeEncoder {
    /// An encoder that has coded nothing.
    pub fn new() -> Self {
        Self { low: 0, range: u64::MAX, bytes: Vec::new() }
    }

    /// Codes the symbol that owns the parts `start..start + size` of `total`.
    ///
    /// `size` is at least 1, `start + size` at most `total`, `total` at most [`MAX_TOTAL`].
    pub fn encode(&mut self, start: u64, size: u64, total: u64) {
        debug_assert!(size > 0 && start + size <= total && total <= MAX_TOTAL);
        let part = self.range / total;
        let (low, carry) = self.low.overflowing_add(part * start);
        self.low = low;
        if carry {
            self.carry();
        }
        self.range = part * size;
        while self.range < BOTTOM {
            self.bytes.push((self.low >> 56) as u8);
            self.low <<= 8;
            self.range <<= 8;
        }
    }

    /// Bytes written so far; [`RangeEncoder::finish`] adds at most one.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the code and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let (value, carry) = self.low.overflowing_add(BOTTOM - 1);
        if carry {
            self.carry();
        }
        self.bytes.push((value >> 56) as u8);
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }

    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
}

/// Reads symbols back from bytes.
#[derive(Debug, Clone)]
pub struct RangeDecoder<'a> {
    /// The code, less the interval's low end.
    code: u64,
    range: u64,
    bytes: &'a [u8],
    /// Bytes shifted in so far, zeros past the end included.
    read: usize,
}

impl<'a> RangeDecoder<'a> {
    /// A decoder at the start of what [`RangeEncoder::finish`] returned.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u64::MAX, bytes, read: 0 };
        for _ in 0..8 {
            decoder.shift();
        }
        decoder
    }

    /// The part of `total`, in `0..total`, that the next symbol owns.
    pub fn target(&self, total: u64) -> u64 {
        debug_assert!(total > 0 && total <= MAX_TOTAL);
        (self.code / (self.range / total)).min(total - 1)
    }

    /// Takes the symbol that owns the parts `start..start + size` of `total`.
    ///
    /// The symbol must be the one that owns [`RangeDecoder::target`].
    pub fn consume(&mut self, start: u64, size: u64, total: u64) {
        debug_assert!(size > 0 && start + size <= total && total <= MAX_TOTAL);
        let part = self.range / total;
        self.code = self.code.wrapping_sub(part * start);
        self.range = part * size;
        while self.range < BOTTOM {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Ends the code; an error if the decoder did not need all bytes.
    pub fn finish(self) -> Result<()> {
        if self.read < self.bytes.len() {
            return Err(Error::payload(
                "range",
                format!(
                    "the code ends after {} bytes, the payload has {}",
                    self.read,
                    self.bytes.len()
                ),
            ));
        }
        Ok(())
    }

    fn shift(&mut self) {
        let byte = self.bytes.get(self.read).copied().unwrap_or(0);
        self.read += 1;
        self.code = (self.code << 8) | u64::from(byte);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(symbols: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut encoder = RangeEncoder::new();
        for &(start, size, total) in symbols {
            encoder.encode(start, size, total);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        for &(start, size, total) in symbols {
            let target = decoder.target(total);
            assert!((start..start + size).contains(&target), "{target} not in {start}+{size}");
            decoder.consume(start, size, total);
        }
        decoder.finish().unwrap();
        bytes
    }

    #[test]
    fn nothing_takes_no_byte() {
        assert!(round_trip(&[]).is_empty());
    }

    #[test]
    fn certain_symbols_take_no_byte() {
        assert!(round_trip(&[(0, 7, 7); 1000]).is_empty());
    }

    #[test]
    fn a_carry_runs_through_written_bytes() {
        // Half of the interval again and again gives 0xFF bytes; the last symbol carries.
        let mut symbols = vec![(1, 1, 2); 63];
        symbols.push((MAX_TOTAL - 1, 1, MAX_TOTAL));
        symbols.extend([(0, 1, 3), (2, 1, 3), (1, 1, 3)]);
        round_trip(&symbols);
    }

    #[test]
    fn the_code_is_as_long_as_it_must_be() {
        // 4,000 symbols of one in 1,000: 39,863.1 bits.
        let bytes = round_trip(&[(123, 1, 1000); 4000]);
        assert!((4983..=4984).contains(&bytes.len()), "{}", bytes.len());
    }

    proptest! {
        #[test]
        fn any_symbols_come_back(
            raw in prop::collection::vec((any::<u64>(), any::<u64>(), 1..=MAX_TOTAL), 0..300),
        ) {
            let symbols: Vec<_> = raw
                .iter()
                .map(|&(a, b, total)| {
                    let start = a % total;
                    (start, 1 + b % (total - start), total)
                })
                .collect();
            round_trip(&symbols);
        }

        #[test]
        fn any_bytes_decode_to_something(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            totals in prop::collection::vec(1..=MAX_TOTAL, 0..100),
        ) {
            let mut decoder = RangeDecoder::new(&bytes);
            for total in totals {
                let target = decoder.target(total);
                prop_assert!(target < total);
                decoder.consume(target, 1, total);
            }
        }
    }
}
