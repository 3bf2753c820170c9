//! Text to frames: the compressor and its choice among candidates.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::archive::{FrameHeader, Limits, Method, content_hash};
use crate::bytes::{ByteCoder, Zstd};
use crate::coder::FrameShape;
use crate::components::{Components, Language};
use crate::error::{Error, Result};
use crate::progress::{FrameProgress, Observer, Progress, Timing};
use crate::records::{self, FrameSearch, MAX_RECORD_BYTES, RecordRule};
use crate::steps::{self, Encoding};
use crate::tokenizer::{TokenId, Tokenizer};
use crate::write::{Encoder, Summary};

/// Bytes of text in a frame unless set otherwise.
pub const DEFAULT_FRAME_BYTES: usize = 1 << 20;

/// Frames at least this long that Zstandard cannot make smaller than [`HOPELESS_RATIO`] are no
/// text; a model would spend minutes on them and lose.
const HOPELESS_BYTES: usize = 4096;
const HOPELESS_RATIO: f64 = 0.95;

/// Bytes of a long frame that the byte coder is tried on first, where Zstandard finds nothing.
const SAMPLE_BYTES: usize = 16 << 10;

/// Above this many bits a byte the model knows the text so badly that the byte coder is tried.
const BYTE_CODER_BITS: f64 = 1.5;

/// Compresses text to archives.
///
/// ```
/// use finezip_core::{Compressor, Decompressor};
///
/// let compressor = Compressor::builder().build()?;
/// let archive = compressor.compress(b"to be or not to be, to be or not to be")?;
/// let text = Decompressor::without_model().decompress(&archive)?;
/// assert_eq!(text, b"to be or not to be, to be or not to be");
/// # Ok::<(), finezip_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Compressor {
    components: Components,
    embedded_adapter: Option<Arc<[u8]>>,
    frame_bytes: usize,
    records: Option<RecordRule>,
}

/// Settings of a [`Compressor`].
#[derive(Clone, Default)]
pub struct CompressorBuilder {
    components: Components,
    embedded_adapter: Option<Arc<[u8]>>,
    frame_bytes: Option<usize>,
    records: Option<RecordRule>,
}

impl CompressorBuilder {
    /// Codes frames with a language model where that is smallest.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.components.language = Some(language);
        self
    }

    /// Codes frames with a byte coder where that is smallest.
    #[must_use]
    pub fn byte_coder(mut self, coder: Arc<dyn ByteCoder>) -> Self {
        self.components.byte_coder = Some(coder);
        self
    }

    /// Lets the adapter that is merged into the language model travel in the archive, in this
    /// stored form: what [`Resolver::resolve_with_adapter`](crate::Resolver::resolve_with_adapter)
    /// is given when the archive is read.
    #[must_use]
    pub fn embedded_adapter(mut self, adapter: Arc<[u8]>) -> Self {
        self.embedded_adapter = Some(adapter);
        self
    }

    /// Bytes of text in a frame: frames are independent, so small ones give random access and
    /// large ones a better ratio. Default [`DEFAULT_FRAME_BYTES`].
    #[must_use]
    pub fn frame_bytes(mut self, frame_bytes: usize) -> Self {
        self.frame_bytes = Some(frame_bytes);
        self
    }

    /// Codes each record by itself, so that it can be read alone. Frames end with a record: one
    /// that is longer than a frame makes it longer.
    #[must_use]
    pub fn records(mut self, rule: RecordRule) -> Self {
        self.records = Some(rule);
        self
    }

    /// The compressor, or an error where the settings contradict one another.
    pub fn build(self) -> Result<Compressor> {
        let frame_bytes = self.frame_bytes.unwrap_or(DEFAULT_FRAME_BYTES);
        let mut limit = Limits::default().frame_bytes;
        if self.records.is_some() {
            // Frames of records may end later than they should.
            limit -= MAX_RECORD_BYTES as u64;
        }
        if frame_bytes == 0 || frame_bytes as u64 > limit {
            return Err(Error::Settings(format!(
                "a frame has 1 to {limit} bytes, {frame_bytes} were asked for"
            )));
        }
        if self.records == Some(RecordRule::Bytes(0)) {
            return Err(Error::Settings("a record has at least 1 byte, 0 were asked for".into()));
        }
        if let Some(language) = &self.components.language {
            check(language)?;
        }
        if let Some(adapter) = &self.embedded_adapter {
            check_adapter(self.components.language.as_ref(), adapter)?;
        }
        let Self { components, embedded_adapter, records, .. } = self;
        Ok(Compressor { components, embedded_adapter, frame_bytes, records })
    }
}

/// An error unless the parts of a language go together.
pub(crate) fn check(language: &Language) -> Result<()> {
    let model = &language.model;
    model.check_window(language.schedule.window())?;
    let (logits, ids) = (model.vocab_size(), language.tokenizer.vocab_size());
    if ids > logits {
        return Err(Error::Settings(format!(
            "the tokenizer has {ids} tokens, the model only {logits} logits"
        )));
    }
    language.check_features()
}

fn check_adapter(language: Option<&Language>, adapter: &[u8]) -> Result<()> {
    if language.is_none_or(|language| language.model.identity().adapter.is_none()) {
        return Err(Error::Settings(
            "an adapter to embed, and no model that it is merged into".into(),
        ));
    }
    let limit = Limits::default().adapter_bytes;
    if adapter.len() as u64 > limit {
        return Err(Error::Settings(format!(
            "an adapter of {} bytes to embed; the limit is {limit}",
            adapter.len()
        )));
    }
    Ok(())
}

/// What a frame costs beside itself, where it is the one that earns its description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DescriptionBytes {
    /// A frame coded with the model: descriptor and embedded adapter.
    pub(crate) model: usize,
    /// A frame coded by the byte coder: a descriptor.
    pub(crate) byte_coder: usize,
}

impl DescriptionBytes {
    fn of(self, method: Method) -> usize {
        match method {
            Method::Stored | Method::Zstd => 0,
            Method::Model { .. } => self.model,
            Method::Records { .. } | Method::Bytes => self.byte_coder,
        }
    }
}

/// A frame's payload and how it came to be.
pub(crate) struct CodedFrame {
    pub(crate) header: FrameHeader,
    pub(crate) payload: Vec<u8>,
    pub(crate) timing: Timing,
}

impl Compressor {
    /// Settings to begin with.
    pub fn builder() -> CompressorBuilder {
        CompressorBuilder::default()
    }

    /// The parts it codes with.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// The stored form of the adapter that travels in its archives, if one does.
    pub fn embedded_adapter(&self) -> Option<&[u8]> {
        self.embedded_adapter.as_deref()
    }

    /// Bytes of text in a frame.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Compresses a text in memory to an archive.
    pub fn compress(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut encoder = Encoder::new(Vec::new(), self);
        encoder.write_all(text).map_err(Error::from_io)?;
        Ok(encoder.finish()?.0)
    }

    /// Compresses all that `reader` has and writes an archive to `writer`.
    pub fn compress_stream(
        &self,
        reader: &mut dyn Read,
        writer: &mut dyn Write,
        observer: Option<Box<Observer<'static>>>,
    ) -> Result<Summary> {
        let mut encoder = Encoder::new(writer, self);
        if let Some(observer) = observer {
            encoder = encoder.observed(observer);
        }
        std::io::copy(reader, &mut encoder).map_err(Error::from_io)?;
        Ok(encoder.finish()?.1)
    }

    /// Where to end a frame of `text`, to which more may be added; `None` as long as it may grow.
    /// `search` is one that has seen no other text than the beginning of this.
    pub(crate) fn frame_end(&self, text: &[u8], search: &mut FrameSearch) -> Result<Option<usize>> {
        let Some(rule) = self.records else {
            let is_full = text.len() > self.frame_bytes;
            return Ok(is_full.then(|| frame_end(text, self.frame_bytes)));
        };
        let end = rule.frame_end(text, self.frame_bytes, search);
        if end.unwrap_or(text.len()) > self.frame_bytes.saturating_add(MAX_RECORD_BYTES) {
            return Err(Error::Settings(format!(
                "a record of more than {MAX_RECORD_BYTES} bytes; such text is not for records"
            )));
        }
        Ok(end)
    }

    /// Codes one frame with the candidate that makes it smallest, where one that needs a
    /// description counts its bytes as well.
    pub(crate) fn code_frame(
        &self,
        text: &[u8],
        description: DescriptionBytes,
        before: Progress,
        observer: Option<&mut Observer<'static>>,
    ) -> Result<CodedFrame> {
        if let Some(rule) = self.records {
            return self.code_records(rule, text, description, before, observer);
        }
        let mut best = (Method::Stored, text.to_vec());
        let mut best_bytes = text.len();
        let mut offer = |method: Method, payload: Vec<u8>| {
            let bytes = payload.len() + description.of(method);
            if bytes < best_bytes {
                best_bytes = bytes;
                best = (method, payload);
            }
        };
        let zstd = Zstd::compress(text)?;
        let hopeless = is_hopeless(text, zstd.len());
        let is_noise = text.len() > 4 * SAMPLE_BYTES && zstd.len() > text.len() - text.len() / 64;
        offer(Method::Zstd, zstd);
        let mut timing = Timing::default();
        let mut bits = f64::INFINITY;
        let language = self.components.language.as_ref().filter(|_| !hopeless);
        if let Some(language) = language
            && let Some(coded) = code_with_model(language, text, before, observer)?
        {
            bits = coded.payload.len() as f64 * 8.0 / text.len() as f64;
            timing = coded.timing;
            offer(Method::Model { tokens: coded.tokens, lanes: coded.lanes }, coded.payload);
        }
        if let Some(coder) = self.components.byte_coder.as_ref().filter(|_| bits > BYTE_CODER_BITS)
            && (!is_noise || makes_smaller(coder.as_ref(), sample(text))?)
        {
            offer(Method::Bytes, coder.compress(text)?);
        }
        let (method, payload) = best;
        let header = FrameHeader {
            method,
            original_bytes: text.len() as u64,
            payload_bytes: payload.len() as u64,
            content_hash: content_hash(text),
        };
        Ok(CodedFrame { header, payload, timing })
    }

    /// Codes a frame of records, without the model where the model does not earn its description.
    fn code_records(
        &self,
        rule: RecordRule,
        text: &[u8],
        description: DescriptionBytes,
        before: Progress,
        observer: Option<&mut Observer<'static>>,
    ) -> Result<CodedFrame> {
        let with_model = records::encode(&self.components, rule, text, before, observer)?;
        if description.model == 0 || !with_model.header.method.needs_language() {
            return Ok(with_model);
        }
        let parts = Components { language: None, ..self.components.clone() };
        let without = records::encode(&parts, rule, text, before, None)?;
        let earns = with_model.payload.len() + description.model
            < without.payload.len() + description.byte_coder;
        Ok(if earns { with_model } else { without })
    }
}

/// Whether text that Zstandard makes `zstd_bytes` of is not worth a model's time.
pub(crate) fn is_hopeless(text: &[u8], zstd_bytes: usize) -> bool {
    text.len() >= HOPELESS_BYTES && zstd_bytes as f64 > HOPELESS_RATIO * text.len() as f64
}

/// A piece of a text that is long, from its middle: what is packed or encrypted begins with a
/// header that is neither.
fn sample(text: &[u8]) -> &[u8] {
    let start = text.len() / 2;
    &text[start..text.len().min(start + SAMPLE_BYTES)]
}

/// Whether a coder makes a piece smaller by more than a few bytes.
fn makes_smaller(coder: &dyn ByteCoder, piece: &[u8]) -> Result<bool> {
    Ok(coder.compress(piece)?.len() < piece.len() - piece.len() / 64)
}

struct ModelCoded {
    payload: Vec<u8>,
    tokens: u64,
    lanes: u64,
    timing: Timing,
}

/// Codes a frame with the model; `None` where no tokens give its bytes back.
fn code_with_model(
    language: &Language,
    text: &[u8],
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<Option<ModelCoded>> {
    let Some(mut tokens) = tokens_of(language.tokenizer.as_ref(), text) else { return Ok(None) };
    let lanes = language.schedule.lanes(tokens.len()).clamp(1, tokens.len());
    let shape = FrameShape {
        vocab_size: language.model.vocab_size(),
        lanes,
        tokens: tokens.len(),
        bytes: text.len(),
    };
    check_readable(language, shape)?;
    let mut encoding = Encoding { encoder: language.coder.encoder(shape)? };
    let mut progress = FrameProgress {
        before,
        tokenizer: language.tokenizer.as_ref(),
        observer,
        text_bytes: 0,
        tokens: 0,
    };
    let timing = steps::run(language, lanes, &mut tokens, &mut encoding, &mut progress)?;
    let payload = encoding.encoder.finish()?;
    Ok(Some(ModelCoded { payload, tokens: tokens.len() as u64, lanes: lanes as u64, timing }))
}

/// An error where a frame of this shape asks for more than readers take: what could not be read
/// is not written.
pub(crate) fn check_readable(language: &Language, shape: FrameShape) -> Result<()> {
    let limits = Limits::default();
    if shape.lanes as u64 > limits.lanes {
        return Err(Error::Settings(format!(
            "{} lanes in a frame; readers take {} at most",
            shape.lanes, limits.lanes
        )));
    }
    let session_bytes = language.session_bytes(shape.lanes);
    if session_bytes > limits.session_bytes {
        return Err(Error::Settings(format!(
            "{session_bytes} bytes of memory for a session of {} lanes; readers take {} at most: \
             fewer lanes or a shorter window need less",
            shape.lanes, limits.session_bytes
        )));
    }
    let coder_bytes = language.coder.memory_bytes(shape);
    if coder_bytes > limits.coder_bytes {
        return Err(Error::Settings(format!(
            "{coder_bytes} bytes of memory for the coder of a frame of {} tokens; readers take {} \
             at most: smaller frames or tables need less",
            shape.tokens, limits.coder_bytes
        )));
    }
    Ok(())
}

/// Tokens whose bytes are `text`: the tokenizer's if they are, else one a byte, else `None`.
pub(crate) fn tokens_of(tokenizer: &dyn Tokenizer, text: &[u8]) -> Option<Vec<TokenId>> {
    let mut tokens = Vec::new();
    if tokenizer.encode(text, &mut tokens).is_ok() && spell(tokenizer, &tokens, text) {
        return Some(tokens);
    }
    tokens.clear();
    (tokenizer.encode_bytes(text, &mut tokens) && spell(tokenizer, &tokens, text)).then_some(tokens)
}

/// Whether the bytes of `tokens` are `text`.
fn spell(tokenizer: &dyn Tokenizer, tokens: &[TokenId], text: &[u8]) -> bool {
    let mut rest = text;
    for &token in tokens {
        match rest.strip_prefix(tokenizer.token_bytes(token)) {
            Some(after) if after.len() < rest.len() => rest = after,
            _ => return false,
        }
    }
    rest.is_empty() && !tokens.is_empty()
}

/// Where to end a frame that begins with `text` and may have `frame_bytes` bytes: after the last
/// line end, else the last space, else the last whole character, in its last 64th.
fn frame_end(text: &[u8], frame_bytes: usize) -> usize {
    let earliest = frame_bytes - frame_bytes / 64;
    let tail = &text[earliest..frame_bytes];
    let after = |wanted: fn(&u8) -> bool| tail.iter().rposition(wanted).map(|i| earliest + i + 1);
    after(|&byte| byte == b'\n')
        .or_else(|| after(|&byte| byte == b' '))
        .or_else(|| {
            // The byte after the cut is not the inside of a character.
            (earliest..frame_bytes)
                .rev()
                .map(|i| i + 1)
                .find(|&end| text.get(end).is_none_or(|&byte| byte & 0xC0 != 0x80))
        })
        .unwrap_or(frame_bytes)
        .max(1)
}
