//! Archives coded with a language model, with small seeded ones so that thousands of runs are
//! quick: what is found again by hash, what is refused, damage.

use std::fs;

use finezip_models::seeded::SeededModel;
use serde_json::Value;

use crate::contents::awkward_contents;
use crate::support::{Ran, Sandbox, fixture};

/// Text of the seeded vocabulary's longer tokens, in frames so short that only the model makes
/// them small.
const TEXT: &[u8] =
    b" of of the in and the and the of in and in the and the and in of and in and the and \
in and and the the and and and and of of and and and and in of the of in and and of \
the of of the of the of of of in of and in in and the of the of";

/// Options under which frames are coded with the model.
const SHORT_FRAMES: [&str; 4] = ["--model", "small.gguf", "--frame-size", "24"];

fn with_model() -> Sandbox {
    Sandbox::with_small_model(TEXT)
}

/// Compresses the text with more options; the archive has model frames (ranks of so small a model
/// are longer than what the byte coder makes).
fn compress(sandbox: &Sandbox, options: &[&str]) -> Vec<u8> {
    let arguments = [&["compress", "-f", "text"], &SHORT_FRAMES[..], options].concat();
    sandbox.done(&arguments);
    let frames = &sandbox.listed("text.fz")["members"][0]["frames"];
    let coded = frames.as_array().unwrap().iter().filter(|frame| frame["method"] == "model");
    assert!(coded.count() > 3 || options.contains(&"rank"), "{options:?}: {frames:#}");
    sandbox.read("text.fz")
}

/// What readers refuse is not written.
#[test]
fn what_could_not_be_read_again_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("small.gguf", SeededModel::default().to_gguf().unwrap());
    sandbox.write("text", TEXT.repeat(200));
    let compress = ["compress", "--model", "small.gguf", "--rm", "text"];
    let ran = sandbox.run(&[&compress[..], &["--batch", "1025", "--context", "2"]].concat());
    ran.expect_code(2).expect_said(&["1025 lanes", "readers take 1024"]);
    // Found by arguments drawn at random: they were all started.
    let ran = sandbox.run(&[&compress[..], &["-T", "18446744073709551615"]].concat());
    ran.expect_code(2).expect_said(&["--threads"]);
    assert_eq!(sandbox.names(), ["small.gguf", "text"]);
    sandbox.done(&[&compress[..], &["--batch", "1024", "--context", "2"]].concat());
    sandbox.done(&["decompress", "--model", "small.gguf", "text.fz"]);
    assert_eq!(sandbox.read("text"), TEXT.repeat(200));
}

#[test]
fn every_engine_and_coder_comes_back() {
    let sandbox = with_model();
    for options in [
        &[][..],
        &["--coder", "ac"],
        &["-1"],
        &["-2"],
        &["-9"],
        &["--coder", "mixer", "-3"],
        &["-4", "--mixer", "contexts=0x3,matches=0,weight_sets=6,refinements=0"],
        &["--coder", "rank"],
        &["--coder", "rank", "--rank-backend", "zstd"],
        &["--coder", "rank", "--rank-backend", "brotli"],
        &["--coder", "rank", "--rank-backend", "bzip2"],
        &["--coder", "ac", "--schedule", "chunk-reset", "--context", "7"],
        &["--coder", "ac", "--schedule", "fixed-window", "--context", "7"],
        &["--engine", "candle", "--coder", "ac"],
        &["--engine", "candle", "--coder", "rank"],
        &["--engine", "exact", "--precision", "f32"],
        &["--context", "4", "--batch", "3", "--memory", "1M"],
        &["--context", "1"],
    ] {
        compress(&sandbox, &[options, &["--verify"]].concat());
        let ran = sandbox.done(&["decompress", "-c", "text.fz", "--model", "small.gguf"]);
        assert_eq!(ran.stdout, TEXT, "{options:?}");
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    }
}

#[test]
fn awkward_contents_come_back_through_a_model() {
    let sandbox = with_model();
    for coder in ["ac", "rank"] {
        for (name, bytes) in awkward_contents() {
            sandbox.write("text", &bytes);
            let options = ["compress", "-f", "--coder", coder, "text"];
            sandbox.done(&[&options[..], &SHORT_FRAMES].concat());
            let ran = sandbox.done(&["decompress", "-c", "text.fz", "--model", "small.gguf"]);
            assert_eq!(ran.stdout, bytes, "{coder}: {name}");
        }
    }
}

#[test]
fn archives_say_what_they_need() {
    let sandbox = with_model();
    compress(&sandbox, &["--coder", "ac", "--context", "7"]);
    let archive = sandbox.listed("text.fz");
    let language = &archive["members"][0]["language"];
    assert_eq!(language["model"], "small");
    assert_eq!(language["blake3"].as_str().unwrap().len(), 64);
    assert_eq!(language["exact_everywhere"], true);
    assert!(language["engine"].as_str().unwrap().starts_with("exact/"), "{language}");
    assert_eq!(language["schedule"], "rolling/1 sinks=1 window=7");
    assert_eq!(language["coder"], "ac/1");
    let people = String::from_utf8(sandbox.done(&["list", "text.fz"]).stdout).unwrap();
    for part in ["small (BLAKE3 ", "exact/", "everywhere", "rolling/1", "ac/1", "model "] {
        assert!(people.contains(part), "{part} is not in {people}");
    }
    compress(&sandbox, &["--engine", "candle"]);
    let language = &sandbox.listed("text.fz")["members"][0]["language"];
    assert_eq!(language["exact_everywhere"], false);
    assert!(language["machine_kind"].as_str().unwrap().contains(std::env::consts::ARCH));
    assert!(language["schedule"].as_str().unwrap().starts_with("chunk-reset/1 "), "{language}");
}

#[test]
fn neither_folder_nor_threads_nor_process_change_a_byte() {
    let sandbox = with_model();
    let archive = compress(&sandbox, &["-T", "1"]);
    for threads in ["2", "3", "0"] {
        assert_eq!(compress(&sandbox, &["-T", threads]), archive, "{threads} threads");
    }
    let other = with_model();
    assert_eq!(compress(&other, &[]), archive);
    other.write("moved.gguf", other.read("small.gguf"));
    for threads in ["1", "2", "5"] {
        let ran =
            other.done(&["decompress", "-c", "text.fz", "--model", "moved.gguf", "-T", threads]);
        assert_eq!(ran.stdout, TEXT);
    }
}

#[test]
fn a_missing_model_is_named_with_its_hash_and_what_to_do() {
    let sandbox = with_model();
    compress(&sandbox, &[]);
    let hash =
        sandbox.listed("text.fz")["members"][0]["language"]["blake3"].as_str().unwrap().to_owned();
    for command in ["decompress", "test", "cat"] {
        sandbox.run(&[command, "text.fz"]).expect_code(if command == "decompress" { 1 } else { 4 });
    }
    std::fs::remove_file(sandbox.path("text")).unwrap();
    sandbox.run(&["decompress", "text.fz"]).expect_code(4).expect_said(&[
        "finezip-cli: text.fz: model small",
        &hash,
        "--model PATH",
    ]);
    assert_eq!(sandbox.names(), ["small.gguf", "text.fz"]);
}

#[test]
fn another_model_is_refused_by_its_hash() {
    let sandbox = with_model();
    compress(&sandbox, &[]);
    let hash =
        sandbox.listed("text.fz")["members"][0]["language"]["blake3"].as_str().unwrap().to_owned();
    let other = SeededModel { seed: 2, ..SeededModel::default() };
    sandbox.write("other.gguf", other.to_gguf().unwrap());
    sandbox.run(&["test", "text.fz", "--model", "other.gguf"]).expect_code(4).expect_said(&[
        "needs model small",
        &hash,
        "other.gguf",
    ]);
    sandbox.write("broken.gguf", &sandbox.read("small.gguf")[..1000]);
    sandbox.run(&["test", "text.fz", "--model", "broken.gguf"]).expect_code(4);
    sandbox.run(&["test", "text.fz", "--model", "nowhere.gguf"]).expect_code(4);
    sandbox.run(&["compress", "-f", "text", "--model", "broken.gguf"]).expect_code(4);
    sandbox.run(&["compress", "-f", "text", "--model", "./nowhere"]).expect_code(4);
    let ran = sandbox.run(&["compress", "-f", "text", "--model", "nobody-s-model"]).expect_code(2);
    ran.expect_said(&["no model nobody-s-model", "smollm2-135m, "]);
}

/// A name in an archive is anyone's: it neither steers the terminal nor begins a line.
#[test]
fn names_in_archives_are_shown_as_they_are() {
    let sandbox = with_model();
    let name = "small\u{1b}]0;gone\u{7}\nmember 7";
    fs::rename(sandbox.path("small.gguf"), sandbox.path(&format!("{name}.gguf"))).unwrap();
    let model = format!("./{name}.gguf");
    sandbox.done(&["compress", "--frame-size", "24", "--model", &model, "text"]);
    let language = &sandbox.listed("text.fz")["members"][0]["language"];
    assert_eq!(language["model"], name);
    let shown = String::from_utf8(sandbox.done(&["list", "text.fz"]).stdout).unwrap();
    assert!(shown.contains("small\\u{1b}]0;gone\\u{7}\\nmember 7"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{7}']) && !shown.contains("\nmember 7"), "{shown}");
    let ran = sandbox.run(&["test", "text.fz"]).expect_code(4);
    ran.expect_said(&["small\\u{1b}]0;gone\\u{7}\\nmember 7"]);
}

/// Archives may follow one another that need different models, of which --model names one.
#[test]
fn a_model_that_is_given_leaves_others_to_the_cache() {
    let sandbox = with_model();
    let archive = compress(&sandbox, &[]);
    sandbox.write("other", &fixture("alice.txt")[..400]);
    sandbox.done(&["compress", "--coder", "ac", "other"]);
    assert!(!sandbox.listed("other.fz")["members"][0]["language"].is_null());
    sandbox.write("both.fz", [&sandbox.read("other.fz")[..], &archive].concat());
    sandbox.done(&["test", "both.fz", "--model", "small.gguf"]);
    sandbox.run(&["test", "both.fz"]).expect_code(4);
}

#[test]
fn an_archive_of_another_machine_kind_comes_with_a_warning() {
    let sandbox = with_model();
    let archive = compress(&sandbox, &["--engine", "candle", "--coder", "ac"]);
    // The same archive as another machine would have written it: its kind renamed, its checksum
    // set right.
    let arch = std::env::consts::ARCH.as_bytes();
    let at = archive.windows(arch.len()).position(|bytes| bytes == arch).unwrap();
    let mut other = archive.clone();
    other[at] ^= 1;
    let descriptor = 5;
    assert_eq!(other[descriptor], b'D');
    let (length, digits) = varint(&other[descriptor + 1..]);
    let end = descriptor + 1 + digits + length;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&0_u64.to_le_bytes());
    crc.update(&other[descriptor..end]);
    other[end..end + 4].copy_from_slice(&crc.finalize().to_le_bytes());
    sandbox.write("text.fz", &other);
    let ran = sandbox.done(&["decompress", "-c", "text.fz", "--model", "small.gguf"]);
    assert_eq!(ran.stdout, TEXT);
    ran.expect_said(&["warning", "same kind of machine only", "candle"]);
    let quiet = sandbox.done(&["decompress", "-q", "-c", "text.fz", "--model", "small.gguf"]);
    assert_eq!(quiet.stderr, "");
}

fn varint(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..digits].iter().rev().fold(0, |sum, byte| sum << 7 | (byte & 0x7F) as usize);
    (value, digits)
}

#[test]
fn damaged_archives_of_a_model_are_refused() {
    let sandbox = with_model();
    let archive = compress(&sandbox, &["--coder", "ac"]);
    std::fs::remove_file(sandbox.path("text")).unwrap();
    std::fs::remove_file(sandbox.path("text.fz")).unwrap();
    let refused = |damaged: &[u8], what: String| {
        sandbox.write("bad.fz", damaged);
        let ran = sandbox.run(&["decompress", "bad.fz", "--model", "small.gguf"]);
        assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
        assert_eq!(sandbox.names(), ["bad.fz", "small.gguf"], "{what}");
    };
    for length in 0..archive.len() {
        refused(&archive[..length], format!("cut to {length} of {}", archive.len()));
    }
    for place in 0..archive.len() {
        let mut damaged = archive.clone();
        damaged[place] ^= 1 << (place % 8);
        refused(&damaged, format!("byte {place} of {}", archive.len()));
    }
}

#[test]
fn ranges_decode_only_what_they_need() {
    let sandbox = with_model();
    compress(&sandbox, &[]);
    for (range, expected) in
        [("30..60", &TEXT[30..60]), ("100..", &TEXT[100..]), ("..3", &TEXT[..3])]
    {
        let arguments = ["cat", "--range", range, "text.fz", "--model", "small.gguf"];
        assert_eq!(sandbox.done(&arguments).stdout, expected, "{range}");
    }
}

#[test]
fn more_memory_than_allowed_is_refused() {
    let sandbox = with_model();
    compress(&sandbox, &["--batch", "4"]);
    sandbox
        .run(&["test", "text.fz", "--model", "small.gguf", "--memory", "1K"])
        .expect_code(3)
        .expect_said(&["bytes of session memory", "--memory"]);
}

/// The bytes that a run which was refused would take.
fn bytes_needed(refused: &Ran) -> u64 {
    let (_, said) = refused.stderr.split_once(" takes ").unwrap();
    said.split_once(" bytes").unwrap().0.parse().unwrap()
}

/// What such a window takes need not be a number that there is.
#[test]
fn a_window_that_no_model_has_is_wrong_usage() {
    let sandbox = with_model();
    sandbox.write("prime", b"the");
    for schedule in ["rolling", "chunk-reset", "fixed-window"] {
        for context in [1 << 32, usize::MAX / 2, usize::MAX] {
            let context = context.to_string();
            for more in [&[][..], &["--memory", "1M"], &["--batch", "2"], &["--prime", "prime"]] {
                let asked = ["compress", "text", "--schedule", schedule, "--context", &context];
                let ran = sandbox.run(&[&asked[..], &SHORT_FRAMES, more].concat());
                ran.expect_code(2).expect_said(&[&format!("a window of {context} tokens; ")]);
            }
        }
    }
    assert_eq!(sandbox.names(), ["prime", "small.gguf", "text"]);
}

/// Verification has the same memory: what it would refuse is refused before anything is coded.
#[test]
fn memory_without_room_for_the_lanes_is_wrong_usage_and_no_damage() {
    let sandbox = with_model();
    for (options, what) in [
        (&[][..], "a single lane takes"),
        (&["--lines"][..], "a single lane takes"),
        (&["--batch", "7"][..], "--batch 7 takes"),
        // Several lanes in a group of 16.
        (&["--engine", "candle", "--context", "2"][..], "a single lane takes"),
        (&["--engine", "candle", "--context", "2", "--batch", "17"][..], "--batch 17 takes"),
    ] {
        let compress = |memory: &str| {
            let arguments = ["compress", "--verify", "--memory", memory, "text"];
            sandbox.run(&[&arguments[..], &SHORT_FRAMES, options].concat())
        };
        let refused = compress("100").expect_code(2).expect_said(&["--memory 100: ", what]);
        let needed = bytes_needed(&refused);
        compress(&(needed - 1).to_string()).expect_code(2).expect_said(&[what]);
        assert_eq!(sandbox.names(), ["small.gguf", "text"], "{options:?}");
        compress(&needed.to_string()).expect_code(0);
        let memory = needed.to_string();
        let reading = ["decompress", "-c", "text.fz", "--model", "small.gguf", "--memory", &memory];
        assert_eq!(sandbox.done(&reading).stdout, TEXT, "{options:?}");
        std::fs::remove_file(sandbox.path("text.fz")).unwrap();
    }
}

/// candle computes rows that no lane has; they take memory as well.
#[test]
fn a_group_of_candle_s_counts_as_a_whole() {
    let sandbox = with_model();
    // One or two lanes of 28 KB, in a group of 16.
    compress(&sandbox, &["--engine", "candle", "--coder", "ac", "--context", "16"]);
    let test = ["test", "text.fz", "--model", "small.gguf", "--memory"];
    sandbox
        .run(&[&test[..], &["256K"]].concat())
        .expect_code(3)
        .expect_said(&["bytes of session memory", "--memory"]);
    sandbox.done(&[&test[..], &["16M"]].concat());
}

#[test]
fn the_ideal_code_length_is_reported_beside_the_coder_s() {
    let sandbox = with_model();
    let arguments = ["compress", "-f", "--coder", "ac", "--ideal", "text"];
    let ran = sandbox.done(&[&arguments[..], &SHORT_FRAMES].concat());
    ran.expect_said(&["ideal code length ", "coder ", "%)"]);
}

#[test]
fn a_window_longer_than_the_model_s_is_refused() {
    let sandbox = with_model();
    sandbox
        .run(&["compress", "-f", "text", "--model", "small.gguf", "--context", "100000"])
        .expect_code(2)
        .expect_said(&["100000"]);
}

#[test]
fn statistics_tell_programs_what_was_measured() {
    let sandbox = with_model();
    let arguments = ["--coder", "ac", "--context", "16", "--batch", "1", "--ideal"];
    compress(&sandbox, &[&arguments[..], &["--statistics", "statistics"]].concat());
    let text = String::from_utf8(sandbox.read("statistics")).unwrap();
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["text_bytes"], TEXT.len());
    assert_eq!(line["archive_bytes"], sandbox.read("text.fz").len());
    let measured = &line["measured"];
    let number = |value: &Value| value.as_f64().unwrap();
    let bytes = |key: &str| number(&measured[key]);
    assert!(bytes("ideal_bytes") <= bytes("payload_bytes"), "{measured}");
    assert!(bytes("rank_0") <= bytes("ranks_0_to_15"), "{measured}");
    assert!(bytes("ranks_0_to_15") <= bytes("tokens"), "{measured}");
    let positions = measured["positions"].as_array().unwrap();
    let total = |key: &str| positions.iter().map(|position| number(&position[key])).sum::<f64>();
    assert_eq!(total("tokens"), bytes("tokens"));
    assert!((total("ideal_bits") / 8.0 - bytes("ideal_bytes")).abs() < 1e-6);
    // One lane a frame: the first bucket holds the first token of each.
    let frames = number(&line["model_frames"]) + number(&line["other_frames"]);
    assert_eq!(positions[0]["tokens"].as_f64(), Some(frames));
    assert_eq!(positions[2]["from"], 2);
    sandbox.done(&["compress", "-f", "--model", "none", "--statistics", "statistics", "text"]);
    let text = String::from_utf8(sandbox.read("statistics")).unwrap();
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["measured"], Value::Null);
    assert_eq!(line["tokens"], 0);
}
