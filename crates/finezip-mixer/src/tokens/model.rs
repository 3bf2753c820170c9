//! The walk that codes one token: for every decision the model's odds, corrected by what the
//! contexts have seen, mixed, refined, coded, learned. The same walk drives both directions; only
//! who knows the outcome differs.

use finezip_core::{Feed, FrameShape, StepEntry, TokenId};

use super::Vocabulary;
use super::calibration::{Average, Calibration};
use super::coding::Decide;
use super::contexts::{self, CONTEXTS, hash};
use super::distribution::Opinion;
use super::followers::{Active, FollowerTable};
use super::lane::{Lane, MATCHES, REPLAYED};
use super::matches::{MATCH_STATES, MatchTable, UNKNOWN};
use super::settings::Settings;
use super::trie::{KIND_END, LEAF, Trie};
use crate::arithmetic::{ln, squash};
use crate::history::{COUNT_STATES, CountStates};
use crate::network::{Network, Rate};

/// Steps of one in the logistic domain that predictions are told apart by.
const BUCKETS: usize = 24;
/// States of two counts: see [`count_state`].
const COUNT_PAIRS: usize = 8 * 6 * 2;
const KINDS: usize = 9;
/// Steps of the model's doubt.
const DOUBTS: usize = 12;
/// The widest prediction in the logistic domain.
const LIMIT: f32 = 18.0;
const REFINEMENTS: usize = 3;
/// How much of each refinement's correction is added.
const REFINED_PART: f32 = 0.2;

const MODEL: usize = 0;
const BIAS: usize = 1;
const BY_SHAPE: usize = 2;
const BY_DECISION: usize = 3;
const SEEN: usize = 4;
const FIRST_MATCH: usize = 6;
const FIRST_CONTEXT: usize = FIRST_MATCH + 2 * MATCHES;

/// Tokens that must agree before each match model expects something.
const MATCH_MINIMA: [usize; MATCHES] = [4, 2];

/// A correction in use: which entry, and whether it looks at the mirrored decision.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    input: usize,
    calibration: usize,
    average: usize,
    mirrored: bool,
}

/// Everything adaptive of one frame.
#[derive(Debug)]
pub(crate) struct Mixer<'a> {
    trie: &'a Trie,
    table: &'a [Vec<u8>],
    settings: Settings,
    tokens: Vec<TokenId>,
    lanes: Vec<Lane>,
    /// The contexts in use and their tables.
    contexts: Vec<(usize, FollowerTable)>,
    active: Vec<Active>,
    /// Those in use.
    match_tables: Vec<MatchTable>,
    by_shape: Calibration,
    by_decision: Calibration,
    seen: Vec<u8>,
    seen_counts: &'static CountStates,
    counts: Calibration,
    averages: Average,
    refinements: [Calibration; REFINEMENTS],
    network: Network,
    uses: Vec<Use>,
}

#[inline(always)]
fn bucket(stretched: f32) -> usize {
    (stretched + (BUCKETS / 2) as f32).clamp(0.0, BUCKETS as f32 - 1.0) as usize
}

/// The larger count in 8 steps, the smaller in 6, and whether the latest is of the larger.
#[inline(always)]
fn count_state(larger: u32, smaller: u32, agrees: bool) -> usize {
    let step = |count: u32| match count {
        0..=3 => count as usize,
        4..=5 => 4,
        6..=9 => 5,
        10..=19 => 6,
        _ => 7,
    };
    (step(larger) * 6 + step(smaller).min(5)) * 2 + usize::from(agrees)
}

/// Match models in use.
fn matches_in_use(settings: Settings) -> usize {
    if settings.mix { settings.matches as usize } else { 0 }
}

/// A context's cache lines in a frame of `tokens` tokens, as a power of 2.
fn line_bits(settings: Settings, tokens: usize) -> u32 {
    let most = settings.table_bits as u32 - 6;
    (usize::BITS - tokens.leading_zeros()).clamp(6, most)
}

/// The most bytes that a mixer of a frame takes: each context's lines, the tokens and where to find
/// their like, what every decision of the vocabulary has, and tables of one size.
pub(crate) fn memory_bytes(settings: Settings, shape: FrameShape) -> u64 {
    let contexts = if settings.mix { u64::from(settings.contexts.count_ones()) } else { 0 };
    let lines = contexts.saturating_mul(64 << line_bits(settings, shape.tokens));
    let tokens = (shape.tokens as u64).saturating_mul(size_of::<TokenId>() as u64);
    let matches = matches_in_use(settings) as u64 * MatchTable::memory_bytes(shape.tokens);
    // Six calibrations of 16 bytes, a count state, and the model's weight with its share of a sum.
    let decisions = (shape.vocab_size as u64).saturating_mul(102);
    [lines, tokens, matches, decisions].into_iter().fold(16 << 20, u64::saturating_add)
}

impl<'a> Mixer<'a> {
    /// A mixer that has seen nothing of a frame, under settings that mix.
    pub(crate) fn new(vocabulary: &'a Vocabulary, settings: Settings, shape: FrameShape) -> Self {
        let Vocabulary { table, trie } = vocabulary;
        let decisions = trie.decisions.len().max(1);
        let line_bits = line_bits(settings, shape.tokens);
        let contexts: Vec<_> = (0..CONTEXTS)
            .filter(|which| settings.contexts >> which & 1 == 1)
            .map(|which| (which, FollowerTable::new(line_bits)))
            .collect();
        let sets = [KINDS * 16 * 2, 16 * 8, 512 + 32, 27 * 2, 1024, 1024];
        let inputs = FIRST_CONTEXT + 2 * contexts.len();
        let mut first_weights = vec![0.0; inputs];
        first_weights[MODEL] = 0.95;
        first_weights[BY_SHAPE] = 0.1;
        first_weights[BY_DECISION] = 0.3;
        first_weights[SEEN] = 0.05;
        first_weights[FIRST_MATCH] = 0.2;
        first_weights[FIRST_MATCH + 2] = 0.2;
        // Many contexts say much the same: together they begin with no more than five alone.
        let share = 5.0 / contexts.len().max(5) as f32;
        for input in (FIRST_CONTEXT..inputs).step_by(2) {
            first_weights[input] = 0.05 * share;
            first_weights[input + 1] = 0.03 * share;
        }
        Self {
            trie,
            table,
            settings,
            tokens: vec![UNKNOWN; shape.tokens],
            lanes: Vec::new(),
            active: vec![Active::NONE; contexts.len()],
            match_tables: MATCH_MINIMA[..matches_in_use(settings)]
                .iter()
                .map(|&minimum| MatchTable::new(minimum, shape.tokens))
                .collect(),
            by_shape: Calibration::new(KINDS * 16 * DOUBTS * BUCKETS, 1.0, 1000.0),
            by_decision: Calibration::new(decisions * 3, 1.0, 1000.0),
            seen: vec![0; decisions],
            seen_counts: &COUNT_STATES,
            counts: Calibration::new(
                (contexts.len() + 1) * COUNT_PAIRS * BUCKETS + MATCHES * MATCH_STATES * BUCKETS,
                0.4,
                500.0,
            ),
            averages: Average::new(
                (contexts.len() + 1) * COUNT_PAIRS + MATCHES * MATCH_STATES,
                500.0,
            ),
            refinements: [
                Calibration::new(KINDS * DOUBTS * 4 * BUCKETS, 1.0, 1000.0),
                Calibration::new(decisions * 3, 1.0, 400.0),
                Calibration::new(1 << 16, 1.0, 400.0),
            ],
            network: Network::new(
                &sets[..settings.weight_sets as usize],
                1,
                &first_weights,
                (
                    Rate { floor: 0.0015, extra: 0.02, horizon: 1000.0 },
                    Rate { floor: 0.0002, extra: 0.001, horizon: 1000.0 },
                ),
                LIMIT,
            ),
            uses: Vec::with_capacity(inputs),
            contexts,
        }
    }

    /// Codes the token of `entry`, which is one of the frame's.
    pub(crate) fn code(
        &mut self,
        entry: &StepEntry,
        opinion: &mut impl Opinion,
        mut decide: impl Decide,
    ) -> TokenId {
        self.open(entry, opinion.top());
        let place = self.walk(entry.lane, opinion, &mut decide);
        let token = self.trie.tokens[place as usize];
        self.close(entry, place, token);
        token
    }

    /// Brings the lane to the entry and opens its contexts.
    fn open(&mut self, entry: &StepEntry, top: u32) {
        if self.lanes.len() <= entry.lane {
            self.lanes.resize_with(entry.lane + 1, Lane::default);
        }
        let lane = &mut self.lanes[entry.lane];
        if lane.next != Some(entry.index) {
            *lane = Lane::default();
            let known = self.tokens[..entry.index].iter().rev();
            let known = known.take(REPLAYED).take_while(|&&token| token != UNKNOWN).count();
            for index in entry.index - known..entry.index {
                let token = self.tokens[index];
                lane.advance(token, &self.table[token as usize]);
            }
        }
        if let Feed::Restart { from } = entry.feed {
            lane.position = entry.index.saturating_sub(from);
        }
        for ((which, table), active) in self.contexts.iter_mut().zip(&mut self.active) {
            table.open(contexts::hash_of(*which, lane, top), active);
        }
    }

    fn walk(&mut self, lane: usize, opinion: &mut impl Opinion, decide: &mut impl Decide) -> u32 {
        let lane = &self.lanes[lane];
        let top = opinion.top();
        let doubt = ((opinion.doubt() * 2.0) as usize).min(DOUBTS - 1);
        let position = ((lane.position + 1).ilog2() as usize).min(15);
        let expected: [Option<u32>; MATCHES] = std::array::from_fn(|which| {
            let table = self.match_tables.get(which)?;
            let token = table.expected(&lane.matches[which], &self.tokens)?;
            Some(self.trie.places[token as usize])
        });
        let match_states = lane.matches.map(|state| state.state());
        let strengths = lane.matches.map(|state| state.strength());
        let last_token = lane.last_tokens[0];
        let (mut low, mut high, mut at) = (0, self.trie.tokens.len() as u32, self.trie.root());
        while at != LEAF {
            let decision = self.trie.decisions[at as usize];
            let middle = decision.middle;
            let kind = usize::from(decision.kind);
            let (zeros, ones) = opinion.split(low, middle, high);
            let model = ln(ones as f32 / zeros as f32).clamp(-LIMIT, LIMIT);
            let predicted = squash(model);

            self.uses.clear();
            let inputs = self.network.inputs_mut();
            inputs[MODEL] = model;
            inputs[BIAS] = 0.3;
            let shape_at = ((kind * 16 + position) * DOUBTS + doubt) * BUCKETS + bucket(model);
            inputs[BY_SHAPE] = self.by_shape.correction(shape_at);
            let decision_at = at as usize * 3 + third(model);
            inputs[BY_DECISION] = self.by_decision.correction(decision_at);

            // Counts of this decision whatever the context, then matches, then contexts.
            let pairs = |which: usize, state: usize, toward: f32| {
                (
                    (which * COUNT_PAIRS + state) * BUCKETS + bucket(toward),
                    which * COUNT_PAIRS + state,
                )
            };
            let [seen_zeros, seen_ones] =
                self.seen_counts.counts(self.seen[at as usize]).map(u32::from);
            let mut agreement = 0;
            if seen_zeros + seen_ones > 0 {
                let mirrored = seen_zeros > seen_ones;
                let toward = if mirrored { -model } else { model };
                let state =
                    count_state(seen_zeros.max(seen_ones), seen_zeros.min(seen_ones), false);
                let (calibration, average) = pairs(self.contexts.len(), state, toward);
                self.uses.push(Use { input: SEEN, calibration, average, mirrored });
            } else {
                inputs[SEEN..SEEN + 2].fill(0.0);
            }
            let match_base = (self.contexts.len() + 1) * COUNT_PAIRS;
            let mut strength = 0;
            for which in 0..MATCHES {
                let input = FIRST_MATCH + 2 * which;
                let place = expected[which].filter(|place| (low..high).contains(place));
                let Some(place) = place else {
                    inputs[input..input + 2].fill(0.0);
                    continue;
                };
                let mirrored = place < middle;
                let toward = if mirrored { -model } else { model };
                let average = match_base + which * MATCH_STATES + match_states[which];
                let calibration = match_base * BUCKETS
                    + (which * MATCH_STATES + match_states[which]) * BUCKETS
                    + bucket(toward);
                self.uses.push(Use { input, calibration, average, mirrored });
                strength = strength.max(strengths[which]);
            }
            for (which, active) in self.active.iter().enumerate() {
                let input = FIRST_CONTEXT + 2 * which;
                if active.is_empty() {
                    inputs[input..input + 2].fill(0.0);
                    continue;
                }
                let (zeros, ones, latest) = active.split(middle);
                let mirrored = zeros > ones || zeros == ones && !latest;
                let toward = if mirrored { -model } else { model };
                let state = count_state(zeros.max(ones), zeros.min(ones), latest != mirrored);
                if (1..4).contains(&self.contexts[which].0) {
                    agreement = agreement * 3 + 1 + usize::from(toward < 0.0);
                }
                let (calibration, average) = pairs(which, state, toward);
                self.uses.push(Use { input, calibration, average, mirrored });
            }
            for used in &self.uses {
                let sign = if used.mirrored { -1.0 } else { 1.0 };
                inputs[used.input] = sign * self.counts.correction(used.calibration);
                inputs[used.input + 1] = sign * self.averages.stretched(used.average);
            }

            let top_possible = usize::from((low..high).contains(&top));
            let part = if decision.kind == KIND_END {
                512 + usize::from(decision.depth.min(31))
            } else {
                usize::from(decision.partial) + if decision.depth > 0 { 256 } else { 0 }
            };
            let sets = [
                (kind * 16 + strength) * 2 + top_possible,
                position * 8 + ((model.abs() * 0.8) as usize).min(7),
                part,
                agreement * 2 + top_possible,
                one_in_1024(last_token),
                one_in_1024(lane.last_tokens[1]),
            ];
            for (set, context) in
                sets.into_iter().take(self.settings.weight_sets as usize).enumerate()
            {
                self.network.select(set, context);
            }
            let mixed = self.network.mix();

            let mixed_bucket = bucket(mixed);
            let order_one =
                hash(20, u64::from(last_token), u64::from(at) * 3 + third(mixed) as u64);
            let refined_at = [
                ((kind * DOUBTS + doubt) * 4 + strength.min(15) / 4) * BUCKETS + mixed_bucket,
                at as usize * 3 + third(mixed),
                order_one as usize & 0xffff,
            ];
            let stages = self.settings.refinements as usize;
            let mut correction = 0.0;
            for (map, &at) in self.refinements.iter().zip(&refined_at).take(stages) {
                correction += map.correction(at);
            }
            let last = (mixed + correction * REFINED_PART).clamp(-LIMIT, LIMIT);
            let rarer = ((squash(-last.abs()) * 4_294_967_296.0) as u32).max(1);
            let one = if last > 0.0 { rarer.wrapping_neg() } else { rarer };
            let outcome = decide(one, (zeros, ones), middle);

            let one = f32::from(u8::from(outcome));
            let mixed_probability = squash(mixed);
            for (map, &at) in self.refinements.iter_mut().zip(&refined_at).take(stages) {
                map.learn(at, one, mixed_probability);
            }
            self.network.learn(outcome);
            for used in &self.uses {
                let (one, predicted) =
                    if used.mirrored { (1.0 - one, 1.0 - predicted) } else { (one, predicted) };
                self.counts.learn(used.calibration, one, predicted);
                self.averages.learn(used.average, one);
            }
            self.by_shape.learn(shape_at, one, predicted);
            self.by_decision.learn(decision_at, one, predicted);
            let seen = &mut self.seen[at as usize];
            *seen = self.seen_counts.next(*seen, outcome);
            for active in &mut self.active {
                active.keep(middle, outcome);
            }
            if outcome {
                low = middle
            } else {
                high = middle
            }
            at = decision.next[usize::from(outcome)];
        }
        low
    }

    /// Takes the coded token into the past.
    fn close(&mut self, entry: &StepEntry, place: u32, token: TokenId) {
        self.tokens[entry.index] = token;
        for (_, table) in &mut self.contexts {
            table.learn(place);
        }
        let lane = &mut self.lanes[entry.lane];
        lane.advance(token, &self.table[token as usize]);
        lane.position += 1;
        lane.next = Some(entry.index + 1);
        for (table, state) in self.match_tables.iter_mut().zip(&mut lane.matches) {
            table.advance(state, &self.tokens, entry.index + 1);
        }
    }
}

/// One of 1,024 contexts for a token.
#[inline(always)]
fn one_in_1024(token: u32) -> usize {
    (token.wrapping_mul(0x9E37_79B1) >> 22) as usize
}

/// Whether the model thinks 0, neither, or 1.
#[inline(always)]
fn third(stretched: f32) -> usize {
    if stretched < -2.0 {
        0
    } else if stretched > 2.0 {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// A model that finds one outcome of every decision as probable as the other.
    struct Undecided;

    impl Opinion for Undecided {
        fn split(&mut self, _low: u32, _middle: u32, _high: u32) -> (u64, u64) {
            (1, 1)
        }

        fn top(&self) -> u32 {
            0
        }

        fn doubt(&self) -> f32 {
            1.0
        }
    }

    const SHAPE: FrameShape = FrameShape { vocab_size: 95, lanes: 2, tokens: 200, bytes: 200 };

    /// A token for each printable character.
    fn vocabulary() -> Vocabulary {
        Vocabulary::new((b' '..=b'~').map(|byte| vec![byte]).collect()).unwrap()
    }

    /// The token at a place of the frame.
    fn token(index: usize) -> TokenId {
        let text = b"One of these (or two) of [those] and ";
        TokenId::from(text[index % text.len()] - b' ')
    }

    fn code(mixer: &mut Mixer<'_>, lane: usize, index: usize, feed: Feed) {
        let place = mixer.trie.places[token(index) as usize];
        let entry = StepEntry { lane, index, feed };
        let coded = mixer.code(&entry, &mut Undecided, |_, _, middle| place >= middle);
        assert_eq!(coded, token(index));
    }

    fn open(mixer: &mut Mixer<'_>, lane: usize, index: usize, feed: Feed) -> Lane {
        mixer.open(&StepEntry { lane, index, feed }, 0);
        mixer.lanes[lane].clone()
    }

    /// A lane that has read a part of the frame and nothing else.
    fn having_read(places: Range<usize>) -> Lane {
        let table = vocabulary().table;
        let mut lane = Lane::default();
        for index in places {
            lane.advance(token(index), &table[token(index) as usize]);
        }
        lane
    }

    #[test]
    fn a_lane_that_jumps_reads_again_what_is_coded_before_it() {
        let vocabulary = vocabulary();
        let mut mixer = Mixer::new(&vocabulary, Settings::level(9), SHAPE);
        for step in 0..50 {
            for lane in 0..2 {
                let index = lane * 50 + step;
                let feed = if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
                code(&mut mixer, lane, index, feed);
            }
        }
        // The last 64, in their order.
        let found = open(&mut mixer, 0, 100, Feed::Restart { from: 100 });
        assert_eq!(found, having_read(36..100));
        // Those there are.
        let found = open(&mut mixer, 0, 30, Feed::Restart { from: 30 });
        assert_eq!(found, having_read(0..30));
        // None: the one before is not coded.
        let found = open(&mut mixer, 1, 150, Feed::Restart { from: 150 });
        assert_eq!(found, Lane::default());
        // Nothing behind a gap.
        code(&mut mixer, 1, 150, Feed::Restart { from: 150 });
        let found = open(&mut mixer, 0, 151, Feed::Restart { from: 151 });
        assert_eq!(found, having_read(150..151));
    }

    #[test]
    fn a_restart_sets_the_position_and_forgets_nothing() {
        let vocabulary = vocabulary();
        let mut mixer = Mixer::new(&vocabulary, Settings::level(9), SHAPE);
        for index in 0..80 {
            code(&mut mixer, 0, index, Feed::Continue);
        }
        let mut wanted = mixer.lanes[0].clone();
        assert_eq!((wanted.position, wanted.next), (80, Some(80)));
        assert_eq!(open(&mut mixer, 0, 80, Feed::Continue), wanted);
        for from in [80, 71, 0] {
            wanted.position = 80 - from;
            assert_eq!(open(&mut mixer, 0, 80, Feed::Restart { from }), wanted);
        }
    }
}
