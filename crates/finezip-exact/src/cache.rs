//! Folded and packed weights on disk, so that a model is folded once a machine.
//!
//! A file's name is the BLAKE3 hash of everything its content depends on: the fingerprints of the
//! checkpoint and of the adapter merged into it, the version of the arithmetic, the precision, the version of this layout, and the
//! sources that read, merge and fold: weights folded by other code, say by a build under development, are never
//! taken for this build's. Its
//! content is the weights' arrays in a fixed order, little-endian, whose sizes follow from the
//! configuration, behind a header with the length and an XXH3 checksum: what is damaged or cut
//! short is folded again. Files appear whole (written aside, then renamed), and go when others
//! need their room: [`MOST_BYTES`] of what was read last stay.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use finezip_core::{Fingerprint, partial};
use finezip_models::ModelConfig;
use xxhash_rust::xxh3::Xxh3;

use crate::fold;
use crate::kernels::{Int4Weights, Int8Weights};
use crate::model::ARITHMETIC_VERSION;
use crate::options::Precision;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Starts every file.
const MAGIC: &[u8; 8] = b"FZWEIGHT";
/// Version of the layout.
const LAYOUT_VERSION: u32 = 1;
/// The code that decides what folded weights are, beside [`finezip_models::WEIGHT_SOURCES`].
const SOURCES: [&str; 11] = [
    finezip_lora::adapter::MERGE_SOURCE,
    include_str!("fold/columns.rs"),
    include_str!("fold/hadamard.rs"),
    include_str!("fold/int4.rs"),
    include_str!("fold/int8.rs"),
    include_str!("fold/mod.rs"),
    include_str!("fold/rotation.rs"),
    include_str!("fold/tensors.rs"),
    include_str!("kernels/int4.rs"),
    include_str!("kernels/int8.rs"),
    include_str!("kernels/quantize.rs"),
];
/// Names of unfinished files, which nobody else gives to files in this folder.
const PARTIAL_PREFIX: &str = ".weights-";
const PARTIAL_SUFFIX: &str = ".partial";
/// The extension of files that are finished.
const EXTENSION: &str = "fzw";
/// Bytes of files that are kept: every build and every adapter has its own.
const MOST_BYTES: u64 = 8 << 30;
/// Magic, key, length: what is known before the content is read.
const KNOWN_BYTES: usize = 8 + 32 + 8;
/// What is known, and the checksum.
const HEADER_BYTES: usize = KNOWN_BYTES + 8;
/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// What became of the weights' cache when a model was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheUse {
    /// No folder was given, or the precision has nothing to fold.
    None,
    /// The weights came from it.
    Read,
    /// The weights were folded and written to it.
    Written,
    /// The weights were folded but could not be written; the reason.
    NotWritten(String),
}

/// What the content of a file depends on, beside the code.
#[derive(Debug)]
pub(crate) struct CacheKey {
    /// Of the checkpoint.
    pub(crate) fingerprint: Fingerprint,
    /// Of the adapter that is merged, if one is.
    pub(crate) adapter: Option<Fingerprint>,
    /// How the weights are rounded.
    pub(crate) precision: Precision,
}

/// One file of the cache.
#[derive(Debug)]
pub(crate) struct CacheFile {
    folder: PathBuf,
    key: [u8; 32],
}

impl CacheFile {
    /// The file for these weights.
    pub(crate) fn new(folder: &Path, key: &CacheKey) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"finezip exact weights\0");
        hasher.update(&key.fingerprint.0);
        // A hash of zeros stands for no adapter; no adapter has it.
        hasher.update(&key.adapter.map_or([0; 32], |adapter| adapter.0));
        hasher.update(&ARITHMETIC_VERSION.to_le_bytes());
        hasher.update(&key.precision.parameter().to_le_bytes());
        hasher.update(&LAYOUT_VERSION.to_le_bytes());
        for source in SOURCES.iter().chain(&finezip_models::WEIGHT_SOURCES) {
            hasher.update(blake3::hash(source.as_bytes()).as_bytes());
        }
        Self { folder: folder.to_owned(), key: *hasher.finalize().as_bytes() }
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.{EXTENSION}", Fingerprint(self.key)))
    }

    /// The weights, if the file is there and whole.
    pub(crate) fn read(&self, config: &ModelConfig, precision: Precision) -> Option<Weights> {
        let mut file = open_to_note(&self.path()).ok()?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).ok()?;
        let length = file.metadata().ok()?.len().checked_sub(HEADER_BYTES as u64)?;
        if header[..KNOWN_BYTES] != self.header(length, 0)[..KNOWN_BYTES] {
            return None;
        }
        let mut reader = Reader { file, hasher: Xxh3::new(), bytes: Vec::new(), left: length };
        let weights = reader.weights(config, precision)?;
        if reader.left != 0 || header != self.header(length, reader.hasher.digest()) {
            return None;
        }
        // When it was read last decides how long it stays; where that cannot be noted, it goes
        // earlier.
        let _ = reader.file.set_modified(SystemTime::now());
        Some(weights)
    }

    /// Writes the weights. Where the disk is full, that is tried once more when files that were not
    /// read for the longest time have made room.
    pub(crate) fn write(&self, weights: &Weights) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // What killed processes have left, whatever model it was to be.
        partial::remove_abandoned(&self.folder, PARTIAL_PREFIX, PARTIAL_SUFFIX);
        match self.write_aside(weights) {
            Err(error) if is_full(&error) && self.give_back(content_bytes(weights)?) => {
                self.write_aside(weights)?;
            }
            written => written?,
        }
        self.make_room(MOST_BYTES);
        Ok(())
    }

    /// Writes a file of another name and gives it its own when it is whole.
    fn write_aside(&self, weights: &Weights) -> io::Result<()> {
        let name = format!(
            "{PARTIAL_PREFIX}{}-{}{PARTIAL_SUFFIX}",
            Fingerprint(self.key),
            std::process::id()
        );
        let temporary = self.folder.join(name);
        let file = File::create_new(&temporary)?;
        // The file is held until it has its name, so that nobody takes it for abandoned.
        let written = match partial::claim(&file, &temporary) {
            Ok(true) => self.write_to(&file, weights),
            Ok(false) => return Err(io::Error::other("another process took it for abandoned")),
            Err(error) => Err(error),
        };
        let renamed = written.and_then(|()| fs::rename(&temporary, self.path()));
        if renamed.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// The other finished files of the folder, the one that was read last first: when, bytes,
    /// path.
    fn others(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let own = self.path();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let finished = path.extension().is_some_and(|extension| extension == EXTENSION);
                let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
                (finished && path != own).then_some((
                    metadata.modified().ok()?,
                    metadata.len(),
                    path,
                ))
            })
            .collect();
        files.sort_by_key(|(read, ..)| Reverse(*read));
        files
    }

    /// Removes the files that were not read for the longest time, beyond `most_bytes` and never
    /// this one. Whoever has one open keeps it; what cannot be removed stays.
    fn make_room(&self, most_bytes: u64) {
        let mut kept = fs::metadata(self.path()).map_or(0, |metadata| metadata.len());
        for (_, bytes, path) in self.others() {
            kept = kept.saturating_add(bytes);
            if kept > most_bytes {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes the files that were not read for the longest time, and never this one, until so many
    /// bytes are free again. False if nothing could be removed.
    fn give_back(&self, bytes: u64) -> bool {
        let mut given = 0u64;
        for (_, length, path) in self.others().into_iter().rev() {
            if given < bytes && fs::remove_file(path).is_ok() {
                given = given.saturating_add(length);
            }
        }
        given > 0
    }

    fn write_to(&self, file: &File, weights: &Weights) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_BYTES])?;
        let mut writer = Writer { file, hasher: Xxh3::new(), length: 0 };
        writer.weights(weights)?;
        let header = self.header(writer.length, writer.hasher.digest());
        let mut file = writer.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.sync_all()
    }

    fn header(&self, length: u64, checksum: u64) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let fields: [&[u8]; 4] = [MAGIC, &self.key, &length.to_le_bytes(), &checksum.to_le_bytes()];
        let bytes = fields.into_iter().flatten();
        header.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        header
    }
}

/// Opens a file for reading such that its times can be set. Windows asks for the right to write
/// then, which a folder that is kept by somebody else does not give.
fn open_to_note(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path).or_else(|_| File::open(path))
}

/// Whether a disk, or the part of it that the user may take, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that the weights take in a file, without its header.
fn content_bytes(weights: &Weights) -> io::Result<u64> {
    let mut writer = Writer { file: io::sink(), hasher: Xxh3::new(), length: 0 };
    writer.weights(weights)?;
    Ok(writer.length)
}

/// Writes arrays and sums them up.
struct Writer<W> {
    file: W,
    hasher: Xxh3,
    length: u64,
}

impl<W: Write> Writer<W> {
    fn weights(&mut self, weights: &Weights) -> io::Result<()> {
        match &weights.embedding {
            Embedding::Int16 { values, scales } => {
                self.array(values, |value| value.to_le_bytes())?;
                self.floats(scales)?;
            }
            Embedding::Int4 { weights, .. } => self.bytes(weights.packed())?,
            Embedding::Head { .. } => {}
            Embedding::F32(values) => self.floats(values)?,
        }
        for layer in &weights.layers {
            for vector in vectors(layer) {
                self.floats(vector)?;
            }
            for linear in [&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down] {
                self.linear(linear)?;
            }
        }
        self.floats(&weights.final_gain)?;
        self.linear(&weights.head)
    }

    fn linear(&mut self, linear: &Linear) -> io::Result<()> {
        match linear {
            Linear::Int8(weights) => {
                self.floats(weights.scales())?;
                self.bytes(weights.packed())
            }
            Linear::Int4(weights) => self.bytes(weights.packed()),
            Linear::F32(_) => Err(io::Error::other("f32 weights are not kept")),
        }
    }

    fn floats(&mut self, values: &[f32]) -> io::Result<()> {
        self.array(values, |value| value.to_le_bytes())
    }

    fn array<T: Copy, const N: usize>(
        &mut self,
        values: &[T],
        to_bytes: impl Fn(T) -> [u8; N],
    ) -> io::Result<()> {
        for values in values.chunks(CHUNK) {
            let bytes: Vec<[u8; N]> = values.iter().map(|&value| to_bytes(value)).collect();
            self.bytes(bytes.as_flattened())?;
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Reads arrays of known sizes and sums them up; none where the file ends too soon.
struct Reader {
    file: File,
    hasher: Xxh3,
    bytes: Vec<u8>,
    left: u64,
}

impl Reader {
    fn weights(&mut self, config: &ModelConfig, precision: Precision) -> Option<Weights> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let scale = config.embedding_scale;
        let embedding = match precision {
            Precision::Int8 => {
                let values = self.array(vocab.checked_mul(hidden)?, i16::from_le_bytes)?;
                Embedding::Int16 { values, scales: self.floats(vocab)? }
            }
            Precision::Int4 if config.tied_embeddings => Embedding::Head { scale },
            Precision::Int4 => Embedding::Int4 { weights: self.blocks(vocab, hidden)?, scale },
            Precision::F32 => return None,
        };
        let layers =
            (0..config.layers).map(|_| self.layer(config, precision)).collect::<Option<_>>()?;
        let final_gain = self.floats(gain_size(precision, config))?;
        let head = self.linear(precision, vocab, hidden)?;
        Some(Weights { embedding, layers, final_gain, head })
    }

    fn layer(&mut self, config: &ModelConfig, precision: Precision) -> Option<LayerWeights> {
        let (hidden, head) = (config.hidden_size, config.head_dim);
        let (query, key) = (config.heads * head, config.kv_heads * head);
        let present = |present: bool, size: usize| if present { size } else { 0 };
        let post = fold::has_post_norms(config);
        let attention_gain = self.floats(gain_size(precision, config))?;
        let qkv_bias = self.floats(present(config.attention_bias, query + 2 * key))?;
        let query_gain = self.floats(present(config.query_key_norm, head))?;
        let key_gain = self.floats(present(config.query_key_norm, head))?;
        let post_attention_gain = self.floats(present(post, hidden))?;
        let feed_forward_gain = self.floats(gain_size(precision, config))?;
        let post_feed_forward_gain = self.floats(present(post, hidden))?;
        Some(LayerWeights {
            attention_gain,
            qkv: self.linear(precision, query + 2 * key, hidden)?,
            qkv_bias,
            query_gain,
            key_gain,
            attention_output: self.linear(precision, hidden, query)?,
            post_attention_gain,
            feed_forward_gain,
            gate_up: self.linear(precision, 2 * config.feed_forward, hidden)?,
            down: self.linear(precision, hidden, config.feed_forward)?,
            post_feed_forward_gain,
        })
    }

    fn linear(&mut self, precision: Precision, channels: usize, depth: usize) -> Option<Linear> {
        if precision == Precision::Int4 {
            return self.blocks(channels, depth).map(Linear::Int4);
        }
        let scales = self.floats(channels)?;
        self.next(Int8Weights::packed_bytes(channels, depth))?;
        Int8Weights::from_parts(channels, depth, &self.bytes, &scales).ok().map(Linear::Int8)
    }

    fn blocks(&mut self, channels: usize, depth: usize) -> Option<Int4Weights> {
        self.next(Int4Weights::packed_bytes(channels, depth))?;
        Int4Weights::from_parts(channels, depth, &self.bytes).ok()
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        self.array(count, f32::from_le_bytes)
    }

    fn array<T, const N: usize>(
        &mut self,
        count: usize,
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Option<Vec<T>> {
        self.next(count.checked_mul(N)?)?;
        Some(self.bytes.as_chunks().0.iter().map(|&bytes| from_bytes(bytes)).collect())
    }

    /// Reads the next bytes into `self.bytes`; no more is set aside than the file still has.
    fn next(&mut self, count: usize) -> Option<()> {
        self.left = self.left.checked_sub(count as u64)?;
        self.bytes.resize(count, 0);
        self.file.read_exact(&mut self.bytes).ok()?;
        self.hasher.update(&self.bytes);
        Some(())
    }
}

/// The vectors of a layer, in the order of the file.
fn vectors(layer: &LayerWeights) -> [&[f32]; 7] {
    [
        &layer.attention_gain,
        &layer.qkv_bias,
        &layer.query_gain,
        &layer.key_gain,
        &layer.post_attention_gain,
        &layer.feed_forward_gain,
        &layer.post_feed_forward_gain,
    ]
}

/// Size of the gain of a norm before a product: none where it is folded.
fn gain_size(precision: Precision, config: &ModelConfig) -> usize {
    let folded = precision == Precision::Int8 && !fold::has_post_norms(config);
    if folded { 0 } else { config.hidden_size }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
        entries.flat_map(below).collect()
    }

    /// A file of folding that is left out would let a build take weights that another one folded.
    #[test]
    fn every_file_that_folds_is_among_the_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fold");
        let files = files(&folder);
        assert!(files.len() > 5, "{files:?}");
        for file in files {
            // Weights of the precision `f32` are not kept.
            let expected = !file.ends_with("plain.rs");
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(SOURCES.contains(&&*text), expected, "{}", file.display());
        }
    }

    #[test]
    fn what_was_not_read_for_the_longest_time_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([1; 32]),
            adapter: None,
            precision: Precision::Int8,
        };
        let own = CacheFile::new(folder.path(), &key);
        let write = |path: &Path, age: u64| {
            fs::write(path, [0; 100]).unwrap();
            let read = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(path).unwrap().set_modified(read).unwrap();
        };
        let path = |name: &str| folder.path().join(name);
        // The one just written stays, even where a clock was turned back.
        write(&own.path(), 1000);
        let files = [("a.fzw", 30), ("b.fzw", 10), ("c.fzw", 20), ("another", 500)];
        files.iter().for_each(|(name, age)| write(&path(name), *age));
        own.make_room(400);
        assert!(path("a.fzw").exists(), "there was room for all");
        own.make_room(250);
        let left: Vec<_> =
            files.iter().map(|(name, _)| *name).filter(|name| path(name).exists()).collect();
        assert_eq!(left, ["b.fzw", "another"]);
        own.make_room(0);
        assert!(own.path().exists() && !path("b.fzw").exists() && path("another").exists());
    }

    #[test]
    fn a_full_disk_gets_back_what_is_needed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([2; 32]),
            adapter: None,
            precision: Precision::Int4,
        };
        let own = CacheFile::new(folder.path(), &key);
        let path = |name: &str| folder.path().join(name);
        let files = [("a.fzw", 30), ("b.fzw", 10), ("c.fzw", 20), ("another", 500)];
        for (name, age) in files {
            fs::write(path(name), [0; 100]).unwrap();
            let read = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(path(name)).unwrap().set_modified(read).unwrap();
        }
        fs::write(own.path(), [0; 100]).unwrap();
        assert!(own.give_back(150));
        assert!(!path("a.fzw").exists() && !path("c.fzw").exists() && path("b.fzw").exists());
        assert!(own.give_back(1000));
        assert!(!own.give_back(1000), "nothing is left to be removed");
        assert!(own.path().exists() && path("another").exists());
        for (kind, full) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            assert_eq!(is_full(&kind.into()), full, "{kind}");
        }
    }

    /// A folder whose name is no UTF-8 is counted as any other.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_whose_name_is_no_text_makes_room_as_well() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join(OsStr::from_bytes(b"weights-\xff"));
        fs::create_dir(&folder).unwrap();
        let key = CacheKey {
            fingerprint: Fingerprint([3; 32]),
            adapter: None,
            precision: Precision::Int8,
        };
        fs::write(folder.join("old.fzw"), [0; 100]).unwrap();
        CacheFile::new(&folder, &key).make_room(50);
        assert!(!folder.join("old.fzw").exists());
    }
}
