//! Symbols under counts that adapt, through core's range coder.
//!
//! A context holds a count for each of its symbols: 1 at first, 32 more each time the symbol has
//! come, and when their sum reaches 65,536 every count `c` becomes `c - c / 2` (the half, rounded
//! up, so never 0). A symbol is coded with its count's share of the sum.

use finezip_core::range::{RangeDecoder, RangeEncoder};

use super::wrong;
use crate::error::Result;

/// Added to the count of a symbol that has come.
const INCREMENT: u32 = 32;
/// The sum at which counts are halved.
const MOST: u32 = 1 << 16;

/// The counts of one context.
#[derive(Clone, Debug)]
pub(super) struct Context {
    counts: Vec<u32>,
    sum: u32,
}

impl Context {
    /// A context of so many symbols, all alike.
    pub(super) fn new(symbols: usize) -> Self {
        Self { counts: vec![1; symbols], sum: symbols as u32 }
    }

    fn start(&self, symbol: usize) -> u32 {
        self.counts[..symbol].iter().sum()
    }

    fn learn(&mut self, symbol: usize) {
        self.counts[symbol] += INCREMENT;
        self.sum += INCREMENT;
        if self.sum >= MOST {
            self.counts.iter_mut().for_each(|count| *count -= *count / 2);
            self.sum = self.counts.iter().sum();
        }
    }
}

/// One direction of coding: the same calls write symbols and read them.
pub(super) trait Symbols {
    /// Codes `symbol`, or gives the one that stands there (`symbol` is ignored then).
    fn symbol(&mut self, context: &mut Context, symbol: usize) -> usize;
}

/// Writes symbols.
#[derive(Default)]
pub(super) struct Writer(RangeEncoder);

impl Writer {
    /// The code.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

impl Symbols for Writer {
    fn symbol(&mut self, context: &mut Context, symbol: usize) -> usize {
        let (start, count) = (context.start(symbol), context.counts[symbol]);
        self.0.encode(start.into(), count.into(), context.sum.into());
        context.learn(symbol);
        symbol
    }
}

/// Reads symbols.
pub(super) struct Reader<'a>(RangeDecoder<'a>);

impl<'a> Reader<'a> {
    /// A reader of what [`Writer::finish`] gave. Past its end it finds some symbols or other.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(RangeDecoder::new(bytes))
    }

    /// Ends the code.
    ///
    /// # Errors
    /// Bytes that no symbol needed.
    pub(super) fn finish(self) -> Result<()> {
        self.0.finish().map_err(|error| wrong("content", "symbols to its end", error))
    }
}

impl Symbols for Reader<'_> {
    fn symbol(&mut self, context: &mut Context, _symbol: usize) -> usize {
        let target = self.0.target(context.sum.into());
        let (mut symbol, mut start) = (0, 0_u64);
        // The target is below the sum of all counts, so this ends at a symbol.
        for (number, count) in context.counts.iter().enumerate() {
            symbol = number;
            if target < start + u64::from(*count) {
                break;
            }
            start += u64::from(*count);
        }
        self.0.consume(start, context.counts[symbol].into(), context.sum.into());
        context.learn(symbol);
        symbol
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn symbols_come_back(
            sizes in prop::collection::vec(1_usize..256, 1..4),
            raw in prop::collection::vec(any::<(u8, u8)>(), 0..5000),
        ) {
            let fresh: Vec<Context> = sizes.iter().map(|size| Context::new(*size)).collect();
            let symbols: Vec<(usize, usize)> = raw
                .iter()
                .map(|&(context, symbol)| {
                    let context = usize::from(context) % sizes.len();
                    (context, usize::from(symbol) % sizes[context])
                })
                .collect();
            let (mut writer, mut contexts) = (Writer::default(), fresh.clone());
            for &(context, symbol) in &symbols {
                writer.symbol(&mut contexts[context], symbol);
            }
            let bytes = writer.finish();
            let (mut reader, mut contexts) = (Reader::new(&bytes), fresh);
            for &(context, symbol) in &symbols {
                prop_assert_eq!(reader.symbol(&mut contexts[context], 0), symbol);
            }
            prop_assert!(reader.finish().is_ok());
        }
    }

    #[test]
    fn a_symbol_that_always_comes_costs_next_to_nothing() {
        let (mut writer, mut context) = (Writer::default(), Context::new(15));
        for _ in 0..100_000 {
            writer.symbol(&mut context, 7);
        }
        let bytes = writer.finish();
        assert!(bytes.len() < 30, "{} bytes", bytes.len());
    }
}
