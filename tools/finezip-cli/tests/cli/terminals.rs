//! What is different on a terminal: archives are not shown, questions are asked, bars are drawn.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::Sandbox;

/// A new terminal: the side a person would sit at, and the side a program gets.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let person = openpt(flags).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (File::from(person), program)
}

/// Which of a program's streams are a terminal.
#[derive(Clone, Copy, Default)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// Runs with `streams` on a terminal at which `typed` is typed; the exit code and what the
/// terminal showed and stderr said.
fn run(sandbox: &Sandbox, arguments: &[&str], streams: Streams, typed: &str) -> (i32, String) {
    let (mut person, program) = terminal();
    let on = |terminal: bool, otherwise: Stdio| {
        if terminal { Stdio::from(program.try_clone().unwrap()) } else { otherwise }
    };
    let mut child = sandbox
        .command(arguments)
        .env("TERM", "xterm")
        .stdin(on(streams.stdin, Stdio::null()))
        .stdout(on(streams.stdout, Stdio::null()))
        .stderr(on(streams.stderr, Stdio::piped()))
        .spawn()
        .unwrap();
    person.write_all(typed.as_bytes()).unwrap();
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    drop(program);
    // Read while it runs: a terminal holds little. It ends with an error once the program is gone.
    let shown = thread::spawn(move || {
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count) = person.read(&mut buffer) {
            if count == 0 {
                break;
            }
            shown.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    let code = child.wait().unwrap().code().unwrap();
    (code, said + &shown.join().unwrap())
}

const TEXT: &[u8] = b"some text to look at, and some more text to look at\n";

#[test]
fn an_archive_is_not_written_to_a_terminal_unless_forced() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    let stdout = Streams { stdout: true, ..Streams::default() };
    let (code, said) = run(&sandbox, &["compress", "--model", "none", "-c", "text"], stdout, "");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("not shown on a terminal"), "{said}");
    let forced = ["compress", "--model", "none", "-c", "-f", "-q", "text"];
    let (code, said) = run(&sandbox, &forced, stdout, "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("FZ"), "{said}");
    sandbox.done(&["compress", "--model", "none", "text"]);
    let (code, said) = run(&sandbox, &["decompress", "-c", "-q", "text.fz"], stdout, "");
    assert_eq!((code, said.trim_end()), (0, String::from_utf8_lossy(TEXT).trim_end()));
}

#[test]
fn an_archive_is_not_read_from_a_terminal() {
    let sandbox = Sandbox::new();
    let stdin = Streams { stdin: true, ..Streams::default() };
    for command in ["decompress", "test"] {
        let (code, said) = run(&sandbox, &[command], stdin, "");
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("not typed on a terminal"), "{said}");
    }
}

#[test]
fn a_person_is_asked_before_a_file_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    let asked = Streams { stdin: true, stderr: true, ..Streams::default() };
    for (answer, code, replaced) in [("n\n", 1, false), ("\n", 1, false), ("y\n", 0, true)] {
        sandbox.write("text.fz", b"old");
        let arguments = ["compress", "--model", "none", "text"];
        let (found, said) = run(&sandbox, &arguments, asked, answer);
        assert_eq!(found, code, "{answer:?}: {said}");
        assert!(said.contains("text.fz exists already; replace it (y/n)?"), "{said}");
        assert_eq!(sandbox.read("text.fz") != b"old", replaced, "{answer:?}");
    }
}

#[test]
fn a_bar_is_drawn_on_a_terminal_and_not_with_quiet() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT.repeat(2000));
    let stderr = Streams { stderr: true, ..Streams::default() };
    let compress = ["compress", "--model", "none", "--frame-size", "8K", "-f", "text"];
    let (code, said) = run(&sandbox, &compress, stderr, "");
    assert_eq!(code, 0, "{said}");
    for part in ["text: ", "%", "ratio 0.", "left", "text : "] {
        assert!(said.contains(part), "{part} is not in {said:?}");
    }
    let (code, said) = run(&sandbox, &["decompress", "-f", "text.fz"], stderr, "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("101.56 KiB"), "{said:?}");
    let quiet = [&compress[..], &["-q"]].concat();
    assert_eq!(run(&sandbox, &quiet, stderr, ""), (0, String::new()));
}

/// The archive's length, which a bar wants, is not looked for where that means to open the other end
/// of a pipe once more: nobody is there any more.
#[test]
fn a_named_pipe_is_read_once() {
    let sandbox = Sandbox::new();
    sandbox.write("text", "a few words ".repeat(9));
    sandbox.done(&["compress", "--model", "none", "text"]);
    let archive = sandbox.read("text.fz");
    let pipe = sandbox.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for arguments in [&["test", "pipe"][..], &["decompress", "pipe", "-o", "out"]] {
        let (_person, program) = terminal();
        let mut child = sandbox
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(program)
            .spawn()
            .unwrap();
        // It waits for a reader, who may never come.
        let (to, bytes) = (pipe.clone(), archive.clone());
        thread::spawn(move || std::fs::write(to, bytes));
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("{arguments:?} waits for ever");
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }
    assert_eq!(sandbox.read("out"), sandbox.read("text"));
}
