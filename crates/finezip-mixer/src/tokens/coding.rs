//! A frame's code: decisions as they are mixed, or as the model gives them where that is shorter.

use finezip_core::{Error, FrameShape, Result, StepEntry, TokenId};

use super::distribution::Opinion;
use super::matches::UNKNOWN;
use super::model::Mixer;
use super::settings::Settings;
use super::trie::{LEAF, Trie};
use super::{NAME, Vocabulary};
use crate::binary::{BinaryDecoder, BinaryEncoder};

/// The probability, in 2^32nds, of what a payload that has the choice begins with: that nothing in
/// it is mixed. Mixing is the rule, so it is what costs little: a tenth of a bit.
const PLAIN: u32 = 1 << 28;

/// Codes or reads the outcome of a decision and returns it, given the probability of outcome 1 in
/// 2^32nds, the weights that the model gives the outcomes 0 and 1, and the decision's middle.
pub(crate) trait Decide: FnMut(u32, (u64, u64), u32) -> bool {}

impl<F: FnMut(u32, (u64, u64), u32) -> bool> Decide for F {}

/// An error unless a frame is of the mixer's vocabulary and of no more tokens than it can name.
fn check_frame(vocabulary: &Vocabulary, shape: FrameShape) -> Result<()> {
    let tokens = vocabulary.table.len();
    if shape.vocab_size != tokens {
        return Err(Error::Settings(format!(
            "the mixer knows {tokens} tokens, the frame's model has {}",
            shape.vocab_size
        )));
    }
    if shape.tokens >= UNKNOWN as usize {
        return Err(Error::payload(NAME, format!("a frame of {} tokens", shape.tokens)));
    }
    Ok(())
}

/// An error unless the entry is one of the frame's.
fn check_entry(entry: &StepEntry, shape: FrameShape) -> Result<()> {
    if entry.index < shape.tokens && entry.lane < shape.lanes {
        return Ok(());
    }
    Err(Error::payload(
        NAME,
        format!(
            "step entry of lane {} and index {} in a frame of {} lanes and {} tokens",
            entry.lane, entry.index, shape.lanes, shape.tokens
        ),
    ))
}

/// The probability of outcome 1 that the model gives a decision, in 2^32nds, from the weights of
/// outcomes 0 and 1.
#[inline(always)]
fn plainly((zeros, ones): (u64, u64)) -> u32 {
    let one = (u128::from(ones) << 32) / u128::from(zeros + ones);
    (one as u64).clamp(1, u64::from(u32::MAX)) as u32
}

/// The place of the token that a walk without mixing ends at.
fn walk_plainly(trie: &Trie, opinion: &mut impl Opinion, decide: &mut impl Decide) -> u32 {
    let (mut low, mut high, mut at) = (0, trie.tokens.len() as u32, trie.root());
    while at != LEAF {
        let decision = trie.decisions[at as usize];
        let split = opinion.split(low, decision.middle, high);
        let outcome = decide(plainly(split), split, decision.middle);
        if outcome {
            low = decision.middle
        } else {
            high = decision.middle
        }
        at = decision.next[usize::from(outcome)];
    }
    low
}

/// Codes the tokens of a frame in the one way or the two that its settings allow.
#[derive(Debug)]
pub(crate) struct FrameEncoder<'a> {
    trie: &'a Trie,
    shape: FrameShape,
    mixed: Option<(Mixer<'a>, BinaryEncoder)>,
    plain: Option<BinaryEncoder>,
}

impl<'a> FrameEncoder<'a> {
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        settings: Settings,
        shape: FrameShape,
    ) -> Result<Self> {
        check_frame(vocabulary, shape)?;
        let begin = |is_plain| {
            let mut coder = BinaryEncoder::new();
            if settings.plain_if_smaller {
                coder.encode(is_plain, PLAIN);
            }
            coder
        };
        let mixed = settings.mix.then(|| (Mixer::new(vocabulary, settings, shape), begin(false)));
        let plain = (!settings.mix || settings.plain_if_smaller).then(|| begin(true));
        Ok(Self { trie: &vocabulary.trie, shape, mixed, plain })
    }

    /// Codes the token of `entry`.
    pub(crate) fn encode(
        &mut self,
        entry: &StepEntry,
        opinion: &mut impl Opinion,
        token: TokenId,
    ) -> Result<()> {
        check_entry(entry, self.shape)?;
        let Some(&place) = self.trie.places.get(token as usize) else {
            return Err(Error::payload(
                NAME,
                format!("token {token} in a vocabulary of {}", self.trie.places.len()),
            ));
        };
        let plain = &mut self.plain;
        match &mut self.mixed {
            Some((mixer, mixed)) => {
                mixer.code(entry, opinion, |one, split, middle| {
                    let outcome = place >= middle;
                    mixed.encode(outcome, one);
                    if let Some(plain) = plain {
                        plain.encode(outcome, plainly(split));
                    }
                    outcome
                });
            }
            None => {
                walk_plainly(self.trie, opinion, &mut |one, _, middle| {
                    let outcome = place >= middle;
                    if let Some(plain) = plain {
                        plain.encode(outcome, one);
                    }
                    outcome
                });
            }
        }
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        let mixed = self.mixed.as_ref().map(|(_, coder)| coder.len());
        let plain = self.plain.as_ref().map(BinaryEncoder::len);
        mixed.into_iter().chain(plain).min().unwrap_or(0)
    }

    /// The shorter code; that which is mixed where both are as long.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mixed = self.mixed.map(|(_, coder)| coder);
        let codes = mixed.into_iter().chain(self.plain).map(BinaryEncoder::finish);
        codes.min_by_key(Vec::len).unwrap_or_default()
    }
}

/// Reads back what a [`FrameEncoder`] wrote.
#[derive(Debug)]
pub(crate) struct FrameDecoder<'a> {
    trie: &'a Trie,
    shape: FrameShape,
    /// None where nothing is mixed.
    mixer: Option<Mixer<'a>>,
    coder: BinaryDecoder<'a>,
}

impl<'a> FrameDecoder<'a> {
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        settings: Settings,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Self> {
        check_frame(vocabulary, shape)?;
        let mut coder = BinaryDecoder::new(payload);
        let mixes = settings.mix && !(settings.plain_if_smaller && coder.decode(PLAIN));
        let mixer = mixes.then(|| Mixer::new(vocabulary, settings, shape));
        Ok(Self { trie: &vocabulary.trie, shape, mixer, coder })
    }

    /// The token of `entry`.
    pub(crate) fn decode(
        &mut self,
        entry: &StepEntry,
        opinion: &mut impl Opinion,
    ) -> Result<TokenId> {
        check_entry(entry, self.shape)?;
        let coder = &mut self.coder;
        let mut decide = |one, _, _| coder.decode(one);
        Ok(match &mut self.mixer {
            Some(mixer) => mixer.code(entry, opinion, decide),
            None => self.trie.tokens[walk_plainly(self.trie, opinion, &mut decide) as usize],
        })
    }

    /// An error if the payload does not end where its tokens do.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.coder.unread() {
            0 => Ok(()),
            unread => Err(Error::payload(
                NAME,
                format!("the payload goes on for {unread} bytes after its last token"),
            )),
        }
    }
}
