//! Standard input and output, and what is said on standard error.

use crate::support::{Sandbox, random_bytes};

const TEXT: &[u8] = b"The woods are lovely, dark and deep, but I have promises to keep.\n";

#[test]
fn without_files_stdin_goes_to_stdout() {
    let sandbox = Sandbox::new();
    let archive = sandbox.run_with(&["compress", "--model", "none"], TEXT).expect_code(0).stdout;
    let text = sandbox.run_with(&["decompress"], &archive).expect_code(0).stdout;
    assert_eq!(text, TEXT);
    let dashes = sandbox.run_with(&["decompress", "-", "-o", "-"], &archive).expect_code(0).stdout;
    assert_eq!(dashes, TEXT);
    sandbox.run_with(&["test", "-"], &archive).expect_code(0);
    assert!(sandbox.names().is_empty());
}

#[test]
fn stdin_may_go_to_a_file_and_a_file_to_stdout() {
    let sandbox = Sandbox::new();
    sandbox.run_with(&["compress", "--model", "none", "-o", "a.fz"], TEXT).expect_code(0);
    assert_eq!(sandbox.done(&["decompress", "-c", "a.fz"]).stdout, TEXT);
    assert_eq!(sandbox.names(), ["a.fz"]);
}

#[test]
fn archives_of_several_files_on_stdout_are_one_archive() {
    let sandbox = Sandbox::new();
    sandbox.write("one", b"first ");
    sandbox.write("two", b"second");
    let both = sandbox.done(&["compress", "--model", "none", "-c", "one", "two"]).stdout;
    sandbox.write("both.fz", &both);
    assert_eq!(sandbox.done(&["decompress", "-c", "both.fz"]).stdout, b"first second");
    sandbox.done(&["compress", "--model", "none", "one", "two"]);
    let joined = [sandbox.read("one.fz"), sandbox.read("two.fz")].concat();
    assert_eq!(joined, both);
    assert_eq!(sandbox.done(&["decompress", "-c", "one.fz", "two.fz"]).stdout, b"first second");
}

#[test]
fn quiet_says_nothing_and_verbose_says_more() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    assert_eq!(sandbox.done(&["compress", "--model", "none", "-q", "text"]).stderr, "");
    let usual = sandbox.done(&["decompress", "-f", "text.fz"]);
    let usual = usual.expect_said(&["text.fz : 66 bytes"]);
    assert_eq!(usual.stderr.lines().count(), 1, "{}", usual.stderr);
    sandbox.done(&["compress", "--model", "none", "-f", "-v", "text"]).expect_said(&[
        "text : 66 => ",
        "bpb",
        "frames",
        "engine",
        "coder",
    ]);
    let quiet = sandbox.run(&["compress", "--model", "none", "-q", "missing"]).expect_code(1);
    quiet.expect_said(&["finezip-cli: missing: "]);
}

#[test]
fn a_stream_that_breaks_off_fails_after_its_whole_frames() {
    let sandbox = Sandbox::new();
    let text = TEXT.repeat(40);
    let compress = ["compress", "--model", "none", "--frame-size", "1000"];
    let archive = sandbox.run_with(&compress, &text).expect_code(0).stdout;
    let ran = sandbox.run_with(&["decompress"], &archive[..archive.len() / 2]).expect_code(3);
    assert!(!ran.stdout.is_empty() && text.starts_with(&ran.stdout));
    ran.expect_said(&["finezip-cli: stdin: archive truncated", "frame"]);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_message() {
    use std::process::Stdio;

    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT.repeat(10_000));
    sandbox.done(&["compress", "--model", "none", "--frame-size", "4K", "text"]);
    let mut child = sandbox
        .command(&["decompress", "-c", "text.fz"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// What comes after would be worked out for nobody: a minute or more for each, with a model.
#[cfg(unix)]
#[test]
fn after_the_reader_went_away_no_other_file_is_taken() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "text"]);
    for arguments in [
        &["compress", "--model", "none", "-c", "text", "missing"][..],
        &["decompress", "-c", "text.fz", "missing.fz"],
    ] {
        // Closed before it begins, so that it cannot be faster.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
        // The missing file is not looked for.
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

/// A limit on the size of files stands in for whatever fails in the middle.
#[cfg(target_os = "linux")]
#[test]
fn after_half_an_archive_no_other_follows_it() {
    let sandbox = Sandbox::new();
    sandbox.write("large", random_bytes(40_000, 3));
    sandbox.write("small", TEXT);
    let compress = ["compress", "--model", "none", "--frame-size", "1K", "-c", "large", "small"];
    // With --verify what is written first is a whole file, which is then copied.
    for (limit, verify) in [("24", None), ("100", Some("--verify"))] {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\" >>both.fz");
        // Most of what may be written there is written already.
        sandbox.write("both.fz", vec![0; if verify.is_some() { 20_000 } else { 0 }]);
        let before = sandbox.read("both.fz").len();
        let output = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_finezip-cli")])
            .args(compress.iter().copied().chain(verify))
            .env("TMPDIR", sandbox.path(""))
            .current_dir(sandbox.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("finezip-cli: large: ") && said.contains("breaks off"), "{said}");
        assert!(!said.contains("small"), "{said}");
        assert!(sandbox.read("both.fz").len() > before);
    }
}
