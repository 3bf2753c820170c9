//! Steps 5 to 7 of attention for one query and the group of heads that share keys and values.

use super::super::int8::PANEL;
use super::super::isa::{Isa, Kind};
use super::super::prefetch::Ahead;
use super::super::quantize::SMALLEST_MAXIMUM;
use super::super::scalar;
#[cfg(target_arch = "x86_64")]
use super::super::{avx2, avx512};
use super::LARGEST_WEIGHT;
use super::head::{Call, Span};
#[cfg(target_arch = "x86_64")]
use super::steps::finish_whole;
use super::steps::{DENOMINATOR_SCALE, finish, split_weights};

/// What steps 1 to 4 find for one query head.
pub(super) struct Softmax {
    /// The largest score.
    pub(super) maximum: f32,
    /// `D`
    pub(super) denominator: u64,
    /// `b`
    pub(super) largest: f32,
}

impl Softmax {
    /// What weights are multiplied with before they are rounded, if any is not zero.
    fn inverse(&self) -> Option<f32> {
        let is_cut = (SMALLEST_MAXIMUM..=f32::MAX).contains(&self.largest);
        is_cut.then(|| LARGEST_WEIGHT / self.largest)
    }

    /// What step 7 multiplies outputs with.
    fn factor(&self) -> f32 {
        if self.largest < SMALLEST_MAXIMUM && self.maximum.is_finite() {
            return 0.0;
        }
        if !(self.maximum.is_finite() && self.largest.is_finite()) {
            return f32::NAN;
        }
        let denominator = self.denominator as f32 * (1.0 / DENOMINATOR_SCALE);
        self.largest / LARGEST_WEIGHT / denominator
    }
}

/// Buffers kept between the queries of a task.
#[derive(Default)]
pub(super) struct Outputs {
    /// `[group][2][positions]`: high bytes of weights, and low ones.
    bytes: Vec<u8>,
    /// `[group][positions / 4]`: whole weights.
    #[cfg(target_arch = "x86_64")]
    pairs: Vec<[i32; 2]>,
    /// What each query head's weights, or their bytes, sum to.
    totals: Vec<[i32; 2]>,
    /// `[group][planes][head_width]`
    sums: Vec<i32>,
}

impl Outputs {
    /// Writes the outputs `[group][head_width]` from `u`, `[group][positions]`, which is not changed.
    pub(super) fn write(
        &mut self,
        call: &Call<'_>,
        spans: &[Span],
        weights: &[f32],
        softmax: &[Softmax],
        ahead: &mut Ahead,
        out: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.cut_whole(call.isa, weights, softmax, ahead) {
            return self.write_whole(call, spans, softmax, out);
        }
        let positions = weights.len() / softmax.len();
        self.bytes.resize(2 * weights.len(), 0);
        self.totals.clear();
        let heads = weights.chunks_exact(positions).zip(self.bytes.chunks_exact_mut(2 * positions));
        for ((weights, bytes), softmax) in heads.zip(softmax) {
            let (high, low) = bytes.split_at_mut(positions);
            let lines = ahead.take(2 * positions / PANEL);
            self.totals.push(match softmax.inverse() {
                Some(inverse) => split_weights(call.isa, weights, inverse, high, low, lines),
                None => {
                    bytes.fill(0);
                    [0, 0]
                }
            });
        }
        let rows = 2 * softmax.len();
        self.clear_sums(rows * call.head_width);
        for span in spans {
            let at = call.bytes_of(span);
            let ahead = call.next.values[at.start..].as_ptr();
            let shape = [rows, call.head_width, positions];
            let (weights, values) = (&self.bytes[span.position..], &call.cached.values[at]);
            value_sums(call.isa, weights, values, ahead, shape, &mut self.sums);
        }
        let sums = self.sums.chunks_exact(2 * call.head_width).zip(&self.totals);
        let heads = out.chunks_exact_mut(call.head_width).zip(sums).zip(softmax);
        for ((out, (sums, &totals)), softmax) in heads {
            let (high, low) = sums.split_at(call.head_width);
            finish(call.isa, high, low, totals, softmax.factor(), out);
        }
    }

    fn clear_sums(&mut self, length: usize) {
        self.sums.clear();
        self.sums.resize(length, 0);
    }
}

/// For processors that multiply 16 bits as fast as bytes: weights are left whole.
///
/// `|V|` is at most 127. Where 127 times the sum of a head's weights is below 2^31, so is `256 * H + L`.
/// Where also 127 times the sum of the low bytes' magnitudes is at most 2^24, so is `L`, and so is
/// `H`: both are `f32` exactly, and step 7's `f32(H) * 256 + f32(L)` is rounded once, like the sum
/// of whole weights. Windows of up to 518 slots always are within these bounds.
#[cfg(target_arch = "x86_64")]
impl Outputs {
    /// The largest magnitude of a cached value.
    const LARGEST_VALUE: i64 = 127;

    /// Cuts all weights; false for other processors, and if sums of whole weights may differ from
    /// the definition.
    fn cut_whole(
        &mut self,
        isa: Isa,
        weights: &[f32],
        softmax: &[Softmax],
        ahead: &mut Ahead,
    ) -> bool {
        if isa.kind() != Kind::Avx2 {
            return false;
        }
        let positions = weights.len() / softmax.len();
        self.pairs.resize(weights.len() / 4, [0; 2]);
        self.totals.clear();
        let heads = weights.chunks_exact(positions).zip(self.pairs.chunks_exact_mut(positions / 4));
        for ((weights, pairs), softmax) in heads.zip(softmax) {
            let lines = ahead.take(2 * positions / PANEL);
            let [total, lows] = match softmax.inverse() {
                // SAFETY: the kind proves the instructions.
                Some(inverse) => unsafe { avx2::whole_weights(weights, inverse, lines, pairs) },
                None => {
                    pairs.fill([0; 2]);
                    [0, 0]
                }
            };
            match i32::try_from(total * Self::LARGEST_VALUE) {
                Ok(_) if lows * Self::LARGEST_VALUE <= 1 << f32::MANTISSA_DIGITS => {
                    self.totals.push([total as i32, 0]);
                }
                _ => return false,
            }
        }
        true
    }

    /// Writes the outputs from weights that [`Self::cut_whole`] has cut.
    fn write_whole(
        &mut self,
        call: &Call<'_>,
        spans: &[Span],
        softmax: &[Softmax],
        out: &mut [f32],
    ) {
        self.clear_sums(out.len());
        let stride = self.pairs.len() / softmax.len();
        for span in spans {
            let at = call.bytes_of(span);
            let ahead = call.next.values[at.start..].as_ptr();
            let shape = [softmax.len(), call.head_width, stride];
            let (pairs, values) = (&self.pairs[span.position / 4..], &call.cached.values[at]);
            if call.isa.kind() == Kind::Avx2 {
                // SAFETY: the kind proves the instructions.
                unsafe { avx2::whole_value_sums(pairs, values, ahead, shape, &mut self.sums) };
            }
        }
        let sums = self.sums.chunks_exact(call.head_width).zip(&self.totals);
        let heads = out.chunks_exact_mut(call.head_width).zip(sums).zip(softmax);
        for ((out, (sums, &[total, _])), softmax) in heads {
            finish_whole(call.isa, sums, total, softmax.factor(), out);
        }
    }
}

/// Adds to `sums`, `[rows][head_width]`, weight bytes `[rows][positions]` times values, for the
/// positions of `values`; `shape` is rows, head width and the distance from row to row of
/// `weights`.
fn value_sums(
    isa: Isa,
    weights: &[u8],
    values: &[u8],
    ahead: *const u8,
    shape: [usize; 3],
    sums: &mut [i32],
) {
    let _ = ahead;
    match isa.kind() {
        Kind::Scalar => scalar::value_sums(weights, values, shape, sums),
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::value_sums(weights, values, ahead, shape, sums) },
        // SAFETY: the kind proves the instructions.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { avx512::value_sums(weights, values, ahead, shape, sums) },
    }
}
