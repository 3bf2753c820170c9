//! Short texts, each coded by itself and many at a time.
//!
//! A short text has one lane from its first token to its last and a coder of its own, so that its
//! bytes depend on nothing but itself and can be decoded alone. What makes many of them fast is
//! that their lanes are computed together; an engine whose logits do not depend on the batch gives
//! the same bits either way.

mod lanes;
mod plan;

use crate::archive::Limits;
use crate::archive::limits::within;
use crate::bytes::{Zstd, expect_length};
use crate::components::{Components, Language};
use crate::compress::tokens_of;
use crate::decompress::text_of;
use crate::error::{Error, Result};
use crate::progress::{FrameProgress, Observer, Progress, Timing};
use crate::tokenizer::TokenId;

/// Above this many bits a byte the model knows a text so badly that the byte coder is tried. It
/// has learned nothing before a short text is over, so it wins on little but binary data.
const BYTE_CODER_BITS: f64 = 4.0;

/// Lanes computed together unless the schedule has fewer.
const MOST_LANES: usize = 64;

/// How a short text's payload is made; the numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The text itself.
    Stored = 0,
    /// One Zstandard frame (RFC 8878) without dictionary.
    Zstd = 1,
    /// Tokens coded under the model.
    Model = 2,
    /// Bytes coded by the byte coder.
    Bytes = 3,
}

impl Form {
    /// The form of a number, of which the two lowest bits are looked at.
    pub(crate) fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Stored,
            1 => Self::Zstd,
            2 => Self::Model,
            _ => Self::Bytes,
        }
    }

    /// The form's name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
            Self::Model => "model",
            Self::Bytes => "bytes",
        }
    }

    /// Whether it takes parts that a profile names.
    pub fn needs_profile(self) -> bool {
        matches!(self, Self::Model | Self::Bytes)
    }
}

/// A short text, coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coded<P> {
    pub(crate) form: Form,
    /// Tokens if the model coded it, else bytes of text.
    pub(crate) count: u64,
    pub(crate) payload: P,
}

/// What a form costs besides the payload, given the count.
pub(crate) type Overhead = fn(Form, u64) -> usize;

/// Lanes for short texts, as many as the schedule ever takes and memory allows; one at least.
fn most_lanes(language: &Language, limits: &Limits) -> usize {
    let lanes = usize::try_from(limits.lanes).unwrap_or(MOST_LANES);
    let most = lanes.min(MOST_LANES).min(language.schedule.max_lanes());
    let fits = |lanes: &usize| language.session_bytes(*lanes) <= limits.session_bytes;
    (1..=most).rev().find(fits).unwrap_or(1)
}

/// Codes texts, each with the candidate that makes it smallest, `overhead` included. So many are
/// computed together as `limits` have room for.
pub(crate) fn encode(
    components: &Components,
    texts: &[&[u8]],
    overhead: Overhead,
    limits: &Limits,
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<(Vec<Coded<Vec<u8>>>, Timing)> {
    let mut with_model: Vec<Option<(u64, Vec<u8>)>> = vec![None; texts.len()];
    let mut timing = Timing::default();
    if let Some(language) = &components.language {
        let tokenizer = language.tokenizer.as_ref();
        let tokens: Vec<_> = texts.iter().map(|text| tokens_of(tokenizer, text)).collect();
        let coded: Vec<usize> = (0..texts.len()).filter(|&i| tokens[i].is_some()).collect();
        let tokens: Vec<Vec<TokenId>> = tokens.into_iter().flatten().collect();
        let mut progress = FrameProgress { before, tokenizer, observer, text_bytes: 0, tokens: 0 };
        let payloads;
        let most_lanes = most_lanes(language, limits);
        (payloads, timing) = lanes::encode(language, &tokens, most_lanes, &mut progress)?;
        for ((at, payload), tokens) in coded.into_iter().zip(payloads).zip(&tokens) {
            with_model[at] = Some((tokens.len() as u64, payload));
        }
    }
    let coded = texts.iter().zip(with_model);
    let best = coded.map(|(text, model)| smallest(components, text, model, overhead));
    Ok((best.collect::<Result<_>>()?, timing))
}

/// The smallest of a text's candidates.
fn smallest(
    components: &Components,
    text: &[u8],
    model: Option<(u64, Vec<u8>)>,
    overhead: Overhead,
) -> Result<Coded<Vec<u8>>> {
    let count = text.len() as u64;
    let mut best = Coded { form: Form::Stored, count, payload: text.to_vec() };
    if text.is_empty() {
        return Ok(best);
    }
    let mut best_bytes = text.len() + overhead(Form::Stored, count);
    let mut offer = |form: Form, count: u64, payload: Vec<u8>| {
        let bytes = payload.len() + overhead(form, count);
        if bytes < best_bytes {
            best_bytes = bytes;
            best = Coded { form, count, payload };
        }
    };
    let mut bits = f64::INFINITY;
    if let Some((tokens, payload)) = model {
        bits = payload.len() as f64 * 8.0 / text.len() as f64;
        offer(Form::Model, tokens, payload);
    }
    offer(Form::Zstd, count, Zstd::compress(text)?);
    if let Some(coder) = components.byte_coder.as_ref().filter(|_| bits > BYTE_CODER_BITS) {
        offer(Form::Bytes, count, coder.compress(text)?);
    }
    Ok(best)
}

/// Decodes short texts, not more than `text_limit` bytes together.
///
/// The counts must have been held against limits: they say how much memory and time is taken.
pub(crate) fn decode(
    components: Option<&Components>,
    coded: &[Coded<&[u8]>],
    text_limit: u64,
    limits: &Limits,
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<(Vec<Vec<u8>>, Timing)> {
    let undescribed = |form: Form| Error::Descriptor {
        what: format!("a text coded by {} stands without its description", form.name()),
    };
    let mut texts = Vec::with_capacity(coded.len());
    let mut with_model = Vec::new();
    for (at, one) in coded.iter().enumerate() {
        // Within the caller's limits, so it fits.
        let text_bytes = one.count as usize;
        texts.push(match one.form {
            Form::Stored => expect_length("stored", one.payload.to_vec(), text_bytes)?,
            Form::Zstd => Zstd::decompress(one.payload, text_bytes)?,
            Form::Bytes => {
                let coder = components.and_then(|c| c.byte_coder.as_ref());
                let coder = coder.ok_or_else(|| undescribed(Form::Bytes))?;
                let coder_bytes = coder.memory_bytes(text_bytes);
                within("bytes of coder memory", coder_bytes, limits.coder_bytes)?;
                let text = coder.decompress(one.payload, text_bytes)?;
                expect_length(&coder.record().name, text, text_bytes)?
            }
            Form::Model => {
                with_model.push(at);
                Vec::new()
            }
        });
    }
    if with_model.is_empty() {
        return Ok((texts, Timing::default()));
    }
    let language: &Language =
        components.and_then(|c| c.language.as_ref()).ok_or_else(|| undescribed(Form::Model))?;
    within("bytes of session memory", language.session_bytes(1), limits.session_bytes)?;
    let most_lanes = most_lanes(language, limits);
    let tokenizer = language.tokenizer.as_ref();
    let payloads: Vec<(usize, &[u8])> =
        with_model.iter().map(|&at| (coded[at].count as usize, coded[at].payload)).collect();
    let mut progress = FrameProgress { before, tokenizer, observer, text_bytes: 0, tokens: 0 };
    let (tokens, timing) = lanes::decode(language, &payloads, most_lanes, limits, &mut progress)?;
    let mut left =
        texts.iter().fold(text_limit, |left, text| left.saturating_sub(text.len() as u64));
    for (at, tokens) in with_model.into_iter().zip(tokens) {
        texts[at] = text_of(tokenizer, &tokens, left)?;
        left -= texts[at].len() as u64;
    }
    Ok((texts, timing))
}
