//! SmolLM2-135M, fetched as a user's first run fetches it, on real text.

use serde_json::Value;

use crate::models::SHA256;
use crate::support::{Sandbox, fixture};

/// The archive of a fixture, made with the default model.
fn compress(sandbox: &Sandbox, name: &str, options: &[&str]) -> Vec<u8> {
    sandbox.write(name, fixture(name));
    sandbox.done(&[&["compress", "-f", name], options].concat());
    sandbox.read(&format!("{name}.fz"))
}

#[test]
fn english_comes_back_through_every_coder_and_is_small() {
    let sandbox = Sandbox::new();
    let text_bytes = fixture("alice.txt").len();
    for (options, most_bits_a_byte) in
        [(&[][..], 2.0), (&["--coder", "ac", "-T", "1"], 2.0), (&["--coder", "rank"], 2.6)]
    {
        let archive = compress(&sandbox, "alice.txt", options);
        let bits_a_byte = 8.0 * archive.len() as f64 / text_bytes as f64;
        assert!(bits_a_byte < most_bits_a_byte, "{options:?}: {bits_a_byte}");
        let ran = sandbox.done(&["decompress", "-c", "alice.txt.fz"]);
        assert_eq!(ran.stdout, fixture("alice.txt"), "{options:?}");
    }
}

#[test]
fn other_languages_and_code_come_back() {
    let sandbox = Sandbox::new();
    for name in ["faust.txt", "kokoro.txt", "queue.rs"] {
        compress(&sandbox, name, &["--verify"]);
        let ran = sandbox.done(&["decompress", "-c", &format!("{name}.fz")]);
        assert_eq!(ran.stdout, fixture(name), "{name}");
    }
}

#[test]
fn text_that_spells_special_tokens_comes_back() {
    let sandbox = Sandbox::new();
    let mut text = b"<|im_start|>user\r\nWhat is\0 this?<|im_end|>\n<|endoftext|>\n".repeat(4);
    text.extend_from_slice(&fixture("alice.txt"));
    text.extend_from_slice(b"caf\xE9 \x80\x81");
    sandbox.write("text", &text);
    sandbox.done(&["compress", "text"]);
    assert_eq!(sandbox.listed("text.fz")["members"][0]["frames"][0]["method"], "model");
    assert_eq!(sandbox.done(&["decompress", "-c", "text.fz"]).stdout, text);
}

#[test]
fn another_folder_process_and_thread_count_give_the_same_bytes() {
    let sandbox = Sandbox::new();
    let archive = compress(&sandbox, "faust.txt", &["-T", "1", "--batch", "3"]);
    let other = Sandbox::new();
    assert_eq!(compress(&other, "faust.txt", &["-T", "3", "--batch", "3"]), archive);
    for threads in ["1", "2", "3"] {
        let ran = other.done(&["decompress", "-c", "-T", threads, "faust.txt.fz"]);
        assert_eq!(ran.stdout, fixture("faust.txt"), "{threads} threads");
    }
}

#[test]
fn other_instructions_and_one_thread_give_the_same_bytes() {
    let sandbox = Sandbox::new();
    let text = &fixture("alice.txt")[..600];
    sandbox.write("text", text);
    // Enough lanes for each of two threads to have its own.
    sandbox.done(&["compress", "-T", "2", "--batch", "10", "text"]);
    let with = |isa: &str| {
        let mut command = sandbox.command(&["decompress", "-c", "-T", "1", "text.fz"]);
        command.env("FINEZIP_ISA", isa).output().unwrap()
    };
    for isa in finezip_exact::Isa::available() {
        let output = with(isa.name());
        assert_eq!(output.stdout, text, "{isa}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = with("abacus");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("FINEZIP_ISA: expected one of scalar"),
        "{said}"
    );
}

#[test]
fn the_coder_is_close_to_the_ideal_code_length() {
    let sandbox = Sandbox::new();
    sandbox.write("alice.txt", fixture("alice.txt"));
    let ran = sandbox.done(&["compress", "--coder", "ac", "--ideal", "alice.txt"]);
    let line = ran.stderr.lines().find(|line| line.contains("ideal code length")).unwrap();
    let more: f64 = line.split_once('(').unwrap().1.trim_end_matches("%)").parse().unwrap();
    assert!((-0.1..0.5).contains(&more), "{line}");
}

#[test]
fn candle_works_and_says_where_it_is_exact() {
    let sandbox = Sandbox::new();
    compress(&sandbox, "alice.txt", &["--engine", "candle", "--context", "64"]);
    let listed = String::from_utf8(sandbox.done(&["list", "alice.txt.fz"]).stdout).unwrap();
    assert!(listed.contains("same machine kind: "), "{listed}");
    assert!(listed.contains("smollm2-135m (BLAKE3 "), "{listed}");
    let ran = sandbox.done(&["decompress", "-c", "alice.txt.fz"]);
    assert_eq!(ran.stdout, fixture("alice.txt"));
}

#[test]
fn a_model_that_is_not_here_is_named_with_the_command_that_fetches_it() {
    let sandbox = Sandbox::new();
    compress(&sandbox, "faust.txt", &[]);
    let elsewhere = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("FINEZIP_CACHE", sandbox.path("cache")).env("HF_HOME", sandbox.path("hub"));
        command.output().unwrap()
    };
    // Archives name weights by BLAKE3, the catalog a file by what everybody has a program for.
    let fingerprint = "5f4fa13bfc6dd4a91fd00e22974a9c4e9ed628fd7d7f307398ddf30260d6b2c3";
    for (arguments, hash) in [
        (&["test", "faust.txt.fz"][..], fingerprint),
        (&["decompress", "-c", "faust.txt.fz"], fingerprint),
        (&["compress", "--offline", "-f", "faust.txt"], SHA256),
        (&["models", "path", "smollm2-135m"], SHA256),
    ] {
        let output = elsewhere(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {said}");
        for part in ["smollm2-135m", hash, "finezip-cli models fetch smollm2-135m"] {
            assert!(said.contains(part), "{arguments:?}: {part} is not in: {said}");
        }
    }
}

#[test]
fn models_are_listed_found_and_verified() {
    let sandbox = Sandbox::new();
    let name = "smollm2-135m";
    sandbox.done(&["models", "fetch", name]).expect_said(&["smollm2-135m : "]);
    let path = String::from_utf8(sandbox.done(&["models", "path", name]).stdout).unwrap();
    assert!(path.trim_end().ends_with(".gguf"), "{path}");
    sandbox.done(&["models", "verify", name]).expect_said(&["whole"]);
    sandbox.done(&["models", "verify", path.trim_end()]).expect_said(&["this is smollm2-135m"]);
    let listed = String::from_utf8(sandbox.done(&["models", "list"]).stdout).unwrap();
    assert!(listed.contains("gemma-3-270m") && listed.contains("Apache-2.0"), "{listed}");
    let listed = sandbox.done(&["models", "list", "--json"]).stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let entry = listed.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!(entry["path"], path.trim_end());
    for command in ["fetch", "path", "verify"] {
        let ran = sandbox.run(&["models", command, "nobody-s-model"]).expect_code(2);
        ran.expect_said(&["no model nobody-s-model", "smollm2-135m, "]);
    }
}

#[test]
fn messages_name_a_profile_that_is_known_and_records_are_small() {
    let sandbox = Sandbox::new();
    let text = b"What time does the train to London leave tomorrow morning?";
    sandbox.write("text", text);
    sandbox.done(&["compress", "--compact", "text"]);
    let message = sandbox.read("text.fz");
    assert!(message.len() < text.len() / 2, "{}", message.len());
    assert_eq!(sandbox.done(&["decompress", "-c", "text.fz"]).stdout, text);
    // Where the model is missing, the name alone says which it is.
    let mut command = sandbox.command(&["decompress", "-c", "text.fz"]);
    command.env("FINEZIP_CACHE", sandbox.path("cache")).env("HF_HOME", sandbox.path("hub"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && said.contains("that of smollm2-135m"), "{said}");

    let lines = fixture("alice.txt");
    let lines = &lines[..2000];
    let prime = &fixture("alice.txt")[2000..2600];
    sandbox.write("lines", lines);
    sandbox.write("prime", prime);
    sandbox.done(&["compress", "--lines", "--prime", "prime", "--verify", "lines"]);
    let archive = sandbox.read("lines.fz");
    assert!(archive.len() < 2000 * 6 / 10 + 700, "{}", archive.len());
    let wanted: Vec<&[u8]> = lines.split_inclusive(|&byte| byte == b'\n').collect();
    let ran = sandbox.done(&["cat", "--record", "5..7", "lines.fz"]);
    assert_eq!(ran.stdout, wanted[5..7].concat());
}
