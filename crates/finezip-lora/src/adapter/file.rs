//! The folder of an adapter: settings in JSON, matrices in safetensors, under PEFT's names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::peft::PeftConfig;
use super::{Adapter, LoraMatrices};
use crate::atomic::write_atomically;
use crate::error::{Error, Result};
use crate::tensor_file::{self, NamedTensor};

/// Name of the file with the settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Name of the file with the matrices.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// What PEFT puts before the model's own paths.
const PREFIX: &str = "base_model.model.";
const A_SUFFIX: &str = ".lora_A.weight";
const B_SUFFIX: &str = ".lora_B.weight";
/// Where the header of the matrices names the checkpoint that was trained on.
const BASE_KEY: &str = "finezip.base_model_blake3";

/// One of the two matrices as read: rows, columns, values.
type Matrix = (usize, usize, Vec<f32>);

pub(super) fn open(folder: &Path) -> Result<Adapter> {
    let config_path = folder.join(CONFIG_FILE);
    let json = std::fs::read(&config_path).map_err(|error| Error::io(&config_path, error))?;
    let peft = PeftConfig::parse(&config_path, &json)?;

    let path = folder.join(WEIGHTS_FILE);
    let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    let damaged = |error| Error::malformed(&path, "content", "safetensors", error);
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let base = metadata.metadata().as_ref().and_then(|map| map.get(BASE_KEY)).cloned();
    let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;

    let mut parts: BTreeMap<String, [Option<Matrix>; 2]> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let unknown = || {
            let expected = format!("{PREFIX}<module>{A_SUFFIX} or {B_SUFFIX}");
            Error::malformed(&path, "tensor", expected, name)
        };
        let module = name.strip_prefix(PREFIX).ok_or_else(unknown)?;
        let (module, which) = match (module.strip_suffix(A_SUFFIX), module.strip_suffix(B_SUFFIX)) {
            (Some(module), _) => (module, 0),
            (None, Some(module)) => (module, 1),
            (None, None) => return Err(unknown()),
        };
        let matrix = matrix(&path, name, &view)?;
        parts.entry(module.to_owned()).or_default()[which] = Some(matrix);
    }

    let mut modules = BTreeMap::new();
    for (module, [a, b]) in parts {
        let (Some((rank, in_features, a)), Some((out_features, b_columns, b))) = (a, b) else {
            return Err(Error::malformed(&path, module, "lora_A and lora_B", "one of them"));
        };
        let expected = peft.rank(&module);
        if rank != expected || b_columns != expected {
            let found = format!("A with {rank} rows, B with {b_columns} columns");
            return Err(Error::malformed(&path, module, format!("rank {expected}"), found));
        }
        let alpha = peft.alpha(&module);
        modules.insert(module, LoraMatrices { rank, in_features, out_features, alpha, a, b });
    }
    Adapter::new(peft.config(base), modules)
}

/// A matrix in F32, F16 or BF16, as `f32`.
fn matrix(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Matrix> {
    let [rows, columns] = *view.shape() else {
        let found = format!("shape {:?}", view.shape());
        return Err(Error::malformed(path, name, "two dimensions", found));
    };
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => {
            data.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
        }
        Dtype::BF16 => {
            data.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()
        }
        other => {
            return Err(Error::malformed(path, name, "F32, F16 or BF16", format!("{other:?}")));
        }
    };
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::malformed(path, name, "finite values", value));
    }
    Ok((rows, columns, values))
}

pub(super) fn save(adapter: &Adapter, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let config = adapter.config();
    let mut names = BTreeSet::new();
    let (mut ranks, mut alphas) = (BTreeMap::new(), BTreeMap::new());
    let mut tensors: Vec<NamedTensor<'_>> = Vec::new();
    for (path, module) in adapter.modules() {
        names.insert(path.rsplit('.').next().unwrap_or(path).to_owned());
        if module.rank != config.rank {
            ranks.insert(path.to_owned(), module.rank);
        }
        if module.alpha != config.alpha {
            alphas.insert(path.to_owned(), module.alpha);
        }
        let (a_shape, b_shape) =
            (vec![module.rank, module.in_features], vec![module.out_features, module.rank]);
        tensors.push((format!("{PREFIX}{path}{A_SUFFIX}"), a_shape, &module.a));
        tensors.push((format!("{PREFIX}{path}{B_SUFFIX}"), b_shape, &module.b));
    }
    let mut metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    if let Some(base) = &config.base_fingerprint {
        metadata.insert(BASE_KEY.to_owned(), base.clone());
    }
    tensor_file::write(&folder.join(WEIGHTS_FILE), &metadata, &mut tensors)?;

    let peft = PeftConfig::new(config, names.into_iter().collect(), ranks, alphas);
    write_atomically(&folder.join(CONFIG_FILE), |file| {
        serde_json::to_writer_pretty(&mut *file, &peft)?;
        file.write_all(b"\n")
    })
}
