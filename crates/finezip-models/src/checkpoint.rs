//! One view of a model's weights, whichever kind of file they come from.
//!
//! Conventions, the same for GGUF and safetensors:
//! - Names are Hugging Face's: `model.embed_tokens.weight`,
//!   `model.layers.{i}.self_attn.q_proj.weight`, `model.norm.weight`, `lm_head.weight` where the
//!   head is not the embedding. [`ModelConfig::tensors`] lists them.
//! - Matrices are `[out, in]`, row-major.
//! - Rotary pairs are elements `j` and `j + head_dim / 2` of a head. GGUF files of architecture
//!   "llama" store query and key rows with the two of a pair side by side; their rows are put back
//!   in order here. Rows are whole blocks, so this is exact for every stored type.
//! - Norm gains are what the normalised value is multiplied with. Gemma's safetensors store the
//!   gain less one; one is added here (in `f32`). Gemma's GGUF files store the gain itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use finezip_core::Fingerprint;

use crate::config::{self, Architecture, ModelConfig};
use crate::dequantize::dequantize;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::Gguf;
use crate::names;
use crate::safetensors_folder::SafetensorsFolder;
use crate::source::ByteSource;

/// Starts the hash of a folder, so that it never equals that of a file.
const FOLDER_HASH_CONTEXT: &[u8] = b"finezip safetensors folder 1\0";

/// A tensor as stored, in the conventions of [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor {
    /// How the values are stored.
    pub ggml_type: GgmlType,
    /// Rows are whole blocks.
    pub bytes: Vec<u8>,
    /// `[out, in]`, or `[size]`.
    pub shape: Vec<usize>,
}

/// A model's weights and configuration. See the [module](self) for names and layouts.
#[derive(Debug)]
pub struct Checkpoint {
    name: String,
    config: ModelConfig,
    files: Vec<ByteSource>,
    origin: Origin,
    tensors: BTreeMap<String, StoredTensor>,
    fingerprint: OnceLock<Fingerprint>,
}

#[derive(Debug)]
enum Origin {
    Gguf(Gguf),
    Folder(SafetensorsFolder),
}

#[derive(Debug)]
struct StoredTensor {
    file: usize,
    ggml_type: GgmlType,
    shape: Vec<usize>,
    offset: u64,
    bytes: usize,
    change: Change,
}

/// What has to be done to a stored tensor.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    /// Put the rows of each head (of so many rows) from side by side to half after half.
    SplitPairs {
        head_dim: usize,
    },
    /// Add one to each value, in `f32`.
    AddOne,
}

/// How names of biases end.
pub(crate) const BIAS: &str = ".bias";

impl Checkpoint {
    /// Opens a GGUF file, or a folder with config.json and safetensors. Weights are read when
    /// they are asked for.
    ///
    /// # Errors
    /// Unreadable, damaged or unsupported files; tensors that are missing or of a shape that does
    /// not follow from the configuration.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if path.is_dir() {
            return Self::from_folder(name, SafetensorsFolder::open(path)?);
        }
        Self::from_gguf(name, ByteSource::open(path)?)
    }

    /// The same for a GGUF file that is in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_gguf_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        let name = name.into();
        let source = ByteSource::memory(name.clone(), bytes);
        Self::from_gguf(name, source)
    }

    fn from_gguf(name: String, source: ByteSource) -> Result<Self> {
        let gguf = Gguf::read(&source)?;
        let divisors = match gguf.tensor("rope_freqs.weight") {
            None => None,
            Some(info) => {
                let bytes = source.read(info.offset, info.bytes)?;
                Some(dequantize(info.ggml_type, &bytes)?)
            }
        };
        let config = config::from_gguf(&gguf, divisors)?;
        let mut stored = BTreeMap::new();
        for (file_name, info) in gguf.tensors() {
            let name = match names::canonical(config.architecture, file_name) {
                Some(name) => name,
                None if file_name.ends_with(BIAS) => file_name.to_owned(),
                None => continue,
            };
            let paired = config.architecture == Architecture::Llama
                && (name.contains("self_attn.q_proj") || name.contains("self_attn.k_proj"));
            let mut columns = info.shape.iter().skip(1);
            let row_values = columns.try_fold(1usize, |values, &size| values.checked_mul(size));
            if paired && row_values.and_then(|values| info.ggml_type.bytes_for(values)).is_none() {
                let what = format!("{file_name} with rows that are not whole blocks");
                return Err(Error::unsupported(source.name(), what));
            }
            let change = match paired {
                true => Change::SplitPairs { head_dim: config.head_dim },
                false => Change::None,
            };
            let tensor = StoredTensor {
                file: 0,
                ggml_type: info.ggml_type,
                shape: info.shape.clone(),
                offset: info.offset,
                bytes: info.bytes,
                change,
            };
            stored.insert(name, tensor);
        }
        let tensors = pick(source.name(), &config, stored)?;
        let files = vec![source];
        let origin = Origin::Gguf(gguf);
        Ok(Self { name, config, files, origin, tensors, fingerprint: OnceLock::new() })
    }

    fn from_folder(name: String, mut folder: SafetensorsFolder) -> Result<Self> {
        let has_tensor = |name: &str| folder.tensors.contains_key(name);
        let special_token = |text: &str| folder.special_tokens.get(text).copied();
        let (file, json) = (&folder.config_name, &folder.config);
        let config = config::from_json(file, json, has_tensor, special_token)?;
        let mut stored = BTreeMap::new();
        for (name, tensor) in std::mem::take(&mut folder.tensors) {
            let gemma_norm =
                config.architecture == Architecture::Gemma3 && name.ends_with("norm.weight");
            let change = if gemma_norm { Change::AddOne } else { Change::None };
            let tensor = StoredTensor {
                file: tensor.file,
                ggml_type: tensor.ggml_type,
                shape: tensor.shape,
                offset: tensor.offset,
                bytes: tensor.bytes,
                change,
            };
            stored.insert(name, tensor);
        }
        let tensors = pick(&folder.config_name, &config, stored)?;
        Ok(Self {
            name,
            config,
            files: Vec::new(),
            origin: Origin::Folder(folder),
            tensors,
            fingerprint: OnceLock::new(),
        })
    }

    /// The file's or folder's name, without folders and extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every number of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The header of the GGUF file, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.origin {
            Origin::Gguf(gguf) => Some(gguf),
            Origin::Folder(_) => None,
        }
    }

    /// The whole GGUF file, if it is one: for code that reads such files itself.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn gguf_bytes(&self) -> Result<Option<Vec<u8>>> {
        match (&self.origin, self.files.first()) {
            (Origin::Gguf(_), Some(file)) => file.read(0, file.length() as usize).map(Some),
            _ => Ok(None),
        }
    }

    /// The content of tokenizer.json, if this is a folder that has one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>> {
        let Origin::Folder(folder) = &self.origin else { return Ok(None) };
        let mut others = folder.other_files.iter();
        match others.find(|(name, _)| name == "tokenizer.json") {
            Some((_, source)) => source.read(0, source.length() as usize).map(Some),
            None => Ok(None),
        }
    }

    /// The canonical names of all tensors, ascending.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The stored type of a tensor.
    pub fn tensor_type(&self, name: &str) -> Option<GgmlType> {
        self.tensors.get(name).map(StoredTensor::resulting_type)
    }

    /// A tensor's values, and its shape.
    ///
    /// # Errors
    /// [`Error::TensorMissing`], [`Error::Io`].
    pub fn tensor_f32(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let raw = self.raw(name)?;
        Ok((dequantize(raw.ggml_type, &raw.bytes)?, raw.shape))
    }

    /// A tensor as stored: [`Checkpoint::tensor_f32`] is its dequantisation, always.
    ///
    /// # Errors
    /// [`Error::TensorMissing`], [`Error::Io`].
    pub fn raw(&self, name: &str) -> Result<RawTensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| Error::TensorMissing {
            file: self.name.clone(),
            name: name.to_owned(),
        })?;
        let files = match &self.origin {
            Origin::Gguf(_) => &self.files,
            Origin::Folder(folder) => &folder.files,
        };
        let bytes = files[tensor.file].read(tensor.offset, tensor.bytes)?;
        let bytes = match tensor.change {
            Change::None => bytes,
            Change::SplitPairs { head_dim } => split_pairs(&bytes, tensor.shape[0], head_dim),
            Change::AddOne => {
                let values = dequantize(tensor.ggml_type, &bytes)?;
                values.iter().flat_map(|value| (value + 1.0).to_le_bytes()).collect()
            }
        };
        Ok(RawTensor { ggml_type: tensor.resulting_type(), bytes, shape: tensor.shape.clone() })
    }

    /// The hash that names these weights: BLAKE3 of the whole GGUF file; of a folder BLAKE3 over
    /// its files as docs/models.md lays down. Computed once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        if let Some(fingerprint) = self.fingerprint.get() {
            return Ok(*fingerprint);
        }
        let fingerprint = self.hash()?;
        Ok(*self.fingerprint.get_or_init(|| fingerprint))
    }

    /// Hashes everything once more and compares it with [`Checkpoint::fingerprint`]: what was read
    /// between the two is then what that names. Files are held open, so that they stay the same
    /// ones, but somebody may write to them.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::Io`].
    pub fn check_unchanged(&self) -> Result<()> {
        let (expected, found) = (self.fingerprint()?, self.hash()?);
        match found == expected {
            true => Ok(()),
            false => Err(Error::Changed { name: self.name.clone(), expected, found }),
        }
    }

    fn hash(&self) -> Result<Fingerprint> {
        let mut hasher = blake3::Hasher::new();
        match &self.origin {
            Origin::Gguf(_) => self.files[0].hash(&mut hasher)?,
            Origin::Folder(folder) => {
                hasher.update(FOLDER_HASH_CONTEXT);
                folder.hash(&mut hasher)?;
            }
        }
        Ok(Fingerprint(*hasher.finalize().as_bytes()))
    }
}

impl StoredTensor {
    fn resulting_type(&self) -> GgmlType {
        match self.change {
            Change::AddOne => GgmlType::F32,
            _ => self.ggml_type,
        }
    }
}

/// The tensors that the configuration asks for, their shapes checked.
fn pick(
    file: &str,
    config: &ModelConfig,
    mut stored: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut tensors = BTreeMap::new();
    for (name, expected) in config.tensors() {
        let Some(tensor) = stored.remove(&name) else {
            return Err(Error::TensorMissing { file: file.to_owned(), name });
        };
        if tensor.shape != expected {
            let (file, found) = (file.to_owned(), tensor.shape);
            return Err(Error::TensorShape { file, name, expected, found });
        }
        tensors.insert(name, tensor);
    }
    // What is left is not computed with. Of what is, a bias would change the result.
    let is_computed = |name: &str| {
        let of_layer = || {
            let rest = name.strip_prefix("model.layers.").or_else(|| name.strip_prefix("blk."))?;
            rest.split_once('.')?.0.parse::<usize>().ok()
        };
        of_layer().is_some_and(|layer| layer < config.layers)
            || ["model.norm.", "lm_head.", "output.", "output_norm."]
                .iter()
                .any(|part| name.starts_with(part))
    };
    match stored.into_keys().find(|name| name.ends_with(BIAS) && is_computed(name)) {
        Some(name) => Err(Error::unsupported(file, format!("the tensor {name}"))),
        None => Ok(tensors),
    }
}

/// Rows `2j` and `2j + 1` of each head become rows `j` and `j + head_dim / 2`. `rows` is a whole
/// number of heads (the shape was checked).
fn split_pairs(bytes: &[u8], rows: usize, head_dim: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let mut ordered = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(row_bytes * head_dim) {
        for half in 0..2 {
            let rows = head.chunks_exact(row_bytes).skip(half).step_by(2);
            rows.for_each(|row| ordered.extend_from_slice(row));
        }
    }
    ordered
}

/// The inverse of what is done to query and key rows on reading: half after half to side by side.
pub(crate) fn join_pairs(bytes: &[u8], rows: usize, head_dim: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let mut joined = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(row_bytes * head_dim) {
        let (first, second) = head.split_at(head.len() / 2);
        for (a, b) in first.chunks_exact(row_bytes).zip(second.chunks_exact(row_bytes)) {
            joined.extend_from_slice(a);
            joined.extend_from_slice(b);
        }
    }
    joined
}

#[cfg(test)]
mod tests;
