//! The content of a file: the weights' arrays in a fixed order, little-endian, whose sizes follow
//! from the configuration, behind a header with the length and an XXH3 checksum: what is damaged or
//! cut short is folded again.
//!
//! Matrices come first, in the order of a step, as they lie in memory: they are read to where they
//! stay.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::vec;

use finezip_core::Fingerprint;
use finezip_models::ModelConfig;
use xxhash_rust::xxh3::Xxh3;

use crate::fold;
use crate::kernels::{AlignedBytes, Int4Weights, Int8Weights};
use crate::options::Precision;
use crate::weights::{Embedding, LayerWeights, Linear, Weights};

/// Version of the layout.
pub(super) const LAYOUT_VERSION: u32 = 2;

/// Starts every file.
const MAGIC: &[u8; 8] = b"FZWEIGHT";
/// Magic, key, length: what is known before the content is read.
const KNOWN_BYTES: usize = 8 + 32 + 8;
/// What is known, and the checksum.
const HEADER_BYTES: usize = KNOWN_BYTES + 8;
/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;
/// Bytes that are read at a time, to be summed up while they are in a cache.
const READ_BYTES: usize = 1 << 18;

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
    let mut reader = Reader { file, hasher: Xxh3::new(), left: length };
    let matrices = reader.matrices(&matrix_bytes(config, precision)?)?;
    let matrices = matrices.into_iter();
    let weights = Parts { reader: &mut reader, matrices, precision }.weights(config)?;
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
        for linear in weights.layers.iter().flat_map(linears).chain([&weights.head]) {
            match linear {
                Linear::Int8(weights) => self.bytes(weights.packed())?,
                Linear::Int4(weights) => self.bytes(weights.packed())?,
                Linear::F32(_) => return Err(not_kept()),
            }
        }
        match &weights.embedding {
            Embedding::Int16 { values, .. } => self.bytes(values)?,
            Embedding::Int4 { weights, .. } => self.bytes(weights.packed())?,
            Embedding::Head { .. } => {}
            Embedding::F32(_) => return Err(not_kept()),
        }
        for layer in &weights.layers {
            for vector in vectors(layer) {
                self.floats(vector)?;
            }
            for linear in linears(layer) {
                self.scales(linear)?;
            }
        }
        self.floats(&weights.final_gain)?;
        self.scales(&weights.head)?;
        match &weights.embedding {
            Embedding::Int16 { scales, .. } => self.floats(scales),
            _ => Ok(()),
        }
    }

    /// The scales of a matrix that are not among its bytes.
    fn scales(&mut self, linear: &Linear) -> io::Result<()> {
        match linear {
            Linear::Int8(weights) => self.floats(weights.scales()),
            _ => Ok(()),
        }
    }

    fn floats(&mut self, values: &[f32]) -> io::Result<()> {
        for values in values.chunks(CHUNK) {
            let bytes: Vec<[u8; 4]> = values.iter().map(|value| value.to_le_bytes()).collect();
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

/// Bytes of each matrix, in the order of the file; none where they are more than can be counted.
fn matrix_bytes(config: &ModelConfig, precision: Precision) -> Option<Vec<usize>> {
    let packed_bytes = match precision {
        Precision::Int8 => Int8Weights::packed_bytes,
        Precision::Int4 => Int4Weights::packed_bytes,
        Precision::F32 => return None,
    };
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let layer = [
        packed_bytes(query + 2 * key, hidden),
        packed_bytes(hidden, query),
        packed_bytes(2 * config.feed_forward, hidden),
        packed_bytes(hidden, config.feed_forward),
    ];
    let mut bytes = layer.repeat(config.layers);
    bytes.push(packed_bytes(vocab, hidden));
    match precision {
        Precision::Int8 => bytes.push(vocab.checked_mul(2 * hidden)?),
        Precision::Int4 if !config.tied_embeddings => bytes.push(packed_bytes(vocab, hidden)),
        _ => {}
    }
    Some(bytes)
}

/// Reads arrays of known sizes and sums them up; none where the file ends too soon.
struct Reader<R> {
    file: R,
    hasher: Xxh3,
    left: u64,
}

impl<R: Read> Reader<R> {
    /// The next matrices, of these bytes each, in one piece of memory.
    fn matrices(&mut self, bytes: &[usize]) -> Option<Vec<AlignedBytes>> {
        // No more is set aside than the file has.
        let all = bytes.iter().try_fold(0u64, |sum, &bytes| sum.checked_add(bytes as u64))?;
        self.left.checked_sub(all)?;
        AlignedBytes::filled_together(bytes, |matrix| self.read(matrix).ok_or(())).ok()
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        let length = count.checked_mul(size_of::<f32>())?;
        self.left.checked_sub(length as u64)?;
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Some(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        self.left = self.left.checked_sub(bytes.len() as u64)?;
        for bytes in bytes.chunks_mut(READ_BYTES) {
            self.file.read_exact(bytes).ok()?;
            self.hasher.update(bytes);
        }
        Some(())
    }
}

/// Weights of matrices that are read and of the vectors that follow them.
struct Parts<'a, R> {
    reader: &'a mut Reader<R>,
    matrices: vec::IntoIter<AlignedBytes>,
    precision: Precision,
}

impl<R: Read> Parts<'_, R> {
    fn weights(&mut self, config: &ModelConfig) -> Option<Weights> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let layers = (0..config.layers).map(|_| self.layer(config)).collect::<Option<_>>()?;
        let final_gain = self.gain(config)?;
        let head = self.linear(vocab, hidden)?;
        let scale = config.embedding_scale;
        let embedding = match self.precision {
            Precision::Int8 => {
                let values = self.matrices.next()?;
                Embedding::Int16 { values, scales: self.reader.floats(vocab)? }
            }
            Precision::Int4 if config.tied_embeddings => Embedding::Head { scale },
            Precision::Int4 => Embedding::Int4 { weights: self.blocks(vocab, hidden)?, scale },
            Precision::F32 => return None,
        };
        Some(Weights { embedding, layers, final_gain, head })
    }

    fn layer(&mut self, config: &ModelConfig) -> Option<LayerWeights> {
        let (hidden, head) = (config.hidden_size, config.head_dim);
        let (query, key) = (config.heads * head, config.kv_heads * head);
        let present = |present: bool, size: usize| if present { size } else { 0 };
        let post = fold::has_post_norms(config);
        let attention_gain = self.gain(config)?;
        let qkv_bias = self.reader.floats(present(config.attention_bias, query + 2 * key))?;
        let query_gain = self.reader.floats(present(config.query_key_norm, head))?;
        let key_gain = self.reader.floats(present(config.query_key_norm, head))?;
        let post_attention_gain = self.reader.floats(present(post, hidden))?;
        let feed_forward_gain = self.gain(config)?;
        let post_feed_forward_gain = self.reader.floats(present(post, hidden))?;
        Some(LayerWeights {
            attention_gain,
            qkv: self.linear(query + 2 * key, hidden)?,
            qkv_bias,
            query_gain,
            key_gain,
            attention_output: self.linear(hidden, query)?,
            post_attention_gain,
            feed_forward_gain,
            gate_up: self.linear(2 * config.feed_forward, hidden)?,
            down: self.linear(hidden, config.feed_forward)?,
            post_feed_forward_gain,
        })
    }

    /// The gain of a norm before a product: none where it is folded.
    fn gain(&mut self, config: &ModelConfig) -> Option<Vec<f32>> {
        let folded = self.precision == Precision::Int8 && !fold::has_post_norms(config);
        self.reader.floats(if folded { 0 } else { config.hidden_size })
    }

    fn linear(&mut self, channels: usize, depth: usize) -> Option<Linear> {
        if self.precision == Precision::Int4 {
            return self.blocks(channels, depth).map(Linear::Int4);
        }
        let scales = self.reader.floats(channels)?;
        let packed = self.matrices.next()?;
        Int8Weights::from_parts(channels, depth, packed, scales).ok().map(Linear::Int8)
    }

    fn blocks(&mut self, channels: usize, depth: usize) -> Option<Int4Weights> {
        Int4Weights::from_parts(channels, depth, self.matrices.next()?).ok()
    }
}

/// The matrices of a layer, in the order of a step.
fn linears(layer: &LayerWeights) -> [&Linear; 4] {
    [&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down]
}

fn not_kept() -> io::Error {
    io::Error::other("f32 weights are not kept")
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
