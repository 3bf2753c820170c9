//! What of the machine may be used, and where the parts lie that archives name.

use std::path::PathBuf;

use finezip_core::Limits;

use crate::args::{MachineArguments, ReadingArguments};

/// What of the machine may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineSettings {
    /// Threads, at least 1.
    pub(crate) threads: usize,
    /// Bytes that lanes may take; none for the usual bound.
    pub(crate) memory_bytes: Option<u64>,
}

impl MachineSettings {
    /// Resolves `-T` and `--memory`.
    pub(crate) fn new(arguments: &MachineArguments) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if arguments.threads == 0 { cores() } else { usize::from(arguments.threads) };
        Self { threads, memory_bytes: arguments.memory }
    }

    /// What an archive may ask for.
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits { session_bytes: self.memory_bytes.unwrap_or(usual.session_bytes), ..usual }
    }
}

/// What reading an archive may use.
#[derive(Clone, Debug)]
pub(crate) struct ReadingSettings {
    /// A model to use if it is the one the archive names.
    pub(crate) model: Option<PathBuf>,
    /// Adapters to use if they are the ones archives name.
    pub(crate) adapters: Vec<PathBuf>,
    /// The profile of messages.
    pub(crate) profile: Option<PathBuf>,
    /// What of the machine may be used.
    pub(crate) machine: MachineSettings,
}

impl ReadingSettings {
    /// Resolves what reading commands share.
    pub(crate) fn new(arguments: &ReadingArguments) -> Self {
        Self {
            model: arguments.model.clone(),
            adapters: arguments.adapter.clone(),
            profile: arguments.profile.clone(),
            machine: MachineSettings::new(&arguments.machine),
        }
    }
}
