//! The real-number functions of the mixer, built from IEEE 754 single-precision `+ - * /` and
//! integer operations alone, so that every machine, compiler and optimisation level gives the same
//! bits. Nothing here calls a mathematical library.
//!
//! Probabilities are mixed in the logistic domain: [`stretch`] is ln(p / (1 - p)) and [`squash`]
//! its inverse (Mahoney 2005, "Adaptive weighing of context models for lossless data compression").

use std::sync::LazyLock;

/// e^x for x in [-87, 87]; arguments outside are moved to the nearest end. Relative error below
/// 3e-7.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding and taking it away rounds to the nearest whole number, ties to even.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    // The low bits of `shifted` hold the whole number; move it into the exponent.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()) << 23;
    f32::from_bits(p.to_bits().wrapping_add(exponent))
}

/// Natural logarithm of a positive normal number. Absolute error below 4e-7 near 1.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(SQRT_HALF_BITS) as i32;
    let exponent = shifted >> 23;
    let m = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = 2.0 + z * (0.666_666_7 + z * (0.4 + z * (0.285_714_3 + z * 0.222_222_22)));
    s * series + exponent as f32 * std::f32::consts::LN_2
}

/// ln(p / (1 - p)) for p strictly between 0 and 1.
#[inline(always)]
pub(crate) fn stretch(p: f32) -> f32 {
    ln(p / (1.0 - p))
}

/// 1 / (1 + e^-x), the inverse of [`stretch`].
#[inline(always)]
pub(crate) fn squash(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// [`stretch`] of probabilities in 4096ths, at the middle of each step.
pub(crate) static STRETCH: LazyLock<Box<[f32; 4096]>> = LazyLock::new(|| {
    let mut table = Box::new([0.0; 4096]);
    for (step, value) in table.iter_mut().enumerate() {
        *value = stretch((step as f32 + 0.5) / 4096.0);
    }
    table
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_close_to_the_library_ones() {
        for step in -8700..=8700 {
            let x = step as f32 / 100.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 4e-7, "exp({x})");
            let y = exp(x * 0.9);
            assert!((f64::from(ln(y)) - f64::from(y).ln()).abs() < 8e-6, "ln({y})");
        }
        for step in 1..1000 {
            let p = step as f32 / 1000.0;
            assert!((squash(stretch(p)) - p).abs() < 1e-6, "{p}");
        }
    }

    #[test]
    fn bits_are_fixed() {
        let hash = (-4000..4000).fold(0u32, |hash, step| {
            let x = step as f32 / 64.0;
            let y = exp(x) + f32::MIN_POSITIVE;
            hash.rotate_left(5) ^ y.to_bits() ^ ln(y).to_bits() ^ squash(x).to_bits()
        });
        assert_eq!(hash, GOLDEN, "found {hash:#010x}");
    }

    const GOLDEN: u32 = 0xaeb1_a82a;
}
