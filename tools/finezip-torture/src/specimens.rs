//! Archives of every coder, small enough to damage at every byte: made with a seeded model, so
//! never kept.

use std::sync::Arc;

use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{
    ByteCoder, Coder, Components, Compressor, Decompressor, Descriptor, Error, Language,
    LanguageModel, Limits, Record, RecordRule, Resolver, Result, Schedule, Tokenizer,
};
use finezip_exact::{ExactModel, ExactOptions};
use finezip_mixer::{bytes, tokens};
use finezip_models::seeded::SeededModel;
use finezip_models::{Checkpoint, ModelTokenizer};
use finezip_schedule::{ChunkReset, LanePolicy, Rolling};

/// An archive and what it was made from.
pub struct Specimen {
    /// What its frames are coded by.
    pub name: &'static str,
    /// Members in it.
    pub members: usize,
    /// The archive.
    pub archive: Vec<u8>,
    /// Its text.
    pub text: Vec<u8>,
    parts: Arc<Parts>,
}

impl Specimen {
    /// A decompressor that has the specimen's model and makes the other parts as they are named.
    pub fn decompressor(&self) -> Decompressor {
        decompressor(&self.parts)
    }

    /// The model's GGUF file.
    pub fn model_file(&self) -> &[u8] {
        &self.parts.file
    }
}

/// What an archive may ask for here: far more than any specimen needs, and little.
pub fn limits() -> Limits {
    Limits {
        frame_bytes: 1 << 20,
        descriptor_bytes: 4 << 10,
        adapter_bytes: 1 << 20,
        lanes: 64,
        session_bytes: 64 << 20,
        coder_bytes: 64 << 20,
        end_bytes: 1 << 20,
    }
}

/// A seeded model that is open, with its tokenizer.
pub struct Parts {
    file: Vec<u8>,
    model: Arc<ExactModel>,
    tokenizer: Arc<ModelTokenizer>,
}

/// The smallest model that has all the arithmetic of a large one.
pub fn seeded() -> SeededModel {
    SeededModel {
        hidden_size: 32,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        feed_forward: 32,
        ..SeededModel::default()
    }
}

impl Parts {
    /// Opens the model.
    ///
    /// # Errors
    /// If the model's own readers refuse it.
    pub fn open() -> anyhow::Result<Arc<Self>> {
        let file = seeded().to_gguf()?;
        let checkpoint = Checkpoint::from_gguf_bytes("small", file.clone())?;
        let options =
            ExactOptions { threads: 1, name: Some("small".into()), ..ExactOptions::default() };
        let tokenizer = Arc::new(ModelTokenizer::from_checkpoint(&checkpoint)?);
        let model = Arc::new(ExactModel::open(&checkpoint, options)?);
        Ok(Arc::new(Self { file, model, tokenizer }))
    }

    /// The model.
    pub fn model(&self) -> &ExactModel {
        &self.model
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &ModelTokenizer {
        &self.tokenizer
    }

    /// The bytes of each token by its id.
    pub fn table(&self) -> Vec<Vec<u8>> {
        let tokens = 0..self.model.vocab_size() as u32;
        tokens.map(|token| self.tokenizer.token_bytes(token).to_vec()).collect()
    }

    fn coder(&self, record: &Record) -> Result<Arc<dyn Coder>> {
        if tokens::is_named_in(record) {
            let settings = tokens::Settings::from_record(record)?;
            return Ok(Arc::new(tokens::MixerCoder::new(self.table(), settings)?));
        }
        finezip_coder::from_record(record, &Threads::Inline)
    }
}

/// Finds the parts that an archive names, as the command does, but for the model: there is one.
struct Finder(Arc<Parts>);

impl Resolver for Finder {
    fn resolve(&self, descriptor: &Descriptor) -> Result<Components> {
        let parts = &self.0;
        let language = match &descriptor.language {
            None => None,
            Some(needed) => {
                if needed.model.engine != parts.model.identity().engine {
                    let record = needed.model.engine.clone();
                    return Err(Error::Unknown { part: "engine", record });
                }
                Some(Language {
                    model: parts.model.clone(),
                    tokenizer: parts.tokenizer.clone(),
                    schedule: finezip_schedule::from_record(&needed.schedule)?,
                    coder: parts.coder(&needed.coder)?,
                })
            }
        };
        let byte_coder = match &descriptor.byte_coder {
            None => None,
            Some(record) => {
                let mixer = bytes::ByteMixer::new(bytes::Settings::from_record(record)?)?;
                Some(Arc::new(mixer) as Arc<dyn ByteCoder>)
            }
        };
        Ok(Components { language, byte_coder })
    }
}

/// A decompressor that makes whatever an archive names, within [`limits`].
pub fn decompressor(parts: &Arc<Parts>) -> Decompressor {
    Decompressor::new(Finder(parts.clone())).with_limits(limits())
}

/// Text of the seeded vocabulary's longer tokens, which even a random model codes in fewer bytes
/// than Zstandard where frames are short.
const WORDS: &[u8] = b" of of the in and the and the of and in and in the the and and in of the \
and in and and the the of of in of and the";

/// Text that the byte mixer makes smallest.
const VERSES: &[u8] = b"How doth the little crocodile improve his shining tail, and pour the \
waters of the Nile on every golden scale! How cheerfully he seems to grin, how neatly spread his \
claws, and welcome little fishes in with gently smiling jaws! How doth the little crocodile spread \
his claws, how cheerfully he seems to grin on every golden scale.";

/// Archives of every coder, and of several together.
///
/// # Errors
/// If anything that must work does not.
pub fn specimens() -> anyhow::Result<Vec<Specimen>> {
    let parts = Parts::open()?;
    let mixer = |level| -> Result<Arc<dyn Coder>> {
        Ok(Arc::new(tokens::MixerCoder::new(parts.table(), tokens::Settings::level(level))?))
    };
    let rank = |backend| Arc::new(RankCoder::new(backend, Threads::Inline)) as Arc<dyn Coder>;
    let rolling = || -> Result<Arc<dyn Schedule>> {
        Ok(Arc::new(Rolling::new(16, 1, LanePolicy::Fixed(2))?))
    };
    let chunks =
        || -> Result<Arc<dyn Schedule>> { Ok(Arc::new(ChunkReset::new(7, LanePolicy::Fixed(3))?)) };
    let language = |schedule, coder| Language {
        model: parts.model.clone(),
        tokenizer: parts.tokenizer.clone(),
        schedule,
        coder,
    };
    let by_model = |schedule, coder| {
        Compressor::builder().language(language(schedule, coder)).frame_bytes(28).build()
    };
    let arithmetic = || Arc::new(ArithmeticCoder::new(Threads::Inline)) as Arc<dyn Coder>;
    let by_bytes = |frame_bytes| {
        let coder = Arc::new(bytes::ByteMixer::default());
        Compressor::builder().byte_coder(coder).frame_bytes(frame_bytes).build()
    };
    let by_record = Compressor::builder()
        .language(language(rolling()?, arithmetic()))
        .records(RecordRule::LINES)
        .frame_bytes(80)
        .build()?;
    let noise: Vec<u8> = (0..90_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let all = by_model(rolling()?, arithmetic())?;
    let mut found = Vec::new();
    let mut add = |name, members, archive: Vec<u8>, text: Vec<u8>| {
        found.push(Specimen { name, members, archive, text, parts: parts.clone() });
    };
    for (name, compressor, text) in [
        ("ac", by_model(rolling()?, arithmetic())?, WORDS),
        ("ac, chunks", by_model(chunks()?, arithmetic())?, WORDS),
        ("mixer", by_model(rolling()?, mixer(6)?)?, WORDS),
        ("mixer, level 9", by_model(chunks()?, mixer(9)?)?, WORDS),
        ("rank, zlib", by_model(rolling()?, rank(Backend::Zlib))?, WORDS),
        ("rank, zstd", by_model(rolling()?, rank(Backend::Zstd))?, WORDS),
        ("byte mixer", by_bytes(160)?, VERSES),
        ("zstd", Compressor::builder().frame_bytes(120).build()?, &VERSES.repeat(2)[..]),
        ("stored", Compressor::builder().frame_bytes(25).build()?, &noise[..]),
        ("empty", Compressor::builder().build()?, b""),
        ("records", by_record, &[WORDS, b"\n\n", WORDS, b"\nlast"].concat()[..]),
        ("every kind", all.clone(), &[WORDS, &[b'-'; 60], &noise, WORDS].concat()[..]),
    ] {
        add(name, 1, compressor.compress(text)?, text.to_vec());
    }
    let other = by_bytes(150)?;
    let archive = [all.compress(WORDS)?, other.compress(VERSES)?, all.compress(WORDS)?].concat();
    add("three members", 3, archive, [WORDS, VERSES, WORDS].concat());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use finezip_core::{ArchiveIndex, Method};

    use super::*;

    /// The specimens are what their names say, and come back.
    #[test]
    fn specimens_hold_frames_of_every_method() {
        let mut methods = Vec::new();
        for specimen in specimens().unwrap() {
            let name = specimen.name;
            let text = specimen.decompressor().decompress(&specimen.archive).unwrap();
            assert_eq!(text, specimen.text, "{name}");
            let index = ArchiveIndex::read(&mut Cursor::new(&specimen.archive), &Limits::default())
                .unwrap();
            let found: Vec<&str> = index.frames.iter().map(|f| f.header.method.name()).collect();
            let expected = match name {
                "byte mixer" => "bytes",
                "zstd" | "stored" | "records" => name,
                "empty" => {
                    assert!(found.is_empty());
                    continue;
                }
                _ => "model",
            };
            // Ranks of so small a model are seldom the smallest.
            let is_there = found.contains(&expected) || name.starts_with("rank");
            assert!(is_there, "{name}: {found:?}");
            methods.extend(index.frames.iter().map(|frame| frame.header.method));
        }
        for method in ["stored", "zstd", "bytes", "model", "records"] {
            assert!(methods.iter().any(|found: &Method| found.name() == method), "{method}");
        }
    }
}
