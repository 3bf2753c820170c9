//! The test set: cut from packages, compared with hashes, never over a text of somebody's own.

use std::fs;

use crate::support::{Sandbox, zip_of};

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
