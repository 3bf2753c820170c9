//! Archives that were written once and must decode for ever: `fixtures/golden/v1`.
//!
//! Each was made by the real binary at the time its part of the format was finished, and is never
//! written again: this test decodes all of them byte for byte, with several threads and with one
//! thread on the scalar path. A case that has no archive yet fails, unless `FINEZIP_NEW_GOLDEN` is
//! set, which writes those that are missing and no others. CONTRIBUTING.md has the rule.

use std::path::PathBuf;

use finezip_models::Architecture;
use finezip_models::seeded::SeededModel;

use crate::adapters;
use crate::support::{Sandbox, fixture};

/// What the archives of small models hold, but where a case says otherwise: longer tokens of the
/// seeded vocabulary, a byte that is no text, and another frame that repeats the first.
const TEXT: &[u8] = b" of of the in and the and the of and in of the\xff of in and and the of the";

/// Frames so short that only the model makes them small.
const SHORT_FRAMES: &str = "--frame-size 24";

/// The model a case needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Model {
    None,
    Seeded(Architecture),
    /// The catalog's default model.
    Real,
}

const LLAMA: Model = Model::Seeded(Architecture::Llama);

/// An archive, the text in it, and how it was made.
struct Case {
    name: &'static str,
    model: Model,
    text: Vec<u8>,
    options: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, model, text: &[u8], options: &str| {
        cases.push(Case { name, model, text: text.to_vec(), options: options.to_owned() });
    };
    for (name, text) in [("empty", &b""[..]), ("one-byte", b"\n"), ("stored", b"\x80\x00~\xffz")] {
        add(name, Model::None, text, "--model none");
    }
    add("zstd", Model::None, &b"0".repeat(5000), "--model none");
    add("byte-mixer", Model::None, &fixture("faust.txt"), "--model none --frame-size 700");
    add("byte-mixer-source", Model::None, &fixture("queue.rs"), "--model none");

    for (name, architecture) in [
        ("llama", Architecture::Llama),
        ("qwen2", Architecture::Qwen2),
        ("qwen3", Architecture::Qwen3),
        ("gemma3", Architecture::Gemma3),
    ] {
        add(name, Model::Seeded(architecture), TEXT, SHORT_FRAMES);
    }
    for (name, options) in [
        ("int4", "--precision int4"),
        ("f32", "--precision f32 --coder ac"),
        ("arithmetic", "--coder ac"),
        ("mixer-2", "-2"),
        ("mixer-9", "-9 --context 16"),
        ("mixer-parts", "--mixer contexts=0x3,matches=0,weight_sets=6,refinements=1"),
        ("rolling", "--coder ac --context 4 --batch 2"),
        ("chunk-reset", "--coder ac --schedule chunk-reset --context 5"),
        ("fixed-window", "--coder ac --schedule fixed-window --context 5"),
        // Chunks so short that lanes jump, and the mixer reads again what came before.
        ("mixer-chunk-reset", "-6 --schedule chunk-reset --context 2 --batch 2"),
        ("mixer-fixed-window", "-9 --schedule fixed-window --context 3"),
        ("mixer-choice", "-6"),
        ("mixer-choice-9", "-9 --context 16"),
        ("mixer-choice-parts", "--mixer contexts=0x3,matches=0,weight_sets=6,refinements=1"),
    ] {
        add(name, LLAMA, TEXT, &format!("{options} {SHORT_FRAMES}"));
    }
    let text = adapters::text(60);
    for (name, options) in [
        ("adapter", "--coder ac"),
        ("adapter-int4-weights", "--coder ac --precision int4"),
        ("adapter-embedded-int4", "--coder ac --embed-adapter=int4"),
        ("adapter-embedded-int8", "--coder ac --embed-adapter=int8"),
        ("adapter-embedded-f16", "-6 --embed-adapter=f16 --precision f32"),
    ] {
        add(name, LLAMA, &text, &format!("{options} --adapter adapter {SHORT_FRAMES}"));
    }
    let lines = [TEXT, b"\n", &TEXT[..40], b"\r\n\n", &TEXT[20..60]].concat();
    for (name, options) in [
        ("learn-arithmetic", "--learn --coder ac"),
        ("learn-mixer", "--learn -6"),
        ("learn-mixer-choice", "--learn -6"),
        ("lines", "--lines"),
        ("lines-mixer", "--lines -2"),
        ("records-of-bytes", "--records 24"),
        ("prime", "--prime prime --coder ac --context 16"),
        ("lines-primed", "--lines --prime prime"),
    ] {
        add(name, LLAMA, &lines, &format!("{options} {SHORT_FRAMES}"));
    }
    for (name, options) in [
        ("message", "--compact"),
        ("message-mixer", "--compact -2"),
        ("message-mixer-choice", "--compact -2"),
    ] {
        add(name, LLAMA, &TEXT[..40], options);
    }
    add("message-primed", LLAMA, &TEXT[..40], "--compact --prime prime --write-profile profile");
    add("message-stored", Model::None, b"\x80\x00~\xffz", "--model none --compact");
    add("message-bytes", Model::None, &fixture("faust.txt"), "--model none --compact");
    for (name, options) in [
        ("real", ""),
        ("real-9", "-9 --batch 2"),
        ("real-choice", ""),
        ("real-arithmetic", "--coder ac --schedule chunk-reset --context 64"),
    ] {
        add(name, Model::Real, &fixture("faust.txt"), options);
    }
    for (name, backend) in [
        ("real-rank-zlib", "zlib"),
        ("real-rank-zstd", "zstd"),
        ("real-rank-brotli", "brotli"),
        ("real-rank-bzip2", "bzip2"),
    ] {
        let options = format!("--coder rank --rank-backend {backend} --batch 8");
        add(name, Model::Real, &fixture("alice.txt"), &options);
    }
    // The model knows it by heart, and there is nothing to learn: its payload is in the model's odds.
    add("real-choice-plain", Model::Real, &fixture("alice.txt")[..900], "--compact -9");
    let short = b"The train leaves at nine, see you there.";
    add("real-message", Model::Real, short, "--compact");
    add("real-lines", Model::Real, &fixture("faust.txt")[..300], "--lines");
    add("real-source", Model::Real, &fixture("queue.rs"), "-6 --frame-size 512");
    cases
}

fn golden_path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/v1");
    folder.join(format!("{name}.fz"))
}

/// Whether a case needs the profile that lies beside its archive.
fn has_profile(case: &Case) -> bool {
    case.options.contains("--write-profile")
}

fn profile_path(name: &str) -> PathBuf {
    golden_path(name).with_extension("profile")
}

/// A folder with the model of a case.
fn sandbox_of(model: Model) -> Sandbox {
    let sandbox = Sandbox::new();
    if let Model::Seeded(architecture) = model {
        let seeded = SeededModel { architecture, ..SeededModel::default() };
        sandbox.write("small.gguf", seeded.to_gguf().unwrap());
        adapters::first_adapter().save(sandbox.path("adapter")).unwrap();
        sandbox.write("prime", b" the and of the in of and");
    }
    sandbox
}

/// The archive of a case, made now if it is missing and that was asked for.
fn archive_of(case: &Case, sandbox: &Sandbox) -> Vec<u8> {
    let path = golden_path(case.name);
    if !path.exists() && std::env::var_os("FINEZIP_NEW_GOLDEN").is_some() {
        sandbox.write("text", &case.text);
        let mut arguments = vec!["compress", "-f", "text"];
        if let Model::Seeded(_) = case.model {
            arguments.extend(["--model", "small.gguf"]);
        }
        arguments.extend(case.options.split_whitespace());
        sandbox.done(&arguments);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, sandbox.read("text.fz")).unwrap();
        if has_profile(case) {
            std::fs::write(profile_path(case.name), sandbox.read("profile")).unwrap();
        }
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn decode(model: Model) {
    let cases = cases();
    let of_model: Vec<_> = cases.iter().filter(|case| case.model == model).collect();
    assert!(!of_model.is_empty());
    let sandbox = sandbox_of(model);
    for case in of_model {
        sandbox.write("golden.fz", archive_of(case, &sandbox));
        if has_profile(case) {
            sandbox.write("profile", std::fs::read(profile_path(case.name)).unwrap());
        }
        for (isa, threads) in [("", "2"), ("scalar", "1")] {
            // The scalar path takes seconds for each word of a real model.
            if model == Model::Real && isa == "scalar" {
                continue;
            }
            let mut command = sandbox.command(&["decompress", "-c", "golden.fz", "-T", threads]);
            if let Model::Seeded(_) = model {
                command.args(["--model", "small.gguf", "--adapter", "adapter"]);
            }
            if has_profile(case) {
                command.args(["--profile", "profile"]);
            }
            let output = command.env("FINEZIP_ISA", isa).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{}: {said}", case.name);
            assert_eq!(output.stdout, case.text, "{}", case.name);
        }
    }
}

#[test]
fn archives_without_a_model_decode_for_ever() {
    decode(Model::None);
}

#[test]
fn archives_of_every_family_coder_and_schedule_decode_for_ever() {
    for architecture in
        [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3, Architecture::Gemma3]
    {
        decode(Model::Seeded(architecture));
    }
}

#[test]
fn archives_of_the_real_model_decode_for_ever() {
    decode(Model::Real);
}

/// Every file in the folder is of a case here: none is forgotten when the list changes.
#[test]
fn no_golden_archive_is_left_out() {
    let folder = golden_path("any").parent().unwrap().to_owned();
    let mut found: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    let mut known: Vec<_> = cases().iter().map(|case| golden_path(case.name)).collect();
    known.extend(
        cases().iter().filter(|case| has_profile(case)).map(|case| profile_path(case.name)),
    );
    found.sort();
    known.sort();
    assert_eq!(found, known);
}
