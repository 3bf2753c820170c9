//! Folded weights come back from disk as they were, and damage is noticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use finezip_exact::{CacheUse, Error, ExactModel, ExactOptions, Isa, Precision};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, Checkpoint};

use crate::families::{FAMILIES, checkpoint, fixed, logits_alone, model, seeded, tokens};

fn open(checkpoint: &Checkpoint, folder: &Path, precision: Precision) -> ExactModel {
    let cache_dir = Some(folder.to_owned());
    let options = ExactOptions { precision, threads: 1, cache_dir, ..ExactOptions::default() };
    ExactModel::open(checkpoint, options).unwrap()
}

#[test]
fn weights_come_back_and_damage_is_folded_again() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in FAMILIES {
        for precision in [Precision::Int8, Precision::Int4] {
            let checkpoint = checkpoint(architecture);
            let before: Vec<_> = files(folder.path());
            let first = open(&checkpoint, folder.path(), precision);
            assert_eq!(*first.cache_use(), CacheUse::Written);
            let logits = |model: &ExactModel| logits_alone(model, fixed(32), &tokens(9, 1), 9);
            let expected = logits(&first);
            let second = open(&checkpoint, folder.path(), precision);
            assert_eq!(*second.cache_use(), CacheUse::Read);
            assert!(logits(&second) == expected);

            let path = files(folder.path()).into_iter().find(|path| !before.contains(path));
            let path = path.expect("a new file");
            let whole = fs::read(&path).unwrap();
            for place in [0, 20, 44, 50, 60, whole.len() / 2, whole.len() - 1] {
                let mut damaged = whole.clone();
                damaged[place] ^= 1;
                fs::write(&path, &damaged).unwrap();
                let third = open(&checkpoint, folder.path(), precision);
                assert_eq!(*third.cache_use(), CacheUse::Written, "byte {place}");
                assert!(fs::read(&path).unwrap() == whole);
            }
            let longer = [&whole[..], &[0]].concat();
            for content in [&whole[..whole.len() / 3], &[], &longer] {
                fs::write(&path, content).unwrap();
                let third = open(&checkpoint, folder.path(), precision);
                assert_eq!(*third.cache_use(), CacheUse::Written);
                assert!(logits(&third) == expected);
            }
        }
    }
}

/// Another model of the same shape, copied over the file while it is opened: its weights must not
/// go by the name of what was there before, now or in the cache.
#[test]
fn a_file_that_is_written_to_meanwhile_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let path = folder.path().join("model.gguf");
    let first = seeded(FAMILIES[0]);
    let second = SeededModel { seed: first.seed + 1, ..first.clone() };
    for precision in Precision::ALL {
        fs::write(&path, first.to_gguf().unwrap()).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        checkpoint.fingerprint().unwrap();
        fs::write(&path, second.to_gguf().unwrap()).unwrap();
        let cache_dir = Some(cache.clone());
        let options = ExactOptions { precision, threads: 1, cache_dir, ..Default::default() };
        let error = ExactModel::open(&checkpoint, options).unwrap_err();
        let changed = matches!(error, Error::Checkpoint(finezip_models::Error::Changed { .. }));
        assert!(changed, "{precision}: {error}");
        assert!(!cache.exists() || files(&cache).is_empty(), "{precision}");
    }
    // What is there now is a model like any other.
    let model = open(&Checkpoint::open(&path).unwrap(), &cache, Precision::Int8);
    assert_eq!(*model.cache_use(), CacheUse::Written);
}

#[test]
fn what_killed_processes_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(".weights-0123abcd-4711.partial");
    let other = folder.path().join("other.partial");
    fs::write(&left, b"half of it").unwrap();
    fs::write(&other, b"somebody's").unwrap();
    let model = open(&checkpoint(FAMILIES[0]), folder.path(), Precision::Int8);
    assert_eq!(*model.cache_use(), CacheUse::Written);
    assert!(!left.exists() && other.exists());
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let model = open(&checkpoint(FAMILIES[0]), &file.join("inside"), Precision::Int8);
    assert!(matches!(model.cache_use(), CacheUse::NotWritten(_)));
}

/// One of two writes, and neither takes the other's work for its own or for abandoned.
#[test]
fn two_that_open_at_once_both_have_their_model() {
    let logits = |model: &ExactModel| logits_alone(model, fixed(32), &tokens(9, 1), 9);
    let expected = logits(&model(&checkpoint(FAMILIES[0]), Precision::Int8));
    for _ in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let start = Barrier::new(2);
        let opened = || {
            let checkpoint = checkpoint(FAMILIES[0]);
            start.wait();
            let model = open(&checkpoint, folder.path(), Precision::Int8);
            (model.cache_use().clone(), logits(&model))
        };
        let both = std::thread::scope(|scope| {
            [scope.spawn(opened), scope.spawn(opened)].map(|thread| thread.join().unwrap())
        });
        assert!(both.iter().all(|(_, found)| *found == expected));
        assert!(both.iter().any(|(used, _)| *used == CacheUse::Written));
        // Nothing is left but the whole file.
        assert_eq!(files(folder.path()).len(), 1);
        let third = open(&checkpoint(FAMILIES[0]), folder.path(), Precision::Int8);
        assert_eq!(*third.cache_use(), CacheUse::Read);
        assert!(logits(&third) == expected);
    }
}

/// What an administrator has folded for everybody.
#[cfg(unix)]
#[test]
fn a_folder_that_can_only_be_read_is_read() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(FAMILIES[0]);
    for precision in [Precision::Int8, Precision::Int4] {
        let first = open(&checkpoint, folder.path(), precision);
        assert_eq!(*first.cache_use(), CacheUse::Written);
    }
    let allow = |files_mode: u32, folder_mode: u32| {
        for file in files(folder.path()) {
            fs::set_permissions(file, fs::Permissions::from_mode(files_mode)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
    };
    allow(0o444, 0o555);
    let uses = [Precision::Int8, Precision::Int4]
        .map(|precision| open(&checkpoint, folder.path(), precision).cache_use().clone());
    // Before anything fails: a folder that nobody may write cannot be removed.
    allow(0o644, 0o755);
    assert_eq!(uses, [CacheUse::Read, CacheUse::Read]);
    assert_eq!(files(folder.path()).len(), 2);
}

/// Whoever folds, with whatever instructions and threads, writes the same file, and everybody else
/// finds it.
#[test]
fn neither_instructions_nor_threads_are_in_a_files_name_or_content() {
    let ways: Vec<(Isa, usize)> =
        Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]).collect();
    for (architecture, precision) in [
        (Architecture::Llama, Precision::Int8),
        (Architecture::Gemma3, Precision::Int8),
        (Architecture::Llama, Precision::Int4),
    ] {
        let checkpoint = checkpoint(architecture);
        let open_as = |folder: &Path, (isa, threads): (Isa, usize)| {
            let (isa, cache_dir) = (Some(isa), Some(folder.to_owned()));
            let options = ExactOptions { precision, threads, isa, cache_dir, ..Default::default() };
            ExactModel::open(&checkpoint, options).unwrap()
        };
        let mut expected = None;
        for &writer in &ways {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(*open_as(folder.path(), writer).cache_use(), CacheUse::Written);
            let written: Vec<_> = files(folder.path())
                .into_iter()
                .map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()))
                .collect();
            assert_eq!(written.len(), 1);
            let same = *expected.get_or_insert_with(|| written.clone()) == written;
            assert!(same, "{architecture:?} {precision}, written by {writer:?}");
            for &reader in &ways {
                let model = open_as(folder.path(), reader);
                assert_eq!(*model.cache_use(), CacheUse::Read, "{writer:?} {reader:?}");
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
