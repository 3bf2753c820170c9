//! Writing safetensors files whose bytes follow from their content.
//!
//! The safetensors crate keeps a header's metadata in a hash map, so with more than one entry the
//! same content gives differing bytes. Here the header is in the order of names, and tensors are
//! written as they come, without a copy of the file in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::atomic::write_atomically;
use crate::error::Result;

/// The header is padded so that tensors begin at a multiple of this.
const HEADER_ALIGNMENT: usize = 8;
/// Values that are turned into bytes at a time.
const CHUNK_VALUES: usize = 1 << 14;

/// A tensor to write: name, shape, values.
pub(crate) type NamedTensor<'a> = (String, Vec<usize>, &'a [f32]);

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub(crate) fn write(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    tensors: &mut [NamedTensor<'_>],
) -> Result<()> {
    tensors.sort_by(|left, right| left.0.cmp(&right.0));
    write_atomically(path, |file| {
        let header = header(metadata, tensors)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, _, values) in tensors.iter() {
            write_values(file, values)?;
        }
        Ok(())
    })
}

fn header(
    metadata: &BTreeMap<String, String>,
    tensors: &[NamedTensor<'_>],
) -> std::io::Result<Vec<u8>> {
    let mut header = BTreeMap::new();
    header.insert("__metadata__".to_owned(), serde_json::to_value(metadata)?);
    let mut offset = 0;
    for (name, shape, values) in tensors {
        let end = offset + size_of_val(*values);
        let entry = Entry { dtype: "F32", shape, data_offsets: [offset, end] };
        let entry: Value = serde_json::to_value(entry)?;
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    Ok(header)
}

fn write_values(file: &mut dyn Write, values: &[f32]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(values.len().min(CHUNK_VALUES) * size_of::<f32>());
    for chunk in values.chunks(CHUNK_VALUES) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    Ok(())
}
