//! The texts' tokens through the road, each text with a coder of its own.

use std::ops::Range;
use std::sync::Arc;

use super::plan::TextsPlan;
use crate::archive::Limits;
use crate::archive::limits::within;
use crate::coder::{Coder, Decoder, Encoder, FrameShape};
use crate::components::Language;
use crate::compress::check_readable;
use crate::error::{Error, Result};
use crate::logits::Rows;
use crate::model::{Exactness, SessionShape, Window};
use crate::progress::{FrameProgress, Timing};
use crate::schedule::{Feed, Plan, StepEntry};
use crate::steps::{self, StepCoder};
use crate::tokenizer::TokenId;

/// A text that never reaches the window's end does not need all of it; windows are cut to a
/// multiple of this.
const WINDOW_STEP: usize = 64;

/// The payloads of texts, given their tokens.
pub(super) fn encode(
    language: &Language,
    tokens: &[Vec<TokenId>],
    most_lanes: usize,
    progress: &mut FrameProgress<'_>,
) -> Result<(Vec<Vec<u8>>, Timing)> {
    let ranges = ranges(tokens.iter().map(Vec::len));
    let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
    check_readable(language, shape(language.model.vocab_size(), longest))?;
    let most_lanes = lanes_within(language, longest, most_lanes, &Limits::default());
    let mut coding = EncodeTexts {
        coder: language.coder.as_ref(),
        vocab_size: language.model.vocab_size(),
        open: Opened::new(&ranges),
        payloads: vec![Vec::new(); tokens.len()],
        coded_bytes: 0,
    };
    let mut tokens = tokens.concat();
    let timing = run(language, &ranges, most_lanes, &mut tokens, &mut coding, progress)?;
    Ok((coding.payloads, timing))
}

/// The tokens of texts, given how many there are and the payload.
pub(super) fn decode(
    language: &Language,
    payloads: &[(usize, &[u8])],
    most_lanes: usize,
    limits: &Limits,
    progress: &mut FrameProgress<'_>,
) -> Result<(Vec<Vec<TokenId>>, Timing)> {
    let ranges = ranges(payloads.iter().map(|(count, _)| *count));
    let longest = payloads.iter().map(|(count, _)| *count).max().unwrap_or(0);
    let coder_bytes = language.coder.memory_bytes(shape(language.model.vocab_size(), longest));
    within("bytes of coder memory", coder_bytes, limits.coder_bytes)?;
    let most_lanes = lanes_within(language, longest, most_lanes, limits);
    let mut tokens = vec![0; ranges.last().map_or(0, |range| range.end)];
    let mut decoding = DecodeTexts {
        coder: language.coder.as_ref(),
        vocab_size: language.model.vocab_size(),
        open: Opened::new(&ranges),
        payloads,
        coded_bytes: 0,
    };
    let timing = run(language, &ranges, most_lanes, &mut tokens, &mut decoding, progress)?;
    Ok((ranges.into_iter().map(|range| tokens[range].to_vec()).collect(), timing))
}

/// Lanes whose coders, each for a text of `longest` tokens, take no more memory together than
/// limits allow; one at least.
fn lanes_within(language: &Language, longest: usize, most_lanes: usize, limits: &Limits) -> usize {
    let each = language.coder.memory_bytes(shape(language.model.vocab_size(), longest)).max(1);
    most_lanes.min(usize::try_from(limits.coder_bytes / each).unwrap_or(most_lanes)).max(1)
}

fn ranges(counts: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut end = 0;
    counts
        .map(|count| {
            end += count;
            end - count..end
        })
        .collect()
}

fn run(
    language: &Language,
    ranges: &[Range<usize>],
    most_lanes: usize,
    tokens: &mut [TokenId],
    coder: &mut dyn StepCoder,
    progress: &mut FrameProgress<'_>,
) -> Result<Timing> {
    let mut texts: Vec<Range<usize>> = ranges.iter().filter(|r| !r.is_empty()).cloned().collect();
    if texts.is_empty() {
        return Ok(Timing::default());
    }
    // The longest first: what is left at the end, when lanes run out of texts, is short.
    texts.sort_by_key(|range| std::cmp::Reverse(range.len()));
    let longest = texts[0].len();
    // Where logits depend on the shape of a batch, a text is always computed alone.
    let alone = language.model.identity().exactness != Exactness::Everywhere;
    let lanes = if alone { 1 } else { most_lanes.clamp(1, texts.len()) };
    let window = language.schedule.window();
    let window = if alone { window } else { fitting(window, longest) };
    let texts: Arc<[Range<usize>]> = texts.into();
    let plan = || -> Box<dyn Plan> {
        Box::new(TextsPlan::new(language.schedule.clone(), texts.clone(), lanes))
    };
    steps::run_plan(language, SessionShape { lanes, window }, &plan, tokens, coder, progress)
}

/// A window no longer than texts of `tokens` tokens need: a session for short texts then takes
/// less memory, and as long as no text reaches the window's end its logits are the same.
fn fitting(window: Window, tokens: usize) -> Window {
    // The start token and all tokens but the last are fed.
    let needed = (tokens + 1).next_multiple_of(WINDOW_STEP).max(window.sinks + 1);
    Window { tokens: window.tokens.min(needed), ..window }
}

/// Which text a token belongs to, and the coders of texts that are under way.
struct Opened<C> {
    ranges: Vec<Range<usize>>,
    coders: Vec<Option<C>>,
}

impl<C> Opened<C> {
    fn new(ranges: &[Range<usize>]) -> Self {
        Self { ranges: ranges.to_vec(), coders: ranges.iter().map(|_| None).collect() }
    }

    /// The text of a token and its entry as a frame of that text alone has it.
    fn entry(&self, entry: &StepEntry) -> (usize, StepEntry) {
        // Texts without tokens end where they begin and are passed over.
        let text = self.ranges.partition_point(|range| range.end <= entry.index);
        let first = self.ranges[text].start;
        let feed = match entry.feed {
            Feed::Restart { from } => Feed::Restart { from: from - first },
            Feed::Continue => Feed::Continue,
        };
        (text, StepEntry { lane: 0, index: entry.index - first, feed })
    }

    fn is_last(&self, text: usize, entry: &StepEntry) -> bool {
        entry.index + 1 == self.ranges[text].len()
    }
}

/// What a text's coder knows of it. How many bytes it has is not known before it is decoded; as
/// many as it has tokens stand for them in both directions.
fn shape(vocab_size: usize, tokens: usize) -> FrameShape {
    FrameShape { vocab_size, lanes: 1, tokens, bytes: tokens }
}

fn missing() -> Error {
    Error::payload("texts", "a text goes on that has not begun")
}

struct EncodeTexts<'a> {
    coder: &'a dyn Coder,
    vocab_size: usize,
    open: Opened<Box<dyn Encoder + 'a>>,
    payloads: Vec<Vec<u8>>,
    coded_bytes: usize,
}

impl StepCoder for EncodeTexts<'_> {
    fn tokens_are_known(&self) -> bool {
        true
    }

    fn step(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        for (i, entry) in entries.iter().enumerate() {
            let (text, entry) = self.open.entry(entry);
            if entry.index == 0 {
                let shape = shape(self.vocab_size, self.open.ranges[text].len());
                self.open.coders[text] = Some(self.coder.encoder(shape)?);
            }
            let encoder = self.open.coders[text].as_mut().ok_or_else(missing)?;
            encoder.encode(&[entry], rows.only(i), &tokens[i..=i])?;
            if self.open.is_last(text, &entry)
                && let Some(encoder) = self.open.coders[text].take()
            {
                self.payloads[text] = encoder.finish()?;
                self.coded_bytes += self.payloads[text].len();
            }
        }
        Ok(())
    }

    fn payload_bytes(&self) -> usize {
        self.coded_bytes
    }
}

struct DecodeTexts<'a> {
    coder: &'a dyn Coder,
    vocab_size: usize,
    open: Opened<Box<dyn Decoder + 'a>>,
    payloads: &'a [(usize, &'a [u8])],
    coded_bytes: usize,
}

impl StepCoder for DecodeTexts<'_> {
    fn tokens_are_known(&self) -> bool {
        false
    }

    fn step(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        for (i, entry) in entries.iter().enumerate() {
            let (text, entry) = self.open.entry(entry);
            let (count, payload) = self.payloads[text];
            if entry.index == 0 {
                let shape = shape(self.vocab_size, count);
                self.open.coders[text] = Some(self.coder.decoder(shape, payload)?);
            }
            let decoder = self.open.coders[text].as_mut().ok_or_else(missing)?;
            decoder.decode(&[entry], rows.only(i), &mut tokens[i..=i])?;
            if self.open.is_last(text, &entry)
                && let Some(decoder) = self.open.coders[text].take()
            {
                decoder.finish()?;
                self.coded_bytes += payload.len();
            }
        }
        Ok(())
    }

    fn payload_bytes(&self) -> usize {
        self.coded_bytes
    }
}
