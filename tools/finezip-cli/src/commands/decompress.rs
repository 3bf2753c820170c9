//! `decompress`: archives and messages to what they were made from.

use std::path::Path;
use std::time::Instant;

use finezip_core::Decompressor;

use super::{for_each_file, message, readers, recover, text_bytes};
use crate::args::DecompressArguments;
use crate::exit::{Code, Outcome};
use crate::files::{FileSettings, Naming};
use crate::input::{Input, display_name, refuse_terminal};
use crate::output::{Output, WriteOptions};
use crate::profiles::Profiles;
use crate::progress::Meter;
use crate::report::Report;
use crate::settings::{self, ReadingSettings};

/// Runs the command.
pub(crate) fn run(arguments: DecompressArguments) -> Outcome<Code> {
    let report = settings::report(arguments.verbosity);
    let files = FileSettings::new(arguments.files, &arguments.output, Naming::RemoveSuffix)?;
    let readers = readers(ReadingSettings::new(&arguments.reading), report);
    Ok(for_each_file(&files.inputs, &report, |file| match arguments.recover {
        true => recover::recover(file, &files, &readers.0, &report),
        false => decompress(file, &files, &readers, &report),
    }))
}

fn decompress(
    file: &Path,
    files: &FileSettings,
    (decompressor, profiles): &(Decompressor, Profiles),
    report: &Report,
) -> Outcome {
    refuse_terminal(file)?;
    let target = files.target(file)?;
    let mut input = Input::open(file)?;
    let options = WriteOptions {
        force: files.force,
        may_ask: files.may_ask(),
        private: input.is_file(),
        ..WriteOptions::default()
    };
    let mut output = Output::create(&target, options)?;
    let name = display_name(file);
    let begun = Instant::now();
    let summary = if message::is_next(&mut input)? {
        message::decompress(&mut input, &mut output, profiles)?
    } else {
        let meter = Meter::start(report, &name, text_bytes(file, &input, report, decompressor));
        decompressor.decompress_stream(&mut input, &mut output, meter.observer())?
    };
    output.finish(input.metadata.as_ref(), report)?;
    report.decompressed(&name, &target.to_string(), &summary, begun.elapsed());
    files.remove_input(file, input.metadata.as_ref())
}
