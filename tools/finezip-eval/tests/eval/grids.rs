//! Grids: worked through, resumed, in parts, with failures.

#[cfg(unix)]
use std::fs;

use serde_json::Value;

#[cfg(unix)]
use crate::support::RECORDER;
use crate::support::{Sandbox, cli, lines};

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

#[test]
fn one_command_runs_a_grid_whose_texts_are_there_and_reports() {
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
