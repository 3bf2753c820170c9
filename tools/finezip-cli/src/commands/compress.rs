//! `compress`: files to archives.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use finezip_core::{Compressor, Decompressor, Summary};
use finezip_lora::train;
use finezip_models::hub::ModelChoice;

use super::for_each_file;
use super::{message, verify};
use crate::args::CompressArguments;
use crate::compose::{Base, Workshop};
use crate::exit::{Code, Failure, Outcome};
use crate::files::{FileSettings, Naming};
use crate::ideal::IdealLength;
use crate::input::{Input, display_name};
use crate::memorize::Memorizer;
use crate::output::{Output, WriteOptions};
use crate::progress::Meter;
use crate::report::Report;
use crate::resolver::ArchiveResolver;
use crate::settings::{
    self, CodingSettings, LanguageSettings, MachineSettings, MemorizeSettings, Product,
};
use crate::statistics::Statistics;

/// Runs the command.
pub(crate) fn run(arguments: CompressArguments) -> Outcome<Code> {
    let report = settings::report(arguments.verbosity);
    let machine = MachineSettings::new(&arguments.machine);
    let files = FileSettings::new(arguments.files, &arguments.output, Naming::AddSuffix)?;
    let coding = CodingSettings::new(&arguments.coding, &arguments.short, arguments.ideal)?;
    let beside = [&arguments.statistics, &arguments.short.write_profile];
    let beside: Vec<&Path> = beside.into_iter().flatten().map(PathBuf::as_path).collect();
    let adapter = coding.language.as_ref().and_then(|language| language.adapter.as_ref());
    let adapter = adapter.map(|adapter| adapter.folder.as_path());
    let read = [arguments.short.prime.as_deref(), model_path(&coding), adapter];
    let read: Vec<&Path> = read.into_iter().flatten().collect();
    files.may_write(&beside, &read)?;
    if coding.product == Product::Message && files.are_joined() {
        return Err(Failure::usage(
            "messages do not follow one another in one output: nothing in them says where they end",
        ));
    }
    let job = Job {
        report,
        files,
        coding,
        workshop: Arc::new(Workshop::new(machine, report)),
        verify: arguments.verify,
        statistics: arguments.statistics.as_deref().map(Statistics::create).transpose()?,
        write_profile: arguments.short.write_profile,
        compressor: OnceCell::new(),
        base: OnceCell::new(),
    };
    Ok(for_each_file(&job.files.inputs, &report, |file| job.compress(file)))
}

/// The file or folder of the model, where it was given by that.
fn model_path(coding: &CodingSettings) -> Option<&Path> {
    match &coding.language.as_ref()?.model {
        ModelChoice::At(path) => Some(path),
        ModelChoice::Named(_) => None,
    }
}

/// Begins this program again with an environment that suits `--memorize`, if that is asked for.
pub(crate) fn begin_again(arguments: &CompressArguments) -> Option<ExitCode> {
    if !arguments.coding.adapter.memorize {
        return None;
    }
    let machine = MachineSettings::new(&arguments.machine);
    // Where it cannot begin again it trains as it is, more slowly.
    train::begin_again(machine.threads).ok().flatten()
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
    base: OnceCell<Base>,
}

impl Job {
    /// The compressor, made when the first file is known to be readable.
    fn compressor(&self) -> Outcome<&(Compressor, Option<IdealLength>)> {
        if let Some(made) = self.compressor.get() {
            return Ok(made);
        }
        let made = self.workshop.compressor(&self.coding).map_err(|failure| failure.fatal())?;
        if let Some(path) = &self.write_profile {
            let components = made.0.components();
            message::write_profile(path, components, &self.report)
                .map_err(|failure| failure.fatal())?;
        }
        Ok(self.compressor.get_or_init(|| made))
    }

    /// What finds the parts of archives that were just written: by their hash, as for any other.
    fn resolver(&self) -> ArchiveResolver {
        let language = self.coding.language.as_ref();
        let model = model_path(&self.coding).map(Path::to_owned);
        let adapter = language.and_then(|language| language.adapter.as_ref());
        let adapters = adapter.map(|adapter| adapter.folder.clone()).into_iter().collect();
        ArchiveResolver::new(self.workshop.clone(), model, adapters)
    }

    /// The model to train on, opened when it is known that there is something to learn.
    fn base(&self, language: &LanguageSettings) -> Outcome<&Base> {
        if let Some(made) = self.base.get() {
            return Ok(made);
        }
        let made = self.workshop.base(language).map_err(|failure| failure.fatal())?;
        Ok(self.base.get_or_init(|| made))
    }

    /// Compresses with the compressor as it is, piece by piece.
    fn stream(&self, name: &str, input: &mut Input, output: &mut Output) -> Outcome<Summary> {
        let (compressor, _) = self.compressor()?;
        let meter = Meter::start(&self.report, name, input.length());
        Ok(compressor.compress_stream(input, output, meter.observer())?)
    }

    /// Compresses with an adapter of the input's own, if that is smaller.
    fn memorize(
        &self,
        language: &LanguageSettings,
        settings: MemorizeSettings,
        name: &str,
        input: &mut Input,
        output: &mut Output,
    ) -> Outcome<Summary> {
        let mut text = Vec::new();
        input.read_to_end(&mut text)?;
        let memorizer = Memorizer {
            workshop: &self.workshop,
            coding: &self.coding,
            language,
            base: self.base(language)?,
            plain: &self.compressor()?.0,
        };
        let archive = memorizer.smaller(settings, name, text)?;
        output.write_all(&archive.bytes)?;
        Ok(archive.summary)
    }

    fn makes_messages(&self) -> bool {
        self.coding.product == Product::Message
    }

    /// Writes what is made of an input.
    fn code(&self, name: &str, input: &mut Input, output: &mut Output) -> Outcome<Summary> {
        let language = self.coding.language.as_ref();
        let memorizing = language.and_then(|language| Some((language, language.memorize?)));
        match memorizing {
            Some((language, settings)) => self.memorize(language, settings, name, input, output),
            None if self.makes_messages() => {
                let resolver = self.resolver();
                let verify = self.verify.then_some(&resolver);
                let (compressor, _) = self.compressor()?;
                message::compress(input, output, compressor.components(), verify)
            }
            None => self.stream(name, input, output),
        }
    }

    /// A failure in the middle of an archive ends the run where others were to follow it in the
    /// same output: nothing behind half an archive is found again.
    fn breaking_off(&self, failure: Failure, output: &Output) -> Failure {
        if self.files.are_joined() && output.has_begun() {
            return failure.last("its archive breaks off in the output, and no other follows it");
        }
        failure
    }

    fn compress(&self, file: &Path) -> Outcome {
        let target = self.files.target(file)?;
        let mut input = Input::open(file)?;
        let options = WriteOptions {
            force: self.files.force,
            may_ask: self.files.may_ask(),
            whole: self.verify,
            binary: true,
            private: input.is_file(),
        };
        let mut output = Output::create(&target, options)?;
        // Before the clock starts.
        let (_, ideal) = self.compressor()?;
        let name = display_name(file);
        let begun = Instant::now();
        let coded = self.code(&name, &mut input, &mut output);
        let summary = coded.map_err(|failure| self.breaking_off(failure, &output))?;
        let elapsed = begun.elapsed();
        input.expect_unchanged(&output)?;
        if self.verify && !self.makes_messages() {
            let decompressor =
                Decompressor::new(self.resolver()).with_limits(self.workshop.machine.limits());
            let meter = Meter::start(&self.report, &format!("{name} (verify)"), input.length());
            verify::same_text(&decompressor, output.read_again()?, &input, &meter)?;
            // That took its time.
            input.expect_unchanged(&output)?;
        }
        let finished = output.finish(input.metadata.as_ref(), &self.report);
        finished.map_err(|failure| self.breaking_off(failure, &output))?;
        self.report.compressed(&name, &target.to_string(), &summary, elapsed);
        let measured = ideal.as_ref().map(IdealLength::take);
        if let Some(measured) = &measured {
            self.report.ideal(measured);
        }
        if let Some(statistics) = &self.statistics {
            statistics.add(&name, &summary, elapsed, measured.as_ref())?;
        }
        self.files.remove_input(file, input.metadata.as_ref())
    }
}
