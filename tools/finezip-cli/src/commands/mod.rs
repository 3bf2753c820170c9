//! The commands, and the loop over files that most of them share.

mod cat;
mod compress;
mod decompress;
mod list;
mod message;
mod models;
mod recover;
mod shell;
mod test;
mod verify;

use std::fs::{File, Metadata};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use finezip_core::message::Message;
use finezip_core::{ArchiveIndex, Decompressor};

use crate::args::Command;
use crate::compose::Workshop;
use crate::exit::{Code, Failure, Outcome};
use crate::input::{Input, display_name, open_file};
use crate::profiles::Profiles;
use crate::report::Report;
use crate::resolver::ArchiveResolver;
use crate::settings::ReadingSettings;

/// Runs a command; the code is that of the first file that failed.
pub(crate) fn run(command: Command) -> Outcome<Code> {
    match command {
        Command::Compress(arguments) => compress::run(arguments),
        Command::Decompress(arguments) => decompress::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Cat(arguments) => cat::run(arguments),
        Command::Models(arguments) => models::run(arguments),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { out_dir } => shell::man(out_dir.as_deref()),
    }
}

/// Begins this program again where a command trains and the environment does not suit that; the code
/// of what was begun.
pub(crate) fn begin_again(command: &Command) -> Option<ExitCode> {
    match command {
        Command::Compress(arguments) => compress::begin_again(arguments),
        _ => None,
    }
}

/// Does `work` for each file and goes on after failures, which it reports, unless further files
/// would be worked on for nothing.
fn for_each_file(
    files: &[PathBuf],
    report: &Report,
    mut work: impl FnMut(&Path) -> Outcome,
) -> Code {
    let mut code = Code::Done;
    for file in files {
        let Err(failure) = work(file) else { continue };
        if code == Code::Done {
            code = failure.code;
        }
        // Who no longer reads one output does not read the next one either.
        let is_last = failure.is_fatal || failure.code == Code::BrokenPipe;
        report.failure(&failure.about(display_name(file)));
        if is_last {
            break;
        }
    }
    code
}

/// A decompressor that finds what archives name, and the profiles of messages.
fn readers(settings: ReadingSettings, report: Report) -> (Decompressor, Profiles) {
    let limits = settings.machine.limits();
    let workshop = Arc::new(Workshop::new(settings.machine, report));
    let adapters = settings.adapters.clone();
    let resolver = ArchiveResolver::new(workshop.clone(), settings.model.clone(), adapters);
    let decompressor = Decompressor::new(resolver.telling()).with_limits(limits);
    (decompressor, Profiles::new(workshop, settings))
}

/// Opens an archive for reading from any place; a message is told from one that is damaged.
fn open_archive(path: &Path) -> Outcome<(File, Metadata)> {
    let (mut file, metadata) = open_file(path)?;
    let mut first = [0];
    if file.read(&mut first)? == 1 && Message::begins_with(first[0]) {
        return Err(Failure::new(
            Code::Archive,
            "it is a message, which has no index: `decompress` and `test` read it",
        ));
    }
    file.rewind()?;
    Ok((file, metadata))
}

/// Bytes of text in an archive, for a progress bar: from its index, if a bar is drawn and the
/// archive is a file. What is wrong with the archive is for decoding to say.
fn text_bytes(
    file: &Path,
    input: &Input,
    report: &Report,
    decompressor: &Decompressor,
) -> Option<u64> {
    // A named pipe that is opened again has nobody at its other end.
    if !report.draws() || !input.is_file() {
        return None;
    }
    let (mut source, _) = open_file(file).ok()?;
    ArchiveIndex::read(&mut source, &decompressor.limits()).ok().map(|index| index.text_bytes())
}
