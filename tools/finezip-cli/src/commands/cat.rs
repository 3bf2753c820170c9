//! `cat`: a range of an archive's text, decoding only the frames that hold it, or some of its
//! records and nothing else.

use std::fs::File;
use std::ops::Range;

use finezip_core::{ArchiveIndex, Decompressor};

use super::{open_archive, readers};
use crate::args::CatArguments;
use crate::exit::{Code, Failure, Outcome};
use crate::input::is_stdin;
use crate::output::{Output, Target, WriteOptions};
use crate::report::Report;
use crate::settings::{self, ReadingSettings};
use crate::units::grouped;

/// Runs the command.
pub(crate) fn run(arguments: CatArguments) -> Outcome<Code> {
    let name = arguments.file.display().to_string();
    cat(arguments).map_err(|failure| failure.about(name))
}

fn cat(arguments: CatArguments) -> Outcome<Code> {
    let report = settings::report(arguments.verbosity);
    if is_stdin(&arguments.file) {
        return Err(Failure::usage(
            "random access needs a file; `finezip-cli decompress` reads a pipe",
        ));
    }
    let (decompressor, _) = readers(ReadingSettings::new(&arguments.reading), report);
    let (mut file, _) = open_archive(&arguments.file)?;
    let index = ArchiveIndex::read(&mut file, &decompressor.limits())?;
    if let Some(wanted) = arguments.record {
        return records(&index, &mut file, wanted, &decompressor, &report);
    }
    let range = arguments.range;
    if range.start > index.text_bytes() {
        return Err(Failure::usage(format!(
            "the range starts at byte {}; the text has {}",
            grouped(range.start),
            grouped(index.text_bytes())
        )));
    }
    let mut output = Output::create(&Target::Stdout, WriteOptions::default())?;
    let written_bytes = index.extract(&mut file, range, &decompressor, &mut output)?;
    output.finish(None, &report)?;
    report.detail(format_args!(
        "{} of {} bytes",
        grouped(written_bytes),
        grouped(index.text_bytes())
    ));
    Ok(Code::Done)
}

/// Writes records to stdout.
fn records(
    index: &ArchiveIndex,
    file: &mut File,
    wanted: Range<u64>,
    decompressor: &Decompressor,
    report: &Report,
) -> Outcome<Code> {
    let mut output = Output::create(&Target::Stdout, WriteOptions::default())?;
    // Where there are no records at all, that is what is wrong.
    index.extract_records(file, wanted.clone(), decompressor, &mut output)?;
    output.finish(None, report)?;
    if wanted.start >= index.records() && !wanted.is_empty() {
        return Err(Failure::usage(format!(
            "there is no record {}; the archive has {}, numbered from 0",
            grouped(wanted.start),
            grouped(index.records())
        )));
    }
    let written = wanted.end.min(index.records()).saturating_sub(wanted.start);
    report.detail(format_args!("{} of {} records", grouped(written), grouped(index.records())));
    Ok(Code::Done)
}
