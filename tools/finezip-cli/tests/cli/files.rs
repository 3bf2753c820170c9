//! Which files are read, written, kept and refused.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::Sandbox;

const TEXT: &[u8] = b"Whose woods these are I think I know. His house is in the village though.\n";

#[test]
fn the_suffix_is_added_and_removed_and_inputs_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "text"]);
    assert_eq!(sandbox.names(), ["text", "text.fz"]);
    fs::rename(sandbox.path("text.fz"), sandbox.path("other.txt.fz")).unwrap();
    sandbox.done(&["decompress", "other.txt.fz"]);
    assert_eq!(sandbox.names(), ["other.txt", "other.txt.fz", "text"]);
    assert_eq!(sandbox.read("other.txt"), TEXT);
}

#[test]
fn rm_removes_inputs_after_success_and_keep_takes_it_back() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "--rm", "text"]);
    assert_eq!(sandbox.names(), ["text.fz"]);
    sandbox.done(&["decompress", "--rm", "-k", "text.fz"]);
    assert_eq!(sandbox.names(), ["text", "text.fz"]);
    sandbox.done(&["decompress", "-k", "--rm", "-f", "text.fz"]);
    assert_eq!(sandbox.names(), ["text"]);
    sandbox.write("bad.fz", b"not an archive");
    sandbox.run(&["decompress", "--rm", "bad.fz"]).expect_code(3);
    assert_eq!(sandbox.names(), ["bad.fz", "text"]);
}

#[test]
fn nothing_is_replaced_without_force() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.write("text.fz", b"precious");
    let refused = ["compress", "--model", "none", "text"];
    sandbox.run(&refused).expect_code(1).expect_said(&["text.fz exists already", "-f"]);
    assert_eq!(sandbox.read("text.fz"), b"precious");
    sandbox.run(&["compress", "--model", "none", "text", "-o", "text.fz"]).expect_code(1);
    assert_eq!(sandbox.read("text.fz"), b"precious");

    sandbox.done(&["compress", "--model", "none", "-f", "text"]);
    sandbox.write("text", b"changed");
    sandbox.run(&["decompress", "text.fz"]).expect_code(1).expect_said(&["text exists already"]);
    assert_eq!(sandbox.read("text"), b"changed");
    sandbox.done(&["decompress", "-f", "text.fz"]);
    assert_eq!(sandbox.read("text"), TEXT);
    assert_eq!(sandbox.names(), ["text", "text.fz"]);
}

#[test]
fn the_output_may_be_named() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "-o", "archive.bin", "text"]);
    sandbox.done(&["decompress", "archive.bin", "-o", "back"]);
    assert_eq!(sandbox.names(), ["archive.bin", "back", "text"]);
    assert_eq!(sandbox.read("back"), TEXT);
}

#[test]
fn the_input_is_never_its_own_output() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox
        .run(&["compress", "--model", "none", "-f", "text", "-o", "./text"])
        .expect_code(1)
        .expect_said(&["would replace the input"]);
    assert_eq!(sandbox.read("text"), TEXT);
}

#[cfg(unix)]
#[test]
fn a_name_that_links_to_the_input_does_not_take_it_away() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    std::os::unix::fs::symlink("text", sandbox.path("text.fz")).unwrap();
    let compress = ["compress", "--model", "none", "-f", "--rm", "text"];
    sandbox.run(&compress).expect_code(1).expect_said(&["would replace the input"]);
    assert_eq!(sandbox.read("text"), TEXT);
    fs::remove_file(sandbox.path("text.fz")).unwrap();
    sandbox.done(&["compress", "--model", "none", "text"]);
    let archive = sandbox.read("text.fz");
    fs::remove_file(sandbox.path("text")).unwrap();
    std::os::unix::fs::symlink("text.fz", sandbox.path("text")).unwrap();
    let decompress = ["decompress", "-f", "--rm", "text.fz"];
    sandbox.run(&decompress).expect_code(1).expect_said(&["would replace the input"]);
    assert_eq!(sandbox.read("text.fz"), archive);
}

#[cfg(unix)]
#[test]
fn rm_keeps_an_input_whose_output_does_not_stand() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    let compress = ["compress", "--model", "none", "-f", "--rm", "-o", "/dev/null", "text"];
    sandbox.run(&compress).expect_code(2).expect_said(&["--rm", "/dev/null"]);
    std::os::unix::fs::symlink("nowhere", sandbox.path("text.fz")).unwrap();
    for options in [&[][..], &["-f"]] {
        let compress = [&["compress", "--model", "none", "--rm", "text"], options].concat();
        sandbox.run(&compress).expect_code(1).expect_said(&["link to what is not there"]);
    }
    assert_eq!(sandbox.read("text"), TEXT);
}

/// Whoever decompresses owns the result: it must not run as its owner for others.
#[cfg(unix)]
#[test]
fn results_are_never_run_as_their_owner() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "--rm", "text"]);
    let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().permissions().mode();
    let set = fs::Permissions::from_mode(0o6755);
    fs::set_permissions(sandbox.path("text.fz"), set).unwrap();
    sandbox.done(&["decompress", "text.fz"]);
    assert_eq!(mode("text") & 0o7777, 0o755);
}

#[test]
fn names_may_be_as_long_as_the_system_has_them() {
    let sandbox = Sandbox::new();
    for name in ["n".repeat(250), "\u{e9}".repeat(125)] {
        sandbox.write(&name, TEXT);
        sandbox.done(&["compress", "--model", "none", "--rm", &name]);
        sandbox.done(&["decompress", "--rm", &format!("{name}.fz")]);
        assert_eq!(sandbox.read(&name), TEXT);
    }
}

#[test]
fn what_is_written_beside_archives_takes_no_file_s_place() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.write("notes", TEXT);
    let compress = ["compress", "--model", "none", "-c", "--statistics"];
    // Found by arguments drawn at random: the input was emptied before it was read.
    for force in [&[][..], &["-f"]] {
        let over_input = [&compress[..], &["./text", "text"], force].concat();
        sandbox.run(&over_input).expect_code(1).expect_said(&["./text is an input"]);
    }
    let over_other = [&compress[..], &["notes", "text"]].concat();
    sandbox.run(&over_other).expect_code(1).expect_said(&["notes exists already", "-f"]);
    assert_eq!((sandbox.read("text"), sandbox.read("notes")), (TEXT.to_vec(), TEXT.to_vec()));
    sandbox.done(&[&over_other[..], &["-f"]].concat());
    assert!(sandbox.read("notes").starts_with(b"{"));
}

/// Another name of an input is no other file: it was emptied before it was read.
#[cfg(unix)]
#[test]
fn what_is_written_beside_archives_takes_no_other_name_of_an_input() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    fs::hard_link(sandbox.path("text"), sandbox.path("notes")).unwrap();
    let compress = ["compress", "--model", "none", "-f", "-c", "--statistics", "notes", "text"];
    let ran = sandbox.run(&compress);
    assert_eq!(sandbox.read("text"), TEXT);
    ran.expect_code(1).expect_said(&["notes is an input"]);
}

#[test]
fn names_without_the_suffix_need_an_output_and_archives_are_not_compressed_again() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.done(&["compress", "--model", "none", "text", "-o", "archive"]);
    sandbox.run(&["decompress", "archive"]).expect_code(1).expect_said(&[".fz", "-o FILE"]);
    fs::rename(sandbox.path("archive"), sandbox.path("archive.fz")).unwrap();
    let again = sandbox.run(&["compress", "--model", "none", "archive.fz"]);
    again.expect_code(1).expect_said(&["has the suffix .fz already"]);
    sandbox.done(&["compress", "--model", "none", "-f", "archive.fz"]);
    assert_eq!(sandbox.names(), ["archive.fz", "archive.fz.fz", "text"]);
}

#[test]
fn other_files_are_done_after_a_failure_and_the_first_decides_the_code() {
    let sandbox = Sandbox::new();
    sandbox.write("one", TEXT);
    sandbox.write("two", TEXT);
    fs::create_dir(sandbox.path("folder")).unwrap();
    sandbox
        .run(&["compress", "--model", "none", "missing", "one", "folder", "two"])
        .expect_code(1)
        .expect_said(&["finezip-cli: missing: ", "finezip-cli: folder: it is a folder"]);
    assert_eq!(sandbox.names(), ["folder", "one", "one.fz", "two", "two.fz"]);
    sandbox.write("bad.fz", &sandbox.read("one.fz")[..20]);
    sandbox.run(&["test", "one.fz", "bad.fz", "missing.fz"]).expect_code(3);
    sandbox.run(&["decompress", "-f", "missing.fz", "bad.fz", "two.fz"]).expect_code(1);
}

#[test]
fn permissions_and_times_are_kept() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("text", TEXT);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    sandbox.done(&["compress", "--model", "none", "text"]);
    fs::remove_file(&path).unwrap();
    sandbox.done(&["decompress", "text.fz"]);
    for name in ["text.fz", "text"] {
        let metadata = fs::metadata(sandbox.path(name)).unwrap();
        assert_eq!(metadata.modified().unwrap(), then, "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{name}");
        }
    }
}

/// Only root gives files to others, so that only root can test it.
#[cfg(unix)]
#[test]
fn an_output_belongs_to_whom_its_input_does_or_is_no_more_open() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;

    let (user, group, other) = (12345, 23456, 34567);
    let sandbox = Sandbox::new();
    let text = sandbox.write("text", TEXT);
    if chown(&text, Some(user), Some(group)).is_err() {
        return;
    }
    let set_mode = |mode: u32| {
        fs::set_permissions(&text, fs::Permissions::from_mode(mode)).unwrap();
    };
    let expect = |name: &str, owner: u32, group: u32, mode: u32| {
        let found = fs::metadata(sandbox.path(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (owner, group), "{name}");
        assert_eq!(found.mode() & 0o7777, mode, "{name}");
    };
    set_mode(0o640);
    sandbox.done(&["compress", "--model", "none", "text"]);
    expect("text.fz", user, group, 0o640);
    sandbox.done(&["decompress", "text.fz", "-o", "back"]);
    expect("back", user, group, 0o640);

    // Somebody who may read it and is not in its group.
    chown(sandbox.path(""), Some(other), Some(other)).unwrap();
    for (name, mode, expected) in [("one.fz", 0o604, 0o600), ("two.fz", 0o657, 0o655)] {
        set_mode(mode);
        let ran = sandbox
            .command(&["compress", "--model", "none", "-q", "text", "-o", name])
            .uid(other)
            .gid(other)
            .status();
        match ran {
            // The binary may lie where only root goes.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
            ran => assert!(ran.unwrap().success()),
        }
        expect(name, other, other, expected);
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_stay_devices() {
    use std::os::unix::fs::FileTypeExt;

    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox.write("behind", b"old");
    std::os::unix::fs::symlink("behind", sandbox.path("link")).unwrap();
    sandbox.done(&["compress", "--model", "none", "-f", "text", "-o", "link"]);
    assert!(fs::symlink_metadata(sandbox.path("link")).unwrap().is_symlink());
    sandbox.done(&["test", "behind"]);

    let compress = ["compress", "--model", "none", "--verify", "text", "-o", "/dev/null"];
    sandbox.done(&compress);
    // What keeps nothing may be named twice.
    sandbox.done(&[&compress[..], &["--statistics", "/dev/null"]].concat());
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    sandbox
        .run(&["compress", "--model", "none", "text", "-o", "nowhere/out.fz"])
        .expect_code(1)
        .expect_said(&["cannot write to nowhere"]);
}

#[test]
fn statistics_that_cannot_be_written_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT);
    let compress = ["compress", "--model", "none", "text", "--statistics"];
    let nowhere = sandbox.run(&[&compress[..], &["nowhere/notes"]].concat()).expect_code(1);
    nowhere.expect_said(&["finezip-cli: cannot write to nowhere/notes: "]);
    assert_eq!(sandbox.names(), ["text"]);
    if fs::exists("/dev/full").unwrap() {
        let full = sandbox.run(&[&compress[..], &["/dev/full"]].concat()).expect_code(1);
        full.expect_said(&["finezip-cli: cannot write to /dev/full: No space left"]);
    }
}

#[test]
fn verify_keeps_good_archives() {
    let sandbox = Sandbox::new();
    sandbox.write("text", TEXT.repeat(100));
    sandbox.done(&["compress", "--model", "none", "--verify", "--frame-size", "1K", "text"]);
    sandbox.done(&["decompress", "text.fz", "-o", "back"]);
    assert_eq!(sandbox.read("back"), TEXT.repeat(100));
    let streamed = sandbox.done(&[
        "compress",
        "--model",
        "none",
        "--verify",
        "-c",
        "--frame-size",
        "1K",
        "text",
    ]);
    assert_eq!(streamed.stdout, sandbox.read("text.fz"));
    assert_eq!(sandbox.names(), ["back", "text", "text.fz"]);
}
