//! Blocks of 32 values with one scale, with or without a minimum: Q4_0 to Q8_1.
//!
//! A 4-bit block keeps value `i` in the low half of byte `i` and value `i + 16` in the high half;
//! 5-bit blocks keep the fifth bit of value `i` as bit `i` of a 32-bit word.

use super::half;

/// Scale, 16 bytes of nibbles; `value = (nibble - 8) * scale`.
pub(super) fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = half(block[0], block[1]);
    let (low, high) = values.split_at_mut(16);
    for ((byte, low), high) in block[2..].iter().zip(low).zip(high) {
        *low = (i32::from(byte & 15) - 8) as f32 * scale;
        *high = (i32::from(byte >> 4) - 8) as f32 * scale;
    }
}

/// Scale, minimum, 16 bytes of nibbles; `value = nibble * scale + minimum`, rounded twice.
pub(super) fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let scale = half(block[0], block[1]);
    let minimum = half(block[2], block[3]);
    let (low, high) = values.split_at_mut(16);
    for ((byte, low), high) in block[4..].iter().zip(low).zip(high) {
        *low = f32::from(byte & 15) * scale + minimum;
        *high = f32::from(byte >> 4) * scale + minimum;
    }
}

/// The 32 five-bit numbers of a block from its word of fifth bits and its nibbles.
fn five_bits(fifth: [u8; 4], nibbles: &[u8]) -> [u8; 32] {
    let fifth = u32::from_le_bytes(fifth);
    let mut numbers = [0; 32];
    let (low, high) = numbers.split_at_mut(16);
    for (index, ((byte, low), high)) in nibbles.iter().zip(low).zip(high).enumerate() {
        *low = (byte & 15) | ((fifth >> index & 1) << 4) as u8;
        *high = (byte >> 4) | ((fifth >> (index + 16) & 1) << 4) as u8;
    }
    numbers
}

/// Scale, fifth bits, nibbles; `value = (number - 16) * scale`.
pub(super) fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let scale = half(block[0], block[1]);
    let numbers = five_bits([block[2], block[3], block[4], block[5]], &block[6..]);
    for (number, value) in numbers.iter().zip(values) {
        *value = (i32::from(*number) - 16) as f32 * scale;
    }
}

/// Scale, minimum, fifth bits, nibbles; `value = number * scale + minimum`, rounded twice.
pub(super) fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let scale = half(block[0], block[1]);
    let minimum = half(block[2], block[3]);
    let numbers = five_bits([block[4], block[5], block[6], block[7]], &block[8..]);
    for (number, value) in numbers.iter().zip(values) {
        *value = f32::from(*number) * scale + minimum;
    }
}

/// Scale, 32 signed bytes; `value = byte * scale`.
pub(super) fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    signed_bytes(half(block[0], block[1]), &block[2..], values);
}

/// Scale, a sum that only dot products use, 32 signed bytes; `value = byte * scale`.
pub(super) fn q8_1(block: &[u8; 36], values: &mut [f32; 32]) {
    signed_bytes(half(block[0], block[1]), &block[4..], values);
}

fn signed_bytes(scale: f32, bytes: &[u8], values: &mut [f32; 32]) {
    for (byte, value) in bytes.iter().zip(values) {
        *value = f32::from(*byte as i8) * scale;
    }
}
