//! The probability of the next bit of a text, from everything before it.

use super::contexts::{CONTEXTS, Past};
use super::matches::MatchModel;
use super::settings::Settings;
use crate::arithmetic::{STRETCH, squash};
use crate::history::COUNT_STATES;
use crate::maps::AdaptiveMap;
use crate::network::{Network, Rate};
use crate::pages::PageSize;
use crate::refinement::Refinement;
use crate::slots::Slots;

const MATCHES: usize = 3;
const PER_CONTEXT: usize = 2;
const FIRST_MATCH: usize = CONTEXTS * PER_CONTEXT;
const BIAS: usize = FIRST_MATCH + 2 * MATCHES;
const INPUTS: usize = BIAS + 1;

/// Texts shorter than this touch little of the refinements' tables.
const SHORT_BYTES: usize = 16 << 10;

/// Predicts bits and learns them.
#[derive(Debug)]
pub(crate) struct Predictor {
    text: Vec<u8>,
    past: Past,
    slots: Slots,
    hashes: [u32; CONTEXTS],
    at: [usize; CONTEXTS],
    counts: AdaptiveMap,
    recents: AdaptiveMap,
    used: [(u8, u8); CONTEXTS],
    matches: [MatchModel; MATCHES],
    network: Network,
    refinements: [Refinement; 3],
    /// Bits of the byte so far below a leading one, and how many.
    partial: usize,
    bits: u32,
    one: u32,
    stretch: &'static [f32; 4096],
}

/// The table's cache lines for texts of `length` bytes, as a power of 2.
pub(crate) fn line_bits(settings: &Settings, length: usize) -> u32 {
    let wanted = (length as u64).saturating_mul(CONTEXTS as u64 * 48).max(1 << 16);
    (63 - wanted.leading_zeros()).min(settings.table_bits).max(16) - 6
}

/// One context's probabilities by count state and by recent history, as they are before anything
/// has been learned of them: what each of the 256 has seen, taken at its word.
fn first_maps() -> (AdaptiveMap, AdaptiveMap) {
    let mut counts = AdaptiveMap::new(256, 1023);
    let mut recents = AdaptiveMap::new(256, 1023);
    for state in 0..=255u8 {
        let [zeros, ones] = COUNT_STATES.counts(state).map(u32::from);
        let at = usize::from(state);
        counts.preset(at, (ones * 2 + 1) * 65_535 / ((zeros + ones) * 2 + 2), 0);
        let seen = state.checked_ilog2().unwrap_or(0);
        let ones = state.count_ones().saturating_sub(1);
        recents.preset(at, (ones * 2 + 1) * 65_535 / (seen * 2 + 2), 0);
    }
    (counts, recents)
}

impl Predictor {
    /// A predictor that has seen nothing, for texts of `length` bytes.
    pub(crate) fn new(settings: &Settings, length: usize) -> Self {
        let line_bits = line_bits(settings, length);
        let (counts, recents) = first_maps();
        let pages = if length < SHORT_BYTES { PageSize::Ordinary } else { PageSize::Large };
        let refinement = || Refinement::new(65_536, 33, 0.5, 0.025, pages);
        let mut predictor = Self {
            text: Vec::new(),
            past: Past::default(),
            slots: Slots::new(line_bits),
            hashes: [0; CONTEXTS],
            at: [0; CONTEXTS],
            counts: counts.repeat(CONTEXTS),
            recents: recents.repeat(CONTEXTS),
            used: [(0, 0); CONTEXTS],
            matches: [
                MatchModel::new(20, length),
                MatchModel::new(8, length),
                MatchModel::new(5, length),
            ],
            network: Network::new(
                &[17 * 17, 256, 256, 256, 512 * 8, 9 * 8 * 2],
                256,
                &std::array::from_fn::<f32, INPUTS, _>(|i| {
                    if i >= FIRST_MATCH { 0.1 } else { [0.12, 0.09][i % 2] }
                }),
                (
                    Rate { floor: 0.0015, extra: 0.03, horizon: 300.0 },
                    Rate { floor: 0.0005, extra: 0.005, horizon: 300.0 },
                ),
                16.0,
            ),
            refinements: [refinement(), refinement(), refinement()],
            partial: 1,
            bits: 0,
            one: 1 << 31,
            stretch: &STRETCH,
        };
        predictor.begin_byte();
        predictor.predict();
        predictor
    }

    /// Probability that the next bit is a one, in 2^32nds.
    #[inline(always)]
    pub(crate) fn one(&self) -> u32 {
        self.one
    }

    /// The text whose bits were learned, as far as its bytes are whole.
    pub(crate) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// Learns the next bit.
    #[inline]
    pub(crate) fn learn(&mut self, bit: bool) {
        let node = self.node();
        let mut slots = self.slots.open();
        for context in 0..CONTEXTS {
            let (state, recent) = self.used[context];
            if state != 0 {
                self.counts.learn(context << 8 | usize::from(state), bit);
                self.recents.learn(context << 8 | usize::from(recent), bit);
            }
            slots.learn(self.at[context], node, bit);
        }
        for model in &mut self.matches {
            model.learn(bit);
        }
        self.network.learn(bit);
        for refinement in &mut self.refinements {
            refinement.learn(bit);
        }
        self.partial = self.partial << 1 | usize::from(bit);
        self.bits += 1;
        if self.bits == 8 {
            let byte = self.partial as u8;
            self.text.push(byte);
            self.past.advance(byte, &self.text);
            for model in &mut self.matches {
                model.advance(&self.text);
            }
            self.partial = 1;
            self.bits = 0;
            self.begin_byte();
        } else if self.bits == 4 {
            self.find_slots(self.partial as u32);
        }
        self.predict();
    }

    fn begin_byte(&mut self) {
        let expected = self.matches[0]
            .expected(&self.text)
            .or_else(|| self.matches[1].expected(&self.text))
            .map_or(0, |byte| u32::from(byte) | 256);
        self.past.contexts(&self.text, expected, &mut self.hashes);
        self.find_slots(0);
    }

    fn find_slots(&mut self, nibble: u32) {
        let salt = nibble.wrapping_mul(0x9E37_79B1);
        let mut hashes = self.hashes;
        for hash in &mut hashes {
            *hash =
                (*hash ^ salt).wrapping_mul(0x85EB_CA6B).rotate_left(15).wrapping_mul(0xC2B2_AE35);
        }
        let mut slots = self.slots.open();
        let touched = hashes.iter().fold(0, |all, &hash| all ^ slots.touch(hash));
        std::hint::black_box(touched);
        for (at, hash) in self.at.iter_mut().zip(hashes) {
            *at = slots.find(hash);
        }
    }

    /// The place in the tree of the current nibble, 1 to 15.
    #[inline(always)]
    fn node(&self) -> usize {
        if self.bits < 4 {
            self.partial
        } else {
            self.partial & ((1 << (self.bits - 4)) - 1) | 1 << (self.bits - 4)
        }
    }

    fn predict(&mut self) {
        let last = self.past.last;
        let c1 = (last & 0xff) as usize;
        let c2 = (last >> 8 & 0xff) as usize;
        let two_hash = ((last & 0xffff) as u32).wrapping_mul(0x9E37_79B1)
            ^ (self.partial as u32).wrapping_mul(0x85EB_CA6B);
        let match_byte = self.matches[1].expected(&self.text).map_or(0, usize::from);
        let refined_by =
            [c1 << 8 | self.partial, (two_hash >> 12) as usize, match_byte << 8 | self.partial];
        let node = self.node();
        let stretch = self.stretch;
        let mut known = 0;
        let slots = self.slots.open();
        let inputs = self.network.inputs_mut();
        for context in 0..CONTEXTS {
            let (state, recent) = slots.get(self.at[context], node);
            self.used[context] = (state, recent);
            let input = &mut inputs[context * PER_CONTEXT..(context + 1) * PER_CONTEXT];
            if state == 0 {
                input.fill(0.0);
            } else {
                if (1..8).contains(&context) {
                    known += 1;
                }
                let step = self.counts.step(context << 8 | usize::from(state));
                input[0] = stretch[step];
                input[1] = stretch[self.recents.step(context << 8 | usize::from(recent))];
            }
        }
        for (which, model) in self.matches.iter_mut().enumerate() {
            let from = FIRST_MATCH + 2 * which;
            model.predict(&self.text, self.partial, self.bits, &mut inputs[from..from + 2]);
        }
        inputs[BIAS] = 0.3;
        let expected_bit = |model: &MatchModel| match model.expected_bit() {
            None => 0,
            Some(bit) => 1 + usize::from(bit),
        };
        let expected = expected_bit(&self.matches[0]);
        let strength = if expected == 0 { 0 } else { self.matches[0].strength() };
        let short = expected_bit(&self.matches[1]);
        let short_strength = if short == 0 { 0 } else { self.matches[1].strength() };
        self.network.select(0, strength * 17 + short_strength);
        self.network.select(1, self.partial);
        self.network.select(2, c1);
        self.network.select(3, c2);
        self.network.select(4, (self.past.classes & 511) as usize * 8 + self.bits as usize);
        self.network
            .select(5, (known * 8 + self.bits as usize) * 2 + usize::from(self.past.in_word()));
        self.network.select_last(c1);
        let mixed = self.network.mix();
        let p = squash(mixed);
        let mut sum = 0.0;
        for (refinement, context) in self.refinements.iter_mut().zip(refined_by) {
            sum += refinement.refine(context, mixed);
        }
        let refined = 0.5 * p + 0.5 * sum * (1.0 / 3.0);
        self.one = (refined.clamp(1.0 / 65_536.0 / 16.0, 1.0 - 1.0 / 65_536.0 / 16.0)
            * 4_294_967_296.0) as u32;
    }
}
