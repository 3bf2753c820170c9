//! `list`, for people and for programs.

use crate::support::{Sandbox, random_bytes};
use serde_json::Value;

fn archived() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut bytes = b"the same words again and again, ".repeat(32);
    bytes.extend(random_bytes(1024, 3));
    sandbox.write("mixed", &bytes);
    sandbox.done(&["compress", "--model", "none", "--frame-size", "1K", "mixed"]);
    sandbox
}

#[test]
fn people_see_frames_with_methods_and_sizes() {
    let sandbox = archived();
    let listed = String::from_utf8(sandbox.done(&["list", "mixed.fz"]).stdout).unwrap();
    assert!(listed.starts_with("mixed.fz: 2,048 bytes of text in "), "{listed}");
    for part in ["1 member, 2 frames", "format 1", "stored", "102.15%"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
}

#[test]
fn programs_read_json() {
    let sandbox = archived();
    let printed = sandbox.done(&["list", "--json", "mixed.fz", "mixed.fz"]).stdout;
    let archives: Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(archives.as_array().unwrap().len(), 2);
    let archive = &archives[0];
    assert_eq!(archive["file"], "mixed.fz");
    assert_eq!(archive["text_bytes"], 2048);
    assert_eq!(archive["archive_bytes"], sandbox.read("mixed.fz").len());
    let member = &archive["members"][0];
    assert_eq!(member["format_version"], 1);
    assert_eq!(member["language"], Value::Null);
    let frames = member["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1]["method"], "stored");
    assert_eq!(frames[1]["payload_bytes"], frames[1]["text_bytes"]);
    let end_of_first =
        frames[0]["offset"].as_u64().unwrap() + frames[0]["block_bytes"].as_u64().unwrap();
    assert_eq!(frames[1]["offset"], end_of_first);
    assert_eq!(frames[1]["text_offset"], frames[0]["text_bytes"]);
}

#[test]
fn what_is_no_archive_is_an_error_and_the_others_are_listed() {
    let sandbox = archived();
    sandbox.write("text", b"just text");
    sandbox.write("nothing", b"");
    let ran = sandbox.run(&["list", "--json", "text", "mixed.fz", "nothing"]).expect_code(3);
    let archives: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(archives.as_array().unwrap().len(), 1);
    ran.expect_said(&[
        "finezip-cli: text: not a finezip archive",
        "nothing: not a finezip archive",
    ]);
}
