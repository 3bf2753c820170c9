//! Packages: brought by their registry's ordinary client, read without installing anything.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bzip2::read::BzDecoder;
use flate2::read::GzDecoder;
use liblzma::read::XzDecoder;

use super::manifest::{Package, Registry};
use crate::temporary::Temporary;

/// The most bytes that one member may unpack to: no text of a test set is longer.
const MEMBER_BYTES: u64 = 256 << 20;

/// Brings a package into `folder`, which is its own, and says which file it is. What lies there
/// already is taken; what is not here in whole never lies there.
pub(crate) fn bring(package: &Package, folder: &Path) -> Result<PathBuf> {
    if folder.is_dir()
        && let Some(file) = only_file(folder)?
    {
        return Ok(file);
    }
    let incomplete = Temporary::new_in(folder)?;
    let mut command = client(package);
    let shown = format!("{command:?}");
    let output = command
        .current_dir(incomplete.path())
        .output()
        .with_context(|| format!("{shown} cannot be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{shown}: {}: {}", output.status, last.join("; "));
    }
    let file = only_file(incomplete.path())?.with_context(|| format!("{shown} left no file"))?;
    let to = folder.join(file.file_name().context("a file's name")?);
    fs::rename(&file, &to).with_context(|| to.display().to_string())?;
    Ok(to)
}

/// The command that downloads a package into the folder it runs in.
fn client(package: &Package) -> Command {
    let Package { name, version, .. } = package;
    match package.registry {
        Registry::Pip => {
            let mut command = Command::new("python3");
            command.args(["-m", "pip", "download", "--quiet", "--no-deps"]);
            command.args(["--only-binary", ":all:", "--dest", "."]);
            for (option, value) in
                [("--platform", &package.platform), ("--python-version", &package.python)]
            {
                if let Some(value) = value {
                    command.args([option, value]);
                }
            }
            command.arg(format!("{name}=={version}"));
            command
        }
        Registry::Debian => {
            let mut command = Command::new("apt-get");
            command.args(["download", "--quiet"]).arg(format!("{name}={version}"));
            command
        }
        Registry::Npm => {
            let mut command = Command::new("npm");
            command.args(["pack", "--silent", "--ignore-scripts"]);
            command.arg(format!("{name}@{version}"));
            command
        }
        Registry::Web => {
            let mut command = Command::new("curl");
            command.args(["--fail", "--silent", "--show-error", "--location", "--retry", "2"]);
            // A server that says nothing for a minute is given up.
            command.args(["--connect-timeout", "60", "--speed-limit", "1", "--speed-time", "60"]);
            command.args(["--output", name, &package.address]);
            command
        }
    }
}

fn only_file(folder: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    ensure!(files.len() < 2, "{} holds more than one file", folder.display());
    Ok(files.pop())
}

/// Calls `visit` with path and content of each regular file in a package, in its order.
///
/// # Errors
/// A file that is no wheel (`.whl`), `.tar.gz`, `.tgz` or `.deb`, or a damaged one.
pub(crate) fn for_each_member(
    package: &Path,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let at = || package.display().to_string();
    let file = BufReader::new(File::open(package).with_context(at)?);
    let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rsplit('.').next() {
        Some("whl" | "zip") => wheel(file, visit),
        Some("gz" | "tgz") => members_of_tar(GzDecoder::new(file), visit),
        Some("deb") => debian(file, visit),
        _ => bail!("neither a wheel, a .tar.gz nor a .deb"),
    }
    .with_context(at)
}

fn wheel(
    file: BufReader<File>,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        if member.is_file() {
            let path = member.name()?.into_owned();
            visit(&path, &mut member)?;
        }
    }
    Ok(())
}

fn members_of_tar(
    reader: impl Read,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    for member in tar::Archive::new(reader).entries()? {
        let mut member = member?;
        if member.header().entry_type().is_file() {
            let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            visit(path.trim_start_matches("./"), &mut member)?;
        }
    }
    Ok(())
}

/// A Debian package is an `ar` archive whose member `data.tar.*` holds the files.
fn debian(
    file: BufReader<File>,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut archive = ar::Archive::new(file);
    while let Some(member) = archive.next_entry() {
        let member = member?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        match name.trim_end_matches('/') {
            "data.tar" => return members_of_tar(member, visit),
            "data.tar.gz" => return members_of_tar(GzDecoder::new(member), visit),
            "data.tar.xz" => return members_of_tar(XzDecoder::new(member), visit),
            "data.tar.zst" => {
                return members_of_tar(zstd::stream::read::Decoder::new(member)?, visit);
            }
            _ => {}
        }
    }
    bail!("a .deb without data.tar, or with one that is packed in an unknown way")
}

/// Content of a member, unpacked where its name says that it is packed.
pub(crate) fn content(path: &str, reader: &mut dyn Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let unpacked: &mut dyn Read = match path.rsplit('.').next() {
        Some("gz") => &mut GzDecoder::new(reader),
        Some("bz2") => &mut BzDecoder::new(reader),
        Some("xz") => &mut XzDecoder::new(reader),
        _ => reader,
    };
    unpacked.take(MEMBER_BYTES + 1).read_to_end(&mut bytes).with_context(|| path.to_owned())?;
    ensure!(bytes.len() as u64 <= MEMBER_BYTES, "{path} is longer than {MEMBER_BYTES} bytes");
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use liblzma::write::XzEncoder;

    use super::*;

    /// A tar archive of paths and contents.
    pub(crate) fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deb(name: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), (name, data)] {
            let header = ar::Header::new(name.into(), bytes.len() as u64);
            builder.append(&header, bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// A wheel of paths and contents.
    pub(crate) fn wheel_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (path, bytes) in members {
            writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn packages_of_every_form_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let packed = gzip(b"packed inside");
        let members: [(&str, &[u8]); 2] = [("docs/b.txt", b"plain"), ("docs/a.txt.gz", &packed)];
        let tar = tar_of(&members);
        let zst = zstd::bulk::compress(&tar, 1).unwrap();
        for (name, bytes) in [
            ("p.whl", wheel_of(&members)),
            ("p.tgz", gzip(&tar)),
            ("p-1.tar.gz", gzip(&tar)),
            ("plain.deb", deb("data.tar", &tar)),
            ("gz.deb", deb("data.tar.gz", &gzip(&tar))),
            ("xz.deb", deb("data.tar.xz", &xz(&tar))),
            ("zst.deb", deb("data.tar.zst", &zst)),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let mut found = Vec::new();
            for_each_member(&path, &mut |path, reader| {
                found.push((path.to_owned(), content(path, reader)?));
                Ok(())
            })
            .unwrap();
            let expected = [
                ("docs/b.txt".to_owned(), b"plain".to_vec()),
                ("docs/a.txt.gz".to_owned(), b"packed inside".to_vec()),
            ];
            assert_eq!(found, expected, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_address_is_downloaded_once() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.zip");
        fs::write(&source, wheel_of(&[("a", b"text")])).unwrap();
        let package = Package {
            registry: Registry::Web,
            name: "p.zip".into(),
            version: String::new(),
            address: format!("file://{}", source.display()),
            platform: None,
            python: None,
        };
        let into = folder.path().join("into");
        let brought = bring(&package, &into).unwrap();
        assert_eq!(fs::read(&brought).unwrap(), fs::read(&source).unwrap());
        fs::remove_file(&source).unwrap();
        assert_eq!(bring(&package, &into).unwrap(), brought);
        // What fails leaves nothing that a later try would take.
        let other = folder.path().join("other");
        for _ in 0..2 {
            let error = bring(&package, &other).unwrap_err().to_string();
            assert!(error.contains("curl"), "{error}");
            assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("p.rpm", &b"anything"[..]),
            ("p.whl", b"no zip"),
            ("p.tgz", b"no gzip"),
            ("p.deb", b"no ar"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert!(for_each_member(&path, &mut |_, _| Ok(())).is_err(), "{name}");
        }
        let other = folder.path().join("control.deb");
        fs::write(&other, deb("control.tar", b"")).unwrap();
        let error = format!("{:#}", for_each_member(&other, &mut |_, _| Ok(())).unwrap_err());
        assert!(error.contains("without data.tar"), "{error}");
    }
}
