//! Logarithm, exponential, sine and cosine in f64, from + - * / alone.
//!
//! A libm answers differently from machine to machine in the last bit; these do not. They are
//! used for what is computed once a model or once a position (rope), so they are written for
//! accuracy (within a few units in the last place of f64) rather than speed.

/// Bits of `ln 2` that times any exponent of an f64 is exact, and the rest.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// 1.5 times 2 to the 52nd: added and taken away it rounds to the nearest integer, half to even.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Natural logarithm of a positive normal number.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh s with s = (m - 1) / (m + 1), |s| < 0.172
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for k in (1..=12).rev() {
        sum = (sum + 1.0 / f64::from(2 * k + 1)) * square;
    }
    let exponent = exponent as f64;
    exponent * LN_2_HIGH + (2.0 * s + (2.0 * s * sum + exponent * LN_2_LOW))
}

/// The exponential of a number between -700 and 700.
pub(crate) fn exp(x: f64) -> f64 {
    let k = (x * LOG2_E + ROUNDER) - ROUNDER;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut sum = 1.0;
    for n in (1..=18).rev() {
        sum = sum * r / f64::from(n) + 1.0;
    }
    sum * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

/// Cosine and sine of an angle given as a fraction of a turn, `phase / 2^64`.
pub(crate) fn cos_sin(phase: u64) -> (f64, f64) {
    let quadrant = phase.wrapping_add(1 << 61) >> 62;
    let rest = phase.wrapping_sub(quadrant << 62) as i64;
    // |angle| <= pi / 4
    let angle = rest as f64 * (std::f64::consts::TAU / 18_446_744_073_709_551_616.0);
    let square = angle * angle;
    let (mut cosine, mut sine) = (1.0, 1.0);
    for n in (1..=9).rev() {
        let even = f64::from(2 * n);
        cosine = 1.0 - cosine * square / (even * (even - 1.0));
        sine = 1.0 - sine * square / (even * (even + 1.0));
    }
    sine *= angle;
    match quadrant & 3 {
        0 => (cosine, sine),
        1 => (-sine, cosine),
        2 => (-cosine, -sine),
        _ => (sine, -cosine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_platform_library() {
        for i in 1..2000 {
            let x = f64::from(i) * 0.37;
            assert!((ln(x) - f64::ln(x)).abs() <= 4e-16 * f64::ln(x).abs().max(1.0), "ln {x}");
            let y = f64::from(i - 1000) * 0.031;
            assert!((exp(y) / f64::exp(y) - 1.0).abs() < 1e-15, "exp {y}");
            let phase = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let angle = (phase as i64) as f64 / 2f64.powi(64) * std::f64::consts::TAU;
            let (cosine, sine) = cos_sin(phase);
            assert!((cosine - f64::cos(angle)).abs() < 1e-15, "cos {angle}");
            assert!((sine - f64::sin(angle)).abs() < 1e-15, "sin {angle}");
        }
        assert_eq!(cos_sin(0), (1.0, 0.0));
    }
}
