//! One process, run to its end with all that it starts, and measured.
//!
//! The wall clock starts before the process does and stops when it has ended. CPU time and peak
//! memory are the kernel's, for the process and what it waited for. On Linux the peak is never
//! less than the most that this tool ever had up to then, which is why it holds no text in memory
//! and fetches in another process; results say how much that was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use wait4::Wait4;

use super::{group, machine};
use crate::median::Mean;

/// The file in the folder of a run that has the process's messages.
pub(super) const MESSAGES: &str = "messages";

/// Bytes of a failed process's messages that are kept.
const MESSAGE_BYTES: usize = 2000;

/// A process to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The folder it works in; this tool's unless set.
    pub(crate) directory: Option<PathBuf>,
    /// What it reads; nothing unless set.
    pub(crate) stdin: Option<PathBuf>,
    /// Where its output goes; nowhere unless set.
    pub(crate) stdout: Option<PathBuf>,
}

impl Job {
    /// A program with arguments.
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            directory: None,
            stdin: None,
            stdout: None,
        }
    }

    /// With one argument more.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With more arguments.
    pub(crate) fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// What a process cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Wall clock.
    pub(crate) seconds: f64,
    /// CPU time outside the kernel.
    pub(crate) user_seconds: f64,
    /// CPU time in the kernel.
    pub(crate) system_seconds: f64,
    /// The most memory it had at a time.
    pub(crate) peak_bytes: u64,
    /// CPU time that the machine spent on anything else meanwhile, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) others_seconds: Option<f64>,
}

impl Mean for Cost {
    fn mean(self, other: Self) -> Self {
        let others_seconds = self.others_seconds.zip(other.others_seconds);
        Self {
            seconds: self.seconds.mean(other.seconds),
            user_seconds: self.user_seconds.mean(other.user_seconds),
            system_seconds: self.system_seconds.mean(other.system_seconds),
            peak_bytes: self.peak_bytes.midpoint(other.peak_bytes),
            others_seconds: others_seconds.map(|(one, other)| one.mean(other)),
        }
    }
}

/// Runs `job`; its messages go through a file in `folder`.
///
/// # Errors
/// A program that cannot be started, exits with a failure (its last messages are part of the
/// error), or takes longer than `timeout`.
pub(crate) fn run(job: &Job, folder: &Path, timeout: Duration) -> Result<Cost> {
    let name = job.program.display();
    let messages = folder.join(MESSAGES);
    let open = |path: &Path| File::open(path).with_context(|| path.display().to_string());
    let create = |path: &Path| File::create(path).with_context(|| path.display().to_string());
    let mut command = Command::new(&job.program);
    command.args(&job.arguments).stderr(create(&messages)?);
    if let Some(directory) = &job.directory {
        command.current_dir(directory);
    }
    command.stdin(match &job.stdin {
        Some(path) => open(path)?.into(),
        None => Stdio::null(),
    });
    command.stdout(match &job.stdout {
        Some(path) => create(path)?.into(),
        None => Stdio::null(),
    });
    let busy = machine::busy_seconds();
    let begun = Instant::now();
    let mut child =
        group::spawn(&mut command).with_context(|| format!("{name} cannot be started"))?;
    let in_time = wait_at_most(&child, timeout);
    let seconds = begun.elapsed().as_secs_f64();
    group::end(&child);
    let in_time = in_time?;
    let used = child.wait4().with_context(|| format!("waiting for {name}"))?;
    let busy = busy.and_then(|before| Some(machine::busy_seconds()? - before));
    if !in_time {
        bail!("{name} took longer than {} s and was ended", timeout.as_secs());
    }
    if !used.status.success() {
        bail!("{name}: {}: {}", used.status, last_messages(&messages));
    }
    let (user_seconds, system_seconds) =
        (used.rusage.utime.as_secs_f64(), used.rusage.stime.as_secs_f64());
    let own = user_seconds + system_seconds;
    Ok(Cost {
        seconds,
        user_seconds,
        system_seconds,
        peak_bytes: used.rusage.maxrss,
        others_seconds: busy.map(|busy| (busy - own).max(0.0)),
    })
}

/// Waits for the end of a process without taking its status, and ends its group after `timeout`;
/// false if that was needed. The process stays a zombie meanwhile, so that its number means no
/// other.
#[cfg(unix)]
fn wait_at_most(child: &Child, timeout: Duration) -> Result<bool> {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

    let pid = Pid::from_child(child);
    let (ended, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = end.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            // It may have ended just now, which is as good.
            late && kill_process_group(pid, Signal::KILL).is_ok()
        });
        let waited = loop {
            match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        drop(ended);
        let late = watch.join().unwrap_or(false);
        waited.context("waiting for a process")?;
        Ok(!late)
    })
}

/// There is no bound on time here: waiting without taking the status is Unix's.
#[cfg(not(unix))]
fn wait_at_most(_child: &Child, _timeout: Duration) -> Result<bool> {
    Ok(true)
}

fn last_messages(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let tail = bytes.get(bytes.len().saturating_sub(MESSAGE_BYTES)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail).trim().to_owned();
    if text.is_empty() { "it said nothing".into() } else { text }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Job {
        Job::new("sh").arguments(["-c", script])
    }

    // Peaks are tested where the process that measures is small: other tests share this one.
    #[test]
    fn costs_are_those_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let minute = Duration::from_secs(60);
        let slept = run(&shell("sleep 0.2"), folder.path(), minute).unwrap();
        assert!(slept.seconds >= 0.2 && slept.user_seconds < 0.1, "{slept:?}");
        let busy = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
        let worked = run(&busy, folder.path(), minute).unwrap();
        assert!(worked.user_seconds > 0.01, "{worked:?}");
    }

    #[test]
    fn failures_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let said = |job: &Job, timeout| run(job, folder.path(), timeout).unwrap_err().to_string();
        let minute = Duration::from_secs(60);
        let failed = said(&shell("echo because >&2; exit 3"), minute);
        assert!(failed.contains("exit status: 3") && failed.contains("because"), "{failed}");
        assert!(said(&Job::new("/no/such/program"), minute).contains("cannot be started"));
        let late = said(&shell("exec sleep 60"), Duration::from_millis(100));
        assert!(late.contains("took longer"), "{late}");
    }

    #[test]
    fn files_are_its_input_and_output() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "text").unwrap();
        let job = Job { stdin: Some(from), stdout: Some(to.clone()), ..shell("cat") };
        run(&job, folder.path(), Duration::from_secs(60)).unwrap();
        assert_eq!(fs::read(to).unwrap(), b"text");
    }
}
