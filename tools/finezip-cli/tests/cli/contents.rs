//! Any bytes come back, and no file of one frame grows by more than 64.

use crate::support::{Sandbox, fixture, random_bytes};

/// Contents that text tools trip over, by name.
pub(crate) fn awkward_contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("one byte", b"x".to_vec()),
        ("one NUL", vec![0]),
        ("one byte of a longer character", vec![0xE2]),
        ("invalid UTF-8", b"caf\xE9 \xFF\xFE\xC0\x80 na\xEFve \xF0\x9F\x98 end".to_vec()),
        ("line ends", b"one\r\ntwo\rthree\n\r\nfour\n\n\r".to_vec()),
        ("NUL bytes", b"a\0b\0\0c and some text\0".to_vec()),
        ("special tokens", b"a<|endoftext|>b <|im_start|>user <s></s> <bos><eos>\n".to_vec()),
        ("a byte order mark", b"\xEF\xBB\xBFtext".to_vec()),
        ("decomposed characters", "cafe\u{301} \u{1100}\u{1161} \u{212B}".into()),
        ("spaces", b"   \t \t\t  leading and trailing   ".to_vec()),
        ("every byte", (0..=255).collect()),
    ]
}

#[test]
fn awkward_contents_come_back() {
    let sandbox = Sandbox::new();
    for (name, bytes) in awkward_contents() {
        sandbox.write("in", &bytes);
        sandbox.done(&["compress", "--model", "none", "-f", "--verify", "in", "-o", "in.fz"]);
        sandbox.done(&["decompress", "-f", "in.fz", "-o", "out"]);
        assert_eq!(sandbox.read("out"), bytes, "{name}");
        assert!(sandbox.read("in.fz").len() <= bytes.len() + 64, "{name}");
    }
}

#[test]
fn random_bytes_grow_by_64_bytes_at_most() {
    let sandbox = Sandbox::new();
    let bytes = random_bytes(1_000_000, 1);
    sandbox.write("random", &bytes);
    sandbox.done(&["compress", "--model", "none", "random"]);
    let archive_bytes = sandbox.read("random.fz").len();
    assert!(archive_bytes <= bytes.len() + 64, "{archive_bytes}");
    sandbox.done(&["decompress", "random.fz", "-o", "back"]);
    assert_eq!(sandbox.read("back"), bytes);
}

#[test]
fn texts_become_smaller() {
    let sandbox = Sandbox::new();
    for name in ["alice.txt", "faust.txt", "kokoro.txt", "queue.rs"] {
        let text = fixture(name);
        let archive =
            sandbox.run_with(&["compress", "--model", "none"], &text).expect_code(0).stdout;
        assert!(archive.len() * 3 < text.len() * 2, "{name}: {} of {}", archive.len(), text.len());
        assert_eq!(sandbox.run_with(&["decompress"], &archive).expect_code(0).stdout, text);
    }
}
