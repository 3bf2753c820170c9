//! The command line resolved: what was meant, checked, with every default filled in.
//!
//! The files beside this one resolve what those of [`crate::args`] read.

mod adapter;
mod language;
mod machine;

pub(crate) use adapter::{AdapterSettings, MemorizeSettings};
pub(crate) use language::{CoderChoice, EngineChoice, LanguageSettings, usual_context_tokens};
pub(crate) use machine::{MachineSettings, ReadingSettings};

use finezip_core::RecordRule;

use crate::args::{CodingArguments, ShortArguments, VerbosityArguments};
use crate::exit::{Failure, Outcome};
use crate::report::Report;

/// How text is coded.
#[derive(Clone, Debug)]
pub(crate) struct CodingSettings {
    /// With a language model, if any.
    pub(crate) language: Option<LanguageSettings>,
    /// Bytes of text in a frame; none for the usual number.
    pub(crate) frame_bytes: Option<usize>,
    /// What is made of an input.
    pub(crate) product: Product,
}

/// What `compress` makes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// An archive.
    Archive,
    /// An archive of records.
    Records(RecordRule),
    /// A message.
    Message,
}

impl Product {
    fn new(arguments: &ShortArguments) -> Self {
        match (arguments.compact, arguments.lines, arguments.records) {
            (true, ..) => Self::Message,
            (_, true, _) => Self::Records(RecordRule::LINES),
            (.., Some(rule)) => Self::Records(rule),
            _ => Self::Archive,
        }
    }
}

impl CodingSettings {
    /// Resolves the options of `compress`.
    pub(crate) fn new(
        arguments: &CodingArguments,
        short: &ShortArguments,
        ideal: bool,
    ) -> Outcome<Self> {
        let product = Product::new(short);
        let frame_bytes = match arguments.frame_size {
            Some(bytes) => Some(usize::try_from(bytes).map_err(|_| {
                Failure::usage(format!("a frame of {bytes} bytes does not fit in memory"))
            })?),
            None => None,
        };
        let language = if arguments.model == "none" {
            language::refuse_without_model(arguments, short, ideal)?;
            None
        } else {
            Some(LanguageSettings::new(arguments, short, product, ideal)?)
        };
        Ok(Self { language, frame_bytes, product })
    }
}

fn at_least_one(option: &str, number: Option<usize>) -> Outcome<Option<usize>> {
    if number == Some(0) {
        return Err(Failure::usage(format!("{option} is at least 1, 0 was given")));
    }
    Ok(number)
}

/// How much is said.
pub(crate) fn report(arguments: VerbosityArguments) -> Report {
    Report { quiet: arguments.quiet, verbose: arguments.verbose }
}
