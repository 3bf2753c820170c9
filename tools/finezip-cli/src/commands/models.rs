//! `models`: names, places and hashes of language models.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use finezip_models::Checkpoint;
use finezip_models::hub::{self, CatalogEntry, ModelChoice};
use serde_json::{Value, json};

use super::for_each_file;
use crate::args::{ModelsArguments, ModelsCommand};
use crate::exit::{Code, Failure, Outcome};
use crate::report::Report;
use crate::settings;
use crate::store::{self, Download};
use crate::units::grouped;

/// Runs the command.
pub(crate) fn run(arguments: ModelsArguments) -> Outcome<Code> {
    match arguments.command {
        ModelsCommand::List { json } => list(json),
        ModelsCommand::Fetch { names, verbosity } => fetch(&names, &settings::report(verbosity)),
        ModelsCommand::Path { name } => path(&name),
        ModelsCommand::Verify { models, verbosity } => verify(models, &settings::report(verbosity)),
    }
}

fn list(as_json: bool) -> Outcome<Code> {
    let store = store::store()?;
    let mut text = String::new();
    let mut values = Vec::new();
    for entry in hub::catalog() {
        // A damaged file is no model; `models verify` says what is wrong with it.
        let path = store.locate(entry, &mut ()).ok().flatten();
        let bytes = entry.bytes.map_or_else(|| "-".into(), grouped);
        let here = if path.is_some() { "here" } else { "-" };
        let _ = writeln!(
            text,
            "{:<16} {here:<4} {bytes:>13}  {:<12} {}",
            entry.name, entry.licence, entry.summary
        );
        values.push(to_json(entry, path.as_deref()));
    }
    let mut stdout = io::stdout().lock();
    if as_json {
        writeln!(stdout, "{:#}", Value::Array(values))?;
    } else {
        writeln!(stdout, "{:<16} {:<4} {:>13}  {:<12}", "name", "", "bytes", "licence")?;
        stdout.write_all(text.as_bytes())?;
    }
    Ok(Code::Done)
}

fn to_json(entry: &CatalogEntry, path: Option<&Path>) -> Value {
    json!({
        "name": entry.name,
        "summary": entry.summary,
        "licence": entry.licence,
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "blake3": entry.blake3,
        "file": entry.file,
        "hub": entry.hub.map(|hub| {
            json!({ "repository": hub.repository, "revision": hub.revision })
        }),
        "path": path.map(|path| path.display().to_string()),
    })
}

fn fetch(names: &[String], report: &Report) -> Outcome<Code> {
    let names: Vec<_> = names.iter().map(Into::into).collect();
    Ok(for_each_file(&names, report, |name| {
        let entry = hub::named(&name.to_string_lossy()).map_err(unnamed)?;
        let path = store::path_of(entry, false, report).map_err(Failure::unnamed)?;
        report.note(format_args!("{} : {}", entry.name, path.display()));
        Ok(())
    }))
}

fn path(name: &str) -> Outcome<Code> {
    let entry = hub::named(name).map_err(store::failure)?;
    let path = store::store()?.offline(true).fetch(entry, &mut ()).map_err(store::failure)?;
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(Code::Done)
}

fn verify(models: Vec<String>, report: &Report) -> Outcome<Code> {
    let store = store::store()?;
    let all_here = || {
        let absent = |entry| matches!(store.locate(entry, &mut ()), Ok(None));
        let here = hub::catalog().iter().filter(|entry| !absent(entry));
        here.map(|entry| entry.name.to_owned()).collect()
    };
    let models: Vec<String> = if models.is_empty() { all_here() } else { models };
    if models.is_empty() {
        report.note("no model is on this machine");
    }
    let models: Vec<_> = models.into_iter().map(Into::into).collect();
    Ok(for_each_file(&models, report, |model| {
        let text = model.to_string_lossy();
        match ModelChoice::new(&text).map_err(unnamed)? {
            ModelChoice::At(path) => verify_file(&path, report),
            ModelChoice::Named(entry) => {
                let path = store.verify(entry, &mut Download::new(report)).map_err(unnamed)?;
                report.note(format_args!("{} : whole  {}", entry.name, path.display()));
                Ok(())
            }
        }
    }))
}

/// A failure whose message names the model itself.
fn unnamed(error: finezip_models::Error) -> Failure {
    store::failure(error).unnamed()
}

/// The fingerprint of a file or folder, and what it is known as.
fn verify_file(path: &Path, report: &Report) -> Outcome {
    let model_failure =
        |error: finezip_models::Error| Failure::new(Code::Model, error.to_string()).unnamed();
    let checkpoint = Checkpoint::open(path).map_err(model_failure)?;
    let fingerprint = checkpoint.fingerprint().map_err(model_failure)?;
    let known = match hub::find_by_fingerprint(fingerprint) {
        Some(entry) => format!("this is {}", entry.name),
        None => "not in the catalog".into(),
    };
    report.note(format_args!("{} : BLAKE3 {fingerprint}, {known}", path.display()));
    Ok(())
}
