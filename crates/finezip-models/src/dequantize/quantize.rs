//! `f32` to the few stored types that test models need.
//!
//! This is for making small models ([`crate::seeded`]), not for making good ones: rounding is to
//! nearest over the block's range, without a search for the best scale.

use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;

/// Stores `values` as F32, F16, Q8_0 or Q4_1.
///
/// # Errors
/// [`Error::Length`] where the values are not whole blocks, [`Error::Unsupported`] for another
/// type.
pub fn quantize(ggml_type: GgmlType, values: &[f32]) -> Result<Vec<u8>> {
    let bytes = ggml_type.bytes_for(values.len()).ok_or(Error::Length {
        what: "values in whole blocks",
        expected: values.len() / ggml_type.block_values() * ggml_type.block_values(),
        found: values.len(),
    })?;
    let mut stored = Vec::with_capacity(bytes);
    match ggml_type {
        GgmlType::F32 => stored.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        GgmlType::F16 => {
            let halves = values.iter().map(|value| half::f16::from_f32(*value));
            stored.extend(halves.flat_map(half::f16::to_le_bytes));
        }
        GgmlType::Q8_0 => values.as_chunks().0.iter().for_each(|block| q8_0(block, &mut stored)),
        GgmlType::Q4_0 => values.as_chunks().0.iter().for_each(|block| q4_0(block, &mut stored)),
        GgmlType::Q4_1 => values.as_chunks().0.iter().for_each(|block| q4_1(block, &mut stored)),
        other => {
            let what = format!("writing {other}; F32, F16, Q8_0, Q4_0 and Q4_1 are written");
            return Err(Error::unsupported("quantize", what));
        }
    }
    Ok(stored)
}

fn q8_0(block: &[f32; 32], stored: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = half::f16::from_f32(largest / 127.0);
    stored.extend(scale.to_le_bytes());
    let scale = scale.to_f32();
    stored.extend(block.iter().map(|value| steps(*value, scale).clamp(-127.0, 127.0) as i8 as u8));
}

/// The value of the largest magnitude becomes -8 steps.
fn q4_0(block: &[f32; 32], stored: &mut Vec<u8>) {
    let larger =
        |largest: f32, value: &f32| if value.abs() > largest.abs() { *value } else { largest };
    let scale = half::f16::from_f32(block.iter().fold(0.0, larger) / -8.0);
    stored.extend(scale.to_le_bytes());
    let scale = scale.to_f32();
    let nibble = |value: f32| (steps(value, scale) + 8.0).clamp(0.0, 15.0) as u8;
    let (low, high) = block.split_at(16);
    stored.extend(low.iter().zip(high).map(|(low, high)| nibble(*low) | nibble(*high) << 4));
}

fn q4_1(block: &[f32; 32], stored: &mut Vec<u8>) {
    let smallest = block.iter().fold(f32::INFINITY, |smallest, value| smallest.min(*value));
    let largest = block.iter().fold(f32::NEG_INFINITY, |largest, value| largest.max(*value));
    let minimum = half::f16::from_f32(smallest);
    let scale = half::f16::from_f32((largest - smallest) / 15.0);
    stored.extend(scale.to_le_bytes());
    stored.extend(minimum.to_le_bytes());
    let (minimum, scale) = (minimum.to_f32(), scale.to_f32());
    let nibble = |value: f32| steps(value - minimum, scale).clamp(0.0, 15.0) as u8;
    let (low, high) = block.split_at(16);
    stored.extend(low.iter().zip(high).map(|(low, high)| nibble(*low) | nibble(*high) << 4));
}

/// How many steps of `scale` are nearest to `value`.
fn steps(value: f32, scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { (value / scale).round_ties_even() }
}

#[cfg(test)]
mod tests {
    use super::super::dequantize;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back_within_half_a_step(
            values in proptest::collection::vec(-4.0_f32..4.0, 64),
        ) {
            for (ggml_type, tolerance) in [
                (GgmlType::F32, 0.0),
                (GgmlType::F16, 0.004),
                (GgmlType::Q8_0, 4.0 / 127.0),
                // The magnitude that is not the largest one's sign is cut at 7 steps.
                (GgmlType::Q4_0, 1.0),
                (GgmlType::Q4_1, 8.0 / 15.0),
            ] {
                let stored = quantize(ggml_type, &values).unwrap();
                let back = dequantize(ggml_type, &stored).unwrap();
                for (value, back) in values.iter().zip(&back) {
                    prop_assert!((value - back).abs() <= tolerance * 0.51 + tolerance * 0.1);
                }
            }
        }
    }

    #[test]
    fn other_types_are_refused() {
        assert!(quantize(GgmlType::Q6K, &[0.0; 256]).is_err());
        assert!(quantize(GgmlType::Q8_0, &[0.0; 31]).is_err());
    }
}
