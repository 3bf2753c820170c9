//! A small GGUF writer, so that test models are made by code and never committed.

use super::Value;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;

const VERSION: u32 = 3;
const ALIGNMENT: usize = super::DEFAULT_ALIGNMENT as usize;

/// Collects settings and tensors, then gives the file's bytes. The same calls give the same bytes.
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    settings: Vec<(String, Value)>,
    infos: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl GgufWriter {
    /// A file without settings and tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting; keys are not checked for repetition.
    pub fn setting(&mut self, key: impl Into<String>, value: Value) -> &mut Self {
        self.settings.push((key.into(), value));
        self
    }

    /// Adds a tensor under the file's own name; `shape` has the slowest dimension first.
    ///
    /// # Errors
    /// [`Error::Length`] where `bytes` are not as many as type and shape ask for.
    pub fn tensor(
        &mut self,
        name: &str,
        ggml_type: GgmlType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<&mut Self> {
        let values = shape.iter().product();
        let expected = ggml_type.bytes_for(values).unwrap_or(0);
        if bytes.len() != expected {
            return Err(Error::Length { what: "bytes of a tensor", expected, found: bytes.len() });
        }
        write_text(&mut self.infos, name.as_bytes());
        self.infos.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            self.infos.extend((*size as u64).to_le_bytes());
        }
        self.infos.extend(ggml_type.id().to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());
        self.tensor_count += 1;
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        Ok(self)
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a setting that is [`Value::Nested`], whose content is not known.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut file = super::MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend((self.settings.len() as u64).to_le_bytes());
        for (key, value) in &self.settings {
            write_text(&mut file, key.as_bytes());
            write_value(&mut file, value)?;
        }
        file.extend_from_slice(&self.infos);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(&self.data);
        Ok(file)
    }
}

fn write_text(file: &mut Vec<u8>, text: &[u8]) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend_from_slice(text);
}

fn write_array_head(file: &mut Vec<u8>, item_type: u32, count: usize) {
    file.extend(9_u32.to_le_bytes());
    file.extend(item_type.to_le_bytes());
    file.extend((count as u64).to_le_bytes());
}

/// As i32 where all fit, which is what readers of vocabularies expect.
fn write_integers(file: &mut Vec<u8>, values: &[i64]) {
    let narrow: Result<Vec<i32>, _> = values.iter().map(|value| i32::try_from(*value)).collect();
    match narrow {
        Ok(narrow) => {
            write_array_head(file, 5, values.len());
            file.extend(narrow.iter().flat_map(|value| value.to_le_bytes()));
        }
        Err(_) => {
            write_array_head(file, 11, values.len());
            file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
}

/// As f32 where that is exact.
fn write_floats(file: &mut Vec<u8>, values: &[f64]) {
    if values.iter().all(|value| f64::from(*value as f32) == *value) {
        write_array_head(file, 6, values.len());
        file.extend(values.iter().flat_map(|value| (*value as f32).to_le_bytes()));
    } else {
        write_array_head(file, 12, values.len());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

fn write_value(file: &mut Vec<u8>, value: &Value) -> Result<()> {
    let scalar = |file: &mut Vec<u8>, value_type: u32, bytes: &[u8]| {
        file.extend(value_type.to_le_bytes());
        file.extend_from_slice(bytes);
    };
    match value {
        Value::Unsigned(value) => match u32::try_from(*value) {
            Ok(value) => scalar(file, 4, &value.to_le_bytes()),
            Err(_) => scalar(file, 10, &value.to_le_bytes()),
        },
        Value::Signed(value) => scalar(file, 11, &value.to_le_bytes()),
        Value::Float32(value) => scalar(file, 6, &value.to_le_bytes()),
        Value::Float64(value) => scalar(file, 12, &value.to_le_bytes()),
        Value::Bool(value) => scalar(file, 7, &[u8::from(*value)]),
        Value::Text(text) => {
            file.extend(8_u32.to_le_bytes());
            write_text(file, text);
        }
        Value::Texts(texts) => {
            write_array_head(file, 8, texts.len());
            texts.iter().for_each(|text| write_text(file, text));
        }
        Value::Integers(values) => write_integers(file, values),
        Value::Floats(values) => write_floats(file, values),
        Value::Bools(values) => {
            write_array_head(file, 7, values.len());
            file.extend(values.iter().map(|value| u8::from(*value)));
        }
        Value::Nested => {
            return Err(Error::unsupported("GGUF writer", "writing an array of arrays"));
        }
    }
    Ok(())
}
