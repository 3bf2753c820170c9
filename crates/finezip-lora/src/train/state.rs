//! The state of a run on disk: all that the rest of the run follows from.
//!
//! One safetensors file with A and B of every module, both moments, and A and B of the best
//! evaluation; numbers are in the header, those in floating point as their bits. Choices by chance
//! follow from the seed and the number of the step, so they need no place here.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::tensor_file::{self, NamedTensor};

const FORMAT: &str = "finezip training state 1";

/// The groups of tensors, one tensor a parameter each.
const GROUPS: [&str; 4] = ["parameters", "first_moments", "second_moments", "best_parameters"];

/// What a run has come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Optimizer steps done.
    pub(super) step: usize,
    /// Evaluations since the best one.
    pub(super) evaluations_since_best: usize,
    /// Held-out bits per byte before the first step.
    pub(super) base_bits_per_byte: f64,
    /// The step of the best evaluation.
    pub(super) best_step: usize,
    /// Its bits per byte.
    pub(super) best_bits_per_byte: f64,
    /// Whether the run is over.
    pub(super) finished: bool,
    /// Parameters, moments, and the best parameters, as [`GROUPS`] names them.
    pub(super) groups: [Vec<Vec<f32>>; 4],
}

impl State {
    /// Writes the state of a run whose settings and inputs are `identity`.
    pub(super) fn save(&self, path: &Path, identity: &str) -> Result<()> {
        let bits = |value: f64| format!("{:016x}", value.to_bits());
        let metadata = BTreeMap::from(
            [
                ("format", FORMAT.to_owned()),
                ("identity", identity.to_owned()),
                ("step", self.step.to_string()),
                ("evaluations_since_best", self.evaluations_since_best.to_string()),
                ("base_bits_per_byte", bits(self.base_bits_per_byte)),
                ("best_step", self.best_step.to_string()),
                ("best_bits_per_byte", bits(self.best_bits_per_byte)),
                ("finished", u8::from(self.finished).to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let mut tensors: Vec<NamedTensor<'_>> = Vec::new();
        for (group, parameters) in GROUPS.iter().zip(&self.groups) {
            for (number, values) in parameters.iter().enumerate() {
                tensors.push((name(group, number), vec![values.len()], values));
            }
        }
        tensor_file::write(path, &metadata, &mut tensors)
    }

    /// Reads a state, which must be of a run with this identity and parameters of these sizes.
    ///
    /// # Errors
    /// Damaged files, and [`Error::Malformed`] naming the first setting that differs.
    pub(super) fn load(path: &Path, identity: &str, sizes: &[usize]) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let damaged = |error| Error::malformed(path, "content", "safetensors", error);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
        if entry("format") != FORMAT {
            return Err(Error::malformed(path, "format", FORMAT, entry("format")));
        }
        if let Some((what, expected, found)) = difference(identity, entry("identity")) {
            let what = format!("a run with other settings is in this folder: {what}");
            return Err(Error::malformed(path, what, expected, found));
        }
        let whole = |key: &str| {
            let value = entry(key).parse::<usize>();
            value.map_err(|_| Error::malformed(path, key, "a number", entry(key)))
        };
        let real = |key: &str| -> Result<f64> {
            let bits = u64::from_str_radix(entry(key), 16);
            let bits = bits.map_err(|_| Error::malformed(path, key, "64 bits", entry(key)))?;
            Ok(f64::from_bits(bits))
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let group = |group: &str| {
            let one = |(number, size): (usize, &usize)| {
                let name = name(group, number);
                let view = tensors.tensor(&name).map_err(damaged)?;
                if view.dtype() != Dtype::F32 || view.shape() != [*size] {
                    let found = format!("{:?} {:?}", view.dtype(), view.shape());
                    return Err(Error::malformed(path, name, format!("F32 [{size}]"), found));
                }
                let (values, _) = view.data().as_chunks();
                Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            };
            sizes.iter().enumerate().map(one).collect::<Result<Vec<Vec<f32>>>>()
        };
        let [first, second, third, fourth] = GROUPS;
        Ok(Self {
            step: whole("step")?,
            evaluations_since_best: whole("evaluations_since_best")?,
            base_bits_per_byte: real("base_bits_per_byte")?,
            best_step: whole("best_step")?,
            best_bits_per_byte: real("best_bits_per_byte")?,
            finished: whole("finished")? != 0,
            groups: [group(first)?, group(second)?, group(third)?, group(fourth)?],
        })
    }
}

fn name(group: &str, number: usize) -> String {
    format!("{group}.{number:05}")
}

/// The first entry in which two objects in JSON differ, with both values.
fn difference(expected: &str, found: &str) -> Option<(String, String, String)> {
    if expected == found {
        return None;
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (mut path, mut expected, mut found) = (String::new(), parse(expected), parse(found));
    while let (Value::Object(ours), Value::Object(theirs)) = (&expected, &found) {
        let differing = ours.iter().find(|(key, value)| theirs.get(*key) != Some(*value));
        let Some((key, value)) = differing else { break };
        let other = theirs.get(key).cloned().unwrap_or_default();
        path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        (expected, found) = (value.clone(), other);
    }
    Some((path, expected.to_string(), found.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_and_names_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let group = |start: f32| vec![vec![start, 0.1], vec![-start, f32::MIN_POSITIVE, 3.0]];
        let state = State {
            step: 17,
            evaluations_since_best: 2,
            base_bits_per_byte: 1.1,
            best_step: 10,
            best_bits_per_byte: 0.1 + 0.2,
            finished: false,
            groups: [group(1.0), group(2.0), group(3.0), group(4.0)],
        };
        let identity = r#"{"model":"a","settings":{"rank":8,"rate":0.1}}"#;
        state.save(&path, identity).unwrap();
        assert_eq!(State::load(&path, identity, &[2, 3]).unwrap(), state);
        let other = identity.replace("0.1", "0.2");
        let error = State::load(&path, &other, &[2, 3]).unwrap_err().to_string();
        assert!(error.contains("settings.rate") && error.contains("0.2"), "{error}");
        assert!(State::load(&path, identity, &[2, 4]).is_err());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(State::load(&path, identity, &[2, 3]).is_err());
    }
}
