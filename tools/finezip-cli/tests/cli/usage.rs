//! Command lines that do not fit together, and help.

use crate::support::Sandbox;

#[test]
fn wrong_usage_has_its_own_code_and_touches_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"text");
    sandbox.write("b", b"text");
    let wrong: &[&[&str]] = &[
        &[],
        &["explode"],
        &["compress", "--no-such-option"],
        &["compress", "a", "b", "-o", "out"],
        &["compress", "-c", "-o", "out", "a"],
        &["compress", "-c", "--rm", "a"],
        &["compress", "-q", "-v", "a"],
        &["compress", "--frame-size", "many", "a"],
        &["compress", "--model", "none", "--frame-size", "0", "a"],
        &["compress", "--model", "none", "--frame-size", "1G", "a"],
        &["compress", "--model", "none", "--coder", "rank", "a"],
        &["compress", "--model", "none", "--engine", "candle", "a"],
        &["compress", "--model", "none", "--context", "5", "a"],
        &["compress", "--model", "none", "--batch", "5", "a"],
        &["compress", "--model", "none", "--ideal", "a"],
        &["compress", "--model", "none", "--schedule", "rolling", "a"],
        &["compress", "--schedule", "random", "a"],
        &["compress", "--coder", "huffman", "a"],
        &["compress", "--rank-backend", "zlib", "a"],
        &["compress", "--mixer", "matches", "a"],
        &["compress", "--mixer", "matches=3", "a"],
        &["compress", "--mixer", "parts=1", "a"],
        &["compress", "--mixer", "matches=1", "--coder", "ac", "a"],
        &["compress", "--mixer", "matches=1", "--model", "none", "a"],
        &["compress", "--engine", "candle", "--precision", "int4", "a"],
        &["compress", "--context", "0", "a"],
        &["compress", "--batch", "0", "a"],
        &["compress", "-T", "x", "a"],
        &["list"],
        &["cat"],
        &["completions", "no-shell"],
        &["models"],
    ];
    for arguments in wrong {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
        assert_eq!(sandbox.names(), ["a", "b"], "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let sandbox = Sandbox::new();
    let version = sandbox.done(&["--version"]).stdout;
    assert_eq!(String::from_utf8(version).unwrap().trim(), "finezip-cli 0.1.0");
    for command in ["compress", "decompress", "test", "list", "cat", "models", "man"] {
        let help = String::from_utf8(sandbox.done(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("Usage: finezip-cli"), "{help}");
    }
}
