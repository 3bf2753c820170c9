//! The stored form: what stands in which order.
//!
//! One road serves both directions: [`Coding::module`] visits every number of a module, and a writer
//! takes what is there while a reader fills it in. So what is read is what was written, field by
//! field, without a second description that could drift from the first.

use std::collections::BTreeMap;

use finezip_models::ModelConfig;
use half::{bf16, f16};

use super::quantize::{dequantize, quantize};
use super::symbols::{Context, Reader, Symbols, Writer};
use super::{EmbeddedPrecision, wrong};
use crate::adapter::{Adapter, AdapterConfig, LoraMatrices};
use crate::error::Result;
use crate::target::Linear;

/// The version of the layout.
const VERSION: u8 = 1;
/// Version, precision, rank stabilisation, rank, alpha.
const HEADER_BYTES: usize = 1 + 1 + 1 + 4 + 4;
/// Symbols of a byte.
const BYTE: usize = 256;
/// The most values of all modules: 2 GiB as `f32`. Values that are all alike take next to no bytes, so
/// the bytes of an adapter do not bound what reading it takes. An adapter that was trained takes three
/// bits a value or more, and as many values as this are then too many bytes for an archive.
const MOST_VALUES: usize = 1 << 29;

/// Writes an adapter of this model.
pub(super) fn write(
    adapter: &Adapter,
    precision: EmbeddedPrecision,
    config: &ModelConfig,
) -> Result<Vec<u8>> {
    adapter.check(config)?;
    let settings = adapter.config();
    let rank = u32::try_from(settings.rank)
        .map_err(|_| wrong("rank", "fewer than 2^32", settings.rank))?;
    let mut bytes = vec![VERSION, precision.code(), u8::from(settings.use_rslora)];
    bytes.extend_from_slice(&rank.to_le_bytes());
    bytes.extend_from_slice(&settings.alpha.to_le_bytes());

    // In the order of their places, which is not that of their paths.
    let known = places(config).filter_map(|(place, layer, linear)| {
        let path = linear.path(layer);
        adapter.module(&path).map(|module| (place, linear, path, module))
    });
    let modules: Vec<_> = known.collect();
    let mut coding = Coding::new(Writer::default(), precision, settings);
    coding.number(modules.len());
    let mut next_place = 0;
    for (place, linear, path, module) in modules {
        coding.number(place - next_place);
        next_place = place + 1;
        check_size(&path, module.rank, linear.shape(config))?;
        coding.count(module)?;
        check_values(&path, module, precision)?;
        let mut module = module.clone();
        coding.settings(&mut module);
        coding.values(linear, &mut module);
    }
    bytes.extend(coding.symbols.finish());
    Ok(bytes)
}

/// Reads an adapter of this model.
pub(super) fn read(bytes: &[u8], config: &ModelConfig) -> Result<Adapter> {
    let Some((header, code)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        let expected = format!("at least {HEADER_BYTES} bytes");
        return Err(wrong("content", expected, bytes.len()));
    };
    let [version, precision, use_rslora, r0, r1, r2, r3, a0, a1, a2, a3] = *header;
    if version != VERSION {
        return Err(wrong("version", VERSION, version));
    }
    let precision = EmbeddedPrecision::from_code(precision)
        .ok_or_else(|| wrong("bits of a value", "4, 8 or 16", precision))?;
    if use_rslora > 1 {
        return Err(wrong("rank stabilisation", "0 or 1", use_rslora));
    }
    let settings = AdapterConfig {
        rank: u32::from_le_bytes([r0, r1, r2, r3]) as usize,
        alpha: f32::from_le_bytes([a0, a1, a2, a3]),
        use_rslora: use_rslora == 1,
        dropout: 0.0,
        base_model: None,
        base_fingerprint: None,
    };
    let mut coding = Coding::new(Reader::new(code), precision, &settings);
    let count = coding.number(0);
    let mut all = places(config);
    let mut modules = BTreeMap::new();
    for _ in 0..count {
        let skipped = coding.number(0);
        let Some((_, layer, linear)) = all.nth(skipped) else {
            let expected = format!("linears of {} layers", config.layers);
            return Err(wrong("modules", expected, "one more"));
        };
        let path = linear.path(layer);
        let [out_features, in_features] = linear.shape(config);
        let (a, b) = (Vec::new(), Vec::new());
        let mut module = LoraMatrices { rank: 0, in_features, out_features, alpha: 0.0, a, b };
        coding.settings(&mut module);
        check_size(&path, module.rank, [out_features, in_features])?;
        if !(module.alpha.is_finite() && module.alpha > 0.0) {
            return Err(wrong(format!("alpha of {path}"), "a number above 0", module.alpha));
        }
        coding.count(&module)?;
        module.a = vec![0.0; module.rank * in_features];
        module.b = vec![0.0; module.rank * out_features];
        coding.values(linear, &mut module);
        check_values(&path, &module, precision)?;
        modules.insert(path, module);
    }
    coding.symbols.finish()?;
    Adapter::new(settings, modules)
}

/// Every linear of a model with its place in the order of storing: by layers, then as
/// [`Linear::ALL`] has them.
fn places(config: &ModelConfig) -> impl Iterator<Item = (usize, usize, Linear)> {
    let linears = (0..config.layers).flat_map(|layer| Linear::ALL.map(|linear| (layer, linear)));
    linears.enumerate().map(|(place, (layer, linear))| (place, layer, linear))
}

/// A module has no more values than the weight it changes: more would say nothing more, and this
/// bounds what reading can take.
pub(crate) fn check_size(
    path: &str,
    rank: usize,
    [out_features, in_features]: [usize; 2],
) -> Result<()> {
    let most = out_features * in_features / (out_features + in_features).max(1);
    if rank == 0 || rank > most.max(1) {
        return Err(wrong(format!("rank of {path}"), format!("1 to {}", most.max(1)), rank));
    }
    Ok(())
}

/// All modules together have no more than [`MOST_VALUES`].
pub(crate) fn check_total(values: usize) -> Result<()> {
    match values <= MOST_VALUES {
        true => Ok(()),
        false => Err(wrong("values of all modules", format!("at most {MOST_VALUES}"), values)),
    }
}

fn check_values(path: &str, module: &LoraMatrices, precision: EmbeddedPrecision) -> Result<()> {
    let most = match precision {
        EmbeddedPrecision::F16 => f16::MAX.to_f32(),
        _ => f32::MAX,
    };
    let mut values = module.a.iter().chain(&module.b);
    // Not a number is not in any range.
    match values.find(|value| !(-most..=most).contains(*value)) {
        Some(value) => {
            let expected = format!("finite numbers of at most {most:e} in {precision}");
            Err(wrong(format!("a value of {path}"), expected, value))
        }
        None => Ok(()),
    }
}

/// All contexts, and what a module's own settings are compared with.
struct Coding<S> {
    symbols: S,
    precision: EmbeddedPrecision,
    rank: usize,
    alpha: f32,
    numbers: Context,
    own: Context,
    scales: [Context; 2],
    /// Values of the modules so far.
    counted: usize,
    /// Of A and of B, for each kind of linear: integers, or the two bytes of a float.
    values: Vec<[Context; 2]>,
}

impl<S: Symbols> Coding<S> {
    fn new(symbols: S, precision: EmbeddedPrecision, settings: &AdapterConfig) -> Self {
        let bytes = || [Context::new(BYTE), Context::new(BYTE)];
        let values = match precision {
            EmbeddedPrecision::F16 => bytes(),
            _ => [Context::new(2 * largest(precision) as usize + 1), Context::new(1)],
        };
        Self {
            symbols,
            precision,
            rank: settings.rank,
            alpha: settings.alpha,
            numbers: Context::new(BYTE),
            own: Context::new(2),
            scales: bytes(),
            counted: 0,
            values: vec![values; 2 * Linear::ALL.len()],
        }
    }

    /// Counts the values of one more module, of which the sizes are known.
    fn count(&mut self, module: &LoraMatrices) -> Result<()> {
        let width = module.in_features.saturating_add(module.out_features);
        self.counted = self.counted.saturating_add(module.rank.saturating_mul(width));
        check_total(self.counted)
    }

    /// A whole number: seven bits a symbol, lowest first, 128 more on all symbols but the last.
    fn number(&mut self, number: usize) -> usize {
        let (mut left, mut read) = (number, 0_usize);
        for shift in (0..usize::BITS).step_by(7) {
            let symbol = (left & 0x7F) | if left > 0x7F { 0x80 } else { 0 };
            let symbol = self.symbols.symbol(&mut self.numbers, symbol);
            left >>= 7;
            // What does not fit is no number of anything; what it counts is checked.
            read |= (symbol & 0x7F) << shift;
            if symbol & 0x80 == 0 {
                break;
            }
        }
        read
    }

    /// Two bytes, the high one first, each in a context of its own.
    fn word(symbols: &mut S, contexts: &mut [Context; 2], word: u16) -> u16 {
        let [high, low] = word.to_be_bytes();
        let high = symbols.symbol(&mut contexts[0], high.into()) as u8;
        let low = symbols.symbol(&mut contexts[1], low.into()) as u8;
        u16::from_be_bytes([high, low])
    }

    /// Rank and alpha of a module, where they are not the adapter's.
    fn settings(&mut self, module: &mut LoraMatrices) {
        let own = module.rank != self.rank || module.alpha.to_bits() != self.alpha.to_bits();
        if self.symbols.symbol(&mut self.own, own.into()) == 0 {
            (module.rank, module.alpha) = (self.rank, self.alpha);
            return;
        }
        module.rank = self.number(module.rank);
        let bits = self.number(module.alpha.to_bits() as usize);
        module.alpha = f32::from_bits(bits as u32);
    }

    /// The rows of A, then the columns of B.
    fn values(&mut self, linear: Linear, module: &mut LoraMatrices) {
        let rank = module.rank;
        for row in module.a.chunks_exact_mut(module.in_features) {
            self.vector(2 * linear as usize, row);
        }
        for column in 0..rank {
            let places = || (0..module.out_features).map(|row| row * rank + column);
            let mut values: Vec<f32> = places().map(|place| module.b[place]).collect();
            self.vector(2 * linear as usize + 1, &mut values);
            places().zip(values).for_each(|(place, value)| module.b[place] = value);
        }
    }

    /// Values that share a scale; they become what is read.
    fn vector(&mut self, context: usize, values: &mut [f32]) {
        let Self { symbols, precision, scales, values: contexts, .. } = self;
        let contexts = &mut contexts[context];
        if *precision == EmbeddedPrecision::F16 {
            for value in values {
                let bits = Self::word(symbols, contexts, f16::from_f32(*value).to_bits());
                *value = f16::from_bits(bits).to_f32();
            }
            return;
        }
        let largest = largest(*precision);
        let (scale, integers) = quantize(values, largest);
        let scale = bf16::from_bits(Self::word(symbols, scales, scale.to_bits()));
        for (value, integer) in values.iter_mut().zip(integers) {
            let symbol = symbols.symbol(&mut contexts[0], (integer + largest) as usize);
            *value = dequantize(symbol as i32 - largest, scale);
        }
    }
}

/// The largest integer of a precision.
fn largest(precision: EmbeddedPrecision) -> i32 {
    match precision {
        EmbeddedPrecision::Int4 => 7,
        _ => 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_modules_are_bounded_before_they_are_made() {
        let settings = AdapterConfig {
            rank: 1,
            alpha: 1.0,
            use_rslora: false,
            dropout: 0.0,
            base_model: None,
            base_fingerprint: None,
        };
        let sized = |rank, in_features, out_features| LoraMatrices {
            rank,
            in_features,
            out_features,
            alpha: 1.0,
            a: Vec::new(),
            b: Vec::new(),
        };
        let new = || Coding::new(Reader::new(&[]), EmbeddedPrecision::Int4, &settings);
        let mut coding = new();
        for _ in 0..4 {
            coding.count(&sized(1 << 9, 1 << 17, 1 << 17)).unwrap();
        }
        let error = coding.count(&sized(1, 1, 1)).unwrap_err().to_string();
        assert!(error.contains("at most 536870912") && error.contains("536870914"), "{error}");
        assert!(new().count(&sized(usize::MAX, 2, usize::MAX)).is_err());
    }
}
