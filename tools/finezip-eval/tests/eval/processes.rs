//! Processes: whose memory is measured, and that none is left behind.
#![cfg(target_os = "linux")]

use std::fs;

use serde_json::Value;

use crate::support::{RECORDER, Sandbox, is_running, lines, until};

/// A program that holds 100 MB, and one that holds nothing.
const HOLDERS: &str = r#"
[inputs]
text = { file = "text" }

[commands.large]
programs = ["sh"]
compress.arguments = ["-c",
    "cp '{input}' '{archive}'; head -c 100000000 /dev/zero | tail -c 100000000 > /dev/null"]
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[commands.none]
programs = ["sh"]
compress = { arguments = ["-c", "cp '{input}' '{archive}'"] }
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[[peers]]
inputs = ["text"]
methods = ["large", "none"]
"#;

#[test]
fn peaks_of_memory_are_those_of_the_process() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", HOLDERS);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let all = lines(&sandbox);
    let peak =
        |line: &Value, direction: &str| line["outcome"][direction]["peak_bytes"].as_u64().unwrap();
    assert!(peak(&all[0], "compress") >= 90_000_000, "{}", all[0]);
    for small in [peak(&all[0], "decompress"), peak(&all[1], "compress")] {
        assert!(small < 60_000_000, "{small}");
    }
}

/// Programs that start another one: one waits for it, one does not.
const PARENTS: &str = r#"
timeout_seconds = 2

[inputs]
text = { file = "text" }

[commands.late]
programs = ["sh"]
compress = { arguments = ["-c", "sleep 600 & echo $! > of-late; wait"] }
decompress = { arguments = [] }

[commands.early]
programs = ["sh"]
compress = { arguments = ["-c", "cp '{input}' '{archive}'; sleep 600 & echo $! > of-early"] }
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[[peers]]
inputs = ["text"]
methods = ["late", "early"]
"#;

#[test]
fn nothing_that_a_program_starts_outlives_it() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", PARENTS);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let all = lines(&sandbox);
    let error = all[0]["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("took longer than 2 s"), "{error}");
    assert_eq!(all[1]["outcome"]["status"], "done", "{}", all[1]);
    for name in ["of-late", "of-early"] {
        let pid = String::from_utf8(sandbox.read(name)).unwrap();
        until(|| (!is_running(pid.trim())).then_some(()));
    }
}

#[test]
fn what_ends_a_run_ends_its_processes_and_is_no_failure_of_theirs() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    let sleeper = "echo $$ > begun; exec sleep 600";
    let grid = PARENTS.replace("timeout_seconds = 2", "");
    let grid = grid.replace("sleep 600 & echo $! > of-late; wait", sleeper);
    sandbox.write("grid.toml", grid);
    let arguments = ["run", "grid.toml", "--data", ".", "--cli", "recorder", "--work", "work"];
    let mut tool = sandbox.start(&arguments);
    let pid = until(|| {
        let text = fs::read_to_string(sandbox.path("begun")).ok()?;
        Some(text.strip_suffix('\n')?.to_owned())
    });
    assert!(is_running(&pid));
    kill_process(Pid::from_child(&tool), Signal::TERM).unwrap();
    assert_eq!(tool.wait().unwrap().signal(), Some(15));
    until(|| (!is_running(&pid)).then_some(()));
    assert!(sandbox.read("results.jsonl").is_empty());
    assert_eq!(fs::read_dir(sandbox.path("work")).unwrap().count(), 0);
}

/// A program that changes the text, and hands the change on.
const CHANGER: &str = r#"
[inputs]
text = { file = "text" }

[commands.changer]
programs = ["sh"]
compress = { arguments = ["-c", "echo other > '{input}'; cp '{input}' '{archive}'"] }
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[[peers]]
inputs = ["text"]
methods = ["changer", "zlib-9"]
"#;

#[test]
fn a_program_that_changes_the_text_fails_and_changes_it_for_no_other() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", CHANGER);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let all = lines(&sandbox);
    let error = all[0]["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("what came back differs from the text"), "{error}");
    assert_eq!(all[1]["outcome"]["status"], "done", "{}", all[1]);
}
