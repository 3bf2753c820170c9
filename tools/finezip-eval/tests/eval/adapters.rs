//! Adapters: given both ways, counted, made when they are needed.
#![cfg(unix)]

use std::fs;

use serde_json::Value;

use crate::support::{RECORDER, Sandbox, lines};

#[test]
fn an_adapter_is_given_both_ways_counted_and_part_of_the_key() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("adapters/law/adapter_model.safetensors", [7; 40]);
    sandbox.write("adapters/law/adapter_config.json", "{}");
    let grid = "[inputs]\ntext = { file = \"text\" }\n[[finezip]]\ninputs = [\"text\"]\n\
        models = [\"m\"]\nadapters = [\"\", \"adapters/law\"]\ncoders = [\"ac\"]\n";
    sandbox.write("grid.toml", grid);
    let run = || {
        let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    assert!(run().contains("2 cells done"));
    let all = lines(&sandbox);
    let adapter = |line: &Value| line.pointer("/outcome/finezip/adapter_bytes").cloned();
    assert_eq!(all.iter().map(adapter).collect::<Vec<_>>(), [None, Some(40.into())]);
    assert_eq!(all[1]["weights"]["adapters/law"].as_str().unwrap().len(), 64);
    let calls = String::from_utf8(sandbox.read("calls")).unwrap();
    for command in ["compress -q -f", "decompress"] {
        let adapted: Vec<bool> = calls
            .lines()
            .filter(|call| call.starts_with(command))
            .map(|call| call.contains("--adapter adapters/law"))
            .collect();
        assert_eq!(adapted, [false, true], "{command}: {calls}");
    }
    // Other weights under the same name are another cell; the one without them is settled.
    sandbox.write("adapters/law/adapter_model.safetensors", [8; 40]);
    assert!(run().contains("1 cells done, 0 failed, 1 settled"));

    let ran = sandbox.run(&["report", "results.jsonl", "--markdown", "r.md"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = String::from_utf8(sandbox.read("r.md")).unwrap();
    assert!(report.contains("plots/adapters.svg") && report.contains("m + law"), "{report}");
}

/// A grid with an adapter, of which the first cell has none.
const ADAPTED: &str = r#"
[inputs]
text = { file = "text" }

[adapters.law]
model = "m"
input = "text"
held_out = "text"
steps = 1

[[finezip]]
inputs = ["text"]
models = ["m"]
adapters = ["", "law"]
coders = ["ac"]
"#;

/// A program that takes finezip-finetune's place: it leaves an adapter where it is asked to.
const TRAINER: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in --out) out=$2 ;; esac
    shift
done
mkdir -p "$out/adapter"
echo weights > "$out/adapter/adapter_model.safetensors"
echo '{}' > "$out/summary.json"
"#;

#[test]
fn an_adapter_that_cannot_be_made_says_why_until_it_can() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", ADAPTED);
    let run = || sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    let report = || {
        let ran = sandbox.run(&["report", "results.jsonl", "--markdown", "r.md"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        String::from_utf8(sandbox.read("r.md")).unwrap()
    };
    let ran = run();
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let failed = lines(&sandbox).remove(1);
    let error = failed["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("the adapter law: ") && error.contains("build it with"), "{error}");
    assert!(report().contains("## Cells that failed"), "{}", report());

    sandbox.script("finezip-finetune", TRAINER);
    let ran = run();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 cells done, 0 failed, 1 settled"), "{}", ran.stderr);
    let done = lines(&sandbox).remove(2);
    assert_eq!(done["method"], failed["method"]);
    assert_eq!(done["weights"]["law"].as_str().unwrap().len(), 64);
    assert!(!report().contains("## Cells that failed"), "{}", report());
}

#[test]
fn an_adapter_is_made_when_a_cell_needs_it_and_tried_once() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    let trainer = "#!/bin/sh\necho train >> calls\necho no luck >&2\nexit 1\n";
    sandbox.script("finezip-finetune", trainer);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", ADAPTED.replace("[\"ac\"]", "[\"ac\", \"mixer-6\"]"));
    let calls_of = |more: &[&str]| -> Vec<String> {
        let arguments = ["run", "grid.toml", "--data", ".", "--cli", "recorder"];
        let ran = sandbox.run(&[&arguments, more].concat());
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        let calls = String::from_utf8(sandbox.read("calls")).unwrap();
        fs::remove_file(sandbox.path("calls")).unwrap();
        let of_cells = calls.lines().filter(|call| call.starts_with("compress -q -f"));
        let trainings = calls.lines().filter(|call| *call == "train");
        let (compressions, trainings) = (of_cells.count(), trainings.count());
        let last = calls.lines().last().unwrap_or_default();
        vec![compressions.to_string(), trainings.to_string(), last.to_owned()]
    };
    // After the two cells without an adapter, for both that have it.
    assert_eq!(calls_of(&[]), ["2", "1", "train"]);
    for line in &lines(&sandbox)[2..] {
        let error = line["outcome"]["error"].as_str().unwrap();
        assert!(error.contains("the adapter law: ") && error.contains("no luck"), "{error}");
    }
    // What failed is settled.
    assert_eq!(calls_of(&[])[1], "0");
    assert_eq!(lines(&sandbox).len(), 4);
    assert_eq!(calls_of(&["--retry"])[..2], ["0", "1"]);
}
