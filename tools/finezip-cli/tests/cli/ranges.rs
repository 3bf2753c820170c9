//! `cat`: ranges of the text.

use crate::support::Sandbox;

fn text() -> Vec<u8> {
    (0..400).flat_map(|line| format!("line {line} of the text\n").into_bytes()).collect()
}

fn archived() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    sandbox.write("text", text());
    sandbox.done(&["compress", "--model", "none", "--frame-size", "1K", "text"]);
    (sandbox, text())
}

#[test]
fn every_form_of_a_range_gives_its_bytes() {
    let (sandbox, text) = archived();
    let length = text.len();
    let all = sandbox.done(&["cat", "text.fz"]).stdout;
    assert_eq!(all, text);
    for (range, expected) in [
        ("0..10", 0..10),
        ("1000..1100", 1000..1100),
        ("1K..5K", 1024..5120),
        ("..77", 0..77),
        ("5000..", 5000..length),
        ("..", 0..length),
        ("3000..3000", 3000..3000),
        ("8000..999999999", 8000..length),
    ] {
        let found = sandbox.done(&["cat", "--range", range, "text.fz"]).stdout;
        assert_eq!(found, text[expected], "{range}");
    }
}

#[test]
fn members_are_one_text() {
    let sandbox = Sandbox::new();
    sandbox.write("one", b"first ");
    sandbox.write("two", b"second");
    let both = sandbox.done(&["compress", "--model", "none", "-c", "one", "two"]).stdout;
    sandbox.write("both.fz", both);
    assert_eq!(sandbox.done(&["cat", "--range", "4..9", "both.fz"]).stdout, b"t sec");
}

#[test]
fn a_damaged_frame_hinders_only_ranges_that_need_it() {
    let (sandbox, text) = archived();
    let mut archive = sandbox.read("text.fz");
    let listed = sandbox.listed("text.fz");
    let first = &listed["members"][0]["frames"][0];
    let end = first["offset"].as_u64().unwrap() + first["block_bytes"].as_u64().unwrap();
    // In the first frame's payload: its checksum is its last four bytes.
    archive[end as usize - 5] ^= 1;
    sandbox.write("damaged.fz", &archive);
    sandbox.run(&["cat", "--range", "..10", "damaged.fz"]).expect_code(3).expect_said(&["frame 0"]);
    let rest = sandbox.done(&["cat", "--range", "2000..", "damaged.fz"]).stdout;
    assert_eq!(rest, text[2000..]);
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let (sandbox, _) = archived();
    for range in ["10..5", "x..y", "7", ""] {
        let ran = sandbox.run(&["cat", "--range", range, "text.fz"]).expect_code(2);
        ran.expect_said(&["--range"]);
    }
    let beyond = sandbox.run(&["cat", "--range", "100000..", "text.fz"]).expect_code(2);
    beyond.expect_said(&["text.fz: the range starts at byte 100,000; the text has "]);
    sandbox.run(&["cat", "-"]).expect_code(2).expect_said(&["needs a file"]);
}
