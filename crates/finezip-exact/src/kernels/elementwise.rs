//! Norms, rotary embedding, gates and sums: one value after the other, in one written order.
//!
//! The sources here are plain Rust; [`per_isa`] compiles each once an instruction set. Every
//! expression is evaluated as written, with one rounding an operation.

use super::isa::per_isa;
use super::quantize::ROUNDING;

/// Above this, [`exp`] stays what it is here.
const EXP_MAX: f32 = 88.0;
/// Below this, [`exp`] is zero.
const EXP_MIN: f32 = -87.0;
/// ln 2 to nine bits, so that its product with a whole number below 2^15 is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
/// The rest of ln 2.
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, by powers of r: a minimax fit with a relative error
/// of e^r of 6.5e-9.
const EXP_COEFFICIENTS: [f32; 5] = [0.5, 0.166_665_45, 0.041_666_86, 0.008_366_278, 0.001_390_502];

/// e^x within 1.5 units in the last place, from `+ - *` and whole numbers alone.
///
/// `n = round(x * log2 e)` (half to even), `r = (x - n * LN_2_HIGH) - n * LN_2_LOW`, then
/// `(r * r * p(r) + r) + 1` with `p` in Horner's form, times 2^n. Arguments above 88 count as 88,
/// below -87 the result is 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = if x > EXP_MAX { EXP_MAX } else { x };
    let clamped = if clamped < EXP_MIN { EXP_MIN } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let [c0, c1, c2, c3, c4] = EXP_COEFFICIENTS;
    let p = (((c4 * r + c3) * r + c2) * r + c1) * r + c0;
    let fraction = (r * r * p + r) + 1.0;
    // The low bits of `shifted` hold n; the shift drops the rest.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < EXP_MIN { 0.0 } else { fraction * power }
}

/// The sum of products in sixteen parts: part `j` takes elements `j`, `j + 16`, ... in ascending
/// order, then parts eight apart are added, then four, two and one apart.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut parts = [0.0f32; 16];
    let (whole_a, rest_a) = a.as_chunks::<16>();
    let (whole_b, rest_b) = b.as_chunks::<16>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        // In this form the compiler keeps the parts in one vector.
        let products: [f32; 16] = std::array::from_fn(|lane| a[lane] * b[lane]);
        parts = std::array::from_fn(|lane| parts[lane] + products[lane]);
    }
    for ((part, a), b) in parts.iter_mut().zip(rest_a).zip(rest_b) {
        *part += a * b;
    }
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            parts[j] += parts[j + width];
        }
    }
    parts[0]
}

per_isa! {
    /// Root-mean-square norm of one row (Zhang and Sennrich 2019): `out = (x * r) * gain` with
    /// `r = 1 / sqrt(s / width + epsilon)`, `s` the sum of squares in sixteen parts: part `j` takes
    /// elements `j`, `j + 16`, ... in ascending order, then parts eight apart are added, then
    /// four, two and one apart. An empty `gain` counts as ones and is not multiplied.
    ///
    /// # Panics
    /// If `out`, or a `gain` that is not empty, is not as long as `x`.
    pub fn rms_norm(x: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]) {
        assert_eq!(x.len(), out.len());
        let r = 1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt();
        if gain.is_empty() {
            for (out, x) in out.iter_mut().zip(x) {
                *out = x * r;
            }
        } else {
            assert_eq!(gain.len(), x.len());
            for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                *out = (x * r) * gain;
            }
        }
    }
}

/// Which two values of a head are the coordinates of one rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopeLayout {
    /// `2i` and `2i + 1`: Llama as GGUF files store it.
    Adjacent,
    /// `i` and `i + half`: GPT-NeoX, and Hugging Face's layout for most models.
    Halves,
}

per_isa! {
    /// Rotary position embedding (Su et al. 2021) of the heads of one row, in place.
    ///
    /// `heads` is `[heads][head_width]`; `cosines` and `sines` are one position's, `[half]`, for
    /// the first `2 * half` values of each head: `(a, b)` becomes `(a * c - b * s, a * s + b * c)`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn rope(
        heads: &mut [f32],
        head_width: usize,
        cosines: &[f32],
        sines: &[f32],
        layout: RopeLayout,
    ) {
        let half = cosines.len();
        assert!(sines.len() == half && 2 * half <= head_width);
        assert!(heads.len().is_multiple_of(head_width));
        for head in heads.chunks_exact_mut(head_width) {
            match layout {
                RopeLayout::Adjacent => {
                    let pairs = head[..2 * half].chunks_exact_mut(2);
                    for ((pair, c), s) in pairs.zip(cosines).zip(sines) {
                        let (a, b) = (pair[0], pair[1]);
                        pair[0] = a * c - b * s;
                        pair[1] = a * s + b * c;
                    }
                }
                RopeLayout::Halves => {
                    let (low, high) = head[..2 * half].split_at_mut(half);
                    for (((a, b), c), s) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                        let rotated = (*a * c - *b * s, *a * s + *b * c);
                        (*a, *b) = rotated;
                    }
                }
            }
        }
    }
}

per_isa! {
    /// SwiGLU's gate (Shazeer 2020): `out = (g / (1 + exp(-g))) * up`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn silu_gate(gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == out.len() && up.len() == out.len());
        for ((out, g), up) in out.iter_mut().zip(gate).zip(up) {
            *out = (g / (1.0 + exp(-g))) * up;
        }
    }
}

/// 2 * sqrt(2 / pi)
const GELU_SCALE: f32 = 1.595_769_2;

per_isa! {
    /// GeGLU's gate with the tanh form of GELU, which is `g / (1 + exp(-2u))` with
    /// `u = sqrt(2 / pi) * (g + 0.044715 g^3)`:
    /// `out = (g / (1 + exp(-(1.5957692 * (g + 0.044715 * (g * g) * g))))) * up`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn gelu_tanh_gate(gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == out.len() && up.len() == out.len());
        for ((out, g), up) in out.iter_mut().zip(gate).zip(up) {
            let u = GELU_SCALE * (g + 0.044715 * (g * g) * g);
            *out = (g / (1.0 + exp(-u))) * up;
        }
    }
}

per_isa! {
    /// `x = x + y`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_assign(x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len());
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use proptest::prelude::*;

    /// Units in the last place between an `f32` and the exact value.
    fn error_in_units(found: f32, exact: f64) -> f64 {
        let next = f32::from_bits((exact as f32).to_bits() + 1);
        ((f64::from(found) - exact) / (f64::from(next) - f64::from(exact as f32))).abs()
    }

    #[test]
    fn exp_is_close_over_its_range() {
        let mut worst = 0.0f64;
        for i in -8_700_000..=8_800_000 {
            let x = i as f32 * 1e-5;
            worst = worst.max(error_in_units(exp(x), f64::from(x).exp()));
        }
        assert!(worst < 1.5, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), exp(EXP_MAX));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gates_are_close_to_what_they_are_called() {
        for i in -1200..=1200 {
            let g = i as f32 / 10.0;
            let wide = f64::from(g);
            let silu = wide / (1.0 + (-wide).exp());
            let u = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let gelu = 0.5 * wide * (1.0 + u.tanh());
            let (mut found_silu, mut found_gelu) = ([0.0], [0.0]);
            silu_gate(Isa::scalar(), &[g], &[3.0], &mut found_silu);
            gelu_tanh_gate(Isa::scalar(), &[g], &[3.0], &mut found_gelu);
            assert!((f64::from(found_silu[0]) - 3.0 * silu).abs() <= 1e-5 * (1.0 + silu.abs()));
            assert!((f64::from(found_gelu[0]) - 3.0 * gelu).abs() <= 1e-5 * (1.0 + gelu.abs()));
        }
    }

    #[test]
    fn rope_rotates_the_pairs_of_its_layout() {
        let (c, s) = ([0.6, 0.8], [0.8, -0.6]);
        let mut heads: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        rope(Isa::scalar(), &mut heads, 6, &c, &s, RopeLayout::Adjacent);
        let expected = [-1.0, 2.0, 4.8, 1.4, 5.0, 6.0];
        assert!(heads.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{heads:?}");
        let mut heads: Vec<f32> = (1..=6).map(|i| i as f32).collect();
        rope(Isa::scalar(), &mut heads, 6, &c, &s, RopeLayout::Halves);
        let expected = [-1.8, 4.0, 2.6, 2.0, 5.0, 6.0];
        assert!(heads.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{heads:?}");
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same_bits(
            x in proptest::collection::vec(any::<f32>().prop_filter("number", |x| !x.is_nan()), 1..200),
            small in proptest::collection::vec(-20.0f32..20.0, 200),
            offset in 0usize..3,
        ) {
            let x = &x[offset.min(x.len() - 1)..];
            let y = &small[..x.len()];
            // NaN has many patterns, of which none is promised.
            let bits = |values: Vec<f32>| -> Vec<u32> {
                values.iter().map(|v| if v.is_nan() { 1 } else { v.to_bits() }).collect()
            };
            let all = |isa: Isa| {
                let mut results = Vec::new();
                for input in [x, y] {
                    let mut out = vec![0.0; input.len()];
                    rms_norm(isa, input, &[], 1e-5, &mut out);
                    results.push(out.clone());
                    rms_norm(isa, input, y, 1e-5, &mut out);
                    results.push(out.clone());
                    silu_gate(isa, input, y, &mut out);
                    results.push(out.clone());
                    gelu_tanh_gate(isa, input, y, &mut out);
                    results.push(out.clone());
                    add_assign(isa, &mut out, input);
                    results.push(out);
                    let half = input.len() / 2;
                    for layout in [RopeLayout::Adjacent, RopeLayout::Halves] {
                        let mut heads = [input, y].concat();
                        rope(isa, &mut heads, input.len(), &y[..half], &small[..half], layout);
                        results.push(heads);
                    }
                }
                results.into_iter().map(bits).collect::<Vec<_>>()
            };
            let expected = all(Isa::scalar());
            for isa in Isa::available() {
                prop_assert_eq!(&all(isa), &expected, "{}", isa);
            }
        }
    }
}
