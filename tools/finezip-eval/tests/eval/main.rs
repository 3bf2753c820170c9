//! The real binary over real processes: grids, resuming, failures, packages, reports.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Sandbox, cli, zip_of};
#[cfg(target_os = "linux")]
use crate::support::{is_running, until};

/// A grid over a small text: peers, a program that loses a byte, and finezip-cli without and with
/// a model.
const GRID: &str = r#"
[inputs]
text = { file = "text" }
start = { file = "text", bytes = 600 }
missing = { file = "missing" }
gone = { file = "gone" }

[commands.liar]
programs = ["sh"]
compress = { arguments = ["-c", "cp '{input}' '{archive}'"] }
decompress = { arguments = ["-c", "tr e o < '{archive}' > '{output}'"] }

[commands.absent]
programs = ["no-such-program-anywhere"]
compress = { arguments = [] }
decompress = { arguments = [] }

[[peers]]
inputs = ["text"]
methods = ["zlib-9", "ppmd-o6", "liar", "absent"]

[[peers]]
inputs = ["missing", "gone"]
methods = ["zlib-9"]

[[finezip]]
inputs = ["text", "start"]
models = ["none"]

[[finezip]]
inputs = ["start"]
models = ["small.gguf"]
coders = ["ac", "rank-bzip2"]
schedules = ["", "chunk-reset"]
contexts = [32]
ideal = true
"#;

/// Cells of [`GRID`] that are run: three peers, two without input, two without a model; with it
/// two coders in two schedules, and two ideal ones.
const CELLS: usize = 3 + 2 + 2 + 4 + 2;

/// Of these, those that fail: a byte that is lost, and two inputs.
const FAILURES: usize = 3;

fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    let text = include_bytes!("../../../../fixtures/texts/alice.txt");
    sandbox.write("text", &text[..3000.min(text.len())]);
    sandbox.write("small.gguf", finezip_models::seeded::SeededModel::default().to_gguf().unwrap());
    sandbox.write("grid.toml", GRID);
    sandbox
}

fn run(sandbox: &Sandbox, more: &[&str]) -> (Option<i32>, String) {
    let cli = cli();
    let arguments = ["run", "grid.toml", "--data", ".", "--cli", cli.to_str().unwrap()];
    let ran = sandbox.run(&[&arguments, more].concat());
    (ran.code, ran.stderr)
}

fn lines(sandbox: &Sandbox) -> Vec<Value> {
    let text = String::from_utf8(sandbox.read("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_grid_is_worked_through_resumed_and_reported() {
    let sandbox = prepared();
    let (code, said) = run(&sandbox, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!sandbox.path("results.jsonl").exists());

    let (code, said) = run(&sandbox, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("left out, not on the PATH: text: absent"), "{said}");
    let all = lines(&sandbox);
    assert_eq!(all.len(), CELLS, "{said}");
    let failed: Vec<&Value> =
        all.iter().filter(|line| line["outcome"]["status"] == "failed").collect();
    assert_eq!(failed.len(), FAILURES, "{said}");
    let error = |line: &Value| line["outcome"]["error"].as_str().unwrap().to_owned();
    assert!(error(failed[0]).contains("differs from the text at byte"), "{}", error(failed[0]));
    assert!(error(failed[1]).contains("file missing of input missing"), "{}", error(failed[1]));
    assert!(error(failed[2]).contains("file gone of input gone"), "{}", error(failed[2]));
    measures_are_plausible(&all);

    // All but the first three lines and a half are lost.
    let text = String::from_utf8(sandbox.read("results.jsonl")).unwrap();
    let kept: usize = text.split_inclusive('\n').take(3).map(str::len).sum();
    sandbox.write("results.jsonl", &text.as_bytes()[..kept + 40]);
    let (code, said) = run(&sandbox, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("3 settled before"), "{said}");
    let again = lines(&sandbox);
    assert_eq!(again.len(), CELLS);
    for (before, after) in all.iter().zip(&again) {
        for part in ["key", "method", "input"] {
            assert_eq!(before[part], after[part]);
        }
        let hash = "/outcome/archive_sha256";
        assert_eq!(before.pointer(hash), after.pointer(hash));
    }

    // All is settled, failures too, until they are to be tried again: they are no success.
    let (code, said) = run(&sandbox, &[]);
    assert_eq!(code, Some(3), "{said}");
    let settled =
        format!("0 cells done, 0 failed, {CELLS} settled before ({FAILURES} of them failed");
    assert!(said.contains(&settled), "{said}");
    let (code, said) = run(&sandbox, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&sandbox, &["--retry"]);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(lines(&sandbox).len(), CELLS + FAILURES);

    let ran = sandbox.run(&["report", "results.jsonl", "--markdown", "r.md", "--html", "r.html"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = String::from_utf8(sandbox.read("r.md")).unwrap();
    for part in ["## Cells that failed", "| liar |", "## Coders", "## Schedules", "rank-bzip2"] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    let picture = sandbox.read("plots/positions-of-start.png");
    assert!(picture.starts_with(b"\x89PNG"));
    let page = String::from_utf8(sandbox.read("r.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("src="), "not self-contained");
}

/// What was measured of the cells that went well.
fn measures_are_plausible(lines: &[Value]) {
    for line in lines.iter().filter(|line| line["outcome"]["status"] == "done") {
        let outcome = &line["outcome"];
        assert!(outcome["archive_bytes"].as_u64().unwrap() > 10, "{line}");
        if cfg!(target_os = "linux") {
            let floor = line["floor_bytes"].as_u64().unwrap();
            assert!((500_000..20_000_000).contains(&floor), "{line}");
        }
        assert!(outcome["compress"]["seconds"].as_f64().unwrap() > 0.0, "{line}");
        assert!(outcome["compress"]["peak_bytes"].as_u64().unwrap() > 500_000, "{line}");
        let kind = line["method"]["kind"].as_str().unwrap();
        assert_eq!(outcome["decompress"].is_null(), kind == "ideal", "{line}");
        if kind == "ideal" {
            let measured = &outcome["finezip"]["distributions"];
            let number = |key: &str| measured[key].as_f64().unwrap();
            assert!(number("ideal_bytes") <= number("payload_bytes"), "{line}");
            assert!(number("rank_0") <= number("ranks_0_to_15"), "{line}");
        }
        if line["method"]["model"] == "small.gguf" {
            assert!(outcome["finezip"]["work_seconds"].as_f64().unwrap() > 0.0, "{line}");
        }
    }
}

/// A program that takes finezip-cli's place: it copies, and writes down how it was called.
#[cfg(unix)]
const RECORDER: &str = r#"#!/bin/sh
echo "$*" >> calls
command=$1
for last; do :; done
while [ $# -gt 0 ]; do
    case $1 in
        -o) output=$2 ;;
        --statistics) echo '{"seconds": 1, "engine_seconds": 1, "coder_seconds": 0}' > "$2" ;;
    esac
    shift
done
case $command in
    --version) echo recorder 1 ;;
    models) echo model ;;
    list) echo '[{"members": [{"frames": [{"method": "model", "tokens": 9, "lanes": 2}]}]}]' ;;
    compress | decompress) if [ "$output" ]; then cp "$last" "$output"; fi ;;
esac
"#;

#[cfg(unix)]
#[test]
fn models_are_fetched_for_open_cells_alone_and_opened_without_their_options() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    let grid = "[inputs]\ntext = { file = \"text\" }\n[commands.copy]\nprograms = [\"cp\"]\n\
        model = \"of-copy\"\ncompress = { arguments = [\"{input}\", \"{archive}\"] }\n\
        decompress = { arguments = [\"{archive}\", \"{output}\"] }\n\
        [[peers]]\ninputs = [\"text\"]\nmethods = [\"zlib-9\", \"copy\"]\n\
        [[finezip]]\ninputs = [\"text\"]\nmodels = [\"m\"]\ncoders = [\"ac\", \"mixer-6\"]\n\
        options = [[\"--memorize\"]]\n";
    sandbox.write("grid.toml", grid);
    let calls_of = |more: &[&str], beginning: &str| -> Vec<String> {
        let arguments = ["run", "grid.toml", "--data", ".", "--cli", "recorder"];
        let ran = sandbox.run(&[&arguments, more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let calls = String::from_utf8(sandbox.read("calls")).unwrap();
        fs::remove_file(sandbox.path("calls")).unwrap();
        calls.lines().filter(|call| call.starts_with(beginning)).map(str::to_owned).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(calls_of(&["--only", "zlib-9"], "models fetch"), none);
    assert_eq!(calls_of(&["--only", "copy"], "models fetch"), ["models fetch -q of-copy"]);
    let calls = calls_of(&[], "");
    let of = |beginning: &str| -> Vec<&str> {
        calls.iter().map(String::as_str).filter(|call| call.starts_with(beginning)).collect()
    };
    assert_eq!(of("models fetch"), ["models fetch -q m"]);
    let opened = of("compress -q -c");
    assert_eq!(opened.len(), 1, "{calls:?}");
    assert!(opened[0].starts_with("compress -q -c --model m /"), "{opened:?}");
    assert_eq!(of("compress -q -f").len(), 2, "{calls:?}");
    // All is settled.
    assert_eq!(calls_of(&[], "models fetch"), none);
}

#[cfg(unix)]
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
#[cfg(unix)]
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
#[cfg(unix)]
const TRAINER: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in --out) out=$2 ;; esac
    shift
done
mkdir -p "$out/adapter"
echo weights > "$out/adapter/adapter_model.safetensors"
echo '{}' > "$out/summary.json"
"#;

#[cfg(unix)]
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

#[cfg(unix)]
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

#[test]
fn one_command_fetches_runs_and_reports() {
    let sandbox = prepared();
    let before = "# By hand\n\nKept.\n\n<!-- finezip-eval report: begin -->\nOld.\n\
        <!-- finezip-eval report: end -->\n\nAlso kept.\n";
    sandbox.write("docs/results.md", before);
    let cli = cli();
    let ran = sandbox.run(&[
        "all",
        "grid.toml",
        "--data",
        ".",
        "--cli",
        cli.to_str().unwrap(),
        "--only",
        "text: zlib-9",
        "--markdown",
        "docs/results.md",
        "--html",
        "docs/results.html",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = String::from_utf8(sandbox.read("docs/results.md")).unwrap();
    assert!(report.starts_with("# By hand\n\nKept.\n"), "{report}");
    assert!(report.ends_with("\n\nAlso kept.\n"), "{report}");
    assert!(report.contains("flate2") && !report.contains("Old."), "{report}");
    assert!(sandbox.path("docs/results.html").is_file());
}

/// A program that holds 100 MB, and one that holds nothing.
#[cfg(target_os = "linux")]
const HOLDERS: &str = r#"
[inputs]
text = { file = "text" }

[commands.large]
programs = ["sh"]
compress.arguments = ["-c",
    "cp '{input}' '{archive}'; head -c 100000000 /dev/zero | tail -c 100000000 > /dev/null"]
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[commands.none]
programs = ["sh"]
compress = { arguments = ["-c", "cp '{input}' '{archive}'"] }
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[[peers]]
inputs = ["text"]
methods = ["large", "none"]
"#;

#[cfg(target_os = "linux")]
#[test]
fn peaks_of_memory_are_those_of_the_process() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", HOLDERS);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let all = lines(&sandbox);
    let peak =
        |line: &Value, direction: &str| line["outcome"][direction]["peak_bytes"].as_u64().unwrap();
    assert!(peak(&all[0], "compress") >= 90_000_000, "{}", all[0]);
    for small in [peak(&all[0], "decompress"), peak(&all[1], "compress")] {
        assert!(small < 60_000_000, "{small}");
    }
}

/// Programs that start another one: one waits for it, one does not.
#[cfg(target_os = "linux")]
const PARENTS: &str = r#"
timeout_seconds = 2

[inputs]
text = { file = "text" }

[commands.late]
programs = ["sh"]
compress = { arguments = ["-c", "sleep 600 & echo $! > of-late; wait"] }
decompress = { arguments = [] }

[commands.early]
programs = ["sh"]
compress = { arguments = ["-c", "cp '{input}' '{archive}'; sleep 600 & echo $! > of-early"] }
decompress = { arguments = ["-c", "cp '{archive}' '{output}'"] }

[[peers]]
inputs = ["text"]
methods = ["late", "early"]
"#;

#[cfg(target_os = "linux")]
#[test]
fn nothing_that_a_program_starts_outlives_it() {
    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    sandbox.write("grid.toml", PARENTS);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let all = lines(&sandbox);
    let error = all[0]["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("took longer than 2 s"), "{error}");
    assert_eq!(all[1]["outcome"]["status"], "done", "{}", all[1]);
    for name in ["of-late", "of-early"] {
        let pid = String::from_utf8(sandbox.read(name)).unwrap();
        until(|| (!is_running(pid.trim())).then_some(()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_ends_a_run_ends_its_processes_and_is_no_failure_of_theirs() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let sandbox = Sandbox::new();
    sandbox.script("recorder", RECORDER);
    sandbox.write("text", "some text");
    let sleeper = "echo $$ > begun; exec sleep 600";
    let grid = PARENTS.replace("timeout_seconds = 2", "");
    let grid = grid.replace("sleep 600 & echo $! > of-late; wait", sleeper);
    sandbox.write("grid.toml", grid);
    let mut tool = sandbox.start(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    let pid = until(|| {
        let text = fs::read_to_string(sandbox.path("begun")).ok()?;
        Some(text.strip_suffix('\n')?.to_owned())
    });
    assert!(is_running(&pid));
    kill_process(Pid::from_child(&tool), Signal::TERM).unwrap();
    assert_eq!(tool.wait().unwrap().signal(), Some(15));
    until(|| (!is_running(&pid)).then_some(()));
    assert!(sandbox.read("results.jsonl").is_empty());
}

#[cfg(unix)]
#[test]
fn runs_of_one_cell_make_one_archive_where_it_is_promised() {
    let sandbox = Sandbox::new();
    let same = "compress | decompress) if [ \"$output\" ]; then cp \"$last\" \"$output\"; fi ;;";
    assert!(RECORDER.contains(same));
    // Its archives end with a line of their own.
    let wavering = "compress)\n\
        if [ \"$output\" ]; then { cat \"$last\"; echo $$; } > \"$output\"; fi ;;\n\
        decompress) sed '$d' \"$last\" > \"$output\" ;;";
    sandbox.script("recorder", &RECORDER.replace(same, wavering));
    sandbox.write("text", "some text\n");
    let grid = "repeats = 2\n[inputs]\ntext = { file = \"text\" }\n[[finezip]]\n\
        inputs = [\"text\"]\nmodels = [\"m\"]\nengines = [\"exact\", \"candle\"]\n";
    sandbox.write("grid.toml", grid);
    let ran = sandbox.run(&["run", "grid.toml", "--data", ".", "--cli", "recorder"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let all = lines(&sandbox);
    assert_eq!(all[0]["outcome"]["error"], "two runs made different archives");
    assert_eq!(all[1]["outcome"]["status"], "done", "{}", all[1]);
    assert_eq!(all[1]["outcome"]["repeats"], 2);
}

#[test]
fn parts_of_a_grid_are_run_alone() {
    let sandbox = prepared();
    let (code, said) = run(&sandbox, &["--only", "zlib", "--repeats", "3"]);
    assert_eq!(code, Some(3), "{said}");
    let all = lines(&sandbox);
    assert_eq!(all.len(), 3);
    assert_eq!(all[0]["outcome"]["repeats"], 3);
}

#[test]
fn what_cannot_be_begun_says_why() {
    let sandbox = prepared();
    for (arguments, said) in [
        (&["run", "no-grid", "--data", "."][..], "no-grid"),
        (&["run", "grid.toml", "--data", ".", "--cli", "absent"], "build it with"),
        (&["report", "absent.jsonl"], "absent.jsonl"),
        (&["fetch", "out", "--manifest", "grid.toml"], "grid.toml"),
        (&["peer", "compress", "nothing-9", "text", "out"], "nothing-9 is not linked in"),
    ] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn packages_become_a_test_set() {
    let sandbox = Sandbox::new();
    let members: [(&str, &[u8]); 2] = [("b.txt", b"second"), ("a.txt", b"first")];
    sandbox.write("packages/p/p-1-py3-none-any.whl", zip_of(&members));
    let file = |name: &str, bytes: u64, sha256: &str| {
        format!(
            "[[files]]\nname = \"{name}\"\nkind = \"prose\"\npackage = \"p\"\n\
             members = [\"*.txt\"]\nbytes = {bytes}\nsha256 = \"{sha256}\"\n"
        )
    };
    let package = "[packages.p]\nregistry = \"pip\"\nname = \"p\"\nversion = \"1\"\n";
    let manifest = [package, &file("good", 9, ""), &file("bad", 4, "")].concat();
    sandbox.write("manifest.toml", manifest);
    let fetch = ["fetch", "set", "--manifest", "manifest.toml", "--packages", "packages"];

    let pinned = sandbox.run(&[&fetch[..], &["--pin"]].concat());
    assert_eq!(pinned.code, Some(0), "{}", pinned.stderr);
    assert_eq!(sandbox.read("set/good"), b"firstseco");
    let hash = pinned.stderr.lines().find(|line| line.contains("good")).unwrap();
    let hash = hash.split_whitespace().next().unwrap();
    fs::remove_dir_all(sandbox.path("set")).unwrap();
    let manifest = [package, &file("good", 9, hash), &file("bad", 4, hash)].concat();
    sandbox.write("manifest.toml", manifest);

    let ran = sandbox.run(&fetch);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("FAILED  bad: SHA-256"), "{}", ran.stderr);
    assert_eq!(sandbox.read("set/good"), b"firstseco");
    assert!(!sandbox.path("set/bad").exists());
    // What is there is not made again, so that no package is needed.
    fs::remove_dir_all(sandbox.path("packages")).unwrap();
    let ran = sandbox.run(&[&fetch[..], &["--only", "good"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    // A text of somebody's own under that name is neither replaced nor passed over in silence.
    sandbox.write("set/good", "mine");
    let ran = sandbox.run(&[&fetch[..], &["--only", "good"]].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("set/good is another text"), "{}", ran.stderr);
    assert_eq!(sandbox.read("set/good"), b"mine");
}

/// The report of results that never change; `FINEZIP_BLESS=1` writes the golden file anew.
#[test]
fn a_report_is_what_it_was() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let sandbox = Sandbox::new();
    let results = data.join("results.jsonl");
    let ran = sandbox.run(&["report", results.to_str().unwrap(), "--markdown", "report.md"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let found = String::from_utf8(sandbox.read("report.md")).unwrap();
    let golden = data.join("report.md");
    if std::env::var_os("FINEZIP_BLESS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&golden).unwrap());
    for line in found.lines().filter(|line| line.starts_with("![")) {
        let name = line.rsplit_once("(plots/").unwrap().1.trim_end_matches(".svg)");
        for extension in ["svg", "png"] {
            assert!(sandbox.path(&format!("plots/{name}.{extension}")).is_file(), "{name}");
        }
    }
}
