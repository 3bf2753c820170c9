//! A run that is stopped leaves no file under the target's name, nor a partial one.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Sandbox;

/// A compressor that waits for its input, after it has created its unfinished file.
fn waiting(sandbox: &Sandbox) -> Child {
    let child = sandbox
        .command(&["compress", "--model", "none", "-o", "out.fz"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !sandbox.names().iter().any(|name| name.ends_with(".partial")) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", sandbox.names());
        sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn signals_remove_what_is_unfinished() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let sandbox = Sandbox::new();
        let mut child = waiting(&sandbox);
        // Held, so that its input goes on.
        let _stdin = child.stdin.take();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        assert_eq!(sandbox.names(), [""; 0], "{signal:?}");
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
