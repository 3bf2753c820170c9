//! Messages and records, with a small seeded model and without one.

use crate::contents::awkward_contents;
use crate::support::{Ran, Sandbox};

/// Text of the seeded vocabulary's longer tokens, which the model makes small.
const TEXT: &[u8] =
    b" of of the in and the and the of in and in the and the and in of and in and the and";

fn with_model() -> Sandbox {
    Sandbox::with_small_model(TEXT)
}

fn compact(sandbox: &Sandbox, options: &[&str]) -> Vec<u8> {
    let arguments = ["compress", "-f", "--verify", "--compact", "--model", "small.gguf", "text"];
    sandbox.done(&[&arguments[..], options].concat());
    sandbox.read("text.fz")
}

fn decompress(sandbox: &Sandbox, options: &[&str]) -> Ran {
    sandbox.run(&[&["decompress", "-c", "text.fz"], options].concat())
}

#[test]
fn messages_come_back_with_the_model_alone() {
    let sandbox = with_model();
    for options in [&[][..], &["--precision", "int4"], &["-3"], &["--coder", "mixer", "-9"]] {
        let message = compact(&sandbox, options);
        assert!(message[0] == 0x92 && message.len() < TEXT.len() - 20, "{options:?}: {message:?}");
        let ran = decompress(&sandbox, &["--model", "small.gguf"]).expect_code(0);
        assert_eq!(ran.stdout, TEXT, "{options:?}");
        sandbox.done(&["test", "--model", "small.gguf", "text.fz"]);
    }
}

#[test]
fn messages_are_not_joined_and_not_taken_for_archives() {
    let sandbox = with_model();
    sandbox.write("more", TEXT);
    let both = ["compress", "--compact", "--model", "small.gguf", "-c", "text", "more"];
    assert_eq!(sandbox.run(&both).expect_code(2).stdout, b"");
    compact(&sandbox, &[]);
    for reading in [&["list"][..], &["cat"], &["decompress", "--recover", "-c"]] {
        let ran = sandbox.run(&[reading, &["text.fz"]].concat());
        ran.expect_code(3).expect_said(&["it is a message", "decompress"]);
    }
}

#[test]
fn records_that_the_model_does_not_make_smaller_do_not_need_it() {
    let sandbox = with_model();
    let compress = ["compress", "-f", "--lines", "--model", "small.gguf", "text"];
    for text in [b"a\n\xff\x00b\n".to_vec(), crate::support::random_bytes(9000, 3)] {
        sandbox.write("text", &text);
        sandbox.done(&compress);
        assert!(sandbox.read("text.fz").len() < text.len() + text.len() / 8 + 200);
        assert_eq!(sandbox.run(&["decompress", "-c", "text.fz"]).expect_code(0).stdout, text);
    }
}

#[test]
fn other_settings_need_their_profile_and_errors_name_it() {
    let sandbox = with_model();
    let options = ["--context", "20", "--engine", "candle", "--write-profile", "profile"];
    let message = compact(&sandbox, &options);
    let name: String = message[1..5].iter().rev().map(|byte| format!("{byte:02x}")).collect();
    decompress(&sandbox, &["--model", "small.gguf"]).expect_code(4).expect_said(&[
        &format!("needs profile {name}"),
        "small",
        "--write-profile",
        "--profile FILE",
    ]);
    let with = ["--model", "small.gguf", "--profile", "profile"];
    assert_eq!(decompress(&sandbox, &with).expect_code(0).stdout, TEXT);
    // Another profile, none at all, and one whose model is not at hand.
    sandbox.write("kept.fz", &message);
    compact(&sandbox, &["--write-profile", "other"]);
    sandbox.write("text.fz", &message);
    let other = ["--model", "small.gguf", "--profile", "other"];
    decompress(&sandbox, &other).expect_code(4).expect_said(&[&name, "at hand is"]);
    let none = ["--model", "small.gguf", "--profile", "text"];
    decompress(&sandbox, &none).expect_code(3).expect_said(&["not a finezip profile"]);
    decompress(&sandbox, &["--profile", "profile"]).expect_code(4).expect_said(&["small (BLAKE3 "]);
}

#[test]
fn profiles_and_statistics_take_no_file_s_place() {
    let sandbox = with_model();
    let prime = b" the and of the in of and";
    sandbox.write("prime", prime);
    sandbox.write("kept", b"kept");
    std::fs::create_dir(sandbox.path("below")).unwrap();
    let model = sandbox.read("small.gguf");
    let compress = ["compress", "--compact", "--model", "small.gguf", "--prime", "prime", "text"];
    for (options, said) in [
        (&["--write-profile", "./text"][..], "./text is an input"),
        (&["--write-profile", "prime"], "prime is read as well"),
        (&["--statistics", "prime"], "prime is read as well"),
        (&["--statistics", "small.gguf"], "small.gguf is read as well"),
        (&["--write-profile", "text.fz"], "text.fz is an output as well"),
        (&["--write-profile", "below/../m", "-o", "m"], "below/../m is an output as well"),
        (&["--statistics", "m", "-o", "./m"], "m is an output as well"),
        (&["--statistics", "m", "--write-profile", "./m"], "./m is named for two things"),
    ] {
        for force in [&[][..], &["-f"]] {
            let ran = sandbox.run(&[&compress[..], options, force].concat());
            ran.expect_code(1).expect_said(&[said]);
            let names = ["below", "kept", "prime", "small.gguf", "text"];
            assert_eq!(sandbox.names(), names, "{options:?}");
        }
    }
    assert_eq!((sandbox.read("text"), sandbox.read("prime")), (TEXT.to_vec(), prime.to_vec()));
    assert_eq!(sandbox.read("small.gguf"), model);

    let over_other = [&compress[..], &["--write-profile", "kept"]].concat();
    sandbox.run(&over_other).expect_code(1).expect_said(&["kept exists already", "-f"]);
    assert_eq!(sandbox.read("kept"), b"kept");
    sandbox.done(&[&over_other[..], &["-f"]].concat());
    let reading = ["--model", "small.gguf", "--profile", "kept"];
    assert_eq!(decompress(&sandbox, &reading).expect_code(0).stdout, TEXT);
}

#[test]
fn a_prime_is_in_the_profile_and_in_archives() {
    let sandbox = with_model();
    sandbox.write("prime", b" the and of the in of and");
    let without = compact(&sandbox, &[]);
    let with = compact(&sandbox, &["--prime", "prime", "--write-profile", "profile"]);
    assert_ne!(with[1..5], without[1..5]);
    let reading = ["--model", "small.gguf", "--profile", "profile"];
    assert_eq!(decompress(&sandbox, &reading).expect_code(0).stdout, TEXT);
    let lines = [TEXT, b"\n", &TEXT[..40], b"\n\n", &TEXT[20..60]].concat();
    sandbox.write("text", &lines);
    for options in [&["--lines"][..], &[]] {
        let all =
            ["compress", "-f", "--verify", "--model", "small.gguf", "--prime", "prime", "text"];
        sandbox.done(&[&all[..], options].concat());
        let ran = decompress(&sandbox, &["--model", "small.gguf"]).expect_code(0);
        assert_eq!(ran.stdout, lines, "{options:?}");
    }
    sandbox.write("prime", vec![b'a'; 40 << 10]);
    sandbox
        .run(&["compress", "-f", "--compact", "--model", "small.gguf", "--prime", "prime", "text"])
        .expect_code(2)
        .expect_said(&["a prime has 1 to 32768 bytes, 40960 were given"]);
}

#[test]
fn awkward_contents_come_back_as_messages_and_as_records() {
    let sandbox = with_model();
    for (name, bytes) in awkward_contents() {
        sandbox.write("text", &bytes);
        for model in ["none", "small.gguf"] {
            for options in
                [&["--compact"][..], &["--lines"], &["--records", "nul"], &["--records", "7"]]
            {
                if options[0] == "--compact" && bytes.len() > 64 << 10 {
                    continue;
                }
                let all = ["compress", "-f", "--model", model, "text"];
                sandbox.done(&[&all[..], options].concat());
                let reading = if model == "none" { &[][..] } else { &["--model", model] };
                let ran = decompress(&sandbox, reading).expect_code(0);
                assert!(ran.stdout == bytes, "{name}: {model} {options:?}");
            }
        }
    }
}

/// 51 lines, which end in more than one way.
fn lines() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0..50 {
        text.extend_from_slice(&TEXT[line % 20..30 + line]);
        text.extend_from_slice(if line % 3 == 0 { b"\r\n" } else { b"\n" });
    }
    text.extend_from_slice(b"without an end");
    text
}

#[test]
fn reading_tells_the_parts_in_use_where_that_is_asked_for() {
    let sandbox = with_model();
    compact(&sandbox, &[]);
    std::fs::rename(sandbox.path("text.fz"), sandbox.path("message")).unwrap();
    sandbox.write("text", lines());
    // In short frames the model is worth its description; what needs no model does not name it.
    sandbox.done(&["compress", "--lines", "--frame-size", "1K", "--model", "small.gguf", "text"]);
    let parts = ["  model small (BLAKE3 ", ", engine exact/", ", schedule rolling/", ", coder ac/"];
    for reading in [
        &["decompress", "-c", "text.fz"][..],
        &["decompress", "-c", "message"],
        &["test", "text.fz"],
        &["cat", "text.fz"],
        &["cat", "--record", "2..5", "text.fz"],
    ] {
        let usual = sandbox.done(&[reading, &["--model", "small.gguf"]].concat());
        assert!(!usual.stderr.contains(parts[1]), "{reading:?}: {}", usual.stderr);
        let verbose = sandbox.done(&[reading, &["--model", "small.gguf", "-v"]].concat());
        let verbose = verbose.expect_said(&parts);
        if reading.contains(&"--record") {
            verbose.expect_said(&["3 of 51 records"]);
        }
    }
}

#[test]
fn records_are_read_alone() {
    let sandbox = with_model();
    let text = lines();
    sandbox.write("text", &text);
    sandbox.done(&["compress", "--lines", "--frame-size", "1K", "--model", "small.gguf", "text"]);
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let cat = |wanted: &str| {
        sandbox.run(&["cat", "--record", wanted, "--model", "small.gguf", "text.fz"])
    };
    for number in [0, 1, 33, 50] {
        assert_eq!(cat(&number.to_string()).expect_code(0).stdout, lines[number], "{number}");
    }
    assert_eq!(cat("3..9").expect_code(0).stdout, lines[3..9].concat());
    assert_eq!(cat("..").expect_code(0).stdout, text);
    cat("51").expect_code(2).expect_said(&["there is no record 51; the archive has 51"]);
    cat("seven").expect_code(2).expect_said(&["'seven' for '--record"]);
    let listed = sandbox.listed("text.fz");
    let frames = listed["members"][0]["frames"].as_array().unwrap();
    let records: u64 = frames.iter().map(|frame| frame["records"].as_u64().unwrap()).sum();
    assert!(frames.len() > 1 && records == 51, "{frames:?}");
    assert_eq!(frames[0]["method"], "records");
    let range = ["cat", "--range", "100..300", "--model", "small.gguf", "text.fz"];
    assert_eq!(sandbox.done(&range).stdout, text[100..300]);
    sandbox.done(&["compress", "-f", "--model", "none", "text"]);
    cat("1").expect_code(2).expect_said(&["has no records", "--lines"]);
}

#[test]
fn lanes_and_threads_change_no_record() {
    let sandbox = with_model();
    let text: Vec<u8> =
        (0..40).flat_map(|line| [&TEXT[line % 30..40 + line], b"\n"].concat()).collect();
    sandbox.write("text", &text);
    let archive = |options: &[&str]| {
        let all = ["compress", "-f", "--lines", "--model", "small.gguf", "text"];
        sandbox.done(&[&all[..], options].concat());
        sandbox.read("text.fz")
    };
    let expected = archive(&["-T", "1", "--batch", "1"]);
    for options in [&["-T", "1"][..], &["-T", "3"], &["-T", "2", "--batch", "12"]] {
        assert_eq!(archive(options), expected, "{options:?}");
    }
}

#[test]
fn damaged_messages_are_refused() {
    let sandbox = with_model();
    let message = compact(&sandbox, &[]);
    for length in 1..message.len() {
        sandbox.write("text.fz", &message[..length]);
        let ran = decompress(&sandbox, &["--model", "small.gguf"]);
        assert!(ran.code == Some(3) && ran.stdout.is_empty(), "cut to {length}: {}", ran.stderr);
    }
    for place in 5..message.len() {
        let mut damaged = message.clone();
        damaged[place] ^= 0x10;
        sandbox.write("text.fz", &damaged);
        let ran = decompress(&sandbox, &["--model", "small.gguf"]);
        // The last bits of a payload may not be needed.
        let needless = ran.code == Some(0) && ran.stdout == TEXT && place + 1 == message.len();
        let refused = ran.code == Some(3) && ran.stdout.is_empty();
        assert!(refused || needless, "byte {place}: {}", ran.stderr);
    }
}

#[test]
fn messages_are_held_against_memory_as_archives_are() {
    let sandbox = with_model();
    compact(&sandbox, &[]);
    let reading = ["--model", "small.gguf", "--memory"];
    decompress(&sandbox, &[&reading[..], &["100"]].concat())
        .expect_code(3)
        .expect_said(&["bytes of session memory", "--memory"]);
    let ran = decompress(&sandbox, &[&reading[..], &["1M"]].concat()).expect_code(0);
    assert_eq!(ran.stdout, TEXT);
    let all = ["compress", "-f", "--compact", "--verify", "text"];
    let ran = sandbox.run(&[&all[..], &reading, &["100"]].concat());
    ran.expect_code(2).expect_said(&["--memory 100: ", "a single lane takes"]);
    compact(&sandbox, &["--memory", "1M"]);
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let sandbox = with_model();
    for (options, said) in [
        (&["--compact", "--lines"][..], "--lines"),
        (&["--compact", "--records", "nul"], "--records"),
        (&["--lines", "--records", "7"], "--records"),
        (&["--compact", "--frame-size", "1K"], "--frame-size"),
        (&["--compact", "--memorize"], "--memorize"),
        (&["--compact", "--adapter", "text", "--embed-adapter"], "--embed-adapter"),
        (&["--write-profile", "profile"], "--compact"),
        (&["--records", "0"], "--records"),
        (&["--prime", "text", "--model", "none"], "--prime"),
    ] {
        let ran = sandbox.run(&[&["compress", "text"], options].concat());
        ran.expect_code(2).expect_said(&[said]);
    }
    sandbox.write("text", vec![b'a'; (64 << 10) + 1]);
    sandbox
        .run(&["compress", "--compact", "--model", "none", "text"])
        .expect_code(2)
        .expect_said(&["at most 65536 bytes"]);
    let names = sandbox.names();
    assert!(!names.iter().any(|name| name.contains("text.fz")), "{names:?}");
}
