//! Process groups: a process that is measured has one of its own with whatever it starts, so that
//! nothing of it goes on beside the next one.
//!
//! A terminal sends Ctrl-C to the group of this tool alone, which therefore passes on what ends it,
//! and removes its temporary files when they have ended. That can come at any moment, so those that
//! run stand in one list behind a lock.

use std::io;
use std::process::{Child, Command};

#[cfg(unix)]
use std::fs;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(unix)]
use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(unix)]
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

#[cfg(unix)]
use crate::temporary;

#[cfg(unix)]
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

#[cfg(unix)]
fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long processes may take to end when they are told to.
#[cfg(unix)]
const LONGEST_END: Duration = Duration::from_secs(5);

/// From now on SIGHUP, SIGINT, SIGQUIT and SIGTERM end the groups that run before this process,
/// but for those signals that it was started to ignore, as `nohup` and shells do.
#[cfg(unix)]
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    // None where the system does not say it in a file: asking it otherwise takes unsafe code.
    let status = fs::read("/proc/self/status").unwrap_or_default();
    let ignored = ignored_in(&String::from_utf8_lossy(&status));
    let caught = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    let mut signals = Signals::new(caught.into_iter().filter(|&signal| !is_in(ignored, signal)))?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            // The lock is never given back, so that no end of these is taken for a failure.
            let held = running();
            for &group in held.iter() {
                let _ = kill_process_group(group, Signal::TERM);
            }
            let begun = Instant::now();
            while begun.elapsed() < LONGEST_END && held.iter().any(|&group| is_running(group)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            for &group in held.iter() {
                let _ = kill_process_group(group, Signal::KILL);
            }
            temporary::remove_all();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// Whether the first process of a group has not ended.
#[cfg(unix)]
fn is_running(group: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(group), look), Ok(None))
}

/// Groups are Unix's: elsewhere the console tells all processes.
#[cfg(not(unix))]
pub(crate) fn watch() -> io::Result<()> {
    Ok(())
}

/// The signals that a process with this `/proc/PID/status` ignores, a bit each.
#[cfg(unix)]
fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// Whether a signal is in a mask, whose lowest bit is signal 1.
#[cfg(unix)]
fn is_in(mask: u64, signal: i32) -> bool {
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

/// Starts a process in a group of its own, which [`end`] ends.
#[cfg(unix)]
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    // Held meanwhile, so that no signal finds a process that is not in the list yet.
    let mut running = running();
    let child = command.spawn()?;
    running.push(Pid::from_child(&child));
    Ok(child)
}

/// Starts a process.
#[cfg(not(unix))]
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}

/// Ends what is left of a process's group. Its status is not taken yet, so that its number means no
/// other.
#[cfg(unix)]
pub(crate) fn end(child: &Child) {
    let group = Pid::from_child(child);
    let mut running = running();
    // There is nothing left as a rule.
    let _ = kill_process_group(group, Signal::KILL);
    running.retain(|other| *other != group);
}

/// Takes a process that has ended by itself from the list.
#[cfg(unix)]
pub(crate) fn forget(child: &Child) {
    let group = Pid::from_child(child);
    running().retain(|other| *other != group);
}

/// There is no group here.
#[cfg(not(unix))]
pub(crate) fn end(_child: &Child) {}

/// There is no list here.
#[cfg(not(unix))]
pub(crate) fn forget(_child: &Child) {}

#[cfg(all(test, unix))]
mod tests {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    use super::*;

    #[test]
    fn ignored_signals_are_read_from_what_the_system_says() {
        let ignored = ignored_in("SigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n");
        assert!(is_in(ignored, SIGHUP));
        assert!(!is_in(ignored, SIGINT) && !is_in(ignored, SIGTERM));
        for other in ["", "SigIgn:", "SigIgn:\tnone"] {
            assert_eq!(ignored_in(other), 0, "{other:?}");
        }
    }
}
