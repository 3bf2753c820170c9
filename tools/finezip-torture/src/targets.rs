//! Everything that reads what others wrote, as functions of any bytes: they may say no, and
//! nothing else. What must hold beyond that is asserted here.
//!
//! `finezip-torture fuzz` runs them with mutations of their seeds and counts the memory they take;
//! the tests replay all of `fixtures/hostile`.

mod seeds;

use std::cell::RefCell;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{
    ArchiveIndex, ByteCoder, Coder, Decompressor, FrameShape, Logits, Rows, Schedule, SingleLane,
    Tokenizer,
};
use finezip_lora::Adapter;
use finezip_mixer::{bytes, tokens};
use finezip_models::gguf::Gguf;
use finezip_models::{Checkpoint, ModelTokenizer};
use tempfile::TempDir;

use crate::seal::seal;
use crate::specimens::{Parts, decompressor, limits};

/// One reader.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder in `fixtures/hostile`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// What a mutation may begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations of a long run: the faster it is, the more.
    pub inputs: u64,
}

/// All of them.
pub const ALL: [Target; 12] = [
    Target { name: "archive", run: archive, seeds: seeds::archive, inputs: 60_000 },
    Target { name: "sealed", run: sealed, seeds: seeds::archive, inputs: 60_000 },
    Target { name: "index", run: index, seeds: seeds::archive, inputs: 100_000 },
    Target { name: "recover", run: recover, seeds: seeds::archive, inputs: 15_000 },
    Target { name: "arithmetic", run: arithmetic, seeds: seeds::payload, inputs: 3_000_000 },
    Target { name: "rank", run: rank, seeds: seeds::payload, inputs: 4_000_000 },
    Target { name: "token-mixer", run: token_mixer, seeds: seeds::payload, inputs: 500_000 },
    Target { name: "byte-mixer", run: byte_mixer, seeds: seeds::payload, inputs: 10_000 },
    Target { name: "text", run: text, seeds: seeds::text, inputs: 700_000 },
    Target {
        name: "tokenizer-json",
        run: tokenizer_json,
        seeds: seeds::tokenizer,
        inputs: 1_500_000,
    },
    Target { name: "gguf", run: gguf, seeds: seeds::gguf, inputs: 200_000 },
    Target { name: "folder", run: folder, seeds: seeds::folder, inputs: 500_000 },
];

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}

static PARTS: LazyLock<Arc<Parts>> =
    LazyLock::new(|| Parts::open().unwrap_or_else(|error| panic!("the seeded model: {error}")));

static DECOMPRESSOR: LazyLock<Decompressor> = LazyLock::new(|| decompressor(&PARTS));

/// Bytes as an archive that is read from its start.
pub fn archive(bytes: &[u8]) {
    if let Ok(text) = DECOMPRESSOR.decompress(bytes) {
        // What is read forwards is read through the index, and past no damage.
        let mut source = Cursor::new(bytes);
        let index = ArchiveIndex::read(&mut source, &limits()).expect("a whole archive's index");
        assert_eq!(index.text_bytes(), text.len() as u64);
        let mut recovered = Vec::new();
        let recovery = DECOMPRESSOR.recover(&mut source, &mut recovered).expect("a whole archive");
        assert!(recovery.is_whole() && recovered == text, "{:?}", recovery.losses);
    }
}

/// Bytes as blocks of an archive whose checksums hold: headers, descriptors, and whatever decodes
/// payloads.
pub fn sealed(bytes: &[u8]) {
    archive(&seal(bytes));
}

/// Bytes as an archive whose index is read from its end.
pub fn index(bytes: &[u8]) {
    let sealed = seal(bytes);
    for archive in [bytes, &sealed] {
        let mut source = Cursor::new(archive);
        let Ok(index) = ArchiveIndex::read(&mut source, &limits()) else { continue };
        let mut text = Vec::new();
        let end = index.text_bytes();
        // A forged index declares frames of any length, none longer than the limit.
        if end <= 1 << 16
            && let Ok(written) = index.extract(&mut source, 1..end, &DECOMPRESSOR, &mut text)
        {
            assert_eq!(written, text.len() as u64);
        }
    }
}

/// Bytes as a damaged archive.
pub fn recover(bytes: &[u8]) {
    let sealed = seal(bytes);
    for archive in [bytes, &sealed] {
        let mut text = Vec::new();
        let Ok(recovery) = DECOMPRESSOR.recover(&mut Cursor::new(archive), &mut text) else {
            continue;
        };
        assert_eq!(recovery.summary.text_bytes, text.len() as u64);
        for loss in &recovery.losses {
            assert!(loss.archive.start <= loss.archive.end, "{loss}");
        }
        if recovery.is_whole() {
            assert_eq!(DECOMPRESSOR.decompress(archive).ok(), Some(text), "called whole");
        }
    }
}

/// A frame's shape from the first bytes, and the rest as its payload.
fn shaped(bytes: &[u8], vocab_size: usize) -> Option<(FrameShape, &[u8])> {
    let [tokens, more, lanes, longer, payload @ ..] = bytes else { return None };
    let tokens = 1 + usize::from(*tokens) + 8 * usize::from(*more);
    let lanes = (1 + usize::from(lanes & 7)).min(tokens);
    let bytes = tokens + usize::from(*longer);
    Some((FrameShape { vocab_size, lanes, tokens, bytes }, payload))
}

/// Runs a decoder over a plan, under logits that depend on the tokens before.
fn decode(coder: &dyn Coder, shape: FrameShape, payload: &[u8]) {
    let Ok(mut decoder) = coder.decoder(shape, payload) else { return };
    let mut plan = SingleLane::new(8).plan(shape.tokens, 1);
    let (mut entries, mut logits, mut before) = (Vec::new(), Logits::new(), 0_u32);
    while plan.next_step(&mut entries) {
        for (id, logit) in logits.resize(1, shape.vocab_size).iter_mut().enumerate() {
            let mixed = (id as u32 ^ before).wrapping_mul(0x9E37_79B1);
            *logit = (mixed >> 24) as f32 / 16.0 - 8.0;
        }
        let mut token = [0];
        if decoder.decode(&entries, Rows::new(&logits, &[0]), &mut token).is_err() {
            return;
        }
        assert!((token[0] as usize) < shape.vocab_size, "token {} was decoded", token[0]);
        before = token[0];
    }
    let _ = decoder.finish();
}

/// Bytes as the payload of an arithmetic coder.
pub fn arithmetic(bytes: &[u8]) {
    let Some((shape, payload)) = shaped(bytes, 100) else { return };
    // Every token is the same again; short frames are many.
    let shape = FrameShape { tokens: shape.tokens.min(64), ..shape };
    decode(&ArithmeticCoder::new(Threads::Inline), shape, payload);
}

/// Bytes as the payload of a rank coder; the first says with which backend.
pub fn rank(bytes: &[u8]) {
    let Some((&backend, bytes)) = bytes.split_first() else { return };
    let backend = Backend::ALL[usize::from(backend) % Backend::ALL.len()];
    let Some((shape, payload)) = shaped(bytes, 100) else { return };
    decode(&RankCoder::new(backend, Threads::Inline), shape, payload);
}

/// Bytes as the payload of a token mixer; the first says at which level, and whether it has the
/// choice of a plain code.
pub fn token_mixer(bytes: &[u8]) {
    static CODERS: LazyLock<Vec<tokens::MixerCoder>> = LazyLock::new(|| {
        let coder = |settings| {
            tokens::MixerCoder::new(PARTS.table(), settings).expect("the seeded vocabulary")
        };
        let levels = (1..=9).map(tokens::Settings::level);
        let settings = levels.map(|level| tokens::Settings { table_bits: 12, ..level });
        settings.flat_map(|settings| [settings.without_choice(), settings]).map(coder).collect()
    });
    let Some((&level, bytes)) = bytes.split_first() else { return };
    let Some((shape, payload)) = shaped(bytes, PARTS.table().len()) else { return };
    let shape = FrameShape { tokens: shape.tokens.min(64), ..shape };
    decode(&CODERS[usize::from(level) % CODERS.len()], shape, payload);
}

/// Bytes as the payload of a byte mixer; the first two say how long the text is.
pub fn byte_mixer(bytes: &[u8]) {
    let [length, settings, payload @ ..] = bytes else { return };
    let settings = bytes::Settings { table_bits: 16 + u32::from(settings & 3) };
    let mixer = bytes::ByteMixer::new(settings).expect("settings in range");
    let length = usize::from(*length);
    if let Ok(text) = mixer.decompress(payload, length) {
        assert_eq!(text.len(), length);
    }
}

/// Bytes as text to be made tokens and compressed, which must give it back.
pub fn text(bytes: &[u8]) {
    let tokenizer = PARTS.tokenizer();
    spells(tokenizer, bytes);
    let mut tokens = Vec::new();
    assert!(tokenizer.encode_bytes(bytes, &mut tokens), "a byte without a token");
}

/// The tokens of `bytes`, if there are any, are `bytes`.
fn spells(tokenizer: &ModelTokenizer, bytes: &[u8]) {
    let mut tokens = Vec::new();
    if tokenizer.encode(bytes, &mut tokens).is_ok() {
        let spelled: Vec<u8> =
            tokens.iter().flat_map(|&token| tokenizer.token_bytes(token)).copied().collect();
        assert_eq!(spelled, bytes, "tokens that do not spell their text");
    }
}

/// Text with something of everything.
const SAMPLE: &[u8] =
    "the 12 caf\u{e9}s, <|endoftext|>\r\n\u{2581}and\u{0}\u{4e2d}\u{6587}  of it.".as_bytes();

/// Bytes as a tokenizer.json.
pub fn tokenizer_json(bytes: &[u8]) {
    if let Ok(tokenizer) = ModelTokenizer::from_json("tokenizer.json", bytes, 0) {
        let mut tokens = Vec::new();
        // A vocabulary may lack bytes; the compressor compares and takes another road.
        let _ = tokenizer.encode(SAMPLE, &mut tokens);
        for token in tokens {
            assert!((token as usize) < tokenizer.vocab_size(), "token {token}");
        }
        for token in 0..tokenizer.vocab_size() as u32 + 2 {
            tokenizer.token_bytes(token);
        }
    }
}

/// Bytes as a GGUF file.
pub fn gguf(bytes: &[u8]) {
    let _ = Gguf::from_bytes("fuzz.gguf", bytes);
    if let Ok(checkpoint) = Checkpoint::from_gguf_bytes("fuzz", bytes.to_vec()) {
        whole(&checkpoint);
    }
}

/// All of a checkpoint that opened.
fn whole(checkpoint: &Checkpoint) {
    let names: Vec<String> = checkpoint.tensor_names().map(str::to_owned).collect();
    for name in names {
        if let Ok((values, shape)) = checkpoint.tensor_f32(&name) {
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        }
    }
    if let Ok(tokenizer) = ModelTokenizer::from_checkpoint(checkpoint) {
        let _ = tokenizer.encode(SAMPLE, &mut Vec::new());
    }
}

/// Names that readers of folders look for.
const NAMES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
];

/// The files that [`seeds::pack`] has put together, as far as they have one of [`NAMES`].
fn unpack(mut bytes: &[u8]) -> Vec<(&'static str, &[u8])> {
    let mut files = Vec::new();
    while let Some(line_end) = bytes.iter().position(|&byte| byte == b'\n') {
        let line = std::str::from_utf8(&bytes[..line_end]).unwrap_or_default();
        let Some((length, name)) = line.split_once(' ') else { break };
        let Some(name) = NAMES.into_iter().find(|&known| known == name) else { break };
        let rest = &bytes[line_end + 1..];
        let length = length.parse().unwrap_or(usize::MAX).min(rest.len());
        files.push((name, &rest[..length]));
        bytes = &rest[length..];
    }
    files
}

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Bytes as the files of a folder: a model in safetensors, an adapter.
pub fn folder(bytes: &[u8]) {
    FOLDER.with_borrow_mut(|held| {
        let made = held.get_or_insert_with(|| TempDir::new().expect("a temporary folder"));
        let files = unpack(bytes);
        for (name, content) in &files {
            fs::write(made.path().join(name), content).expect("a temporary file");
        }
        read_folder(made.path());
        for (name, _) in &files {
            let _ = fs::remove_file(made.path().join(name));
        }
    });
}

fn read_folder(path: &Path) {
    if let Ok(checkpoint) = Checkpoint::open(path) {
        whole(&checkpoint);
        let _ = checkpoint.fingerprint();
    }
    if let Ok(adapter) = Adapter::open(path) {
        let names: Vec<String> = adapter.modules().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            adapter.delta(&name);
        }
        adapter.fingerprint();
    }
}
