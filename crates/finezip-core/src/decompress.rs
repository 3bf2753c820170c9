//! Frames to text: the decompressor.

use std::io::{Read, Write};
use std::ops::Range;

use crate::archive::adapter;
use crate::archive::limits::within;
use crate::archive::{Block, Descriptor, FrameHeader, Limits, Method, content_hash};
use crate::bytes::{Zstd, expect_length};
use crate::coder::FrameShape;
use crate::components::{Components, Language, Resolver};
use crate::error::{Error, Result};
use crate::progress::{FrameProgress, Observer, Progress, Timing};
use crate::records;
use crate::steps::{self, Decoding};
use crate::tokenizer::{TokenId, Tokenizer};
use crate::write::Summary;
use crate::{read, write};

/// Decompresses archives.
///
/// What an archive needs it finds through a [`Resolver`]: [`Components`] given beforehand, or
/// something that looks for models by the hash the archive names. It is asked when the first frame
/// takes them: an archive that names a model is read without it if no frame of what is read takes
/// it.
pub struct Decompressor {
    resolver: Box<dyn Resolver + Send + Sync>,
    limits: Limits,
}

impl Decompressor {
    /// A decompressor that finds what archives name through `resolver`.
    pub fn new(resolver: impl Resolver + Send + Sync + 'static) -> Self {
        Self { resolver: Box::new(resolver), limits: Limits::default() }
    }

    /// A decompressor for archives that need no model; others are an error.
    pub fn without_model() -> Self {
        Self::new(Components::default())
    }

    /// Bounds what an archive may ask for.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The parts that a descriptor names, with the adapter that stood before it, if one did.
    pub(crate) fn resolve(
        &self,
        descriptor: &Descriptor,
        adapter: Option<&[u8]>,
    ) -> Result<Components> {
        let Some(adapter) = adapter else { return self.resolver.resolve(descriptor) };
        expect_adapter(descriptor)?;
        self.resolver.resolve_with_adapter(descriptor, adapter)
    }

    /// The parts that a descriptor names for frames that do not take the model. The model, which
    /// may be large or not at hand, is not looked for.
    pub(crate) fn resolve_without_language(&self, descriptor: &Descriptor) -> Result<Components> {
        let needed = Descriptor { language: None, byte_coder: descriptor.byte_coder.clone() };
        let found = self.resolver.resolve(&needed)?;
        // A language that comes with them has been held against nothing.
        Ok(Components { language: None, ..found })
    }

    /// Decompresses an archive in memory.
    pub fn decompress(&self, archive: &[u8]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        read::Decoder::new(archive, self).read_to_end(&mut text).map_err(Error::from_io)?;
        Ok(text)
    }

    /// Decompresses all that `reader` has and writes the text to `writer`.
    pub fn decompress_stream(
        &self,
        reader: &mut dyn Read,
        writer: &mut dyn Write,
        observer: Option<Box<Observer<'static>>>,
    ) -> Result<Summary> {
        let mut decoder = write::Decoder::new(writer, self);
        if let Some(observer) = observer {
            decoder = decoder.observed(observer);
        }
        std::io::copy(reader, &mut decoder).map_err(Error::from_io)?;
        Ok(decoder.finish()?.1)
    }
}

/// An error unless a descriptor, before which an adapter stands, names one.
pub(crate) fn expect_adapter(descriptor: &Descriptor) -> Result<()> {
    if descriptor.language.as_ref().is_none_or(|language| language.model.adapter.is_none()) {
        return Err(Error::Descriptor {
            what: "it names no adapter, though one is embedded".into(),
        });
    }
    Ok(())
}

/// The error for a frame that needs a descriptor and has none before it.
pub(crate) fn undescribed(method: Method) -> Error {
    Error::Descriptor {
        what: format!("a frame coded by {} stands without its description", method.name()),
    }
}

/// All records of a frame.
const ALL: Range<u64> = 0..u64::MAX;

/// Decodes the blocks of an archive, one after another.
pub(crate) struct MemberDecoder<'d> {
    decompressor: &'d Decompressor,
    /// The adapter that stands before the member's descriptor, until a frame takes it.
    adapter: Option<Vec<u8>>,
    descriptor: Option<Box<Descriptor>>,
    /// The parts that frames so far have taken.
    components: Option<Components>,
    /// Whether they are all that the descriptor names, and not those without the language.
    is_complete: bool,
    observer: Option<Box<Observer<'static>>>,
    summary: Summary,
    /// Offset in the archive of the frame at hand, for progress. The summary's bytes will not do:
    /// what has arrived may be far ahead.
    frame_offset: u64,
}

impl<'d> MemberDecoder<'d> {
    pub(crate) fn new(decompressor: &'d Decompressor) -> Self {
        Self {
            decompressor,
            adapter: None,
            descriptor: None,
            components: None,
            is_complete: false,
            observer: None,
            summary: Summary::default(),
            frame_offset: 0,
        }
    }

    pub(crate) fn observe(&mut self, observer: Box<Observer<'static>>) {
        self.observer = Some(observer);
    }

    pub(crate) fn archive_bytes(&mut self, count: usize) {
        self.summary.archive_bytes += count as u64;
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }

    /// Tells the observer that the archive is at its end.
    pub(crate) fn report_end(&mut self) {
        self.report(self.summary.archive_bytes);
    }

    /// Tells the observer of the frames that are decoded, where the last of them ends.
    fn report(&mut self, archive_bytes: u64) {
        if let Some(observer) = &mut self.observer {
            observer(Progress { archive_bytes, ..self.summary.progress() });
        }
    }

    /// The text of a frame; nothing for other blocks. The block stands at `place` in the archive.
    pub(crate) fn block(&mut self, block: Block, place: Range<u64>) -> Result<Vec<u8>> {
        match block {
            Block::Start => self.forget_parts(),
            Block::Adapter(adapter) => {
                self.summary.adapter_bytes += adapter::block_bytes(adapter.len() as u64);
                self.adapter = Some(adapter);
            }
            Block::Descriptor(descriptor) => {
                if self.adapter.is_some() {
                    expect_adapter(&descriptor)?;
                }
                self.descriptor = Some(descriptor);
            }
            Block::Frame(number, header, payload) => {
                self.find_parts(header.method)?;
                self.frame_offset = place.start;
                let text = self
                    .frame(number, &header, &payload)
                    .map_err(|error| error.at(Some(number), place.start))?;
                self.report(place.end);
                return Ok(text);
            }
            Block::End(_) => {}
        }
        Ok(Vec::new())
    }

    fn forget_parts(&mut self) {
        (self.adapter, self.descriptor, self.components) = (None, None, None);
        self.is_complete = false;
    }

    /// Finds the parts that a frame takes, unless they are at hand.
    fn find_parts(&mut self, method: Method) -> Result<()> {
        if !method.needs_descriptor() {
            return Ok(());
        }
        let Some(descriptor) = &self.descriptor else { return Err(undescribed(method)) };
        if self.is_complete {
            return Ok(());
        }
        if method.needs_language() {
            let adapter = self.adapter.take();
            self.components = Some(self.decompressor.resolve(descriptor, adapter.as_deref())?);
            self.is_complete = true;
        } else if self.components.is_none() {
            self.components = Some(self.decompressor.resolve_without_language(descriptor)?);
        }
        Ok(())
    }

    pub(crate) fn frame(
        &mut self,
        number: u64,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<Vec<u8>> {
        let before = Progress { archive_bytes: self.frame_offset, ..self.summary.progress() };
        let (text, timing) = decode_frame(
            self.components.as_ref(),
            &self.decompressor.limits,
            header,
            payload,
            before,
            self.observer.as_deref_mut(),
        )?;
        let found = content_hash(&text);
        if found != header.content_hash {
            return Err(Error::Content {
                frame: number,
                expected: header.content_hash,
                found,
                hint: self.hint(header),
            });
        }
        self.summary.add_frame(header, timing);
        Ok(text)
    }

    /// The text of some of a frame's records.
    pub(crate) fn records(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        wanted: Range<u64>,
    ) -> Result<Vec<u8>> {
        let limits = &self.decompressor.limits;
        let components = self.components.as_ref();
        let before = Progress::default();
        records::decode(components, limits, header, payload, wanted, before, None)
            .map(|(text, _)| text)
    }

    pub(crate) fn set_components(&mut self, components: Option<Components>) {
        self.components = components;
    }

    /// What to try when a frame decodes to other bytes though its payload is whole.
    fn hint(&self, header: &FrameHeader) -> String {
        let language = self.components.as_ref().and_then(|c| c.language.as_ref());
        let hint = language.filter(|_| header.method.needs_language()).and_then(Language::hint);
        hint.unwrap_or_else(|| "please report this as a bug".into())
    }
}

fn decode_frame(
    components: Option<&Components>,
    limits: &Limits,
    header: &FrameHeader,
    payload: &[u8],
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<(Vec<u8>, Timing)> {
    // Within limits, so it fits.
    let text_bytes = header.original_bytes as usize;
    let undescribed = || undescribed(header.method);
    let text = match header.method {
        Method::Stored => payload.to_vec(),
        Method::Zstd => Zstd::decompress(payload, text_bytes)?,
        Method::Bytes => {
            let coder = components.and_then(|c| c.byte_coder.as_ref()).ok_or_else(undescribed)?;
            within("bytes of coder memory", coder.memory_bytes(text_bytes), limits.coder_bytes)?;
            let text = coder.decompress(payload, text_bytes)?;
            expect_length(&coder.record().name, text, text_bytes)?
        }
        Method::Records { .. } => {
            let (text, timing) =
                records::decode(components, limits, header, payload, ALL, before, observer)?;
            return Ok((expect_length("records", text, text_bytes)?, timing));
        }
        Method::Model { tokens, lanes } => {
            let language = components.and_then(|c| c.language.as_ref()).ok_or_else(undescribed)?;
            let shape = FrameShape {
                vocab_size: language.model.vocab_size(),
                lanes: lanes as usize,
                tokens: tokens as usize,
                bytes: text_bytes,
            };
            let coder_bytes = language.coder.memory_bytes(shape);
            within("bytes of coder memory", coder_bytes, limits.coder_bytes)?;
            let session_bytes = language.session_bytes(shape.lanes);
            within("bytes of session memory", session_bytes, limits.session_bytes)?;
            return decode_with_model(language, shape, payload, before, observer);
        }
    };
    Ok((text, Timing::default()))
}

fn decode_with_model(
    language: &Language,
    shape: FrameShape,
    payload: &[u8],
    before: Progress,
    observer: Option<&mut Observer<'static>>,
) -> Result<(Vec<u8>, Timing)> {
    let tokenizer = language.tokenizer.as_ref();
    let mut decoding = Decoding {
        decoder: language.coder.decoder(shape, payload)?,
        payload_bytes: payload.len(),
        tokens: shape.tokens,
        decoded: 0,
    };
    let mut progress = FrameProgress { before, tokenizer, observer, text_bytes: 0, tokens: 0 };
    let mut tokens = vec![0; shape.tokens];
    let timing = steps::run(language, shape.lanes, &mut tokens, &mut decoding, &mut progress)?;
    decoding.decoder.finish()?;
    let text = text_of(tokenizer, &tokens, shape.bytes as u64)?;
    Ok((expect_length(&language.coder.record().name, text, shape.bytes)?, timing))
}

/// The bytes of tokens, no more than `limit`.
pub(crate) fn text_of(
    tokenizer: &dyn Tokenizer,
    tokens: &[TokenId],
    limit: u64,
) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for &token in tokens {
        text.extend_from_slice(tokenizer.token_bytes(token));
        if text.len() as u64 > limit {
            return Err(Error::TextTooLong { expected: limit });
        }
    }
    Ok(text)
}
