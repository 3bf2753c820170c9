//! Environment variables that libraries read, set before anything computes.
//!
//! - candle takes the number of threads from `RAYON_NUM_THREADS`, and where that is not set it
//!   reads `/proc/cpuinfo` anew for every matrix product, of which training makes thousands a
//!   step.
//! - glibc gives memory that a step has freed back to the system, and clears it page by page when
//!   the next step asks for it again, unless `MALLOC_TRIM_THRESHOLD_` is large. (Setting it ends
//!   the automatic choice of `MALLOC_MMAP_THRESHOLD_`, so that is set to its largest value.)
//!
//! A process cannot safely change its own environment, so it begins again with the variables set.

use std::process::{Command, ExitCode};

use crate::error::{Error, Result};

/// More than any step frees.
const TRIM_THRESHOLD: &str = "1099511627776";
/// The largest that glibc takes.
const MMAP_THRESHOLD: &str = "33554432";

/// Begins this program again, with the same arguments and with the variables set that make training
/// fast; none where they are set already and the work can begin. To be called before anything else
/// is done, of a program that is going to train with `threads` threads, 0 for one a core. What is set
/// already stays.
///
/// # Errors
/// [`Error::Io`] where the program cannot be started; training then works, and is slower.
pub fn begin_again(threads: usize) -> Result<Option<ExitCode>> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads }.to_string();
    let wanted = [
        ("RAYON_NUM_THREADS", threads.as_str()),
        ("MALLOC_TRIM_THRESHOLD_", TRIM_THRESHOLD),
        ("MALLOC_MMAP_THRESHOLD_", MMAP_THRESHOLD),
    ];
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let missing: Vec<(&str, &str)> = wanted.into_iter().filter(|(name, _)| !is_set(name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let program = std::env::current_exe().map_err(|error| Error::io("this program", error))?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1)).envs(missing);
    replace(command).map(Some).map_err(|error| Error::io(program, error))
}

/// The new program takes the place of this one, under its process id.
#[cfg(unix)]
fn replace(mut command: Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> std::io::Result<ExitCode> {
    let status = command.status()?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
