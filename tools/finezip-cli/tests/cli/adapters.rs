//! Archives with adapters: merged, embedded, trained on the spot; missing, wrong and damaged ones.

use std::collections::BTreeMap;
use std::fs;

use finezip_lora::adapter::WEIGHTS_FILE;
use finezip_lora::{Adapter, AdapterConfig, Linear, LoraMatrices};
use finezip_models::ModelConfig;
use finezip_models::seeded::SeededModel;
use serde_json::Value;

use crate::support::{Ran, Sandbox, random_bytes};

/// Text of the seeded vocabulary's longer tokens, in an order without a pattern.
pub(crate) fn text(words: usize) -> Vec<u8> {
    let tokens = [" of", " the", " in", " and"];
    let chosen = random_bytes(words, 5).into_iter().map(|byte| tokens[usize::from(byte % 4)]);
    chosen.collect::<String>().into_bytes()
}

/// Frames so short that only the model makes them small.
const SHORT_FRAMES: [&str; 6] = ["--model", "small.gguf", "--frame-size", "24", "--coder", "ac"];

fn config() -> ModelConfig {
    SeededModel::default().checkpoint().unwrap().config().clone()
}

/// An adapter of some linears in every layer.
fn adapter(config: &ModelConfig, seed: u64, size: f32) -> Adapter {
    let mut bytes = random_bytes(1 << 14, seed).into_iter().cycle();
    let mut values = |count: usize| -> Vec<f32> {
        (0..count).map(|_| (f32::from(bytes.next().unwrap()) - 127.5) / 127.5 * size).collect()
    };
    let mut modules = BTreeMap::new();
    for layer in 0..config.layers {
        for linear in [Linear::QProj, Linear::VProj, Linear::OProj, Linear::DownProj] {
            let [out_features, in_features] = linear.shape(config);
            let (a, b) = (values(2 * in_features), values(2 * out_features));
            let module = LoraMatrices { rank: 2, in_features, out_features, alpha: 4.0, a, b };
            modules.insert(linear.path(layer), module);
        }
    }
    let config = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        use_rslora: false,
        dropout: 0.0,
        base_model: None,
        base_fingerprint: None,
    };
    Adapter::new(config, modules).unwrap()
}

/// The adapter that golden archives were made with: never changed.
pub(crate) fn first_adapter() -> Adapter {
    adapter(&config(), 1, 0.06)
}

/// A folder with the model, a text and two adapters; the adapters' hashes.
fn with_adapters() -> (Sandbox, [String; 2]) {
    let sandbox = Sandbox::new();
    sandbox.write("small.gguf", SeededModel::default().to_gguf().unwrap());
    sandbox.write("text", text(60));
    let hashes = [("first", 1), ("second", 2)].map(|(name, seed)| {
        let adapter = adapter(&config(), seed, 0.06);
        adapter.save(sandbox.path(name)).unwrap();
        adapter.fingerprint().to_hex()
    });
    (sandbox, hashes)
}

fn compress(sandbox: &Sandbox, options: &[&str]) -> Vec<u8> {
    sandbox.done(&[&["compress", "-f", "text"], &SHORT_FRAMES[..], options].concat());
    let member = &sandbox.listed("text.fz")["members"][0];
    let frames = member["frames"].as_array().unwrap();
    let coded = frames.iter().filter(|frame| frame["method"] == "model").count();
    assert!(coded > 3, "{options:?}: {coded} of {} frames", frames.len());
    sandbox.read("text.fz")
}

fn read(sandbox: &Sandbox, options: &[&str]) -> Ran {
    let arguments = ["decompress", "-c", "text.fz", "--model", "small.gguf"];
    sandbox.run(&[&arguments[..], options].concat())
}

#[test]
fn an_adapter_is_found_again_by_its_hash_and_named_where_it_is_not() {
    let (sandbox, [first, second]) = with_adapters();
    let plain = compress(&sandbox, &[]);
    assert_eq!(sandbox.listed("text.fz")["members"][0]["language"]["adapter_blake3"], Value::Null);
    let adapted = compress(&sandbox, &["--adapter", "first", "--verify"]);
    assert_ne!(plain, adapted);
    let member = &sandbox.listed("text.fz")["members"][0];
    assert_eq!(member["language"]["adapter_blake3"], first);
    assert_eq!(member["adapter_bytes"], Value::Null);
    let people = String::from_utf8(sandbox.done(&["list", "text.fz"]).stdout).unwrap();
    assert!(people.contains(&format!("BLAKE3 {first}, not in the archive")), "{people}");

    for options in [
        &["--adapter", "first"][..],
        &["--adapter", "first", "-T", "1"],
        &["--adapter", "second", "--adapter", "first"],
    ] {
        assert_eq!(read(&sandbox, options).expect_code(0).stdout, text(60), "{options:?}");
    }
    let ran = read(&sandbox, &[]).expect_code(4);
    assert!(ran.stdout.is_empty());
    ran.expect_said(&["text.fz: adapter (BLAKE3 ", &first, "is needed", "--adapter FOLDER"]);
    read(&sandbox, &["--adapter", "second"]).expect_code(4).expect_said(&[
        "needs adapter BLAKE3 ",
        &first,
        "second (BLAKE3 ",
        &second,
    ]);
    for command in ["test", "cat"] {
        let arguments = [command, "text.fz", "--model", "small.gguf"];
        sandbox.run(&arguments).expect_code(4).expect_said(&[&first]);
        sandbox.done(&[&arguments[..], &["--adapter", "first"]].concat());
    }
}

#[test]
fn an_embedded_adapter_needs_nothing_but_the_model() {
    let (sandbox, [first, _]) = with_adapters();
    let read = "first/adapter_model.safetensors";
    let weights = sandbox.read(read);
    let over = ["compress", "-f", "text", "--model", "small.gguf", "--adapter", "first"];
    let ran = sandbox.run(&[&over[..], &["--statistics", read]].concat());
    ran.expect_code(1).expect_said(&["is read as well"]);
    assert_eq!(sandbox.read(read), weights);
    let merged = compress(&sandbox, &["--adapter", "first"]);
    let mut sizes = Vec::new();
    for (options, ratio) in [
        (&["--embed-adapter"][..], 1.0),
        (&["--embed-adapter=int4"], 1.0),
        (&["--embed-adapter=int8", "--precision", "int4"], 2.0),
        (&["--embed-adapter=f16", "--precision", "f32"], 3.5),
        (&["--embed-adapter=int8", "--engine", "candle"], 2.0),
    ] {
        let statistics = ["--adapter", "first", "--verify", "--statistics", "statistics"];
        let archive = compress(&sandbox, &[options, &statistics].concat());
        let member = &sandbox.listed("text.fz")["members"][0];
        let bytes = member["adapter_bytes"].as_u64().unwrap();
        sizes.push(bytes as f64);
        assert!(bytes as f64 > ratio * 0.8 * sizes[0], "{options:?}: {sizes:?}");
        assert_ne!(member["language"]["adapter_blake3"], first, "{options:?}: rounded");
        let told: Value = serde_json::from_slice(&sandbox.read("statistics")).unwrap();
        assert_eq!(told["adapter_bytes"], bytes);
        assert_eq!(told["archive_bytes"], archive.len());
        assert!(archive.len() as u64 > bytes && archive != merged);

        // In another place, with the model alone.
        let other = Sandbox::new();
        other.write("elsewhere.gguf", SeededModel::default().to_gguf().unwrap());
        other.write("text.fz", &archive);
        let model = ["text.fz", "--model", "elsewhere.gguf"];
        let ran = other.done(&[&["decompress", "-c"], &model[..]].concat());
        assert_eq!(ran.stdout, text(60), "{options:?}");
        let ran = other.done(&[&["cat", "--range", "50..90"], &model[..]].concat());
        assert_eq!(ran.stdout, text(60)[50..90], "{options:?}");
        other.done(&[&["test"], &model[..]].concat());
        // Two archives, each with its own.
        other.write("text.fz", [&archive[..], &archive].concat());
        let ran = other.done(&[&["decompress", "-c"], &model[..]].concat());
        assert_eq!(ran.stdout, text(60).repeat(2), "{options:?}");
    }
    let people = String::from_utf8(sandbox.done(&["list", "text.fz"]).stdout).unwrap();
    assert!(people.contains(", in the archive, "), "{people}");
}

#[test]
fn neither_instructions_nor_threads_change_a_byte() {
    let (sandbox, _) = with_adapters();
    let isas: Vec<&str> =
        finezip_exact::Isa::available().into_iter().map(|isa| isa.name()).collect();
    assert!(isas.contains(&"scalar"));
    for options in [&["--adapter", "first"][..], &["--adapter", "first", "--embed-adapter"]] {
        for precision in ["int8", "int4", "f32"] {
            let coding = [options, &["--precision", precision, "--batch", "5"]].concat();
            let expected = compress(&sandbox, &[&coding[..], &["-T", "1"]].concat());
            for isa in &isas {
                for threads in ["1", "3"] {
                    let arguments =
                        [&["compress", "-c", "text", "-T", threads], &SHORT_FRAMES[..], &coding];
                    let output = sandbox
                        .command(&arguments.concat())
                        .env("FINEZIP_ISA", isa)
                        .output()
                        .unwrap();
                    assert!(output.stdout == expected, "{coding:?} {isa} {threads} threads");
                    let arguments = ["decompress", "-c", "text.fz", "--model", "small.gguf"];
                    let more = ["--adapter", "first", "-T", threads];
                    let output = sandbox
                        .command(&[&arguments[..], &more].concat())
                        .env("FINEZIP_ISA", isa)
                        .output()
                        .unwrap();
                    assert!(output.stdout == text(60), "{coding:?} {isa} {threads} threads");
                }
            }
        }
    }
}

#[test]
fn adapters_that_do_not_serve_are_refused_with_the_reason() {
    let (sandbox, _) = with_adapters();
    fs::remove_file(sandbox.path("text")).unwrap();
    sandbox.write("text", text(60));
    let refused = |adapter: &str, said: &[&str]| {
        let arguments = ["compress", "text", "--adapter", adapter];
        let ran = sandbox.run(&[&arguments[..], &SHORT_FRAMES].concat());
        ran.expect_code(4).expect_said(said);
        assert!(!sandbox.path("text.fz").exists(), "{adapter}");
    };
    refused("nowhere", &["nowhere", "adapter_config.json", "--adapter takes a folder"]);
    refused("text", &["--adapter takes a folder"]);

    let wide = SeededModel { feed_forward: 160, ..SeededModel::default() };
    let other = adapter(wide.checkpoint().unwrap().config(), 1, 0.1);
    other.save(sandbox.path("other")).unwrap();
    refused("other", &["other", "does not fit the model", "down_proj"]);

    let whole = fs::read(sandbox.path("first").join(WEIGHTS_FILE)).unwrap();
    let damage = |bytes: &[u8]| {
        fs::write(sandbox.path("first").join(WEIGHTS_FILE), bytes).unwrap();
    };
    damage(&whole[..whole.len() / 2]);
    refused("first", &[WEIGHTS_FILE, "safetensors"]);
    for value in [f32::NAN, f32::INFINITY] {
        let mut bytes = whole.clone();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&value.to_le_bytes());
        damage(&bytes);
        refused("first", &[WEIGHTS_FILE, "finite values"]);
    }
    // Finite each, but not added to the weights.
    adapter(&config(), 1, 1e30).save(sandbox.path("huge")).unwrap();
    refused("huge", &["finite"]);
    let arguments = ["compress", "text", "--adapter", "huge", "--embed-adapter=f16"];
    sandbox
        .run(&[&arguments[..], &SHORT_FRAMES].concat())
        .expect_code(4)
        .expect_said(&["huge", "finite numbers of at most"]);

    // The one an archive needs, damaged.
    damage(&whole);
    compress(&sandbox, &["--adapter", "first"]);
    damage(&whole[..100]);
    read(&sandbox, &["--adapter", "first"]).expect_code(4).expect_said(&[
        "adapter (BLAKE3 ",
        WEIGHTS_FILE,
        "safetensors",
    ]);
}

#[test]
fn an_adapter_of_other_weights_comes_with_a_warning() {
    let (sandbox, _) = with_adapters();
    let first = Adapter::open(sandbox.path("first")).unwrap();
    let modules: BTreeMap<String, LoraMatrices> =
        first.modules().map(|(path, module)| (path.to_owned(), module.clone())).collect();
    for (trained_on, warns) in
        [(SeededModel { seed: 9, ..SeededModel::default() }, true), (SeededModel::default(), false)]
    {
        let hash = trained_on.checkpoint().unwrap().fingerprint().unwrap().to_hex();
        let config =
            AdapterConfig { base_fingerprint: Some(hash.clone()), ..first.config().clone() };
        let adapter = Adapter::new(config, modules.clone()).unwrap();
        adapter.save(sandbox.path("named")).unwrap();
        let arguments = ["compress", "-f", "text", "--adapter", "named"];
        let ran = sandbox.done(&[&arguments[..], &SHORT_FRAMES].concat());
        assert_eq!(ran.stderr.contains("warning: named was trained on"), warns, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains(&hash), warns);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let (sandbox, _) = with_adapters();
    for (options, said) in [
        (&["--embed-adapter"][..], "--adapter"),
        (&["--embed-adapter=int5", "--adapter", "first"], "--embed-adapter"),
        (&["--memorize", "--adapter", "first"], "--memorize"),
        (&["--memorize", "--ideal"], "--ideal"),
        (&["--memorize", "--memorize-steps", "0"], "--memorize-steps"),
        (&["--memorize-steps", "5"], "--memorize"),
        (&["--memorize-rank", "5"], "--memorize"),
        (&["--model", "none", "--adapter", "first"], "--adapter"),
        (&["--model", "none", "--memorize"], "--memorize"),
        (&["--model", "none", "--memorize-rank", "1"], "--memorize"),
    ] {
        let arguments = ["compress", "text", "--model", "small.gguf"];
        // The last model given counts where there are two.
        let arguments = if options.contains(&"none") { &arguments[..2] } else { &arguments[..] };
        sandbox.run(&[arguments, options].concat()).expect_code(2).expect_said(&[said]);
        assert!(!sandbox.path("text.fz").exists(), "{options:?}");
    }
}

#[test]
fn a_full_disk_is_named() {
    let (sandbox, _) = with_adapters();
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let arguments = ["compress", "-o", "/dev/full", "text", "--adapter", "first"];
    let ran = sandbox.run(&[&arguments[..], &SHORT_FRAMES, &["--embed-adapter"]].concat());
    ran.expect_code(1).expect_said(&["text: cannot write to /dev/full: No space left"]);
}

/// Runs `compress --memorize` on the text, with a folder of its own for temporary files.
fn memorize(sandbox: &Sandbox, options: &[&str]) -> Ran {
    let temporary = sandbox.path("temporary");
    fs::create_dir_all(&temporary).unwrap();
    let arguments = ["compress", "-f", "--verify", "--memorize", "text"];
    let output = sandbox
        .command(&[&arguments[..], &SHORT_FRAMES, options].concat())
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code(), stdout: output.stdout, stderr }
}

#[test]
fn what_is_memorized_is_kept_where_it_pays() {
    let (sandbox, _) = with_adapters();
    sandbox.write("text", text(4000));
    let plain = compress(&sandbox, &[]).len();
    let steps = ["--memorize-steps", "300", "--memorize-rank", "1", "-T", "1"];
    let ran = memorize(&sandbox, &steps).expect_code(0).expect_said(&[
        "text : memorizing in 300 steps, 1,856 values",
        "kept with it",
        "bytes of them are the adapter",
    ]);
    let archive = sandbox.read("text.fz");
    assert!(archive.len() < plain, "{} and {plain}: {}", archive.len(), ran.stderr);
    assert!(sandbox.listed("text.fz")["members"][0]["adapter_bytes"].as_u64().unwrap() > 100);
    assert_eq!(read(&sandbox, &[]).expect_code(0).stdout, text(4000));
}

#[test]
fn a_rank_that_cannot_be_embedded_is_refused_before_it_is_trained() {
    let (sandbox, _) = with_adapters();
    sandbox.write("text", text(600));
    let ran = memorize(&sandbox, &["--memorize-steps", "1000000", "--memorize-rank", "1000"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    ran.expect_said(&["rank", "1000"]);
    assert!(!sandbox.names().contains(&"text.fz".to_owned()));
}

#[test]
fn what_does_not_pay_is_left_out_and_said() {
    let (sandbox, _) = with_adapters();
    sandbox.write("text", text(600));
    let plain = compress(&sandbox, &[]);
    let steps = ["--memorize-steps", "2", "--embed-adapter=f16"];
    memorize(&sandbox, &steps).expect_code(0).expect_said(&[
        "text : memorizing in 2 steps",
        "text : without an adapter ",
        "kept without",
    ]);
    assert_eq!(sandbox.read("text.fz"), plain);
    // So much that the adapter alone is larger.
    let steps = ["--memorize-steps", "1", "--memorize-rank", "20", "--embed-adapter=f16"];
    memorize(&sandbox, &steps).expect_code(0).expect_said(&["the adapter alone takes "]);
    assert_eq!(sandbox.read("text.fz"), plain);
    // Not as large as the archive, but next to nothing was learned.
    sandbox.write("text", text(4000));
    let plain = compress(&sandbox, &[]);
    let steps = ["--memorize-steps", "1", "--memorize-rank", "1"];
    let said = ["by a sample of the text saves about ", "kept without"];
    memorize(&sandbox, &steps).expect_code(0).expect_said(&said);
    assert_eq!(sandbox.read("text.fz"), plain);
    for short in [&b""[..], b"a"] {
        sandbox.write("text", short);
        memorize(&sandbox, &[]).expect_code(0).expect_said(&["nothing to memorize"]);
        assert_eq!(read(&sandbox, &[]).expect_code(0).stdout, short);
    }
}

/// A limit on the size of files stands in for a full disk: the archive is small enough, a state of
/// the training is not.
#[cfg(target_os = "linux")]
#[test]
fn a_training_that_fails_leaves_the_archive_without_an_adapter() {
    let (sandbox, _) = with_adapters();
    sandbox.write("text", text(600));
    let plain = compress(&sandbox, &[]);
    fs::remove_file(sandbox.path("text.fz")).unwrap();
    let script = "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"";
    let arguments = ["compress", "--memorize", "--memorize-steps", "2", "--memorize-rank", "4"];
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_finezip-cli")])
        .args([&arguments[..], &SHORT_FRAMES, &["text"]].concat())
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("text : training failed (") && said.contains("kept without"), "{said}");
    assert_eq!(sandbox.read("text.fz"), plain);
}

#[test]
fn a_place_to_train_in_that_is_not_there_is_named() {
    let (sandbox, _) = with_adapters();
    let arguments = ["compress", "-f", "--memorize", "text"];
    let output = sandbox
        .command(&[&arguments[..], &SHORT_FRAMES].concat())
        .env("TMPDIR", sandbox.path("nowhere"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a folder to train in"), "{said}");
}
