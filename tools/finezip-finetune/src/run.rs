//! One run: from options to a run folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use finezip_lora::Error;
use finezip_lora::data::Dataset;
use finezip_lora::train::{ADAPTER_FOLDER, Event, STATE_FILE, Trainer, memory_bytes};
use finezip_models::{Checkpoint, ModelTokenizer};
use serde_json::{Value, json};

use crate::args::RunArguments;
use crate::metrics::{self, Metrics};
use crate::model;
use crate::options::RunSettings;
use crate::plot;
use crate::progress::Progress;
use crate::summary::{self, Summary};
use crate::texts::{self, Texts};

/// Makes the run of the command line.
pub(crate) fn single(arguments: &RunArguments) -> Result<()> {
    // Clap has asked for it already; its type leaves room for the other commands.
    let folder = arguments.out.as_deref().context("--out FOLDER is missing")?;
    let settings = arguments.options.resolve()?;
    let RunArguments { data, held_out, held_out_share, .. } = arguments;
    let texts = texts::gather(data, held_out, *held_out_share, folder)?;
    let checkpoint = model::open(&arguments.model, arguments.offline)?;
    let name = model::short_name(&arguments.model);
    let summary =
        train(&name, &arguments.model, &checkpoint, &texts, &settings, folder, Memory::Own)?;
    summary::print(&[summary])
}

/// What a run is made from.
const CONFIG: &str = "config.json";

/// Whose memory it is that the process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// This run's alone.
    Own,
    /// That of other runs too, before it or beside it.
    Shared,
}

/// Trains in `folder`, or goes on with what stands there.
pub(crate) fn train(
    name: &str,
    model: &str,
    checkpoint: &Checkpoint,
    texts: &Texts,
    settings: &RunSettings,
    folder: &Path,
    memory: Memory,
) -> Result<Summary> {
    let tokenizer = ModelTokenizer::from_checkpoint(checkpoint)?;
    let start = checkpoint.config().start_token();
    let dataset = |what: &str, texts| Dataset::new(what, texts, &tokenizer, start, settings.length);
    let training = dataset("training text (--data)", &texts.training)?;
    let mut held_out = dataset("held-out text", &texts.held_out)?;
    let (training_bytes, held_out_bytes) = (training.bytes(), held_out.bytes());
    if let Some(tokens) = settings.evaluation_tokens {
        held_out = held_out.sample(tokens, settings.training.lora.seed);
    }
    let model_blake3 = checkpoint.fingerprint()?.to_hex();
    let measured = match settings.evaluation_tokens {
        Some(tokens) if held_out.bytes() < held_out_bytes => format!(
            "a sample of {tokens} tokens in rows of {} by the seed {} and the model {model_blake3}",
            settings.length, settings.training.lora.seed
        ),
        _ => "all".to_owned(),
    };
    let config = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": model,
        "model_blake3": model_blake3,
        "settings": settings,
        "training": {
            "files": texts.training.iter().map(|text| &text.name).collect::<Vec<_>>(),
            "bytes": training_bytes,
            "tokens": training.tokens(),
            "rows": training.rows(),
        },
        "held_out": {
            "files": texts.held_out.iter().map(|text| &text.name).collect::<Vec<_>>(),
            "bytes": held_out_bytes,
            "measured_bytes": held_out.bytes(),
            "measured_tokens": held_out.tokens(),
        },
    });
    expect_own(folder)?;
    let mut trainer = Trainer::new(checkpoint, training, held_out, settings.training.clone())?;

    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut metrics = Metrics::new(folder);
    let mut progress = Progress::new(name);
    let config_path = folder.join(CONFIG);
    let mut failure = None;
    let mut made_steps = false;
    let outcome = trainer.run(folder, &mut |event| {
        // A state of other settings is refused before this, so their config.json stays.
        if matches!(event, Event::Started { .. }) {
            summary::write_json(&config_path, &config)?;
        }
        made_steps |= matches!(event, Event::Step(_));
        progress.hear(event);
        metrics.hear(event).map_err(|error| stop(&mut failure, error))
    });
    drop(progress);
    let outcome = match (outcome, failure) {
        (_, Some(failure)) => return Err(failure),
        (outcome, None) => outcome?,
    };
    let lines = metrics.lines()?;
    plot::draw(folder, name, &lines)?;
    let text_bytes = training_bytes + held_out_bytes;
    let mut summary =
        Summary::new(name, &outcome, &lines, folder, checkpoint.config(), text_bytes)?;
    summary.measured = measured;
    summary.reckoned_memory_bytes = memory_bytes(checkpoint, &settings.training, settings.length)?;
    summary.peak_memory_bytes = match (memory, made_steps) {
        (Memory::Shared, _) => None,
        (Memory::Own, true) => summary::peak_memory_bytes(),
        // What is there is of the process that made them.
        (Memory::Own, false) => summary::read(folder).and_then(|before| before.peak_memory_bytes),
    };
    summary::write_json(&folder.join(summary::FILE), &summary)?;
    Ok(summary)
}

/// An error if a run in `folder` would replace what is not its own: a model's config.json, say, or
/// an adapter without the state that it came from.
fn expect_own(folder: &Path) -> Result<()> {
    // What it is the state of is looked at before anything is written.
    if folder.join(STATE_FILE).exists() {
        return Ok(());
    }
    let is_of_a_run = || {
        let config = std::fs::read(folder.join(CONFIG)).ok()?;
        let config: Value = serde_json::from_slice(&config).ok()?;
        Some(config.get("model_blake3").is_some() && config.get("settings").is_some())
    };
    let begun = is_of_a_run() == Some(true);
    let replaced = [ADAPTER_FOLDER, summary::FILE].into_iter();
    let of_any = [CONFIG, metrics::FILE, plot::SVG, plot::PNG].into_iter().filter(|_| !begun);
    match replaced.chain(of_any).find(|name| folder.join(name).exists()) {
        Some(name) => bail!(
            "{} holds {name}, which is not of a run that can go on there (there is no {STATE_FILE}); \
             give --out another folder, or remove it",
            folder.display()
        ),
        None => Ok(()),
    }
}

/// Keeps an error of ours, and stops the run with one that the library knows.
fn stop(failure: &mut Option<anyhow::Error>, error: anyhow::Error) -> Error {
    let message = format!("{error:#}");
    *failure = Some(error);
    Error::Io { path: "metrics.jsonl".into(), source: std::io::Error::other(message) }
}
