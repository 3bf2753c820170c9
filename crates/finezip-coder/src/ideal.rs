//! How long a code could be: what a coder's payload is measured against.

/// The ideal code length, in bits, of `token` under the softmax of the logits `row`, `[vocab]`:
/// `-log2 p(token)` in double precision.
///
/// Infinite where the token has no probability: NaN or negative infinity as its logit, an id
/// outside the row, or a row without a finite maximum. It measures and takes part in no coding,
/// so it uses the platform's logarithm.
///
/// ```
/// assert_eq!(finezip_coder::ideal_bits(&[0.0; 8], 5), 3.0);
/// ```
pub fn ideal_bits(row: &[f32], token: usize) -> f64 {
    let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    match row.get(token) {
        Some(&logit) if maximum.is_finite() && logit > f32::NEG_INFINITY => {
            let below = |logit: f32| f64::from(logit) - f64::from(maximum);
            let total: f64 =
                row.iter().filter(|logit| !logit.is_nan()).map(|&logit| below(logit).exp()).sum();
            total.log2() - below(logit) * std::f64::consts::LOG2_E
        }
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::ideal_bits;

    #[test]
    fn known_distributions() {
        assert_eq!(ideal_bits(&[1.0, 1.0], 0), 1.0);
        assert_eq!(ideal_bits(&[7.0], 0), 0.0);
        let quarter = 0.25_f32.ln();
        assert!((ideal_bits(&[0.75_f32.ln(), quarter], 1) - 2.0).abs() < 1e-6);
        assert_eq!(ideal_bits(&[0.0, f32::NAN, f32::NEG_INFINITY, 0.0], 3), 1.0);
    }

    #[test]
    fn what_has_no_probability_has_no_length() {
        let row = [0.0, f32::NAN, f32::NEG_INFINITY];
        for token in 1..4 {
            assert_eq!(ideal_bits(&row, token), f64::INFINITY);
        }
        assert_eq!(ideal_bits(&[f32::INFINITY, 0.0], 0), f64::INFINITY);
        assert_eq!(ideal_bits(&[], 0), f64::INFINITY);
    }
}
