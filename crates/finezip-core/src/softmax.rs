//! From logits to integer weights: the one place where a distribution leaves floating point.
//!
//! A row of logits becomes whole numbers, `weight = floor(2^30 · e^(logit - maximum)) + 1`, and
//! everything after (cumulative sums, ranges, probabilities) is integer arithmetic. The weights
//! are computed with IEEE single-precision additions and multiplications in a fixed order and
//! with no library function, so that equal logits give equal weights on every machine, compiler
//! and vector width. `docs/coder.md` gives the error bounds.
//!
//! The `+ 1` gives every token a code, whatever the model thinks of it: at 49,152 tokens it costs
//! less than 0.0001 bit a token.

/// Weights stand for multiples of `2^-WEIGHT_BITS` of the most probable token's probability.
pub const WEIGHT_BITS: u32 = 30;

/// The largest weight a token can have.
pub const MAX_WEIGHT: u32 = (1 << WEIGHT_BITS) + 1;

/// Adding and subtracting `1.5 · 2^23` rounds a small `f32` to a whole number, half to even.
const ROUND: f32 = 12_582_912.0;

/// Differences (in bits) below this give the smallest weight.
const LOWEST: f32 = -60.0;

/// The largest logit of a row, or `None` where that is not a finite number (an engine that gives
/// NaN or infinity as its maximum has no distribution).
///
/// NaN elsewhere in the row is passed over; [`weight`] gives it the smallest weight.
#[inline(always)]
pub fn row_maximum(row: &[f32]) -> Option<f32> {
    const LANES: usize = 16;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (best, &value) in lanes.iter_mut().zip(chunk) {
            *best = if value > *best { value } else { *best };
        }
    }
    let best = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    best.is_finite().then_some(best)
}

/// The weight of a token whose logit lies `difference` (at most 0) from the row's maximum.
///
/// `2^x` is split into a power of two, set in the exponent bits, and a polynomial of degree 6 on
/// `[-1/2, 1/2]` (the Taylor coefficients `ln(2)^k / k!`).
#[inline(always)]
pub fn weight(difference: f32) -> u32 {
    let bits = difference * std::f32::consts::LOG2_E;
    // Written so that NaN takes the lower branch.
    let bits = if bits > LOWEST { bits } else { LOWEST };
    let rounded = bits + ROUND;
    let whole = rounded - ROUND;
    let x = bits - whole;
    let mut power = 1.540_353e-4_f32;
    power = power * x + 1.333_355_8e-3;
    power = power * x + 9.618_129e-3;
    power = power * x + 5.550_411e-2;
    power = power * x + 2.402_265e-1;
    power = power * x + 6.931_472e-1;
    power = power * x + 1.0;
    // The product `power * 2^(whole + WEIGHT_BITS)`, rounded down, is the power's significand
    // shifted right. Written so because a conversion from float to integer keeps compilers from
    // vectorising the loop around it.
    let power = power.to_bits();
    let significand = ((power << 7) & 0x3FFF_FF80) | 0x4000_0000;
    let whole = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let shift = 127_u32.wrapping_sub(power >> 23).wrapping_sub(whole).min(31);
    significand.wrapping_shr(shift).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_exponential() {
        for step in 0..20_000 {
            let difference = -(step as f32) * 0.001;
            let exact = f64::from(difference).exp() * f64::from(1 << WEIGHT_BITS);
            let found = f64::from(weight(difference)) - 1.0;
            assert!(
                (found - exact).abs() <= 1.0 + exact * 1.5e-6,
                "{difference}: expected {exact}, found {found}"
            );
        }
    }

    #[test]
    fn extremes_have_the_smallest_weight_and_the_maximum_the_largest() {
        assert_eq!(weight(0.0), MAX_WEIGHT);
        assert_eq!(weight(-0.0), MAX_WEIGHT);
        for lost in [-41.0, -1e30, f32::MIN, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(weight(lost), 1, "{lost}");
        }
    }

    #[test]
    fn golden_weights() {
        let found: Vec<u32> = [-0.1, -0.5, -1.0, -2.5, -7.25, -15.0, -20.5].map(weight).to_vec();
        assert_eq!(found, GOLDEN);
    }

    const GOLDEN: [u32; 7] = [971_561_793, 651_257_345, 395_007_553, 88_138_097, 762_545, 329, 2];

    #[test]
    fn the_maximum_passes_over_nan_and_refuses_what_is_not_finite() {
        assert_eq!(row_maximum(&[1.0, f32::NAN, 3.0]), Some(3.0));
        assert_eq!(row_maximum(&[]), None);
        assert_eq!(row_maximum(&[f32::NEG_INFINITY; 40]), None);
        assert_eq!(row_maximum(&[0.0, f32::INFINITY]), None);
        let row: Vec<f32> = (0..100).map(|i| ((i * 37) % 101) as f32).collect();
        assert_eq!(row_maximum(&row), Some(100.0));
    }
}
