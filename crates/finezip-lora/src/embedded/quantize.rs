//! Rounding: a vector of values to small integers and a scale, or to 16-bit floats.
//!
//! Reading is `integer * scale`, one `f32` product. A scale is a bfloat16 (8 bits of mantissa) and
//! an integer has at most 7, so the product is exact and the same everywhere. Which scale is best
//! is the writer's business: it tries a few, below the one that just reaches the largest value,
//! because rounding the many small values finely can be worth cutting off a few large ones.

use half::bf16;

/// Shares of the scale that reaches the largest value, which are tried.
const SHARES: [f32; 6] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5];

/// Rounds a vector of finite values to integers of magnitude `largest` or less, with the one of
/// [`SHARES`] that gives the least squared error.
pub(super) fn quantize(values: &[f32], largest: i32) -> (bf16, Vec<i32>) {
    let reach = values.iter().fold(0.0_f32, |reach, value| reach.max(value.abs()));
    let zeros = || (bf16::ZERO, vec![0; values.len()]);
    let mut best: Option<(f64, (bf16, Vec<i32>))> = None;
    for share in SHARES {
        let scale = bf16::from_f32(reach / largest as f32 * share);
        if !(scale.to_f32().is_normal()) {
            continue;
        }
        let integers: Vec<i32> =
            values.iter().map(|value| round(value / scale.to_f32(), largest)).collect();
        let error = values.iter().zip(&integers).fold(0.0, |sum, (value, integer)| {
            let error = f64::from(*value) - f64::from(dequantize(*integer, scale));
            sum + error * error
        });
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, (scale, integers)));
        }
    }
    best.map_or_else(zeros, |(_, rounded)| rounded)
}

fn round(value: f32, largest: i32) -> i32 {
    (value.round_ties_even() as i32).clamp(-largest, largest)
}

/// The value of an integer.
pub(super) fn dequantize(integer: i32, scale: bf16) -> f32 {
    integer as f32 * scale.to_f32()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_error_is_at_most_that_of_the_scale_which_reaches_everything(
            values in prop::collection::vec(-4.0_f32..4.0, 1..100),
            largest in prop::sample::select(vec![7, 127]),
        ) {
            let (scale, integers) = quantize(&values, largest);
            let reach = values.iter().fold(0.0_f32, |reach, value| reach.max(value.abs()));
            let step = f64::from(reach) / f64::from(largest);
            let error: f64 = values
                .iter()
                .zip(&integers)
                .map(|(v, q)| (f64::from(*v) - f64::from(dequantize(*q, scale))).powi(2))
                .sum();
            // Half a step each, and what a scale loses to its 8 bits.
            let most = (step * 0.5).hypot(f64::from(reach) / 256.0);
            prop_assert!(error <= values.len() as f64 * most * most * 1.01, "{error}");
            for q in integers {
                prop_assert!(q.abs() <= largest);
                let exact = f64::from(q) * f64::from(scale.to_f32());
                prop_assert_eq!(f64::from(dequantize(q, scale)), exact);
            }
        }
    }

    #[test]
    fn nothing_and_next_to_nothing_are_zero() {
        for value in [0.0, -0.0, f32::MIN_POSITIVE, -1e-42] {
            let (scale, integers) = quantize(&[value; 3], 7);
            assert_eq!((scale, integers), (bf16::ZERO, vec![0; 3]));
        }
        let (scale, integers) = quantize(&[f32::MAX, -f32::MAX, 0.0], 127);
        assert!(scale.is_finite() && integers[0] > 0 && integers[1] == -integers[0]);
    }

    #[test]
    fn a_single_far_value_is_cut_off() {
        let mut values: Vec<f32> = (0..4000).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
        values.push(1.2);
        let (scale, _) = quantize(&values, 7);
        assert!(scale.to_f32() < 1.2 / 7.0 * 0.95, "{scale}");
    }
}
