//! Byte compressors that are linked in, in a process of their own like every other cell:
//! `finezip-eval peer`, which reads a file whole, codes it, and writes it.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use finezip_peers::{ALL, Peer, named};

use crate::args::{Direction, PeerArguments};

/// The crates of a peer with their versions.
pub(crate) fn version(name: &str) -> String {
    named(name).map_or_else(String::new, Peer::version)
}

/// Their names.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.into_iter().map(Peer::name).collect()
}

/// Whether there is one of this name.
pub(crate) fn is_known(name: &str) -> bool {
    named(name).is_some()
}

/// `finezip-eval peer`: codes one file.
pub(crate) fn run(arguments: &PeerArguments) -> Result<ExitCode> {
    let Some(peer) = named(&arguments.method) else {
        bail!("{} is not linked in; there are {}", arguments.method, names().join(", "));
    };
    let from = &arguments.from;
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    let coded = match arguments.direction {
        Direction::Compress => peer.compress(&bytes),
        Direction::Decompress => peer.decompress(&bytes),
    };
    let coded = coded.with_context(|| format!("{}: {}", arguments.method, from.display()))?;
    fs::write(&arguments.to, coded).with_context(|| arguments.to.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
