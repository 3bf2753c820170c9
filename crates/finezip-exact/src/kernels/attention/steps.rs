//! The element-wise loops of attention's steps, compiled once an instruction set.

use super::super::int8::{OFFSET, PANEL};
use super::super::isa::per_isa;
use super::super::order::order_key;
use super::super::prefetch::Lines;
use super::super::quantize::{ROUNDING, SMALLEST_MAXIMUM, largest_magnitude, rounded};

/// 2^20
pub(super) const DENOMINATOR_SCALE: f32 = 1_048_576.0;

/// 2^f for |f| <= 1/2 by powers of f: a minimax fit with a relative error of 2.6e-6, which is a
/// tenth of the step of 15-bit weights.
const POWER_COEFFICIENTS: [f32; 5] =
    [0.999_999_3, 0.693_121_8, 0.240_247_44, 0.055_917_86, 0.009_570_102];

per_isa! {
    /// Step 1: writes the bytes of a query's integers, high ones where asked for; gives `a`
    /// and their sum.
    pub(super) fn split_query(query: &[f32], largest: f32, high: &mut [u8], low: &mut [u8]) -> (f32, i32) {
        let maximum = largest_magnitude(query).unwrap_or(f32::NAN);
        if maximum.is_nan() || maximum < SMALLEST_MAXIMUM {
            high.fill(0);
            low.fill(0);
            return (if maximum.is_nan() { f32::NAN } else { 0.0 }, 0);
        }
        let inverse = largest / maximum;
        let mut sum = 0;
        for (q, low) in query.iter().zip(low) {
            let integer = rounded(q * inverse);
            *low = integer as u8;
            sum += integer;
        }
        for (q, high) in query.iter().zip(high) {
            *high = high_byte(rounded(q * inverse));
        }
        (maximum, sum)
    }
}

/// The high byte of 256 * high + low with low in -128..=127.
#[inline(always)]
fn high_byte(integer: i32) -> u8 {
    ((integer + 128) >> 8) as u8
}

per_isa! {
    /// Step 2 for whole blocks, from the sums of high and low bytes.
    pub(super) fn score_span_15(
        high: &[i32],
        low: &[i32],
        query: (f32, i32),
        key_scales: &[f32],
        scores: &mut [f32],
    ) {
        let (scale, surplus) = query;
        let sums = high.iter().zip(low);
        for ((score, (high, low)), key_scale) in scores.iter_mut().zip(sums).zip(key_scales) {
            let sum = high.wrapping_mul(256).wrapping_add(*low).wrapping_sub(surplus);
            *score = (sum as f32 * scale) * key_scale;
        }
    }
}

per_isa! {
    /// Step 2 for whole blocks, from the sums of bytes.
    pub(super) fn score_span_8(sums: &[i32], query: (f32, i32), key_scales: &[f32], scores: &mut [f32]) {
        let (scale, surplus) = query;
        for ((score, sum), key_scale) in scores.iter_mut().zip(sums).zip(key_scales) {
            *score = (sum.wrapping_sub(surplus) as f32 * scale) * key_scale;
        }
    }
}

per_isa! {
    /// The largest score of whole blocks, as an order key; NaN is above all whatever its sign, of
    /// which nothing is promised: processors differ in the one that they make.
    ///
    /// With one maximum instead of sixteen the compiler makes no vectors of it.
    pub(super) fn largest_key(scores: &[f32]) -> i32 {
        let mut largest = [i32::MIN; PANEL];
        for scores in scores.chunks_exact(PANEL) {
            for (largest, &score) in largest.iter_mut().zip(scores) {
                let key = if score.is_nan() { i32::MAX } else { order_key(score) };
                *largest = key.max(*largest);
            }
        }
        largest.into_iter().fold(i32::MIN, i32::max)
    }
}

/// Step 3: 2^t for t <= 0.
#[inline(always)]
pub(super) fn power(t: f32) -> f32 {
    let t = if t > -125.0 { t } else { -125.0 };
    let shifted = t + ROUNDING;
    let f = t - (shifted - ROUNDING);
    let [c0, c1, c2, c3, c4] = POWER_COEFFICIENTS;
    let p = (((c4 * f + c3) * f + c2) * f + c1) * f + c0;
    // The low bits of `shifted` hold n; the shift drops the rest.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

per_isa! {
    /// Steps 3 to 5 for whole blocks: turns scores into `u`; gives `D`, and `b` with NaN above all.
    pub(super) fn powers(
        scores: &mut [f32],
        maximum: f32,
        value_scales: &[f32],
        ahead: Lines,
    ) -> (u64, f32) {
        let mut ahead = ahead;
        let mut sums = [0u32; PANEL];
        let mut largest = [0u32; PANEL];
        let blocks = scores.chunks_exact_mut(PANEL).zip(value_scales.chunks_exact(PANEL));
        for (scores, value_scales) in blocks {
            ahead.ask();
            ahead.ask();
            for lane in 0..PANEL {
                let p = power(scores[lane] - maximum);
                let u = p * value_scales[lane];
                sums[lane] = sums[lane].wrapping_add(rounded(p * DENOMINATOR_SCALE) as u32);
                // Values that are not negative order as their bits do.
                largest[lane] = largest[lane].max(u.to_bits());
                scores[lane] = u;
            }
        }
        let largest = largest.into_iter().fold(0, u32::max);
        (sums.into_iter().map(u64::from).sum(), f32::from_bits(largest))
    }
}

per_isa! {
    /// Steps 5 and 6: writes the high and low bytes of the weights for whole blocks; gives the sums
    /// of the bytes.
    pub(super) fn split_weights(
        weights: &[f32],
        inverse: f32,
        high: &mut [u8],
        low: &mut [u8],
        ahead: Lines,
    ) -> [i32; 2] {
        let mut ahead = ahead;
        let mut totals = [0i32; PANEL];
        let mut highs = [0i32; PANEL];
        let bytes = high.chunks_exact_mut(PANEL).zip(low.chunks_exact_mut(PANEL));
        for (u, (high, low)) in weights.chunks_exact(PANEL).zip(bytes) {
            ahead.ask();
            ahead.ask();
            for lane in 0..PANEL {
                let integer = rounded(u[lane] * inverse);
                let high_part = (integer + 128) >> 8;
                totals[lane] = totals[lane].wrapping_add(integer);
                highs[lane] = highs[lane].wrapping_add(high_part);
                high[lane] = high_part as u8;
                low[lane] = integer as u8;
            }
        }
        let total = totals.into_iter().fold(0, i32::wrapping_add);
        let high = highs.into_iter().fold(0, i32::wrapping_add);
        [high, total.wrapping_sub(high.wrapping_mul(256))]
    }
}

per_isa! {
    /// Step 7 from the sums of high and low bytes; `surplus` are the sums of the weights' bytes, from
    /// which the surplus of 128 a value comes.
    pub(super) fn finish(high: &[i32], low: &[i32], surplus: [i32; 2], factor: f32, out: &mut [f32]) {
        let [high_surplus, low_surplus] = surplus.map(|sum| OFFSET.wrapping_mul(sum));
        for ((out, high), low) in out.iter_mut().zip(high).zip(low) {
            let high = high.wrapping_sub(high_surplus) as f32;
            let low = low.wrapping_sub(low_surplus) as f32;
            *out = (high * 256.0 + low) * factor;
        }
    }
}

#[cfg(target_arch = "x86_64")]
per_isa! {
    /// Step 7 from the sums of whole weights, where `f32(H) * 256 + f32(L)` rounds once: it is then
    /// `f32(256 * H + L)`.
    pub(super) fn finish_whole(sums: &[i32], surplus: i32, factor: f32, out: &mut [f32]) {
        let surplus = OFFSET.wrapping_mul(surplus);
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum.wrapping_sub(surplus) as f32 * factor;
        }
    }
}
