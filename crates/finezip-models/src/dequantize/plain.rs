//! Types without blocks: F32, F16 and BF16 widen exactly.

pub(super) fn f32(bytes: &[u8], values: &mut [f32]) {
    for (source, target) in bytes.as_chunks::<4>().0.iter().zip(values) {
        *target = f32::from_le_bytes(*source);
    }
}

pub(super) fn f16(bytes: &[u8], values: &mut [f32]) {
    for (source, target) in bytes.as_chunks::<2>().0.iter().zip(values) {
        *target = half::f16::from_le_bytes(*source).to_f32();
    }
}

pub(super) fn bf16(bytes: &[u8], values: &mut [f32]) {
    for (source, target) in bytes.as_chunks::<2>().0.iter().zip(values) {
        *target = half::bf16::from_le_bytes(*source).to_f32();
    }
}
