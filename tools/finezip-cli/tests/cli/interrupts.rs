//! A run that is stopped leaves no file under the target's name, nor a partial one.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Sandbox;

const COMPRESS: [&str; 5] = ["compress", "--model", "none", "-o", "out.fz"];

/// A compressor that waits for its input, after it has created its unfinished file.
fn waiting(sandbox: &Sandbox) -> Child {
    begun(sandbox, &mut sandbox.command(&COMPRESS))
}

/// Starts a compressor, and waits until it has created its unfinished file.
fn begun(sandbox: &Sandbox, command: &mut Command) -> Child {
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !sandbox.names().iter().any(|name| name.ends_with(".partial")) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", sandbox.names());
        sleep(Duration::from_millis(5));
    }
    child
}

/// Whether these tests were started to ignore a signal (with `nohup`, say): their runs do so too.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.map_or(0, |digits| u64::from_str_radix(digits.trim(), 16).unwrap());
    mask >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn signals_remove_what_is_unfinished() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        if is_ignored(signal) {
            continue;
        }
        let sandbox = Sandbox::new();
        let mut child = waiting(&sandbox);
        // Held, so that its input goes on.
        let _stdin = child.stdin.take();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        assert_eq!(sandbox.names(), [""; 0], "{signal:?}");
    }
}

/// As `nohup` does it, and shells with jobs in the background.
#[cfg(target_os = "linux")]
#[test]
fn signals_that_a_run_was_started_to_ignore_do_not_end_it() {
    let signals = [("INT", Signal::INT), ("TERM", Signal::TERM), ("HUP", Signal::HUP)];
    for (name, ignored) in signals {
        let sandbox = Sandbox::new();
        let script = format!("trap '' {name}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_finezip-cli")]).args(COMPRESS);
        command.current_dir(sandbox.path(""));
        let mut child = begun(&sandbox, &mut command);
        kill_process(Pid::from_child(&child), ignored).unwrap();
        // So long a caught one never takes.
        sleep(Duration::from_millis(500));
        assert_eq!(child.try_wait().unwrap(), None, "{name}");
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        assert_eq!(sandbox.names(), ["out.fz"], "{name}");

        // The others end it as ever.
        for (_, caught) in signals {
            if caught == ignored || is_ignored(caught) {
                continue;
            }
            let sandbox = Sandbox::new();
            command.current_dir(sandbox.path(""));
            let mut child = begun(&sandbox, &mut command);
            let _stdin = child.stdin.take();
            kill_process(Pid::from_child(&child), caught).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(130), "{caught:?} without {name}");
            assert_eq!(sandbox.names(), [""; 0], "{caught:?} without {name}");
        }
    }
}

#[test]
fn being_killed_leaves_nothing_under_the_target_s_name() {
    let sandbox = Sandbox::new();
    let mut child = waiting(&sandbox);
    let _stdin = child.stdin.take();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sandbox.path("out.fz").exists());
}

#[test]
fn what_a_killed_run_left_goes_at_the_next_start_and_a_living_one_s_stays() {
    let sandbox = Sandbox::new();
    let mut killed = waiting(&sandbox);
    let _stdin = killed.stdin.take();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(sandbox.names().len(), 1, "{:?}", sandbox.names());
    let left = sandbox.names();
    let mut living = sandbox
        .command(&["compress", "--model", "none", "-o", "out.fz"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    while sandbox.names().len() != 1 || sandbox.names() == left {
        sleep(Duration::from_millis(5));
    }
    // Another run of that name leaves the living one's file alone.
    sandbox.run_with(&["compress", "--model", "none", "-o", "out.fz"], b"text").expect_code(0);
    assert_eq!(sandbox.names().len(), 2, "{:?}", sandbox.names());
    drop(living.stdin.take());
    // The name was taken meanwhile.
    assert_eq!(living.wait().unwrap().code(), Some(1));
    assert_eq!(sandbox.names(), ["out.fz"]);
}

#[test]
fn an_interrupted_run_does_not_touch_the_file_it_was_to_replace() {
    let sandbox = Sandbox::new();
    sandbox.write("out.fz", b"old");
    let mut child = sandbox
        .command(&["compress", "--model", "none", "-f", "-o", "out.fz"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    while sandbox.names().len() < 2 {
        sleep(Duration::from_millis(5));
    }
    let _stdin = child.stdin.take();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    assert_eq!(sandbox.names(), ["out.fz"]);
    assert_eq!(sandbox.read("out.fz"), b"old");
}
