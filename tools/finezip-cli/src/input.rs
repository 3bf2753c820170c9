//! Where bytes come from: a file or stdin.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read, StdinLock};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::exit::{Failure, Outcome};
use crate::files::is_as_it_was;
use crate::output::Output;

/// The argument that means stdin or stdout.
pub(crate) const DASH: &str = "-";

/// The name of stdin in messages.
pub(crate) const STDIN: &str = "stdin";

/// Whether an argument means stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == DASH
}

/// The name of an input in messages.
pub(crate) fn display_name(path: &Path) -> String {
    if is_stdin(path) { STDIN.into() } else { path.display().to_string() }
}

/// An input that is open for reading.
pub(crate) struct Input {
    reader: Reader,
    /// The file's metadata; none for stdin.
    pub(crate) metadata: Option<Metadata>,
    hash: Xxh3,
    /// The first byte, where it was looked at and is not read yet.
    ahead: Option<u8>,
}

impl Input {
    /// Opens a file, or stdin for `-`. Folders are refused.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        if is_stdin(path) {
            return Ok(Self {
                reader: Reader::Stdin(io::stdin().lock()),
                metadata: None,
                hash: Xxh3::new(),
                ahead: None,
            });
        }
        let (file, metadata) = open_file(path)?;
        Ok(Self {
            reader: Reader::File(file),
            metadata: Some(metadata),
            hash: Xxh3::new(),
            ahead: None,
        })
    }

    /// An error if a regular file is no longer as it was when it was opened: what was read of it
    /// may be nothing that ever was its content.
    pub(crate) fn expect_unchanged(&self, output: &Output) -> Outcome {
        let (Reader::File(file), Some(before)) = (&self.reader, &self.metadata) else {
            return Ok(());
        };
        let now = file.metadata()?;
        if before.is_file() && !is_as_it_was(before, &now) {
            let kept = match output.has_begun() {
                true => "the archive in the output may be of nothing that it ever was",
                false => "no archive of it was kept",
            };
            return Err(Failure::file(format!(
                "it has changed while it was read, so that {kept}; compress it again"
            )));
        }
        Ok(())
    }

    /// The first byte, which is read again afterwards; none where there is none.
    pub(crate) fn first_byte(&mut self) -> io::Result<Option<u8>> {
        if self.ahead.is_none() {
            let mut byte = [0];
            self.ahead = match self.reader.read_exact(&mut byte) {
                Ok(()) => Some(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Err(error) => return Err(error),
            };
        }
        Ok(self.ahead)
    }

    /// Bytes of a regular file; unknown for anything else.
    pub(crate) fn length(&self) -> Option<u64> {
        self.metadata.as_ref().filter(|metadata| metadata.is_file()).map(Metadata::len)
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.metadata.as_ref().is_some_and(Metadata::is_file)
    }

    /// XXH3-128 of what has been read.
    pub(crate) fn hash(&self) -> u128 {
        self.hash.digest128()
    }
}

/// Where an input's bytes are read from.
enum Reader {
    Stdin(StdinLock<'static>),
    File(File),
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stdin(stdin) => stdin.read(out),
            Self::File(file) => file.read(out),
        }
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match (self.ahead, out.split_first_mut()) {
            (Some(byte), Some((first, rest))) => {
                let count = self.reader.read(rest)?;
                *first = byte;
                self.ahead = None;
                1 + count
            }
            _ => self.reader.read(out)?,
        };
        self.hash.update(&out[..count]);
        Ok(count)
    }
}

/// Opens a file that is no folder.
pub(crate) fn open_file(path: &Path) -> Outcome<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Failure::file("it is a folder; give the files in it"));
    }
    Ok((file, metadata))
}

/// An error if an archive would be read from a keyboard.
pub(crate) fn refuse_terminal(path: &Path) -> Outcome {
    if is_stdin(path) && io::stdin().is_terminal() {
        return Err(Failure::usage(
            "an archive is not typed on a terminal; give a file, or `< FILE`",
        ));
    }
    Ok(())
}
