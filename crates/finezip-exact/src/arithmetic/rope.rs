//! Rotary position embedding: cosines and sines for any position, exact on every machine.
//!
//! The angle of a position is `position * frequency`. As floats this loses precision as lanes
//! grow to millions of tokens. Here a frequency is a fraction of a turn in 64-bit fixed point
//! (`turns * 2^64`), so that the product with the position, wrapped at 2^64, is range reduction
//! without error: the angle of position 2^32 is as good as that of position 1 to 2^-20 of a turn
//! in the worst case, the rounding of the frequency itself.

use finezip_models::RopeScaling;

use super::elementary;

/// The frequencies of one kind of layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rope {
    /// Turns a position, times 2^64, one for each pair of values of a head.
    turns: Vec<u64>,
}

impl Rope {
    /// Frequencies `base^(-2 i / head_width)`, divided as the scaling asks.
    pub(crate) fn new(head_width: usize, base: f32, scaling: Option<&RopeScaling>) -> Self {
        let log_base = elementary::ln(f64::from(base));
        let mut frequencies: Vec<f64> = (0..head_width / 2)
            .map(|i| elementary::exp(-((2 * i) as f64 / head_width as f64) * log_base))
            .collect();
        if let Some(scaling) = scaling {
            let divisors = scaling.divisors(&frequencies);
            for (frequency, divisor) in frequencies.iter_mut().zip(divisors) {
                *frequency /= divisor;
            }
        }
        let turns = frequencies
            .iter()
            .map(|frequency| {
                (frequency / std::f64::consts::TAU * 18_446_744_073_709_551_616.0) as u64
            })
            .collect();
        Self { turns }
    }

    /// Pairs a head.
    pub(crate) fn pairs(&self) -> usize {
        self.turns.len()
    }

    /// Writes the cosines of all pairs, then the sines, `[2 * pairs]`.
    pub(crate) fn write(&self, position: u64, table: &mut [f32]) {
        let (cosines, sines) = table.split_at_mut(self.turns.len());
        for ((cosine, sine), &turns) in cosines.iter_mut().zip(sines).zip(&self.turns) {
            let (c, s) = elementary::cos_sin(turns.wrapping_mul(position));
            (*cosine, *sine) = (c as f32, s as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_right_near_and_far() {
        let rope = Rope::new(64, 100_000.0, None);
        let mut table = [0.0f32; 64];
        for position in [0u64, 1, 511, 8191] {
            rope.write(position, &mut table);
            for pair in 0..32 {
                let angle = position as f64 * 100_000f64.powf(-(pair as f64) / 32.0);
                assert!((f64::from(table[pair]) - angle.cos()).abs() < 1e-7);
                assert!((f64::from(table[32 + pair]) - angle.sin()).abs() < 1e-7);
            }
        }
    }

    /// The difference of two positions is all that a score depends on, however far they are.
    #[test]
    fn differences_keep_their_angle() {
        let rope = Rope::new(64, 10_000.0, None);
        let (mut near, mut a, mut b) = ([0.0f32; 64], [0.0f32; 64], [0.0f32; 64]);
        rope.write(300, &mut near);
        rope.write(3_000_000_000, &mut a);
        rope.write(3_000_000_300, &mut b);
        for pair in 0..32 {
            let cosine = a[pair] * b[pair] + a[32 + pair] * b[32 + pair];
            assert!((cosine - near[pair]).abs() < 3e-7, "pair {pair}");
        }
    }

    /// FNV-1a over the bits of the numbers (Fowler, Noll and Vo).
    fn hash(table: &[f32]) -> u64 {
        table.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Where a float would have lost the angle long ago, it is the product's remainder all the
    /// same. The hashes were reckoned by another program, from the words of docs/arithmetic.md.
    #[test]
    fn lanes_that_run_for_ever_keep_their_angles() {
        let ramp = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        for (base, scaling, position, expected) in [
            (10_000.0, None, (1 << 40) + 7, 0x3734_4e30_e82b_3fe9_u64),
            (10_000.0, None, u64::MAX, 0x1eb9_1944_5bef_54c5),
            (500_000.0, Some(&ramp), (1 << 40) + 7, 0x909b_716b_1014_ad2d),
            (500_000.0, Some(&ramp), u64::MAX, 0x90f3_fc67_599b_419e),
        ] {
            let rope = Rope::new(64, base, scaling);
            let mut table = [0.0f32; 64];
            rope.write(position, &mut table);
            for (pair, &turns) in rope.turns.iter().enumerate() {
                let turned = u128::from(turns) * u128::from(position) % (1 << 64);
                let angle = turned as f64 / 2f64.powi(64) * std::f64::consts::TAU;
                assert!((f64::from(table[pair]) - angle.cos()).abs() < 1e-7, "pair {pair}");
                assert!((f64::from(table[32 + pair]) - angle.sin()).abs() < 1e-7, "pair {pair}");
            }
            assert_eq!(hash(&table), expected, "{base} {position}");
        }
    }

    #[test]
    fn scaling_divides_frequencies() {
        let plain = Rope::new(64, 500_000.0, None);
        let scaled = Rope::new(64, 500_000.0, Some(&RopeScaling::Linear { factor: 8.0 }));
        for (scaled, plain) in scaled.turns.iter().zip(&plain.turns) {
            assert!(scaled.abs_diff(plain / 8) <= 1);
        }
    }
}
