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

use anyhow::{Context, Result};

/// More than any step frees.
const TRIM_THRESHOLD: &str = "1099511627776";
/// The largest that glibc takes.
const MMAP_THRESHOLD: &str = "33554432";

/// Begins again with the variables set; none where they are set already and the work can begin.
///
/// # Errors
/// Where this program cannot be started.
pub(crate) fn begin_again() -> Result<Option<ExitCode>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
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
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).envs(missing);
    replace(command).map(Some).context("cannot start this program again")
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
