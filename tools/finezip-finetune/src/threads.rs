//! The number of threads, set before anything computes.
//!
//! candle takes it from the environment variable `RAYON_NUM_THREADS`, and where that is not set it
//! reads `/proc/cpuinfo` anew for every matrix product (of which training makes thousands a
//! step). A process cannot safely change its own environment, so it begins again with the
//! variable set.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Begins again with the variable set; none where it is set already and the work can begin.
///
/// # Errors
/// Where this program cannot be started.
pub(crate) fn begin_again() -> Result<Option<ExitCode>> {
    if std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) {
        return Ok(None);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, threads.to_string());
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
