//! Records: a text of many short ones (lines, rows, messages), each of which can be read alone.
//!
//! A frame of records holds an index and the payload of each record, coded by itself as a message
//! is. Many are computed together as lanes of one batch, so that a frame of records takes about as
//! long as any other; one record takes its own tokens alone. `docs/format.md` has the layout.

mod index;
mod split;

pub(crate) use split::FrameSearch;
pub use split::RecordRule;

use std::ops::Range;

use crate::archive::content_hash;
use crate::archive::limits::{Limits, within};
use crate::archive::{FrameHeader, Method};
use crate::bytes::Zstd;
use crate::components::{Components, Language};
use crate::compress::{CodedFrame, is_hopeless};
use crate::error::{Error, Result};
use crate::progress::{Observer, Progress, Timing};
use crate::short::{self, Coded, Form};
use index::{Entry, Index};
use split::Split;

/// The most records a frame may have.
pub const MAX_RECORDS: u64 = 1 << 20;

/// The most bytes by which a record may make a frame longer than it should be.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// What one more byte in the index would save: a record that is stored has no payload length.
fn overhead(form: Form, _count: u64) -> usize {
    usize::from(form != Form::Stored)
}

/// Codes a frame of records. `text` is as long as the rule lets a frame be.
pub(crate) fn encode(
    components: &Components,
    rule: RecordRule,
    text: &[u8],
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<CodedFrame> {
    let (split, records) = Split::of(rule, text);
    // Text that nothing compresses is not worth a model's minutes.
    let without_model = Components { language: None, ..components.clone() };
    let hopeless = components.language.is_some() && is_hopeless(text, Zstd::compress(text)?.len());
    let parts = if hopeless { &without_model } else { components };
    let limits = Limits::default();
    let (coded, timing) = short::encode(parts, &records, overhead, &limits, before, observer)?;
    let tokens = coded.iter().filter(|one| one.form == Form::Model).map(|one| one.count).sum();
    let index = Index::new(split, &records, &coded);
    let mut payload = index.to_bytes()?;
    for one in &coded {
        payload.extend_from_slice(&one.payload);
    }
    let header = FrameHeader {
        method: Method::Records { records: records.len() as u64, tokens },
        original_bytes: text.len() as u64,
        payload_bytes: payload.len() as u64,
        content_hash: content_hash(text),
    };
    Ok(CodedFrame { header, payload, timing })
}

/// Decodes some of a frame's records: their text, each with what stands between it and the next.
///
/// The stored bytes of these records are checked, whatever may be wrong with others; so is the
/// text of each, by a short check. A caller that has all of them holds the frame's own hash.
pub(crate) fn decode(
    components: Option<&Components>,
    limits: &Limits,
    header: &FrameHeader,
    payload: &[u8],
    wanted: Range<u64>,
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<(Vec<u8>, Timing)> {
    let Method::Records { records, tokens } = header.method else {
        return Err(Error::damaged("frame header", "a frame of no records"));
    };
    let (index, first_payload) = Index::read(payload, records)?;
    let places = index.places(&payload[first_payload..], header, tokens)?;
    let wanted = wanted.start as usize..(wanted.end.min(records) as usize);
    if wanted.is_empty() {
        return Ok((Vec::new(), Timing::default()));
    }
    let bytes = &payload[first_payload..];
    index.check_stored(bytes, &places, wanted.clone())?;
    let coded: Vec<Coded<&[u8]>> = wanted
        .clone()
        .map(|at| {
            let Entry { form, count, .. } = index.entries[at];
            Coded { form, count, payload: &bytes[places[at].clone()] }
        })
        .collect();
    let limit = header.original_bytes;
    let (texts, timing) = short::decode(components, &coded, limit, limits, before, observer)?;
    let mut out = Vec::new();
    for (at, text) in wanted.zip(&texts) {
        let language = components.and_then(|components| components.language.as_ref());
        let language = language.filter(|_| index.entries[at].form == Form::Model);
        index.check_text(at, text, || language.and_then(Language::hint))?;
        out.extend_from_slice(text);
        out.extend(index.split.after(at as u64 + 1 == records));
        within("bytes of text in a frame of records", out.len() as u64, limit)?;
    }
    Ok((out, timing))
}
