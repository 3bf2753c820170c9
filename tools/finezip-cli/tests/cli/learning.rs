//! `compress --learn`: archives that the decoder can only read by learning what the encoder did.

use crate::support::{Sandbox, fixture};

/// Text that a seeded model codes in fewer bytes than any other candidate, if frames are short.
const TEXT: &[u8] = b" of of the in and the and the of in and in the and the and in of and in and \
the and in and in the and of and the of of the of in of";

fn with_model() -> Sandbox {
    Sandbox::with_small_model(TEXT)
}

fn compress(sandbox: &Sandbox, options: &[&str]) -> Vec<u8> {
    let usual = ["compress", "-f", "--model", "small.gguf", "--frame-size", "30", "text"];
    sandbox.done(&[&usual[..], options].concat());
    sandbox.read("text.fz")
}

#[test]
fn every_coder_comes_back_under_a_head_that_learns() {
    let sandbox = with_model();
    for (options, record) in [
        (&[][..], "learn-cm/1 learn=1"),
        (&["-9"], "learn-cm/1 learn=1 level=9"),
        (&["-1"], "learn-ac/1 learn=1"),
        (&["--coder", "rank"], "learn-rank/1 backend=0 learn=1 level=9"),
        (
            &["-1", "--batch", "3", "--schedule", "chunk-reset", "--context", "5"],
            "learn-ac/1 learn=1",
        ),
        (&["-1", "--precision", "int4"], "learn-ac/1 learn=1"),
        (&["-1", "--precision", "f32", "--ideal"], "learn-ac/1 learn=1"),
    ] {
        compress(&sandbox, &[options, &["--learn", "--verify"]].concat());
        let member = sandbox.listed("text.fz")["members"][0].clone();
        let frames = member["frames"].as_array().unwrap();
        let coded = frames.iter().filter(|frame| frame["method"] == "model").count();
        assert!(coded > 1 || options.contains(&"rank"), "{options:?}: {member:#}");
        if coded > 0 {
            assert_eq!(member["language"]["coder"], record, "{options:?}");
        }
        let ran = sandbox.done(&["decompress", "-c", "text.fz", "--model", "small.gguf"]);
        assert_eq!(ran.stdout, TEXT, "{options:?}");
    }
}

#[test]
fn learning_is_off_unless_asked_for() {
    let sandbox = with_model();
    compress(&sandbox, &[]);
    assert_eq!(sandbox.listed("text.fz")["members"][0]["language"]["coder"], "cm/1");
    compress(&sandbox, &["-1"]);
    assert_eq!(sandbox.listed("text.fz")["members"][0]["language"]["coder"], "ac/1");
}

#[test]
fn an_engine_without_features_and_no_model_at_all_are_refused() {
    let sandbox = with_model();
    let refused = |options: &[&str], said: &[&str]| {
        let usual = ["compress", "--learn", "text"];
        sandbox.run(&[&usual[..], options].concat()).expect_code(2).expect_said(said);
        assert_eq!(sandbox.names(), ["small.gguf", "text"]);
    };
    let candle = ["--model", "small.gguf", "--engine", "candle", "--coder", "ac"];
    refused(&candle, &["learn-ac/1", "features", "engine candle"]);
    refused(&["--model", "none"], &["--learn needs a model"]);
}

#[test]
fn damaged_archives_of_a_head_that_learns_are_refused() {
    let sandbox = with_model();
    let archive = compress(&sandbox, &["--learn"]);
    std::fs::remove_file(sandbox.path("text")).unwrap();
    std::fs::remove_file(sandbox.path("text.fz")).unwrap();
    for place in (0..archive.len()).step_by(5) {
        let mut damaged = archive.clone();
        damaged[place] ^= 1 << (place % 8);
        for bad in [&damaged[..], &archive[..place]] {
            sandbox.write("bad.fz", bad);
            let ran = sandbox.run(&["decompress", "bad.fz", "--model", "small.gguf"]);
            assert_eq!(ran.code, Some(3), "byte {place} of {}: {}", archive.len(), ran.stderr);
            assert_eq!(sandbox.names(), ["bad.fz", "small.gguf"], "byte {place}");
        }
    }
}

#[test]
fn neither_threads_nor_instructions_change_what_is_learned() {
    let sandbox = Sandbox::new();
    let text = &fixture("alice.txt")[..1000];
    sandbox.write("text", text);
    // Enough lanes for each of two threads to have its own.
    let compress = |threads: &str, isa: &str| {
        let mut command = sandbox.command(&["compress", "-q", "-c", "--learn", "--batch", "10"]);
        let output =
            command.args(["-T", threads, "text"]).env("FINEZIP_ISA", isa).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let archive = compress("2", "");
    sandbox.write("text.fz", &archive);
    assert_eq!(sandbox.listed("text.fz")["members"][0]["language"]["coder"], "learn-cm/1 learn=1");
    for isa in finezip_exact::Isa::available() {
        assert_eq!(compress("1", isa.name()), archive, "{isa}");
        let mut command = sandbox.command(&["decompress", "-c", "-T", "2", "text.fz"]);
        let output = command.env("FINEZIP_ISA", isa.name()).output().unwrap();
        assert_eq!(output.stdout, text, "{isa}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
