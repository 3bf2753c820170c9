//! Opening a checkpoint with an engine: one chosen by the user, or the one an archive names.

use std::sync::Arc;

use finezip_candle::{CandleModel, CandleOptions};
use finezip_core::{Error, LanguageModel, Record, Result};
use finezip_exact::{ARITHMETIC_VERSION, ExactModel, ExactOptions, Isa, Precision};
use finezip_models::Checkpoint;

use crate::adapters::Merged;
use crate::settings::{EngineChoice, MachineSettings};
use crate::{args, store};

/// The name of the exact engine in records.
const EXACT: &str = "exact";

/// Opens `checkpoint`, called `name` in archives, with the engine that was chosen.
pub(crate) fn open(
    checkpoint: &Checkpoint,
    name: &str,
    merged: Option<&Merged>,
    engine: EngineChoice,
    machine: MachineSettings,
) -> Result<Arc<dyn LanguageModel>> {
    match engine {
        EngineChoice::Exact(precision) => {
            let precision = match precision {
                args::Precision::Int8 => Precision::Int8,
                args::Precision::Int4 => Precision::Int4,
                args::Precision::F32 => Precision::F32,
            };
            exact(checkpoint, name, merged, precision, machine)
        }
        EngineChoice::Candle => candle(checkpoint, name, merged, CandleOptions::default(), machine),
    }
}

/// Opens `checkpoint` with the engine of a record. Whether its arithmetic is the very one is for
/// the caller to compare.
pub(crate) fn open_recorded(
    checkpoint: &Checkpoint,
    name: &str,
    merged: Option<&Merged>,
    record: &Record,
    machine: MachineSettings,
) -> Result<Arc<dyn LanguageModel>> {
    match record.name.as_str() {
        EXACT => {
            let precision = record
                .get("precision")
                .and_then(Precision::from_parameter)
                .ok_or_else(|| Error::Unknown { part: "engine", record: record.clone() })?;
            exact(checkpoint, name, merged, precision, machine)
        }
        finezip_candle::ENGINE => {
            candle(checkpoint, name, merged, CandleOptions::from_record(record)?, machine)
        }
        _ => Err(Error::Unknown { part: "engine", record: record.clone() }),
    }
}

/// The records of the exact engine, the usual precision first.
pub(crate) fn exact_records() -> Vec<Record> {
    let record = |precision: Precision| {
        Record::new(EXACT, ARITHMETIC_VERSION).with("precision", precision.parameter())
    };
    Precision::ALL.into_iter().map(record).collect()
}

/// Weights with an adapter of one archive are not kept: a file as large as the model, for each
/// archive that was read, would soon fill the disk.
fn exact(
    checkpoint: &Checkpoint,
    name: &str,
    merged: Option<&Merged>,
    precision: Precision,
    machine: MachineSettings,
) -> Result<Arc<dyn LanguageModel>> {
    let options = ExactOptions {
        isa: chosen_isa()?,
        precision,
        threads: machine.threads,
        name: Some(name.to_owned()),
        adapter: merged.map(|merged| merged.adapter.clone()),
        cache_dir: store::prepared_weights()
            .filter(|_| merged.is_none_or(|merged| merged.stored.is_none())),
    };
    let model = ExactModel::open(checkpoint, options);
    Ok(Arc::new(model.map_err(|error| Error::engine(EXACT, error))?))
}

/// The environment variable that chooses instructions.
const ISA_VARIABLE: &str = "FINEZIP_ISA";

/// The instructions that the user asks for; none means the fastest this CPU has.
fn chosen_isa() -> Result<Option<Isa>> {
    let Some(name) = std::env::var_os(ISA_VARIABLE).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let named = name.to_str().and_then(Isa::named);
    named.map(Some).ok_or_else(|| {
        let here: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
        Error::Settings(format!(
            "{ISA_VARIABLE}: expected one of {} (what this CPU has), found {}",
            here.join(", "),
            name.display()
        ))
    })
}

fn candle(
    checkpoint: &Checkpoint,
    name: &str,
    merged: Option<&Merged>,
    options: CandleOptions,
    machine: MachineSettings,
) -> Result<Arc<dyn LanguageModel>> {
    let options =
        CandleOptions { threads: machine.threads, name: Some(name.to_owned()), ..options };
    let adapter = merged.map(|merged| merged.adapter.as_ref());
    Ok(Arc::new(CandleModel::open_adapted(checkpoint, adapter, options)?))
}
