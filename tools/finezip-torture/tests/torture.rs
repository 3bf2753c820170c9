//! Small runs of the program, and every input that once did harm.

use std::fs;
use std::path::Path;
use std::process::Command;

use finezip_torture::targets;

fn run(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_finezip-torture")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

/// What once made a reader panic or take too much does so no more: a file a case, in a folder
/// named by its target.
#[test]
fn hostile_fixtures_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/hostile");
    let mut replayed = 0;
    for target in targets::ALL {
        let Ok(cases) = fs::read_dir(folder.join(target.name)) else { continue };
        for case in cases {
            (target.run)(&fs::read(case.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no fixtures in {}", folder.display());
}

#[test]
fn seeds_are_valid_input_and_mutations_do_no_harm() {
    for target in targets::ALL {
        for seed in (target.seeds)() {
            (target.run)(&seed);
        }
    }
    let save = tempfile::tempdir().unwrap();
    let told = run(&["fuzz", "--inputs", "60", "--save", save.path().to_str().unwrap()]);
    assert_eq!(told.lines().count(), targets::ALL.len(), "{told}");
    assert!(told.lines().all(|line| line.contains(" 0 harmful")), "{told}");
}
