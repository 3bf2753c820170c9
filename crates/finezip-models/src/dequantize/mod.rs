//! Stored blocks to `f32`, in one defined scalar arithmetic.
//!
//! Each value is computed by the IEEE operations written in the functions of this module, in that
//! order, without contraction, so every machine gets the same bits (docs/models.md lists the
//! formulas). Subnormal scales are kept.

mod k_quants;
mod legacy;
mod plain;
pub mod quantize;

use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;

/// Fills `values` from `bytes`, which must hold exactly that many.
///
/// # Errors
/// [`Error::Length`] where the two do not fit each other.
pub fn dequantize_into(ggml_type: GgmlType, bytes: &[u8], values: &mut [f32]) -> Result<()> {
    let expected = ggml_type.bytes_for(values.len()).ok_or(Error::Length {
        what: "values in whole blocks",
        expected: values.len() / ggml_type.block_values() * ggml_type.block_values(),
        found: values.len(),
    })?;
    if bytes.len() != expected {
        return Err(Error::Length { what: "bytes of blocks", expected, found: bytes.len() });
    }
    match ggml_type {
        GgmlType::F32 => plain::f32(bytes, values),
        GgmlType::F16 => plain::f16(bytes, values),
        GgmlType::BF16 => plain::bf16(bytes, values),
        GgmlType::Q4_0 => blocks(bytes, values, legacy::q4_0),
        GgmlType::Q4_1 => blocks(bytes, values, legacy::q4_1),
        GgmlType::Q5_0 => blocks(bytes, values, legacy::q5_0),
        GgmlType::Q5_1 => blocks(bytes, values, legacy::q5_1),
        GgmlType::Q8_0 => blocks(bytes, values, legacy::q8_0),
        GgmlType::Q8_1 => blocks(bytes, values, legacy::q8_1),
        GgmlType::Q2K => blocks(bytes, values, k_quants::q2_k),
        GgmlType::Q3K => blocks(bytes, values, k_quants::q3_k),
        GgmlType::Q4K => blocks(bytes, values, k_quants::q4_k),
        GgmlType::Q5K => blocks(bytes, values, k_quants::q5_k),
        GgmlType::Q6K => blocks(bytes, values, k_quants::q6_k),
        GgmlType::Q8K => blocks(bytes, values, k_quants::q8_k),
    }
    Ok(())
}

/// All values of whole blocks.
///
/// # Errors
/// [`Error::Length`] where `bytes` is not whole blocks.
pub fn dequantize(ggml_type: GgmlType, bytes: &[u8]) -> Result<Vec<f32>> {
    let blocks = bytes.len() / ggml_type.block_bytes();
    let mut values = vec![0.0; blocks * ggml_type.block_values()];
    dequantize_into(ggml_type, bytes, &mut values)?;
    Ok(values)
}

/// Runs `block` over blocks of `BYTES` bytes and `VALUES` values, whose number agrees.
fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    values: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    let (byte_blocks, _) = bytes.as_chunks::<BYTES>();
    let (value_blocks, _) = values.as_chunks_mut::<VALUES>();
    for (source, target) in byte_blocks.iter().zip(value_blocks) {
        block(source, target);
    }
}

/// A half-precision number from its two little-endian bytes, exactly.
fn half(low: u8, high: u8) -> f32 {
    half::f16::from_le_bytes([low, high]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};
    use proptest::prelude::*;

    fn candle_type(ggml_type: GgmlType) -> GgmlDType {
        match ggml_type {
            GgmlType::F32 => GgmlDType::F32,
            GgmlType::F16 => GgmlDType::F16,
            GgmlType::BF16 => GgmlDType::BF16,
            GgmlType::Q4_0 => GgmlDType::Q4_0,
            GgmlType::Q4_1 => GgmlDType::Q4_1,
            GgmlType::Q5_0 => GgmlDType::Q5_0,
            GgmlType::Q5_1 => GgmlDType::Q5_1,
            GgmlType::Q8_0 => GgmlDType::Q8_0,
            GgmlType::Q8_1 => GgmlDType::Q8_1,
            GgmlType::Q2K => GgmlDType::Q2K,
            GgmlType::Q3K => GgmlDType::Q3K,
            GgmlType::Q4K => GgmlDType::Q4K,
            GgmlType::Q5K => GgmlDType::Q5K,
            GgmlType::Q6K => GgmlDType::Q6K,
            GgmlType::Q8K => GgmlDType::Q8K,
        }
    }

    /// candle's dequantisation of the same bytes: an implementation that is not ours.
    fn by_candle(ggml_type: GgmlType, bytes: &[u8], values: usize) -> Vec<f32> {
        let storage =
            QStorage::from_data(bytes.into(), &Device::Cpu, candle_type(ggml_type)).unwrap();
        let tensor = QTensor::new(storage, (values,)).unwrap();
        tensor.dequantize(&Device::Cpu).unwrap().to_vec1::<f32>().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_candle_bit_for_bit_on_random_blocks(
            bytes in proptest::collection::vec(any::<u8>(), 292 * 3),
        ) {
            for ggml_type in GgmlType::all() {
                let whole = bytes.len() / ggml_type.block_bytes() * ggml_type.block_bytes();
                let bytes = &bytes[..whole];
                let ours = dequantize(ggml_type, bytes).unwrap();
                let theirs = by_candle(ggml_type, bytes, ours.len());
                for (index, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                    // Random scales may be NaN, whose payload is nobody's promise.
                    prop_assert!(
                        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
                        "{ggml_type} value {index}: {a} against {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_errors() {
        assert!(dequantize(GgmlType::Q4_1, &[0; 21]).is_err());
        assert!(dequantize_into(GgmlType::Q4_1, &[0; 20], &mut [0.0; 31]).is_err());
        assert!(dequantize_into(GgmlType::F32, &[0; 4], &mut [0.0; 2]).is_err());
    }
}
