//! The content of a file: the weights' arrays in a fixed order, little-endian, whose sizes follow
//! from the configuration, behind a header with the length and an XXH3 checksum: what is damaged or
//! cut short is folded again.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use finezip_core::Fingerprint;
use finezip_models::ModelConfig;
use xxhash_rust::xxh3::Xxh3;

use crate::fold;
use crate::kernels::{Int4Weights, Int8Weights};
use crate::options::Precision;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Version of the layout.
pub(super) const LAYOUT_VERSION: u32 = 1;

/// Starts every file.
const MAGIC: &[u8; 8] = b"FZWEIGHT";
/// Magic, key, length: what is known before the content is read.
const KNOWN_BYTES: usize = 8 + 32 + 8;
/// What is known, and the checksum.
const HEADER_BYTES: usize = KNOWN_BYTES + 8;
/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// The weights, if a file has this key and is whole.
pub(super) fn read(
    mut file: &File,
    key: Fingerprint,
    config: &ModelConfig,
    precision: Precision,
) -> Option<Weights> {
    let mut found = [0; HEADER_BYTES];
    file.read_exact(&mut found).ok()?;
    let length = file.metadata().ok()?.len().checked_sub(HEADER_BYTES as u64)?;
    if found[..KNOWN_BYTES] != header(key, length, 0)[..KNOWN_BYTES] {
        return None;
    }
    let mut reader = Reader { file, hasher: Xxh3::new(), bytes: Vec::new(), left: length };
    let weights = reader.weights(config, precision)?;
    let whole = reader.left == 0 && found == header(key, length, reader.hasher.digest());
    whole.then_some(weights)
}

/// Writes a file from its start.
pub(super) fn write(file: &File, key: Fingerprint, weights: &Weights) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&[0; HEADER_BYTES])?;
    let mut writer = Writer { file, hasher: Xxh3::new(), length: 0 };
    writer.weights(weights)?;
    let header = header(key, writer.length, writer.hasher.digest());
    let mut file = writer.file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)?;
    file.sync_all()
}

/// Bytes that the weights take in a file, without its header.
pub(super) fn content_bytes(weights: &Weights) -> io::Result<u64> {
    let mut writer = Writer { file: io::sink(), hasher: Xxh3::new(), length: 0 };
    writer.weights(weights)?;
    Ok(writer.length)
}

fn header(key: Fingerprint, length: u64, checksum: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let fields: [&[u8]; 4] = [MAGIC, &key.0, &length.to_le_bytes(), &checksum.to_le_bytes()];
    let bytes = fields.into_iter().flatten();
    header.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    header
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
struct Reader<R> {
    file: R,
    hasher: Xxh3,
    bytes: Vec<u8>,
    left: u64,
}

impl<R: Read> Reader<R> {
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
