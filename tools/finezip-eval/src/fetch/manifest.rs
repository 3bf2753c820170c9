//! The list of what the test set is made of: packages, members, lengths, hashes.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, ensure};
use serde::Deserialize;

/// The manifest that is built in.
pub(crate) const BUILT_IN: &str = include_str!("../../manifest.toml");

/// A manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Packages by the name that files use.
    pub(crate) packages: BTreeMap<String, Package>,
    /// The files to make.
    pub(crate) files: Vec<TestFile>,
}

/// Where packages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Registry {
    /// The Python package index, through pip.
    Pip,
    /// Debian, through apt-get.
    Debian,
    /// The npm registry, through npm.
    Npm,
    /// An address of the web, through curl.
    Web,
}

/// A package at one version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// Its registry.
    pub(crate) registry: Registry,
    /// Its name there; of an address, the name of the file.
    pub(crate) name: String,
    /// Its version, unless it is an address.
    #[serde(default)]
    pub(crate) version: String,
    /// Where it lies, if it is an address.
    #[serde(default)]
    pub(crate) address: String,
    /// For wheels that differ by platform: the one to take.
    #[serde(default)]
    pub(crate) platform: Option<String>,
    /// For wheels that differ by or ask for a version of Python: that version.
    #[serde(default)]
    pub(crate) python: Option<String>,
}

/// A file of the test set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// Its name.
    pub(crate) name: String,
    /// What kind of text it is, and since when it exists; for people.
    pub(crate) kind: String,
    /// The key of the package it is cut from.
    pub(crate) package: String,
    /// Patterns of the members' paths, in which `*` matches any characters. Members are joined in
    /// the order of their paths, packed ones unpacked.
    pub(crate) members: Vec<String>,
    /// Patterns of members that are left out all the same.
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// Length: the joined members are cut there.
    pub(crate) bytes: u64,
    /// SHA-256 of the result.
    pub(crate) sha256: String,
}

impl Manifest {
    /// Reads TOML and checks that names lead somewhere.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text)?;
        for (key, package) in &manifest.packages {
            let is_web = package.registry == Registry::Web;
            ensure!(
                is_web != package.address.is_empty(),
                "{key}: address is for registry web, and needed there"
            );
            ensure!(
                is_web == package.version.is_empty(),
                "{key}: version is for the other registries, and needed there"
            );
            ensure!(!package.name.contains('/') || !is_web, "{}: no file name", package.name);
        }
        let mut names = HashSet::new();
        for file in &manifest.files {
            let name = &file.name;
            ensure!(names.insert(name), "two files are called {name}");
            ensure!(
                !name.contains(['/', '\\']) && !name.starts_with('.'),
                "{name} is no file name"
            );
            ensure!(
                manifest.packages.contains_key(&file.package),
                "{name} is cut from {}, which is not in [packages]",
                file.package
            );
            for pattern in file.members.iter().chain(&file.without) {
                glob::Pattern::new(pattern)?;
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [packages.p]
        registry = "pip"
        name = "p"
        version = "1"
        [[files]]
        name = "a"
        kind = "prose"
        package = "p"
        members = ["*.txt"]
        bytes = 5
        sha256 = ""
    "#;

    #[test]
    fn manifests_are_read_and_checked() {
        let manifest = Manifest::parse(MANIFEST).unwrap();
        assert_eq!(manifest.packages["p"].registry, Registry::Pip);
        assert_eq!(manifest.files[0].bytes, 5);
        for (text, said) in [
            (MANIFEST.replace("package = \"p\"", "package = \"q\""), "not in [packages]"),
            (MANIFEST.replace("name = \"a\"", "name = \"../a\""), "no file name"),
            (MANIFEST.replace("*.txt", "***"), "wildcard"),
            (MANIFEST.replace("bytes", "byte"), "unknown field"),
            (MANIFEST.replace("pip", "pypi"), "unknown variant"),
            (MANIFEST.replace("pip", "web"), "p: address is for"),
            (MANIFEST.replace("version = \"1\"", ""), "p: version is for"),
            (MANIFEST.replace("version", "address"), "p: address is for"),
        ] {
            let error = format!("{:#}", Manifest::parse(&text).unwrap_err());
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn the_built_in_manifest_has_many_kinds_of_text_and_about_ten_megabytes() {
        let manifest = Manifest::parse(BUILT_IN).unwrap();
        assert!(manifest.files.len() >= 8);
        let total: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        assert!((8_000_000..13_000_000).contains(&total), "{total}");
        for file in &manifest.files {
            assert_eq!(file.sha256.len(), 64, "{}", file.name);
        }
    }
}
