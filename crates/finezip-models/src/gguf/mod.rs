//! GGUF files, version 2 and 3: settings and where each tensor lies.
//!
//! Layout (little-endian; specification: ggml's docs/gguf.md): magic `GGUF`, version `u32`, tensor
//! count `u64`, setting count `u64`, the settings, the tensor infos, padding to the alignment, the
//! tensors. Offsets of tensors count from the start of the tensors.

mod value;
mod writer;

pub use value::{TextArray, Value};
pub use writer::GgufWriter;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::source::{ByteSource, Cursor};

const MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// Dimensions a tensor has at most.
const MAX_DIMENSIONS: u32 = 4;
/// Name length, dimension count, type and offset: what a tensor info takes at least.
const TENSOR_INFO_BYTES: u64 = 8 + 4 + 4 + 8;
/// Key length, type and the smallest value.
const SETTING_BYTES: u64 = 8 + 4 + 1;

/// Where a tensor lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Stored type.
    pub ggml_type: GgmlType,
    /// Slowest dimension first: `[rows, columns]` for a matrix.
    pub shape: Vec<usize>,
    /// From the start of the file, in bytes.
    pub offset: u64,
    /// Bytes it takes.
    pub bytes: usize,
}

/// The header of a GGUF file.
#[derive(Debug)]
pub struct Gguf {
    file: String,
    settings: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] with the offset; [`Error::Unsupported`] for version 1,
    /// other byte orders and tensor types that this crate does not read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(&ByteSource::open(path)?)
    }

    /// Reads the header of a file that is in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::read(&ByteSource::memory(name, bytes))
    }

    pub(crate) fn read(source: &ByteSource) -> Result<Self> {
        let mut cursor = Cursor::new(source);
        read_version(source, &mut cursor)?;
        let tensor_count = cursor.u64()?;
        let setting_count = cursor.u64()?;
        let tensor_count = cursor.check_count("tensors", tensor_count, TENSOR_INFO_BYTES)?;
        let setting_count = cursor.check_count("settings", setting_count, SETTING_BYTES)?;

        let mut settings = BTreeMap::new();
        for _ in 0..setting_count {
            let key = read_name(&mut cursor)?;
            let value = Value::read(&mut cursor)?;
            if settings.contains_key(&key) {
                return Err(cursor.malformed("each setting once", key));
            }
            settings.insert(key, value);
        }
        let alignment = match settings.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
                .ok_or_else(|| {
                    let expected = "a power of two up to 1048576";
                    Error::setting(source.name(), "general.alignment", expected, value)
                })?,
        };

        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = read_name(&mut cursor)?;
            let info = read_tensor_info(source, &mut cursor, &name, alignment)?;
            if tensors.contains_key(&name) {
                return Err(cursor.malformed("each tensor once", name));
            }
            tensors.insert(name, info);
        }
        let data_start = cursor.position().next_multiple_of(alignment);
        place_tensors(source, data_start, &mut tensors)?;
        Ok(Self { file: source.name().to_owned(), settings, tensors })
    }

    /// What errors call the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A setting, such as `general.architecture`.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        self.settings.get(key)
    }

    /// All settings, keys ascending.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors under the file's own names, ascending.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// One tensor by the file's own name, such as `blk.0.attn_q.weight`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }
}

fn read_version(source: &ByteSource, cursor: &mut Cursor<'_>) -> Result<()> {
    let magic = cursor.array::<4>()?;
    if magic != MAGIC {
        let found = format!("{magic:02x?}");
        return Err(Error::malformed(source.name(), 0, "the magic bytes of GGUF", found));
    }
    match cursor.u32()? {
        2 | 3 => Ok(()),
        version if version.swap_bytes() <= 3 => {
            Err(Error::unsupported(source.name(), "a big-endian GGUF file"))
        }
        version => {
            let what = format!("GGUF version {version}; versions 2 and 3 are read");
            Err(Error::unsupported(source.name(), what))
        }
    }
}

fn read_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = Vec::new();
    cursor.append_text(&mut name)?;
    String::from_utf8(name).map_err(|_| cursor.malformed("a name in UTF-8", "other bytes"))
}

/// Reads one info; its offset still counts from the start of the tensors.
fn read_tensor_info(
    source: &ByteSource,
    cursor: &mut Cursor<'_>,
    name: &str,
    alignment: u64,
) -> Result<TensorInfo> {
    let dimensions = cursor.u32()?;
    if dimensions > MAX_DIMENSIONS {
        let expected = format!("at most {MAX_DIMENSIONS} dimensions of {name}");
        return Err(cursor.malformed(expected, dimensions));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = cursor.u64()?;
        let size = usize::try_from(size)
            .map_err(|_| cursor.malformed(format!("a size of {name} in memory"), size))?;
        shape.push(size);
    }
    // The file lists the fastest dimension first.
    let row_values = shape.first().copied().unwrap_or(1);
    shape.reverse();
    let type_id = cursor.u32()?;
    let ggml_type = GgmlType::from_id(type_id).ok_or_else(|| {
        let what = format!("tensor {name} of GGML type {type_id}; F32, F16, BF16, Q4_0 to Q8_1 and Q2_K to Q8_K are read");
        Error::unsupported(source.name(), what)
    })?;
    let bytes = shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .filter(|_| row_values.is_multiple_of(ggml_type.block_values()))
        .and_then(|values| ggml_type.bytes_for(values))
        .ok_or_else(|| {
            let expected = format!("rows of {name} in whole {ggml_type} blocks");
            cursor.malformed(expected, format!("shape {shape:?}"))
        })?;
    let offset = cursor.u64()?;
    if !offset.is_multiple_of(alignment) {
        let expected = format!("an offset of {name} in multiples of {alignment}");
        return Err(cursor.malformed(expected, offset));
    }
    Ok(TensorInfo { ggml_type, shape, offset, bytes })
}

/// Turns offsets into places in the file and checks that all tensors lie inside and apart.
fn place_tensors(
    source: &ByteSource,
    data_start: u64,
    tensors: &mut BTreeMap<String, TensorInfo>,
) -> Result<()> {
    let mut spans = Vec::with_capacity(tensors.len());
    for (name, info) in &mut *tensors {
        let start = data_start.checked_add(info.offset);
        let end = start.and_then(|start| start.checked_add(info.bytes as u64));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= source.length())) else {
            let expected = format!("{} bytes of tensor {name} at {}", info.bytes, info.offset);
            let found = format!("a file of {} bytes", source.length());
            return Err(Error::malformed(source.name(), data_start, expected, found));
        };
        info.offset = start;
        spans.push((start, end));
    }
    spans.sort_unstable();
    for (first, second) in spans.iter().zip(spans.iter().skip(1)) {
        if first.1 > second.0 {
            let found = format!("one that starts at {}, before the end of another", second.0);
            return Err(Error::malformed(source.name(), second.0, "tensors apart", found));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
