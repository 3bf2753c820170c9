//! The real binary on small models: runs, sweeps, kills, and mistakes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use finezip_lora::Adapter;
use finezip_models::GgmlType;
use finezip_models::seeded::SeededModel;
use tempfile::TempDir;

const TOOL: &str = env!("CARGO_BIN_EXE_finezip-finetune");

/// A folder with two models and some text.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, seed) in [("first.gguf", 1), ("second.gguf", 2)] {
            let model = SeededModel { seed, weight_type: GgmlType::Q8_0, ..Default::default() };
            fs::write(folder.path().join(name), model.to_gguf().unwrap()).unwrap();
        }
        fs::create_dir_all(folder.path().join("text/below")).unwrap();
        for i in 0..12 {
            let sentence = format!("the {} of the {} is in the {}; ", i % 7, i % 5, i % 3);
            let name = if i % 2 == 0 { format!("{i}.txt") } else { format!("below/{i}.txt") };
            fs::write(folder.path().join("text").join(name), sentence.repeat(12)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TOOL);
        command.args(arguments).current_dir(self.0.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what must succeed, and gives what it printed.
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail, and gives the complaint.
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts, waits until `metrics` has so many lines, and kills without warning.
    fn kill(&self, arguments: &[&str], metrics: &Path, lines: usize) {
        let mut child: Child = self.command(arguments).spawn().unwrap();
        let begun = Instant::now();
        loop {
            let written = fs::read_to_string(metrics).unwrap_or_default();
            if written.lines().count() >= lines {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
            assert!(begun.elapsed() < Duration::from_secs(120), "too slow");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A run that is long enough to be killed.
fn run_of(out: &str) -> Vec<&str> {
    vec![
        "--model",
        "first.gguf",
        "--data",
        "text",
        "--out",
        out,
        "--length",
        "48",
        "--steps",
        "120",
        "--lr",
        "0.01",
        "--eval-every",
        "25",
        "--save-every",
        "7",
        "--qlora",
        "--dropout",
        "0.1",
    ]
}

fn adapter_bytes(folder: &Path) -> Vec<Vec<u8>> {
    ["adapter_model.safetensors", "adapter_config.json"]
        .map(|name| fs::read(folder.join("adapter").join(name)).unwrap())
        .to_vec()
}

/// Where nothing answers.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn a_model_that_is_fetched_gives_signs_of_life_and_warnings() {
    let place = Place::new();
    let models = place.path("cache/models");
    fs::create_dir_all(&models).unwrap();
    fs::write(models.join("SmolLM2-135M-Instruct.Q4_1.gguf"), "not a model").unwrap();
    let run = |more: &[&str]| {
        let arguments = ["--model", "smollm2-135m", "--data", "text", "--out", "out"];
        let output = place
            .command(&[&arguments[..], more].concat())
            .env("FINEZIP_CACHE", place.path("cache"))
            .env("HF_HOME", place.path("hub"))
            .env("HF_ENDPOINT", NOWHERE)
            .env("PIP_INDEX_URL", NOWHERE)
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_RETRIES", "0")
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("PIP_EXTRA_INDEX_URL")
            .env_remove("PIP_FIND_LINKS")
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&["--offline"]);
    assert!(said.contains("finezip-finetune: checking SHA-256"), "{said}");
    let said = run(&[]);
    for part in ["warning: removed ", "which is damaged", "finezip-finetune: asking the hub"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_run_leaves_all_its_files_and_a_kill_changes_no_bit() {
    let place = Place::new();
    let table = place.good(&run_of("whole"));
    assert!(table.contains("first") && table.contains("net saving"), "{table}");
    let whole = place.path("whole");
    let adapter = Adapter::open(whole.join("adapter")).unwrap();
    assert_eq!(adapter.modules().count(), 14);
    let read = |name: &str| fs::read(whole.join(name)).unwrap();
    assert!(read("plot.png").starts_with(b"\x89PNG"));
    let svg = String::from_utf8(read("plot.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("bits per byte"));
    let metrics = String::from_utf8(read("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 120 + 1 + 5);
    let summary = String::from_utf8(read("summary.json")).unwrap();
    assert!(summary.contains(&adapter.fingerprint().to_hex()), "{summary}");
    let config = String::from_utf8(read("config.json")).unwrap();
    assert!(config.contains("\"rank\": 8") && config.contains("text/below/1.txt"), "{config}");

    let killed = place.path("killed");
    for lines in [3, 20, 60] {
        place.kill(&run_of("killed"), &killed.join("metrics.jsonl"), lines);
    }
    assert!(!killed.join("adapter").exists());
    let output = place.run(&run_of("killed"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("first: goes on after step "), "{said}");
    assert_eq!(adapter_bytes(&killed), adapter_bytes(&whole));
    let again = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    assert_eq!(again.lines().count(), metrics.lines().count());
    // Once more does nothing, and what was measured of the run is kept.
    let summary = fs::read_to_string(killed.join("summary.json")).unwrap();
    place.good(&run_of("killed"));
    assert_eq!(adapter_bytes(&killed), adapter_bytes(&whole));
    assert_eq!(fs::read_to_string(killed.join("summary.json")).unwrap(), summary);
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let (files, embedded) = (&summary["adapter_bytes"], &summary["embedded_bytes"]);
    assert!(4 * embedded.as_u64().unwrap() < files.as_u64().unwrap(), "{summary}");
    #[cfg(target_os = "linux")]
    assert!(summary["peak_memory_bytes"].is_u64(), "{summary}");
    assert!(summary["reckoned_memory_bytes"].as_u64().unwrap() > 90 << 20, "{summary}");
}

const SWEEP: &str = r#"
out = "OUT"
models = ["first.gguf", "second.gguf"]
data = ["text/**/*.txt"]
held-out-share = 0.2
jobs = JOBS
[settings]
length = 48
steps = 60
eval-every = 20
save-every = 5
targets = "attention"
[grid]
lr = [0.01, 0.001]
"#;

#[test]
fn a_killed_sweep_goes_on_and_names_the_best() {
    let place = Place::new();
    let write = |name: &str, out: &str, jobs: &str, memory: &str| {
        let text = SWEEP.replace("OUT", out).replace("JOBS", &format!("{jobs}{memory}"));
        fs::write(place.path(name), text).unwrap();
    };
    // Too little for any run: one at a time goes on all the same.
    write("whole.toml", "whole", "4", "\nmemory-gib = 0.001");
    write("killed.toml", "killed", "2", "");
    let table = place.good(&["sweep", "whole.toml"]);
    assert_eq!(table.lines().filter(|line| line.contains("-lr-")).count(), 5, "{table}");
    assert!(table.contains("best by held-out bits per byte:"), "{table}");
    // Memory is the process's, so no run's.
    let summary = fs::read_to_string(place.path("whole/summary.json")).unwrap();
    assert_eq!(summary.matches("\"peak_memory_bytes\": null").count(), 4, "{summary}");

    let second_run = place.path("killed/first-lr-0.001/metrics.jsonl");
    place.kill(&["sweep", "killed.toml"], &second_run, 12);
    let output = place.run(&["sweep", "killed.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("first-lr-0.001: goes on after step "), "{said}");
    for model in ["first", "second"] {
        for rate in ["0.01", "0.001"] {
            let name = format!("{model}-lr-{rate}");
            let (whole, killed) =
                (place.path("whole").join(&name), place.path("killed").join(&name));
            assert_eq!(adapter_bytes(&killed), adapter_bytes(&whole), "{name}");
        }
    }
}

#[test]
fn runs_that_measured_different_text_are_not_ranked() {
    let place = Place::new();
    let text =
        SWEEP.replace("OUT", "sampled").replace("JOBS", "1").replace("steps = 60", "steps = 1");
    fs::write(place.path("sampled.toml"), text.replace("[grid]", "eval-tokens = 96\n[grid]"))
        .unwrap();
    let table = place.good(&["sweep", "sampled.toml"]);
    assert!(table.contains("no run is named the best"), "{table}");
    assert!(!table.contains("best by held-out bits per byte"), "{table}");
}

#[test]
fn a_run_below_its_own_data_goes_on() {
    let place = Place::new();
    let arguments = ["--model", "first.gguf", "--data", "text", "--length", "48", "--steps", "2"];
    let with = |more: &[&'static str]| [&arguments[..], more].concat();
    place.good(&with(&["--out", "text/run"]));
    let adapter = adapter_bytes(&place.path("text/run"));
    let output = place.run(&with(&["--out", "text/../text/run"]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("left out: runs write there"), "{said}");
    assert!(said.contains("goes on after step 2 of 2"), "{said}");
    assert_eq!(adapter_bytes(&place.path("text/run")), adapter);
    let complaint = place.bad(&with(&["--out", "."]));
    assert!(complaint.contains("below the run's own folder"), "{complaint}");
}

#[test]
fn what_is_measured_on_is_not_learned_from() {
    let place = Place::new();
    fs::copy(place.path("text/4.txt"), place.path("a copy.txt")).unwrap();
    let mut arguments = run_of("out");
    arguments.extend(["--held-out", "a copy.txt", "text/below/3.txt"]);
    let steps = arguments.iter().position(|argument| *argument == "120").unwrap();
    arguments[steps] = "2";
    let output = place.run(&arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("2 of 12 files of --data"), "{said}");
    let config = fs::read(place.path("out/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let files = |side: &str| -> Vec<String> {
        serde_json::from_value(config[side]["files"].clone()).unwrap()
    };
    assert_eq!(files("training").len(), 10);
    assert!(!files("training").contains(&"text/4.txt".to_owned()));
    assert_eq!(files("held_out"), ["a copy.txt", "text/below/3.txt"]);
}

#[test]
fn mistakes_are_said_clearly() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("short.txt"), "few words").unwrap();
    fs::write(place.path("long.txt"), "many words; ".repeat(1000)).unwrap();
    let said = |arguments: &[&str], words: &[&str]| {
        let complaint = place.bad(arguments);
        for word in words {
            assert!(complaint.contains(word), "{arguments:?}: expected {word} in: {complaint}");
        }
    };
    let model = ["--model", "first.gguf", "--out", "out"];
    let with = |more: &[&'static str]| [&model[..], more].concat();
    said(&with(&["--data", "empty"]), &["text", "0"]);
    said(&with(&["--data", "none/*.txt"]), &["none/*.txt", "no such file"]);
    said(
        &with(&["--data", "short.txt", "--held-out", "text"]),
        &["--data", "row of 512 tokens", "9 bytes"],
    );
    said(
        &with(&["--data", "text", "--held-out", "long.txt", "--length", "1100"]),
        &["context of 1024 tokens", "1100"],
    );
    said(
        &with(&["--data", "text", "--held-out", "text", "--length", "48"]),
        &["--data", "--held-out", "12 files"],
    );
    said(&with(&["--data", "text", "--rank", "0", "--length", "48"]), &["rank", "at least 1"]);
    said(&with(&["--data", "text", "--targets", "nose"]), &["nose", "q_proj"]);
    said(&["--data", "text", "--out", "out", "--model", "no-such-model"], &["smollm2-135m"]);
    said(&["--out", "out"], &["--data"]);
    said(&["sweep", "none.toml"], &["none.toml"]);

    let short = ["--data", "text", "--length", "48", "--steps", "2"];
    place.good(&with(&short));
    said(
        &[&with(&short)[..], &["--rank", "4", "--alpha", "16"]].concat(),
        &["lora.rank", "state.safetensors"],
    );
    let diverging = [
        "--out",
        "lost",
        "--model",
        "first.gguf",
        "--data",
        "text",
        "--length",
        "48",
        "--steps",
        "9",
        "--save-every",
        "1",
        "--warmup",
        "0",
        "--lr",
        "1e38",
        "--clip",
        "0",
    ];
    said(&diverging, &["step 2", "learning rate", "nothing is kept"]);
    assert!(!place.path("lost/state.safetensors").exists());
}

/// A folder that holds what a run would replace: a model, an adapter of somebody's, a run whose state
/// is gone.
#[test]
fn what_is_not_of_the_run_is_not_replaced() {
    let place = Place::new();
    for (name, why) in [
        ("config.json", "config.json"),
        ("adapter/adapter_model.safetensors", "adapter"),
        ("metrics.jsonl", "metrics.jsonl"),
        ("plot.svg", "plot.svg"),
        ("summary.json", "summary.json"),
    ] {
        let file = place.path("theirs").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        let complaint = place.bad(&run_of("theirs"));
        assert!(complaint.contains(&format!("theirs holds {why}")), "{complaint}");
        assert_eq!(fs::read(&file).unwrap(), b"{}");
        fs::remove_dir_all(place.path("theirs")).unwrap();
    }
    place.good(&run_of("out"));
    fs::remove_file(place.path("out/state.safetensors")).unwrap();
    assert!(place.bad(&run_of("out")).contains("out holds adapter"));
    // A sweep's table is none of a run's files.
    let sweep = "out = \"out\"\nmodels = [\"first.gguf\"]\ndata = [\"text\"]\n[settings]\nlength = 48\nsteps = 1\n";
    fs::write(place.path("sweep.toml"), sweep).unwrap();
    assert!(place.bad(&["sweep", "sweep.toml"]).contains("summary.json is not of a sweep"));
    // What a run leaves that was killed before its first state.
    for name in ["adapter", "summary.json", "plot.svg", "plot.png"] {
        let path = place.path("out").join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    place.good(&run_of("out"));
}

/// A disk without space: the last state stays, and the complaint says why.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_last_state() {
    let place = Place::new();
    // A limit on the size of files stands in for a full disk: it cuts the write of a state short.
    let tool = |limit: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, TOOL])
            .args(run_of("limited"))
            .current_dir(place.0.path())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let metrics = place.path("limited/metrics.jsonl");
    place.kill(&run_of("limited"), &metrics, 40);
    let state = place.path("limited/state.safetensors");
    let before = fs::read(&state).unwrap();
    let (success, complaint) = tool("40");
    assert!(!success && complaint.contains("state.safetensors"), "{complaint}");
    assert_eq!(fs::read(&state).unwrap(), before);
    let hidden = fs::read_dir(place.path("limited")).unwrap();
    let hidden = hidden.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".partial")
    });
    // A kill may leave one behind; a failed write adds none.
    assert!(hidden.count() <= 1);
    place.good(&run_of("limited"));
}
