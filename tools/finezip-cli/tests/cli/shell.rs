//! `completions` and `man`.

use crate::support::Sandbox;

#[test]
fn completions_know_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(sandbox.done(&["completions", shell]).stdout).unwrap();
        for word in ["decompress", "finezip-cli", "frame-size"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_manual_has_a_page_and_one_a_command() {
    let sandbox = Sandbox::new();
    let page = String::from_utf8(sandbox.done(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH finezip-cli 1"), "{page}");
    sandbox.done(&["man", "--out-dir", "pages"]);
    for name in ["finezip-cli.1", "finezip-cli-compress.1", "finezip-cli-cat.1"] {
        assert!(sandbox.path("pages").join(name).exists(), "{name}");
    }
}
