//! Damaged archives: an error with its code, no panic, no output left.

use crate::support::{Sandbox, random_bytes};

/// An archive with a frame of each kind that needs no model.
pub(crate) fn small_archive(sandbox: &Sandbox) -> Vec<u8> {
    let mut bytes = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec();
    bytes.extend(b"many words of text, some words of many, text of many words, a word");
    bytes.extend(random_bytes(40, 9));
    sandbox.run_with(&["compress", "--model", "none", "--frame-size", "64"], &bytes).stdout
}

/// Every command that reads archives fails on `archive` and leaves nothing behind.
fn refused(sandbox: &Sandbox, archive: &[u8], what: &str) {
    sandbox.write("bad.fz", archive);
    for arguments in [&["decompress", "bad.fz"][..], &["test", "bad.fz"]] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(3), "{what}: {arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("finezip-cli: bad.fz: "), "{what}: {}", ran.stderr);
        assert_eq!(sandbox.names(), ["bad.fz"], "{what}: {arguments:?}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let sandbox = Sandbox::new();
    let archive = small_archive(&sandbox);
    for length in 0..archive.len() {
        refused(&sandbox, &archive[..length], &format!("cut to {length} of {}", archive.len()));
    }
}

#[test]
fn an_archive_with_any_byte_changed_is_refused() {
    let sandbox = Sandbox::new();
    let archive = small_archive(&sandbox);
    for place in 0..archive.len() {
        let mut damaged = archive.clone();
        damaged[place] ^= 0xFF;
        refused(&sandbox, &damaged, &format!("byte {place} of {}", archive.len()));
    }
}

#[test]
fn indexes_that_lie_are_refused() {
    let sandbox = Sandbox::new();
    let archive = small_archive(&sandbox);
    let footer = archive.len() - 8;
    let end_bytes = u32::from_le_bytes(archive[footer..footer + 4].try_into().unwrap());
    for place in footer - end_bytes as usize..archive.len() {
        let mut damaged = archive.clone();
        damaged[place] ^= 0x81;
        sandbox.write("bad.fz", &damaged);
        for command in ["list", "cat"] {
            let ran = sandbox.run(&[command, "bad.fz"]).expect_code(3);
            assert!(ran.stdout.is_empty(), "{command}: byte {place}");
        }
    }
}

#[test]
fn bytes_before_between_and_after_are_refused() {
    let sandbox = Sandbox::new();
    let archive = small_archive(&sandbox);
    refused(&sandbox, &[b"x", &archive[..]].concat(), "before");
    refused(&sandbox, &[&archive[..], b"x"].concat(), "after");
    refused(&sandbox, &[&archive[..], b"\n", &archive[..]].concat(), "between");
    refused(&sandbox, &random_bytes(5000, 77), "noise");
    sandbox.write("two.fz", [&archive[..], &archive[..]].concat());
    sandbox.done(&["test", "two.fz"]);
}

#[test]
fn messages_name_the_frame_and_the_offset() {
    let sandbox = Sandbox::new();
    let archive = small_archive(&sandbox);
    let mut damaged = archive.clone();
    let last = damaged.len() - 70;
    damaged[last] ^= 1;
    sandbox.write("bad.fz", &damaged);
    sandbox.run(&["test", "bad.fz"]).expect_code(3).expect_said(&["frame ", "offset "]);
    sandbox.write("text.fz", b"plain text");
    sandbox.run(&["decompress", "text.fz"]).expect_code(3).expect_said(&[
        "not a finezip archive",
        "begins with 70 6c 61 69",
        "finezip-cli compress",
    ]);
    sandbox.write("new.fz", b"\x8FFZ\x1A\x63more");
    sandbox.run(&["decompress", "new.fz"]).expect_code(3).expect_said(&["format version 99"]);
}
