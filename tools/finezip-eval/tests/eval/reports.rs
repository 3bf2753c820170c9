//! Reports.

use std::fs;
use std::path::Path;

use crate::support::Sandbox;

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
