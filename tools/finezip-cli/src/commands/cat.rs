//! `cat`: a range of an archive's text, decoding only the frames that hold it.

use std::io::{self, Write};

use finezip_core::ArchiveIndex;

use super::decompressor;
use crate::args::CatArguments;
use crate::exit::{Code, Failure, Outcome};
use crate::input::{is_stdin, open_file};
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
    let decompressor = decompressor(ReadingSettings::new(&arguments.reading), report);
    let (mut file, _) = open_file(&arguments.file)?;
    let index = ArchiveIndex::read(&mut file, &decompressor.limits())?;
    let range = arguments.range;
    if range.start > index.text_bytes() {
        return Err(Failure::usage(format!(
            "the range starts at byte {}; the text has {}",
            grouped(range.start),
            grouped(index.text_bytes())
        )));
    }
    let mut stdout = io::stdout().lock();
    let written_bytes = index.extract(&mut file, range, &decompressor, &mut stdout)?;
    stdout.flush()?;
    report.detail(format_args!(
        "{} of {} bytes",
        grouped(written_bytes),
        grouped(index.text_bytes())
    ));
    Ok(Code::Done)
}
