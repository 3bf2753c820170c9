//! Super-blocks of 256 values (llama.cpp's "k-quants"): Q2_K to Q6_K and Q8_K.
//!
//! A super-block has half-precision scales over small integer scales, one for each 16 or 32
//! values. Low and high bits of the numbers lie in separate planes that are read 32 bytes at a
//! time.

use super::half;

/// 16 bytes of scale (low half) and minimum (high half) for 16 values each, 64 bytes of two-bit
/// numbers, scale, minimum; `value = (scale * s) * number - minimum * m`.
pub(super) fn q2_k(block: &[u8; 84], values: &mut [f32; 256]) {
    let (scales, rest) = block.split_at(16);
    let numbers = &rest[..64];
    let scale = half(block[80], block[81]);
    let minimum = half(block[82], block[83]);
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let group_scale = scale * f32::from(scales[group] & 15);
        let group_minimum = minimum * f32::from(scales[group] >> 4);
        let (start, shift) = two_bit_plane(group);
        for (byte, value) in numbers[start..].iter().zip(values) {
            *value = group_scale * f32::from(byte >> shift & 3) - group_minimum;
        }
    }
}

/// Where group `group` of 16 values finds its two-bit numbers: first byte and shift. Each 32
/// bytes hold 128 values: bits 0-1 the first 32 of them, bits 2-3 the next 32, and so on.
fn two_bit_plane(group: usize) -> (usize, u32) {
    let start = group / 8 * 32 + group % 2 * 16;
    (start, (group % 8 / 2 * 2) as u32)
}

/// 32 bytes of third bits, 64 bytes of two low bits, 12 bytes of sixteen 6-bit scales, scale;
/// `value = (scale * (s - 32)) * (number - 4)`, number of three bits.
pub(super) fn q3_k(block: &[u8; 110], values: &mut [f32; 256]) {
    let (third_bits, rest) = block.split_at(32);
    let (numbers, rest) = rest.split_at(64);
    let scales = six_bit_scales(&rest[..12]);
    let scale = half(block[108], block[109]);
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let group_scale = scale * (f32::from(scales[group]) - 32.0);
        let (start, shift) = two_bit_plane(group);
        let thirds = third_bits[group % 2 * 16..].iter();
        for ((byte, third), value) in numbers[start..].iter().zip(thirds).zip(values) {
            let number = (byte >> shift & 3) | (third >> (group / 2) & 1) << 2;
            *value = group_scale * (i32::from(number) - 4) as f32;
        }
    }
}

/// Sixteen 6-bit scales from 12 bytes: bytes 0-7 hold four low bits of two scales each (low half
/// scale `i`, high half scale `i + 8`), bytes 8-11 the two high bits of four.
fn six_bit_scales(packed: &[u8]) -> [u8; 16] {
    let mut scales = [0; 16];
    for (index, scale) in scales.iter_mut().enumerate() {
        let low = packed[index % 8] >> (index / 8 * 4) & 15;
        let high = packed[8 + index % 4] >> (index / 4 * 2) & 3;
        *scale = low | high << 4;
    }
    scales
}

/// The 6-bit scale and minimum of eight groups of 32 from 12 bytes: the first four of each are
/// the low six bits of bytes 0-3 and 4-7; the others have their low half in bytes 8-11 and their
/// two high bits on top of bytes 0-7.
fn scales_and_minima(packed: &[u8]) -> [(u8, u8); 8] {
    let mut pairs = [(0, 0); 8];
    for index in 0..4 {
        let (first, second, third) = (packed[index], packed[index + 4], packed[index + 8]);
        pairs[index] = (first & 63, second & 63);
        pairs[index + 4] = (third & 15 | first >> 6 << 4, third >> 4 | second >> 6 << 4);
    }
    pairs
}

/// Scale, minimum, 12 bytes of scales and minima, 128 bytes of nibbles (32 bytes hold two groups
/// of 32: low halves, then high halves); `value = (scale * s) * number - minimum * m`.
pub(super) fn q4_k(block: &[u8; 144], values: &mut [f32; 256]) {
    let scale = half(block[0], block[1]);
    let minimum = half(block[2], block[3]);
    let pairs = scales_and_minima(&block[4..16]);
    let nibbles = &block[16..];
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let group_scale = scale * f32::from(pairs[group].0);
        let group_minimum = minimum * f32::from(pairs[group].1);
        let shift = group % 2 * 4;
        for (byte, value) in nibbles[group / 2 * 32..].iter().zip(values) {
            *value = group_scale * f32::from(byte >> shift & 15) - group_minimum;
        }
    }
}

/// As Q4_K with 32 bytes of fifth bits before the nibbles: bit `group` of byte `i` belongs to
/// value `i` of that group.
pub(super) fn q5_k(block: &[u8; 176], values: &mut [f32; 256]) {
    let scale = half(block[0], block[1]);
    let minimum = half(block[2], block[3]);
    let pairs = scales_and_minima(&block[4..16]);
    let (fifth_bits, nibbles) = block[16..].split_at(32);
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let group_scale = scale * f32::from(pairs[group].0);
        let group_minimum = minimum * f32::from(pairs[group].1);
        let shift = group % 2 * 4;
        let bytes = nibbles[group / 2 * 32..].iter().zip(fifth_bits);
        for ((byte, fifth), value) in bytes.zip(values) {
            let number = byte >> shift & 15 | (fifth >> group & 1) << 4;
            *value = group_scale * f32::from(number) - group_minimum;
        }
    }
}

/// 128 bytes of four low bits, 64 of two high bits, 16 signed scales, scale;
/// `value = (scale * s) * (number - 32)`.
///
/// Half a super-block is four groups of 32. Its 64 bytes of nibbles hold groups 0 and 1 in the
/// low halves, 2 and 3 in the high halves; its 32 bytes of high bits hold group `g` in bits
/// `2g` and `2g + 1`.
pub(super) fn q6_k(block: &[u8; 210], values: &mut [f32; 256]) {
    let (low_bits, rest) = block.split_at(128);
    let (high_bits, rest) = rest.split_at(64);
    let scales = &rest[..16];
    let scale = half(block[208], block[209]);
    for (index, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (part, group, offset) = (index / 8, index % 8 / 2, index % 2 * 16);
        let lows = low_bits[part * 64 + group % 2 * 32 + offset..].iter();
        let highs = high_bits[part * 32 + offset..].iter();
        let group_scale = scale * f32::from(scales[index] as i8);
        for ((low, high), value) in lows.zip(highs).zip(values) {
            let number = low >> (group / 2 * 4) & 15 | (high >> (group * 2) & 3) << 4;
            *value = group_scale * (i32::from(number) - 32) as f32;
        }
    }
}

/// Scale in single precision, 256 signed bytes, sums that only dot products use;
/// `value = scale * byte`.
pub(super) fn q8_k(block: &[u8; 292], values: &mut [f32; 256]) {
    let scale = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for (byte, value) in block[4..260].iter().zip(values) {
        *value = scale * f32::from(*byte as i8);
    }
}
