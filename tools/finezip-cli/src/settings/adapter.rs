//! Adapters: one that is given, or one that is trained on each input.

use std::path::PathBuf;

use finezip_lora::EmbeddedPrecision;

use super::at_least_one;
use crate::args::{AdapterArguments, AdapterPrecision};
use crate::exit::{Failure, Outcome};

/// An adapter that is merged into the model.
#[derive(Clone, Debug)]
pub(crate) struct AdapterSettings {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// How it is rounded to travel in the archive, if it does.
    pub(crate) embed: Option<EmbeddedPrecision>,
}

/// An adapter that is trained on each input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemorizeSettings {
    /// Steps, if they are chosen.
    pub(crate) steps: Option<usize>,
    /// The rank, if it is chosen.
    pub(crate) rank: Option<usize>,
    /// How the adapter is rounded.
    pub(crate) precision: EmbeddedPrecision,
}

fn precision(named: AdapterPrecision) -> EmbeddedPrecision {
    match named {
        AdapterPrecision::Int4 => EmbeddedPrecision::Int4,
        AdapterPrecision::Int8 => EmbeddedPrecision::Int8,
        AdapterPrecision::F16 => EmbeddedPrecision::F16,
    }
}

/// The adapter that is given, if one is.
pub(super) fn adapter(arguments: &AdapterArguments) -> Outcome<Option<AdapterSettings>> {
    if arguments.embed_adapter.is_some() && arguments.adapter.is_none() && !arguments.memorize {
        return Err(Failure::usage("--embed-adapter needs --adapter FOLDER, or --memorize"));
    }
    let embed = arguments.embed_adapter.map(precision);
    Ok(arguments.adapter.clone().map(|folder| AdapterSettings { folder, embed }))
}

/// How an adapter is trained, if one is to be.
pub(super) fn memorize(
    arguments: &AdapterArguments,
    ideal: bool,
) -> Outcome<Option<MemorizeSettings>> {
    if !arguments.memorize {
        let given = [
            ("--memorize-steps", arguments.memorize_steps.is_some()),
            ("--memorize-rank", arguments.memorize_rank.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Failure::usage(format!("{option} needs --memorize"))),
            None => Ok(None),
        };
    }
    if arguments.adapter.is_some() {
        return Err(Failure::usage("--memorize makes an adapter; --adapter gives one: choose"));
    }
    if ideal {
        return Err(Failure::usage("--ideal measures one archive; --memorize makes two"));
    }
    Ok(Some(MemorizeSettings {
        steps: at_least_one("--memorize-steps", arguments.memorize_steps)?,
        rank: at_least_one("--memorize-rank", arguments.memorize_rank)?,
        precision: arguments.embed_adapter.map_or(EmbeddedPrecision::Int4, precision),
    }))
}
