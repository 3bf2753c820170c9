//! Where things were measured.

use std::fs;

use serde::{Deserialize, Serialize};

/// A machine, as far as it decides speed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name, or its architecture where the system tells no name.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The operating system.
    pub(crate) system: String,
    /// Memory in whole GB, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_gigabytes: Option<u64>,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Self {
            processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS.to_owned(),
            memory_gigabytes: fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
                let line = text.lines().find(|line| line.starts_with("MemTotal"))?;
                let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
                Some((kibibytes * 1024.0 / 1e9).round() as u64)
            }),
        }
    }
}
