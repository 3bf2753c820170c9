//! Floats in the order of integers, so that maxima are taken with integers' instructions.

/// An integer that orders as the float does, in IEEE 754's total order.
#[inline(always)]
pub(super) fn order_key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) & 0x7fff_ffff)
}

/// The float of an [`order_key`].
#[inline(always)]
pub(super) fn from_order_key(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & 0x7fff_ffff)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_order_as_floats_do() {
        let values = [f32::NEG_INFINITY, -1.0, -1e-40, -0.0, 0.0, 1e-40, 2.0, f32::INFINITY];
        for pair in values.windows(2) {
            assert!(order_key(pair[0]) < order_key(pair[1]));
        }
        assert!(values.iter().all(|v| from_order_key(order_key(*v)).to_bits() == v.to_bits()));
    }
}
