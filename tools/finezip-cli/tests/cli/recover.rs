//! `decompress --recover`: what is whole is written, what is lost is told, and the code says so.

use serde_json::Value;

use crate::support::Sandbox;

fn text() -> Vec<u8> {
    (0..200).flat_map(|line| format!("line {line} of the text\n").into_bytes()).collect()
}

/// A folder with `text.fz`, and where its frames lie in archive and text.
fn archived() -> (Sandbox, Vec<Value>) {
    let sandbox = Sandbox::new();
    sandbox.write("text", text());
    sandbox.done(&["compress", "--model", "none", "--frame-size", "1K", "--rm", "text"]);
    let frames = sandbox.listed("text.fz")["members"][0]["frames"].as_array().unwrap().clone();
    (sandbox, frames)
}

fn number(frame: &Value, key: &str) -> usize {
    usize::try_from(frame[key].as_u64().unwrap()).unwrap()
}

#[test]
fn a_whole_archive_is_decompressed_as_always() {
    let (sandbox, _) = archived();
    sandbox.done(&["decompress", "--recover", "--rm", "text.fz"]).expect_said(&["text.fz : "]);
    assert_eq!(sandbox.names(), ["text"]);
    assert_eq!(sandbox.read("text"), text());
}

#[test]
fn whole_frames_are_written_and_lost_ones_named_by_byte_range() {
    let (sandbox, frames) = archived();
    let mut archive = sandbox.read("text.fz");
    let frame = &frames[2];
    archive[number(frame, "offset") + number(frame, "block_bytes") - 10] ^= 0x20;
    sandbox.write("text.fz", &archive);
    sandbox.run(&["decompress", "text.fz"]).expect_code(3).expect_said(&["--recover"]);
    assert_eq!(sandbox.names(), ["text.fz"]);

    let from = number(frame, "text_offset");
    let to = from + number(frame, "text_bytes");
    let lost = format!("member 0, frame 2: bytes {from}..{to} of the text lost, at byte {from}");
    let ran = sandbox.run(&["decompress", "--recover", "--rm", "text.fz"]).expect_code(3);
    ran.expect_said(&["finezip-cli: text.fz: ", &lost, "bytes of text recovered"]);
    let expected = [&text()[..from], &text()[to..]].concat();
    assert_eq!(sandbox.read("text"), expected);
    // The archive is kept, whatever --rm says.
    assert_eq!(sandbox.names(), ["text", "text.fz"]);
    let streamed = sandbox.run(&["decompress", "--recover", "-c", "-q", "text.fz"]).expect_code(3);
    assert_eq!(streamed.stdout, expected);
}

#[test]
fn a_truncated_archive_gives_what_is_there_of_it() {
    let (sandbox, frames) = archived();
    let archive = sandbox.read("text.fz");
    let last = frames.last().unwrap();
    sandbox.write("text.fz", &archive[..number(last, "offset") + 5]);
    sandbox
        .run(&["decompress", "--recover", "text.fz"])
        .expect_code(3)
        .expect_said(&["its index is lost", "perhaps more"]);
    assert_eq!(sandbox.read("text"), &text()[..number(last, "text_offset")]);
}

#[test]
fn what_cannot_be_recovered_is_an_error_and_leaves_nothing() {
    let (sandbox, _) = archived();
    let archive = sandbox.read("text.fz");
    sandbox.write("noise.fz", &archive[archive.len() - 20..]);
    sandbox.run(&["decompress", "--recover", "noise.fz"]).expect_code(3);
    sandbox.run_with(&["decompress", "--recover"], &archive).expect_code(2).expect_said(&["pipe"]);
    sandbox.run(&["decompress", "--recover", "missing.fz"]).expect_code(1);
    assert_eq!(sandbox.names(), ["noise.fz", "text.fz"]);
}
