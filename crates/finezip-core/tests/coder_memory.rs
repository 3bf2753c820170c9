//! What coders say they take is held against the limits, by readers and by writers alike.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use finezip_core::{
    Coder, Compressor, CompressorBuilder, Decoder, Decompressor, Encoder, Error, Exactness,
    FrameShape, Language, Limits, Record, RecordRule, ReferenceCoder, Result, Rows, StepEntry,
    TokenId,
};
use support::{Chunks, TEXT, language};

/// The reference coder, which says that each of its encoders and decoders takes `bytes`, and
/// counts how many were open at once.
#[derive(Default)]
struct Hungry {
    bytes: u64,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Hungry {
    fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bytes, ..Self::default() })
    }

    fn opened(&self) -> Open<'_> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        Open(self)
    }

    /// The most that were open at once since this was asked last.
    fn most(&self) -> usize {
        self.most.swap(0, Ordering::Relaxed)
    }
}

impl Coder for Hungry {
    fn record(&self) -> Record {
        ReferenceCoder.record()
    }

    fn memory_bytes(&self, _shape: FrameShape) -> u64 {
        self.bytes
    }

    fn encoder<'a>(&'a self, shape: FrameShape) -> Result<Box<dyn Encoder + 'a>> {
        Ok(Box::new(Counted(ReferenceCoder.encoder(shape)?, self.opened())))
    }

    fn decoder<'a>(
        &'a self,
        shape: FrameShape,
        payload: &'a [u8],
    ) -> Result<Box<dyn Decoder + 'a>> {
        Ok(Box::new(Counted(ReferenceCoder.decoder(shape, payload)?, self.opened())))
    }
}

/// Open until it is dropped.
struct Open<'a>(&'a Hungry);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Counted<'a, T>(T, #[expect(dead_code, reason = "counts while it lives")] Open<'a>);

impl Encoder for Counted<'_, Box<dyn Encoder + '_>> {
    fn encode(&mut self, entries: &[StepEntry], rows: Rows<'_>, tokens: &[TokenId]) -> Result<()> {
        self.0.encode(entries, rows, tokens)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        self.0.finish()
    }
}

impl Decoder for Counted<'_, Box<dyn Decoder + '_>> {
    fn decode(
        &mut self,
        entries: &[StepEntry],
        rows: Rows<'_>,
        tokens: &mut [TokenId],
    ) -> Result<()> {
        self.0.decode(entries, rows, tokens)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish()
    }
}

fn builder(coder: &Arc<Hungry>) -> CompressorBuilder {
    let chunks = Chunks { chunk: 5, lanes: 8, overlap: 0 };
    let coder = Arc::clone(coder) as Arc<dyn Coder>;
    Compressor::builder().language(Language { coder, ..language(Exactness::Everywhere, chunks) })
}

/// What no reader would take is not written.
#[test]
fn a_coder_above_what_readers_take_is_refused_by_the_writer() {
    let limit = Limits::default().coder_bytes;
    for rule in [None, Some(RecordRule::LINES)] {
        for (bytes, taken) in [(limit, true), (limit + 1, false)] {
            let coder = Hungry::new(bytes);
            let builder = match rule {
                Some(rule) => builder(&coder).records(rule),
                None => builder(&coder),
            };
            let made = builder.build().unwrap().compress(TEXT);
            assert_eq!(coder.most() > 0, taken, "{rule:?}");
            match made {
                Ok(_) => assert!(taken, "{rule:?}: {bytes} bytes were taken"),
                Err(Error::Settings(said)) => {
                    assert!(!taken && said.contains("memory for the coder"), "{said}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Records have a coder each: as many are open at once as limits have room for.
#[test]
fn coders_of_records_share_what_readers_take() {
    let limits = Limits::default();
    // Words of the model's among letters that do not repeat: the model codes each line.
    let text = b"the Jand 7of Qing Zthe xand Kof 4ing Wthe band\n".repeat(45);
    for fitting in [1, 2, 5] {
        let coder = Hungry::new(limits.coder_bytes / fitting);
        let compressor = builder(&coder).records(RecordRule::LINES).build().unwrap();
        let archive = compressor.compress(&text).unwrap();
        assert_eq!(coder.most() as u64, fitting, "encoders");
        let decompressor = Decompressor::new(compressor.components().clone());
        assert_eq!(decompressor.decompress(&archive).unwrap(), text);
        assert_eq!(coder.most() as u64, fitting, "decoders");
        let half = Limits { coder_bytes: limits.coder_bytes / fitting - 1, ..limits };
        let error = decompressor.with_limits(half).decompress(&archive).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        assert_eq!(coder.most(), 0, "a decoder above the limit was opened");
    }
}
