//! `test`: archives are decoded and every checksum held, and nothing is written.

use std::path::Path;
use std::time::Instant;

use finezip_core::Decompressor;

use super::{for_each_file, message, readers, text_bytes};
use crate::args::TestArguments;
use crate::exit::{Code, Outcome};
use crate::files;
use crate::input::{Input, display_name, refuse_terminal};
use crate::output::{Output, Target, WriteOptions};
use crate::profiles::Profiles;
use crate::progress::Meter;
use crate::report::Report;
use crate::settings::{self, ReadingSettings};

/// Runs the command.
pub(crate) fn run(arguments: TestArguments) -> Outcome<Code> {
    let report = settings::report(arguments.verbosity);
    let readers = readers(ReadingSettings::new(&arguments.reading), report);
    let files = files::inputs(arguments.files);
    Ok(for_each_file(&files, &report, |file| test(file, &readers, &report)))
}

fn test(
    file: &Path,
    (decompressor, profiles): &(Decompressor, Profiles),
    report: &Report,
) -> Outcome {
    refuse_terminal(file)?;
    let mut input = Input::open(file)?;
    let mut output = Output::create(&Target::Nowhere, WriteOptions::default())?;
    let name = display_name(file);
    let begun = Instant::now();
    let summary = if message::is_next(&mut input)? {
        message::decompress(&mut input, &mut output, profiles)?
    } else {
        let meter = Meter::start(report, &name, text_bytes(file, &input, report, decompressor));
        decompressor.decompress_stream(&mut input, &mut output, meter.observer())?
    };
    report.decompressed(&name, "whole", &summary, begun.elapsed());
    Ok(())
}
