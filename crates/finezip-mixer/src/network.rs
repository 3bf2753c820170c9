//! Gated logistic mixing: inputs in the logistic domain, several sets of weights at once, each set
//! selected by a small context of its own, and a last mixer over their outputs.
//!
//! Every dot product is summed in sixteen fixed lanes, then by a fixed tree, in `f32` without
//! contraction: a vector unit of any width and the plain scalar loop give the same bits.
//! Weights move by the gradient of the coding cost (Mahoney 2005; Mattern 2012).

use std::ops::{Deref, DerefMut};

use crate::arithmetic::squash;
use crate::pages::{PageSize, Pages};
use crate::vector::{Loop, run_on};

/// Number of running sums of a dot product; lengths of weight vectors are multiples of it.
pub(crate) const SUM_LANES: usize = 16;

/// Sum of products over two slices of equal length, a multiple of [`SUM_LANES`].
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; SUM_LANES];
    for (a, b) in a.as_chunks::<SUM_LANES>().0.iter().zip(b.as_chunks::<SUM_LANES>().0) {
        for lane in 0..SUM_LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    // Without this the compiler sees the tree below, and sums pairs of lanes where it could sum
    // vectors.
    let mut sums = std::hint::black_box(sums);
    let mut width = SUM_LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// `weights += step * inputs`, elementwise.
#[inline(always)]
pub(crate) fn adjust(weights: &mut [f32], inputs: &[f32], step: f32) {
    for (w, x) in
        weights.as_chunks_mut::<SUM_LANES>().0.iter_mut().zip(inputs.as_chunks::<SUM_LANES>().0)
    {
        // A copy, so that nothing is stored before everything is read.
        let mut moved = *w;
        for lane in 0..SUM_LANES {
            moved[lane] += step * x[lane];
        }
        *w = moved;
    }
}

/// How fast a set of weights learns: `floor + extra / (1 + uses / horizon)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// The rate after long use.
    pub(crate) floor: f32,
    /// What is added at the first use.
    pub(crate) extra: f32,
    /// Uses after which the extra part has halved.
    pub(crate) horizon: f32,
}

impl Rate {
    #[inline(always)]
    fn at(&self, uses: u32) -> f32 {
        self.floor + self.extra * self.horizon / (self.horizon + uses as f32)
    }
}

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Numbers that begin where a cache line does, so that no load of sixteen of them takes two. The
/// allocator sees to 16 bytes only.
#[derive(Debug)]
struct Aligned {
    values: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// `length` zeros.
    fn zeroed(length: usize) -> Self {
        let mut values = vec![0.0f32; length + SUM_LANES];
        let start = values.as_ptr().align_offset(LINE_BYTES).min(SUM_LANES);
        values.truncate(start + length);
        Self { values, start }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &self.values[self.start..]
    }
}

impl DerefMut for Aligned {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..]
    }
}

/// One selectable family of weight vectors.
#[derive(Debug)]
struct Selector {
    weights: Aligned,
    uses: Vec<u32>,
    selected: usize,
}

impl Selector {
    /// `size` contexts of `width` weights that begin with `first`.
    fn new(size: usize, width: usize, first: &[f32]) -> Self {
        let mut weights = Aligned::zeroed(size * width);
        for context in weights.chunks_exact_mut(width) {
            context[..first.len()].copy_from_slice(first);
        }
        Self { weights, uses: vec![0; size], selected: 0 }
    }

    /// The weights of the selected context, `width` of them.
    #[inline(always)]
    fn weights(&self, width: usize) -> &[f32] {
        &self.weights[self.selected * width..][..width]
    }

    /// The same, for writing.
    #[inline(always)]
    fn weights_mut(&mut self, width: usize) -> &mut [f32] {
        &mut self.weights[self.selected * width..][..width]
    }

    /// Counts a use of the selected context; how often it was used before.
    #[inline(always)]
    fn use_again(&mut self) -> u32 {
        let uses = &mut self.uses[self.selected];
        let before = *uses;
        *uses = before.saturating_add(1);
        before
    }
}

/// Two layers of mixing over a fixed number of inputs.
#[derive(Debug)]
pub(crate) struct Network {
    /// Inputs of the current decision, zero-padded to a multiple of [`SUM_LANES`].
    inputs: Aligned,
    /// At most [`SUM_LANES`].
    selectors: Vec<Selector>,
    /// Outputs of the selectors and the probabilities they stand for, padded.
    hidden: [f32; SUM_LANES],
    probabilities: [f32; SUM_LANES],
    /// The last mixer and what it answered.
    last: Selector,
    mixed: f32,
    rate: Rate,
    last_rate: Rate,
    limit: f32,
    /// The widest vector unit this machine has, asked once.
    unit: pulp::Arch,
}

impl Network {
    /// A network whose inputs begin with the weights `first_weights`; `sizes[i]` is the number of
    /// contexts of selector `i` (at most [`SUM_LANES`] selectors), `last_size` that of the last
    /// mixer. Outputs are kept within `limit` in the logistic domain.
    pub(crate) fn new(
        sizes: &[usize],
        last_size: usize,
        first_weights: &[f32],
        rates: (Rate, Rate),
        limit: f32,
    ) -> Self {
        assert!(sizes.len() <= SUM_LANES, "{} selectors", sizes.len());
        let equal = vec![1.0 / sizes.len() as f32; sizes.len()];
        let padded = first_weights.len().next_multiple_of(SUM_LANES);
        Self {
            inputs: Aligned::zeroed(padded),
            selectors: sizes
                .iter()
                .map(|&size| Selector::new(size, padded, first_weights))
                .collect(),
            hidden: [0.0; SUM_LANES],
            probabilities: [0.5; SUM_LANES],
            last: Selector::new(last_size, SUM_LANES, &equal),
            mixed: 0.0,
            rate: rates.0,
            last_rate: rates.1,
            limit,
            unit: pulp::Arch::new(),
        }
    }

    /// The inputs of the next decision, for writing; what is not written keeps its value.
    #[inline(always)]
    pub(crate) fn inputs_mut(&mut self) -> &mut [f32] {
        &mut self.inputs
    }

    /// Selects a context of a selector; out of range means the last one.
    #[inline(always)]
    pub(crate) fn select(&mut self, selector: usize, context: usize) {
        let selector = &mut self.selectors[selector];
        selector.selected = context.min(selector.uses.len() - 1);
    }

    /// Selects a context of the last mixer; out of range means its last one.
    #[inline(always)]
    pub(crate) fn select_last(&mut self, context: usize) {
        self.last.selected = context.min(self.last.uses.len() - 1);
    }

    /// Mixes; the answer is in the logistic domain.
    #[inline]
    pub(crate) fn mix(&mut self) -> f32 {
        run_on(self.unit, Mix(self))
    }

    /// The same, compiled for whatever unit the caller is compiled for.
    #[inline(always)]
    fn mix_plainly(&mut self) -> f32 {
        let mut outputs = [0.0; SUM_LANES];
        for (output, selector) in outputs.iter_mut().zip(&self.selectors) {
            *output = dot(selector.weights(self.inputs.len()), &self.inputs);
        }
        // Not `clamp`, whose check of its bounds keeps a loop from becoming vectors.
        let bounded = |output: f32| output.max(-self.limit).min(self.limit);
        let mut hidden = [0.0; SUM_LANES];
        let mut probabilities = [0.0; SUM_LANES];
        for lane in 0..SUM_LANES {
            hidden[lane] = bounded(outputs[lane]);
            probabilities[lane] = squash(hidden[lane]);
        }
        (self.hidden, self.probabilities) = (hidden, probabilities);
        let output = dot(self.last.weights(SUM_LANES), &self.hidden);
        self.mixed = bounded(output);
        self.mixed
    }

    /// Learns the outcome of the decision last mixed.
    #[inline]
    pub(crate) fn learn(&mut self, bit: bool) {
        run_on(self.unit, Learn(self, bit));
    }

    #[inline(always)]
    fn learn_plainly(&mut self, bit: bool) {
        let target = f32::from(u8::from(bit));
        let mut uses = [0; SUM_LANES];
        for (uses, selector) in uses.iter_mut().zip(&mut self.selectors) {
            *uses = selector.use_again();
        }
        let mut steps = [0.0; SUM_LANES];
        for lane in 0..SUM_LANES {
            steps[lane] = (target - self.probabilities[lane]) * self.rate.at(uses[lane]);
        }
        for (selector, step) in self.selectors.iter_mut().zip(steps) {
            adjust(selector.weights_mut(self.inputs.len()), &self.inputs, step);
        }
        let step = (target - squash(self.mixed)) * self.last_rate.at(self.last.use_again());
        adjust(self.last.weights_mut(SUM_LANES), &self.hidden, step);
    }
}

struct Mix<'a>(&'a mut Network);

impl Loop for Mix<'_> {
    type Answer = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        self.0.mix_plainly()
    }
}

struct Learn<'a>(&'a mut Network, bool);

impl Loop for Learn<'_> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        self.0.learn_plainly(self.1);
    }
}

/// Secondary symbol estimation: a map from (context, mixed probability) to a corrected one, linear
/// between points a fixed distance apart in the logistic domain.
#[derive(Debug)]
pub(crate) struct Refinement {
    points: usize,
    context_mask: usize,
    width: f32,
    /// Bits of each point's value, xor those it begins with: zeroed memory is a map that changes
    /// nothing, and what a short text never comes to is never touched.
    values: Pages<u32>,
    /// Bits of the values that the points of every context begin with.
    first: Vec<u32>,
    rate: f32,
    /// Where the lower of the two points in use lies, its number, and how much of the upper one is
    /// used.
    at: usize,
    whole: usize,
    part: f32,
}

impl Refinement {
    /// A map with `contexts` contexts (a power of 2) that changes nothing yet: `points` points
    /// (odd) `width` apart around even odds.
    pub(crate) fn new(
        contexts: usize,
        points: usize,
        width: f32,
        rate: f32,
        pages: PageSize,
    ) -> Self {
        assert!(contexts.is_power_of_two(), "{contexts} contexts");
        let middle = (points / 2) as f32;
        let value = |point: usize| squash((point as f32 - middle) * width);
        Self {
            points,
            context_mask: contexts - 1,
            width,
            values: Pages::zeroed(contexts * points, pages),
            first: (0..points).map(|point| value(point).to_bits()).collect(),
            rate,
            at: 0,
            whole: 0,
            part: 0.0,
        }
    }

    /// The value of the lower point in use (`up` is 0) or of the upper one (1).
    #[inline(always)]
    fn value(&self, up: usize) -> f32 {
        f32::from_bits(self.values[self.at + up] ^ self.first[self.whole + up])
    }

    #[inline(always)]
    fn set_value(&mut self, up: usize, value: f32) {
        self.values[self.at + up] = value.to_bits() ^ self.first[self.whole + up];
    }

    /// The corrected probability of `stretched` in `context` (reduced to the number of contexts).
    #[inline(always)]
    pub(crate) fn refine(&mut self, context: usize, stretched: f32) -> f32 {
        let last = (self.points - 1) as f32;
        let place = (stretched / self.width + 0.5 * last).clamp(0.0, last - 0.001);
        self.whole = place as usize;
        self.part = place - self.whole as f32;
        self.at = (context & self.context_mask) * self.points + self.whole;
        let low = self.value(0);
        low + (self.value(1) - low) * self.part
    }

    /// Learns the outcome of the decision last refined.
    #[inline(always)]
    pub(crate) fn learn(&mut self, bit: bool) {
        let target = f32::from(u8::from(bit));
        let low = self.value(0);
        self.set_value(0, low + (target - low) * self.rate * (1.0 - self.part));
        let high = self.value(1);
        self.set_value(1, high + (target - high) * self.rate * self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::units;

    fn network() -> Network {
        let rate = Rate { floor: 0.002, extra: 0.02, horizon: 50.0 };
        Network::new(&[4, 9], 3, &[0.3; 37], (rate, rate), 18.0)
    }

    /// Runs decisions through a network and collects the bits of every answer.
    fn answers(
        mut mix: impl FnMut(&mut Network) -> f32,
        mut learn: impl FnMut(&mut Network, bool),
    ) -> Vec<u32> {
        let mut network = network();
        let mut state = 5u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        (0..500)
            .map(|_| {
                for input in &mut network.inputs_mut()[..37] {
                    *input = (random() % 4001) as f32 * 0.003 - 6.0;
                }
                network.select(0, random() as usize % 4);
                network.select(1, random() as usize % 12);
                network.select_last(random() as usize % 3);
                let answer = mix(&mut network);
                learn(&mut network, random() % 3 == 0);
                answer.to_bits()
            })
            .collect()
    }

    #[test]
    fn every_vector_unit_gives_the_scalar_bits() {
        let wanted = answers(Network::mix_plainly, Network::learn_plainly);
        assert_eq!(answers(Network::mix, Network::learn), wanted);
        for unit in units() {
            let found = answers(
                |network| run_on(unit, Mix(network)),
                |network, bit| run_on(unit, Learn(network, bit)),
            );
            assert_eq!(found, wanted, "{unit:?}");
        }
    }

    #[test]
    fn numbers_begin_where_a_cache_line_does() {
        for length in [0, 1, 16, 48, 100_000] {
            let mut numbers = Aligned::zeroed(length);
            assert_eq!(numbers.as_ptr().align_offset(LINE_BYTES), 0);
            assert_eq!(numbers.len(), length);
            numbers.fill(1.0);
            assert_eq!(numbers.iter().sum::<f32>(), length as f32);
        }
    }

    /// Against values that are written out for every context: the same bits at every decision.
    #[test]
    fn refinements_are_those_of_a_plain_table() {
        const POINTS: usize = 9;
        let (width, rate) = (0.75f32, 0.04f32);
        for pages in [PageSize::Ordinary, PageSize::Large] {
            let mut map = Refinement::new(16, POINTS, width, rate, pages);
            let first: [f32; POINTS] =
                std::array::from_fn(|point| squash((point as f32 - 4.0) * width));
            let mut plain = [first; 16];
            let mut state = 3u32;
            let mut random = move || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 8
            };
            for _ in 0..5_000 {
                let context = random() as usize % 40;
                let stretched = (random() % 9001) as f32 * 0.001 - 4.5;
                let bit = random().is_multiple_of(5);
                let place = (stretched / width + 4.0).clamp(0.0, 8.0 - 0.001);
                let whole = place as usize;
                let part = place - whole as f32;
                let values = &mut plain[context % 16];
                let wanted = values[whole] + (values[whole + 1] - values[whole]) * part;
                assert_eq!(map.refine(context, stretched).to_bits(), wanted.to_bits());
                map.learn(bit);
                let target: f32 = if bit { 1.0 } else { 0.0 };
                values[whole] += (target - values[whole]) * rate * (1.0 - part);
                values[whole + 1] += (target - values[whole + 1]) * rate * part;
            }
        }
    }

    #[test]
    fn dot_is_summed_in_sixteen_lanes() {
        let a: Vec<f32> = (0..48).map(|i| 1.0 + i as f32 * 1e-7).collect();
        let b: Vec<f32> = (0..48).map(|i| (i as f32 - 20.0) * 0.37).collect();
        let mut lanes: Vec<f32> = (0..16)
            .map(|lane| {
                0.0 + a[lane] * b[lane] + a[lane + 16] * b[lane + 16] + a[lane + 32] * b[lane + 32]
            })
            .collect();
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        assert_eq!(dot(&a, &b).to_bits(), lanes[0].to_bits());
    }
}
