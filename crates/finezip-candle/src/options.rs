//! What can be chosen when a model is opened, and how the choice is written in an archive.

use candle_core::Device;
use finezip_core::{Error, Record, Result};

use crate::{ENGINE, ENGINE_VERSION, failure};

/// Most lanes a group may have; bounds what a hostile record can ask for.
const MAX_GROUP_LANES: u64 = 1024;

/// How weights are held and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// Dequantised to `f32` when the model is opened. On CPUs the fastest in candle.
    #[default]
    F32,
    /// As stored in the GGUF file, through candle's quantised kernels: a quarter of the memory
    /// or less, several times slower.
    Quantized,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compute {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by its number; needs the feature `cuda`.
    Cuda(usize),
    /// A Metal device by its number; needs the feature `metal`.
    Metal(usize),
}

impl Compute {
    pub(crate) fn device(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => Device::new_cuda(number).map_err(failure),
            Self::Metal(number) => Device::new_metal(number).map_err(failure),
        }
    }

    fn code(self) -> u64 {
        match self {
            Self::Cpu => 0,
            Self::Cuda(_) => 1,
            Self::Metal(_) => 2,
        }
    }
}

/// What can be chosen when a model is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandleOptions {
    /// The model's name in archives; the checkpoint's own where none is given.
    pub name: Option<String>,
    /// How weights are held and multiplied. Changes logits, so archives name it.
    pub weights: WeightFormat,
    /// Lanes that are computed as one batch. Changes logits, so archives name it. Without one,
    /// a size that measured well for the model (see `docs/engine-candle.md`).
    pub group_lanes: Option<usize>,
    /// Threads, one a group at a time; 0 for as many as the machine has. Changes no logits.
    pub threads: usize,
    /// What computes.
    pub compute: Compute,
}

impl CandleOptions {
    /// The choices that an archive's engine record asks for.
    ///
    /// # Errors
    /// [`Error::Unknown`] for another engine, version or value.
    pub fn from_record(record: &Record) -> Result<Self> {
        let unknown = || Error::Unknown { part: "engine", record: record.clone() };
        if record.name != ENGINE || record.version != ENGINE_VERSION {
            return Err(unknown());
        }
        let weights = match record.get("weights") {
            Some(0) => WeightFormat::F32,
            Some(1) => WeightFormat::Quantized,
            _ => return Err(unknown()),
        };
        let compute = match record.get("compute") {
            Some(0) => Compute::Cpu,
            Some(1) => Compute::Cuda(0),
            Some(2) => Compute::Metal(0),
            _ => return Err(unknown()),
        };
        let group = record.get("group").filter(|group| (1..=MAX_GROUP_LANES).contains(group));
        let group_lanes = group.ok_or_else(unknown)? as usize;
        let known = ["weights", "compute", "group"];
        if record.parameters.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(unknown());
        }
        Ok(Self { group_lanes: Some(group_lanes), weights, compute, ..Self::default() })
    }

    /// What an archive says of these choices once the group size is known.
    pub(crate) fn record(&self, group_lanes: usize) -> Record {
        Record::new(ENGINE, ENGINE_VERSION)
            .with("weights", u64::from(self.weights == WeightFormat::Quantized))
            .with("compute", self.compute.code())
            .with("group", group_lanes as u64)
    }

    /// The group size to use, where `usual` is the one for the model.
    pub(crate) fn checked_group_lanes(&self, usual: usize) -> Result<usize> {
        let group_lanes = self.group_lanes.unwrap_or(usual);
        if !(1..=MAX_GROUP_LANES).contains(&(group_lanes as u64)) {
            let message =
                format!("lanes a group: expected 1 to {MAX_GROUP_LANES}, found {group_lanes}");
            return Err(Error::Settings(message));
        }
        Ok(group_lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_the_choices_that_made_it() {
        for weights in [WeightFormat::F32, WeightFormat::Quantized] {
            let options = CandleOptions { weights, ..CandleOptions::default() };
            let read = CandleOptions::from_record(&options.record(16)).unwrap();
            assert_eq!(read, CandleOptions { group_lanes: Some(16), ..options });
        }
    }

    #[test]
    fn records_that_are_not_understood_are_refused() {
        let good = CandleOptions::default().record(8);
        assert!(CandleOptions::from_record(&good).is_ok());
        let mut other_version = good.clone();
        other_version.version += 1;
        let mut other_name = good.clone();
        other_name.name = "exact".into();
        let no_group = Record::new(ENGINE, ENGINE_VERSION).with("weights", 0).with("compute", 0);
        let changed = [("group", 0), ("group", 1 << 40), ("weights", 2), ("compute", 3), ("x", 0)];
        let changed = changed.map(|(key, value)| good.clone().with(key, value));
        for record in changed.into_iter().chain([other_version, other_name, no_group]) {
            let error = CandleOptions::from_record(&record).unwrap_err();
            assert!(matches!(error, Error::Unknown { part: "engine", .. }), "{error}");
        }
    }
}
