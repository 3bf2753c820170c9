//! Gated logistic mixing: inputs in the logistic domain, several sets of weights at once, each set
//! selected by a small context of its own, and a last mixer over their outputs.
//!
//! Every dot product is summed in sixteen fixed lanes, then by a fixed tree, in `f32` without
//! contraction: a vector unit of any width and the plain scalar loop give the same bits.
//! Weights move by the gradient of the coding cost (Mahoney 2005; Mattern 2012).

use std::ops::{Deref, DerefMut};

use crate::arithmetic::squash;
use crate::vector::{Loop, SUM_LANES, adjust, dot, run_on};

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
    /// Zeros in a context that was not selected yet: what is not needed is not touched.
    weights: Aligned,
    /// The weights that a context begins with.
    first: Vec<f32>,
    uses: Vec<u32>,
    selected: usize,
}

impl Selector {
    /// `size` contexts of `width` weights that begin with `first`.
    fn new(size: usize, width: usize, first: &[f32]) -> Self {
        let mut padded = vec![0.0; width];
        padded[..first.len()].copy_from_slice(first);
        let weights = Aligned::zeroed(size * width);
        let mut selector = Self { weights, first: padded, uses: vec![0; size], selected: 0 };
        selector.select(0);
        selector
    }

    /// Selects a context; out of range means the last one.
    #[inline(always)]
    fn select(&mut self, context: usize) {
        self.selected = context.min(self.uses.len() - 1);
        // Weights move with each use, and with nothing else.
        if self.uses[self.selected] == 0 {
            let width = self.first.len();
            self.weights[self.selected * width..][..width].copy_from_slice(&self.first);
        }
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
        self.selectors[selector].select(context);
    }

    /// Selects a context of the last mixer; out of range means its last one.
    #[inline(always)]
    pub(crate) fn select_last(&mut self, context: usize) {
        self.last.select(context);
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
    fn every_context_begins_with_the_first_weights_and_keeps_what_it_learned() {
        let mut network = network();
        network.inputs_mut()[..37].fill(0.25);
        let first = network.mix();
        assert!(first > 0.0);
        let mut learned = Vec::new();
        for at in 0..3 {
            network.select(0, at);
            network.select(1, at * 4);
            network.select_last(at);
            assert_eq!(network.mix(), first);
            network.learn(true);
            learned.push(network.mix());
        }
        for (at, learned) in learned.into_iter().enumerate() {
            network.select(0, at);
            network.select(1, at * 4);
            network.select_last(at);
            assert_eq!(network.mix(), learned);
            assert!(learned > first);
        }
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
}
