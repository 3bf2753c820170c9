//! A folder as Hugging Face lays it out: config.json, tokenizer.json, and the weights in one
//! model.safetensors or in several files that an index lists.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use finezip_core::TokenId;
use safetensors::tensor::{Dtype, Metadata};
use serde_json::Value;

use crate::checkpoint::BIAS;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::source::ByteSource;

/// A header's limit, as in the safetensors crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// A JSON file's limit; the largest tokenizer.json files have some tens of megabytes.
const MAX_JSON_BYTES: u64 = 1 << 28;
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// Where a tensor lies in which of the files.
#[derive(Debug)]
pub(crate) struct FolderTensor {
    pub(crate) file: usize,
    pub(crate) ggml_type: GgmlType,
    pub(crate) shape: Vec<usize>,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// The opened files of a folder.
#[derive(Debug)]
pub(crate) struct SafetensorsFolder {
    /// config.json, parsed.
    pub(crate) config: Value,
    /// Errors call config.json so.
    pub(crate) config_name: String,
    /// Weights, in the ascending order of their names.
    pub(crate) files: Vec<ByteSource>,
    pub(crate) tensors: BTreeMap<String, FolderTensor>,
    /// What the fingerprint covers: name in the folder and source, in order.
    pub(crate) other_files: Vec<(String, ByteSource)>,
    /// Names of `files` in the folder.
    pub(crate) file_names: Vec<String>,
    /// Special tokens of tokenizer.json by their text.
    pub(crate) special_tokens: BTreeMap<String, TokenId>,
}

/// What is read of tokenizer.json here.
#[derive(serde::Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(serde::Deserialize)]
struct AddedToken {
    id: TokenId,
    content: String,
    #[serde(default)]
    special: bool,
}

impl SafetensorsFolder {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let config_source = ByteSource::open(&folder.join("config.json"))?;
        let config: Value = read_json(&config_source)?;
        let config_name = config_source.name().to_owned();
        let mut other_files = vec![("config.json".to_owned(), config_source)];
        let mut special_tokens = BTreeMap::new();
        let tokenizer_path = folder.join("tokenizer.json");
        if tokenizer_path.exists() {
            let source = ByteSource::open(&tokenizer_path)?;
            let AddedTokens { added_tokens } = read_json(&source)?;
            let special = added_tokens.into_iter().filter(|token| token.special);
            special_tokens.extend(special.map(|token| (token.content, token.id)));
            other_files.push(("tokenizer.json".to_owned(), source));
        }

        let file_names = weight_files(folder)?;
        let mut files = Vec::new();
        let mut tensors = BTreeMap::new();
        for (number, name) in file_names.iter().enumerate() {
            let source = ByteSource::open(&folder.join(name))?;
            read_header(&source, number, &mut tensors)?;
            files.push(source);
        }
        Ok(Self { config, config_name, files, tensors, other_files, file_names, special_tokens })
    }

    /// Feeds a hash with each file: length of its name (`u64`, little-endian), name, length of its
    /// content, content. First config.json, then tokenizer.json if there is one, then the weights.
    pub(crate) fn hash(&self, hasher: &mut blake3::Hasher) -> Result<()> {
        let others = self.other_files.iter().map(|(name, source)| (name, source));
        for (name, source) in others.chain(self.file_names.iter().zip(&self.files)) {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&source.length().to_le_bytes());
            source.hash(hasher)?;
        }
        Ok(())
    }
}

fn read_json<T: serde::de::DeserializeOwned>(source: &ByteSource) -> Result<T> {
    if source.length() > MAX_JSON_BYTES {
        let expected = format!("at most {MAX_JSON_BYTES} bytes");
        return Err(Error::malformed(source.name(), 0, expected, source.length()));
    }
    let bytes = source.read(0, source.length() as usize)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::malformed(source.name(), error.column() as u64, "JSON", error))
}

/// The names of the files with weights, ascending.
fn weight_files(folder: &Path) -> Result<Vec<String>> {
    let index_path = folder.join(INDEX);
    if !index_path.exists() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let source = ByteSource::open(&index_path)?;
    let index: Value = read_json(&source)?;
    let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| {
        Error::setting(source.name(), "weight_map", "an object of file names", "something else")
    })?;
    let mut names: Vec<String> =
        map.values().filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    for name in &names {
        // A name is a plain file of this folder: an index must not reach out of it.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let expected = "a file name without folders";
            return Err(Error::setting(source.name(), "weight_map", expected, name));
        }
    }
    Ok(names)
}

fn read_header(
    source: &ByteSource,
    file: usize,
    tensors: &mut BTreeMap<String, FolderTensor>,
) -> Result<()> {
    let length = source.read(0, 8)?;
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    if length > MAX_HEADER_BYTES.min(source.length().saturating_sub(8)) {
        let expected = "a header that lies in the file";
        return Err(Error::malformed(source.name(), 0, expected, format!("{length} bytes")));
    }
    let header = source.read(8, length as usize)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| Error::malformed(source.name(), 8, "a safetensors header", error))?;
    let data_start = 8 + length;
    let expected = source.length() - data_start;
    if metadata.data_len() as u64 != expected {
        let expected = format!("{expected} bytes of tensors");
        return Err(Error::malformed(source.name(), 8, expected, metadata.data_len()));
    }
    for (name, info) in metadata.tensors() {
        let ggml_type = match info.dtype {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            // A bias is not found missing.
            other if name.starts_with("model.layers.") && name.ends_with(BIAS) => {
                let what = format!("the tensor {name} of type {other:?}");
                return Err(Error::unsupported(source.name(), what));
            }
            // Buffers such as position ids; a weight of such a type is found missing later.
            _ => continue,
        };
        let (start, end) = info.data_offsets;
        let tensor = FolderTensor {
            file,
            ggml_type,
            shape: info.shape.clone(),
            offset: data_start + start as u64,
            bytes: end.saturating_sub(start),
        };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(Error::malformed(source.name(), 8, "each tensor in one file", name));
        }
    }
    Ok(())
}
