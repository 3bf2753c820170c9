//! `decompress --recover`: what of a damaged archive is whole, and a report of what is lost.

use std::path::Path;
use std::time::Instant;

use finezip_core::{Decompressor, Recovery};

use super::open_archive;
use crate::exit::{Code, Failure, Outcome};
use crate::files::FileSettings;
use crate::input::{display_name, is_stdin};
use crate::output::{Output, WriteOptions};
use crate::report::Report;
use crate::units::grouped;

/// Writes every frame that is whole. The output stays, and the input too, whatever is lost; the
/// code tells whether something is.
pub(super) fn recover(
    file: &Path,
    files: &FileSettings,
    decompressor: &Decompressor,
    report: &Report,
) -> Outcome {
    if is_stdin(file) {
        return Err(Failure::usage(
            "--recover reads an archive from more than one place and needs a file, not a pipe",
        ));
    }
    let target = files.target(file)?;
    let (mut source, metadata) = open_archive(file)?;
    let options = WriteOptions {
        force: files.force,
        may_ask: files.may_ask(),
        private: metadata.is_file(),
        ..WriteOptions::default()
    };
    let mut output = Output::create(&target, options)?;
    let name = display_name(file);
    let begun = Instant::now();
    let recovery = decompressor.recover(&mut source, &mut output)?;
    output.finish(Some(&metadata), report)?;
    report.decompressed(&name, &target.to_string(), &recovery.summary, begun.elapsed());
    if recovery.is_whole() {
        return files.remove_input(file, Some(&metadata));
    }
    for loss in &recovery.losses {
        report.loss(&name, loss);
    }
    Err(Failure::new(Code::Archive, told(&recovery)))
}

fn told(recovery: &Recovery) -> String {
    let written = grouped(recovery.summary.text_bytes);
    let lost = grouped(recovery.lost_bytes());
    let lost = match (recovery.loses_text(), recovery.is_lost_text_known()) {
        (false, _) => "none lost, though the archive is damaged".to_owned(),
        (true, true) => format!("{lost} lost"),
        (true, false) => format!("{lost} known to be lost, and perhaps more"),
    };
    format!("{written} bytes of text recovered, {lost}; the archive is kept")
}
