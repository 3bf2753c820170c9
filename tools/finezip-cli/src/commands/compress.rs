//! `compress`: files to archives.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use finezip_core::{Compressor, Decompressor};

use super::for_each_file;
use super::{message, verify};
use crate::args::CompressArguments;
use crate::compose::Workshop;
use crate::exit::{Code, Outcome};
use crate::ideal::IdealLength;
use crate::input::{Input, display_name};
use crate::output::{Output, WriteOptions};
use crate::progress::Meter;
use crate::report::Report;
use crate::resolver::ArchiveResolver;
use crate::settings::{self, CodingSettings, FileSettings, MachineSettings, Naming, Product};
use crate::statistics::Statistics;

/// Runs the command.
pub(crate) fn run(arguments: CompressArguments) -> Outcome<Code> {
    let report = settings::report(arguments.verbosity);
    let machine = MachineSettings::new(&arguments.machine);
    let job = Job {
        report,
        files: FileSettings::new(arguments.files, &arguments.output, Naming::AddSuffix)?,
        coding: CodingSettings::new(&arguments.coding, &arguments.short, arguments.ideal)?,
        workshop: Arc::new(Workshop::new(machine, report)),
        verify: arguments.verify,
        statistics: arguments.statistics.as_deref().map(Statistics::create).transpose()?,
        write_profile: arguments.short.write_profile,
        compressor: OnceCell::new(),
    };
    Ok(for_each_file(&job.files.inputs, &report, |file| job.compress(file)))
}

struct Job {
    report: Report,
    files: FileSettings,
    coding: CodingSettings,
    workshop: Arc<Workshop>,
    verify: bool,
    statistics: Option<Statistics>,
    write_profile: Option<PathBuf>,
    compressor: OnceCell<(Compressor, Option<IdealLength>)>,
}

impl Job {
    /// The compressor, made when the first file is known to be readable.
    fn compressor(&self) -> Outcome<&(Compressor, Option<IdealLength>)> {
        if let Some(made) = self.compressor.get() {
            return Ok(made);
        }
        let made = self.workshop.compressor(&self.coding).map_err(|failure| failure.fatal())?;
        if let Some(path) = &self.write_profile {
            message::write_profile(path, made.0.components()).map_err(|failure| failure.fatal())?;
        }
        Ok(self.compressor.get_or_init(|| made))
    }

    fn compress(&self, file: &Path) -> Outcome {
        let target = self.files.target(file)?;
        let mut input = Input::open(file)?;
        let options = WriteOptions {
            force: self.files.force,
            may_ask: self.files.may_ask(),
            whole: self.verify,
            binary: true,
        };
        let mut output = Output::create(&target, options)?;
        let (compressor, ideal) = self.compressor()?;
        let name = display_name(file);
        let begun = Instant::now();
        let is_message = self.coding.product == Product::Message;
        let summary = if is_message {
            let resolver = ArchiveResolver::new(self.workshop.clone(), None);
            let verify = self.verify.then_some(&resolver);
            message::compress(&mut input, &mut output, compressor.components(), verify)?
        } else {
            let meter = Meter::start(&self.report, &name, input.length());
            compressor.compress_stream(&mut input, &mut output, meter.observer())?
        };
        let elapsed = begun.elapsed();
        if self.verify && !is_message {
            let decompressor = Decompressor::new(ArchiveResolver::new(self.workshop.clone(), None));
            let meter = Meter::start(&self.report, &format!("{name} (verify)"), input.length());
            verify::same_text(&decompressor, output.read_again()?, &input, &meter)?;
        }
        output.finish(input.metadata.as_ref())?;
        self.report.compressed(&name, &target.to_string(), &summary, elapsed);
        let measured = ideal.as_ref().map(IdealLength::take);
        if let Some(measured) = &measured {
            self.report.ideal(measured);
        }
        if let Some(statistics) = &self.statistics {
            statistics.add(&name, &summary, elapsed, measured.as_ref())?;
        }
        self.files.remove_input(file)
    }
}
