//! The values of a GGUF file's settings.

use std::fmt;

use crate::error::Result;
use crate::source::Cursor;

/// Items an array has at most; vocabularies and merges stay far below.
const MAX_ITEMS: u64 = 1 << 24;
/// How deep arrays of arrays may go.
const MAX_DEPTH: u32 = 4;

const TYPE_TEXT: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// One setting. Widths are not kept: whole numbers are 64 bits here.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Types u8, u16, u32 and u64.
    Unsigned(u64),
    /// Types i8, i16, i32 and i64.
    Signed(i64),
    /// Type f32.
    Float32(f32),
    /// Type f64.
    Float64(f64),
    /// Type bool.
    Bool(bool),
    /// Text; meant to be UTF-8, but files are known that are not.
    Text(Vec<u8>),
    /// An array of text.
    Texts(TextArray),
    /// An array of whole numbers; u64 beyond `i64` wrap.
    Integers(Vec<i64>),
    /// An array of f32 or f64, as f64.
    Floats(Vec<f64>),
    /// An array of booleans.
    Bools(Vec<bool>),
    /// An array of arrays, which is read over.
    Nested,
}

impl Value {
    /// The number, if it is a whole one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float32(value) => Some(f64::from(*value)),
            Self::Float64(value) => Some(*value),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one in UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The array of text, if it is one.
    pub fn as_texts(&self) -> Option<&TextArray> {
        match self {
            Self::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// The array of whole numbers, if it is one.
    pub fn as_integers(&self) -> Option<&[i64]> {
        match self {
            Self::Integers(values) => Some(values),
            _ => None,
        }
    }

    /// The array of numbers with a fraction, if it is one.
    pub fn as_floats(&self) -> Option<&[f64]> {
        match self {
            Self::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// A type's number and its value, at the cursor.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let value_type = cursor.u32()?;
        match value_type {
            TYPE_TEXT => {
                let mut text = Vec::new();
                cursor.append_text(&mut text)?;
                Ok(Self::Text(text))
            }
            TYPE_ARRAY => read_array(cursor),
            scalar => read_scalar(cursor, scalar),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Float32(value) => write!(f, "{value}"),
            Self::Float64(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            Self::Texts(texts) => write!(f, "an array of {} texts", texts.len()),
            Self::Integers(values) => write!(f, "an array of {} integers", values.len()),
            Self::Floats(values) => write!(f, "an array of {} floats", values.len()),
            Self::Bools(values) => write!(f, "an array of {} booleans", values.len()),
            Self::Nested => f.write_str("an array of arrays"),
        }
    }
}

fn read_scalar(cursor: &mut Cursor<'_>, value_type: u32) -> Result<Value> {
    Ok(match value_type {
        0 => Value::Unsigned(u64::from(cursor.array::<1>()?[0])),
        1 => Value::Signed(i64::from(i8::from_le_bytes(cursor.array()?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(cursor.array()?))),
        3 => Value::Signed(i64::from(i16::from_le_bytes(cursor.array()?))),
        4 => Value::Unsigned(u64::from(cursor.u32()?)),
        5 => Value::Signed(i64::from(i32::from_le_bytes(cursor.array()?))),
        6 => Value::Float32(f32::from_le_bytes(cursor.array()?)),
        7 => match cursor.array::<1>()?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(cursor.malformed("a boolean, 0 or 1", other)),
        },
        10 => Value::Unsigned(cursor.u64()?),
        11 => Value::Signed(i64::from_le_bytes(cursor.array()?)),
        12 => Value::Float64(f64::from_le_bytes(cursor.array()?)),
        other => return Err(cursor.malformed("a value type from 0 to 12", other)),
    })
}

/// Bytes an item of this type takes at least.
fn item_bytes(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        TYPE_TEXT | 10..=12 => Some(8),
        TYPE_ARRAY => Some(12),
        _ => None,
    }
}

/// An array's item type and count, checked against what is left of the file.
fn read_array_head(cursor: &mut Cursor<'_>) -> Result<(u32, usize)> {
    let value_type = cursor.u32()?;
    let item_bytes = item_bytes(value_type)
        .ok_or_else(|| cursor.malformed("an item type from 0 to 12", value_type))?;
    let count = cursor.u64()?;
    if count > MAX_ITEMS {
        return Err(cursor.malformed(format!("at most {MAX_ITEMS} items"), count));
    }
    Ok((value_type, cursor.check_count("items", count, item_bytes)?))
}

fn read_array(cursor: &mut Cursor<'_>) -> Result<Value> {
    let (value_type, count) = read_array_head(cursor)?;
    match value_type {
        TYPE_ARRAY => {
            skip_arrays(cursor, count, MAX_DEPTH)?;
            Ok(Value::Nested)
        }
        TYPE_TEXT => {
            let mut texts = TextArray::default();
            for _ in 0..count {
                cursor.append_text(&mut texts.bytes)?;
                texts.ends.push(texts.bytes.len());
            }
            Ok(Value::Texts(texts))
        }
        6 | 12 => {
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                values.extend(read_scalar(cursor, value_type)?.as_f64());
            }
            Ok(Value::Floats(values))
        }
        7 => {
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                values.extend(read_scalar(cursor, value_type)?.as_bool());
            }
            Ok(Value::Bools(values))
        }
        _ => {
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                match read_scalar(cursor, value_type)? {
                    Value::Unsigned(value) => values.push(value as i64),
                    Value::Signed(value) => values.push(value),
                    _ => {}
                }
            }
            Ok(Value::Integers(values))
        }
    }
}

fn skip_arrays(cursor: &mut Cursor<'_>, count: usize, depth: u32) -> Result<()> {
    if depth == 0 {
        return Err(cursor.malformed(format!("arrays at most {MAX_DEPTH} deep"), "deeper"));
    }
    for _ in 0..count {
        let (value_type, count) = read_array_head(cursor)?;
        match value_type {
            TYPE_ARRAY => skip_arrays(cursor, count, depth - 1)?,
            TYPE_TEXT => {
                for _ in 0..count {
                    let length = cursor.u64()?;
                    cursor.skip(length)?;
                }
            }
            scalar => {
                let bytes = item_bytes(scalar).unwrap_or(0);
                cursor.skip(bytes.saturating_mul(count as u64))?;
            }
        }
    }
    Ok(())
}

/// Many pieces of text in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextArray {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TextArray {
    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One piece.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }

    /// All pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for TextArray {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut array = Self::default();
        for text in texts {
            array.bytes.extend_from_slice(text.as_ref());
            array.ends.push(array.bytes.len());
        }
        array
    }
}
