//! The texts of a grid: found in the data folders, cut to length, hashed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grid::Input;
use crate::text::hex;

/// A text, as results name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    /// Its name in the grid.
    pub(crate) name: String,
    /// What it is, or is the start of: a file, or several joined.
    pub(crate) file: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its SHA-256.
    pub(crate) sha256: String,
}

/// SHA-256 and length of a file, read in pieces.
pub(crate) fn hash_file(path: &Path) -> Result<(String, u64)> {
    let at = || path.display().to_string();
    let mut file = File::open(path).with_context(at)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let count = file.read(&mut piece).with_context(at)?;
        if count == 0 {
            return Ok((hex(&hasher.finalize()), length));
        }
        hasher.update(&piece[..count]);
        length += count as u64;
    }
}

/// Writes the input `name` to `to`, each of its files from the first of `folders` that has it.
pub(crate) fn prepare(name: &str, input: &Input, folders: &[PathBuf], to: &Path) -> Result<Text> {
    let mut target = File::create(to).with_context(|| to.display().to_string())?;
    let mut wanted = input.bytes.unwrap_or(u64::MAX);
    for part in input.parts() {
        let candidates = folders.iter().map(|folder| folder.join(part));
        let Some(from) = candidates.into_iter().find(|path| path.is_file()) else {
            let searched: Vec<_> =
                folders.iter().map(|folder| folder.display().to_string()).collect();
            bail!("the file {part} of input {name} is not in {}", searched.join(", "));
        };
        let at = || from.display().to_string();
        if let Some(expected) = &input.sha256 {
            let (found, _) = hash_file(&from)?;
            ensure!(found == *expected, "{}: SHA-256 {expected} expected, {found} found", at());
        }
        let most = input.bytes_each.unwrap_or(u64::MAX).min(wanted);
        let mut source = File::open(&from).with_context(at)?;
        source.seek(SeekFrom::Start(input.skip)).with_context(at)?;
        wanted -= io::copy(&mut source.take(most), &mut target).with_context(at)?;
    }
    let (sha256, bytes) = hash_file(to)?;
    ensure!(
        bytes > 0,
        "{name}: its files give no bytes{}",
        match input.skip {
            0 => String::new(),
            skip => format!(" after the first {skip}"),
        }
    );
    if let Some(expected) = input.bytes {
        ensure!(bytes == expected, "{name}: {expected} bytes wanted, its files give {bytes}");
    }
    Ok(Text { name: name.to_owned(), file: input.source(), bytes, sha256 })
}

/// SHA-256 of a file, or of a folder's files with their names.
pub(crate) fn hash_path(path: &Path) -> Result<String> {
    if path.is_file() {
        return Ok(hash_file(path)?.0);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut hasher = Sha256::new();
    for file in paths.iter().filter(|path| path.is_file()) {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(hash_file(file)?.0);
    }
    Ok(hex(&hasher.finalize()))
}

/// Whether two files hold the same, read in pieces; else where they differ first.
pub(crate) fn compare(one: &Path, other: &Path) -> Result<()> {
    let open = |path: &Path| -> Result<_> {
        Ok(BufReader::new(File::open(path).with_context(|| path.display().to_string())?))
    };
    let lengths = (fs::metadata(one)?.len(), fs::metadata(other)?.len());
    let (left, right) = (open(one)?.bytes(), open(other)?.bytes());
    for (offset, (left, right)) in left.zip(right).enumerate() {
        ensure!(left? == right?, "what came back differs from the text at byte {offset}");
    }
    ensure!(
        lengths.0 == lengths.1,
        "what came back has {} bytes, the text has {}",
        lengths.1,
        lengths.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_cut_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let data = [folder.path().join("nowhere"), folder.path().to_owned()];
        let to = folder.path().join("to");
        fs::write(folder.path().join("file"), b"some text").unwrap();
        let input = |bytes, sha256: Option<&str>| Input {
            file: "file".into(),
            bytes,
            sha256: sha256.map(Into::into),
            ..Input::default()
        };
        let whole = prepare("a", &input(None, None), &data, &to).unwrap();
        assert_eq!((whole.name.as_str(), whole.bytes), ("a", 9));
        let cut = prepare("a", &input(Some(4), Some(&whole.sha256)), &data, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"some");
        assert_ne!(cut.sha256, whole.sha256);
        assert!(prepare("a", &input(Some(10), None), &data, &to).is_err());
        assert!(prepare("a", &input(None, Some("00")), &data, &to).is_err());
        fs::write(folder.path().join("more"), b" and more").unwrap();
        let files = vec!["file".to_owned(), "more".to_owned()];
        let joined = Input { files, bytes_each: Some(5), bytes: Some(8), ..Input::default() };
        let text = prepare("a", &joined, &data, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"some  an");
        assert_eq!(text.file, "file and 1 more (1878), 5 bytes of each");
        let later = Input { skip: 5, ..input(None, None) };
        prepare("a", &later, &data, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"text");
        let past = Input { skip: 50, ..input(None, None) };
        let error = prepare("a", &past, &data, &to).unwrap_err().to_string();
        assert!(error.contains("no bytes after the first 50"), "{error}");
        assert!(prepare("a", &input(Some(0), None), &data, &to).is_err());
        let missing = Input { file: "other".into(), ..Input::default() };
        let error = prepare("a", &missing, &data, &to).unwrap_err().to_string();
        assert!(error.contains("other") && error.contains("nowhere"), "{error}");
    }

    #[test]
    fn a_folder_s_hash_is_of_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        let mut hashes = std::collections::HashSet::new();
        for (name, content) in [("a", "x"), ("a", "y"), ("b", "x")] {
            fs::write(folder.path().join(name), content).unwrap();
            hashes.insert(hash_path(folder.path()).unwrap());
        }
        assert_eq!(hashes.len(), 3);
        let file = folder.path().join("a");
        assert_eq!(hash_path(&file).unwrap(), hash_file(&file).unwrap().0);
        assert!(hash_path(&folder.path().join("c")).is_err());
    }

    #[test]
    fn differences_are_found_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let text = path("text", "abcdef");
        compare(&text, &path("same", "abcdef")).unwrap();
        let said = |name, other| compare(&text, &path(name, other)).unwrap_err().to_string();
        assert!(said("changed", "abcxef").contains("at byte 3"));
        assert!(said("short", "abc").contains("has 3 bytes, the text has 6"));
        assert!(said("long", "abcdefg").contains("has 7 bytes"));
    }
}
