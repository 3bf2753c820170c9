//! Folded weights come back from disk as they were, and damage is noticed.

use std::fs;

use finezip_exact::{CacheUse, Error, ExactModel, ExactOptions, Precision};
use finezip_models::Checkpoint;
use finezip_models::seeded::SeededModel;

use crate::families::{FAMILIES, checkpoint, fixed, logits_alone, seeded, tokens};

fn open(checkpoint: &Checkpoint, folder: &std::path::Path, precision: Precision) -> ExactModel {
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

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
