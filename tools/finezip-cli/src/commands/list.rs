//! `list`: what archives hold and what they need, read from their indexes without decoding.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use finezip_core::archive::FORMAT_VERSION;
use finezip_core::{
    ArchiveIndex, Exactness, FrameInfo, LanguageDescriptor, Limits, MemberInfo, Method,
};
use serde_json::{Value, json};

use super::{for_each_file, open_archive};
use crate::args::ListArguments;
use crate::exit::{Code, Failure, Outcome};
use crate::input::is_stdin;
use crate::report::Report;
use crate::text::{printable, printable_json};
use crate::units::grouped;

/// Runs the command.
pub(crate) fn run(arguments: ListArguments) -> Outcome<Code> {
    let report = Report { quiet: false, verbose: false };
    let mut listed = Vec::new();
    let code = for_each_file(&arguments.files, &report, |file| {
        let (index, archive_bytes) = read(file)?;
        if arguments.json {
            listed.push(to_json(file, &index, archive_bytes));
            return Ok(());
        }
        Ok(io::stdout().lock().write_all(to_text(file, &index, archive_bytes).as_bytes())?)
    });
    if arguments.json {
        let text = format!("{:#}", Value::Array(listed));
        writeln!(io::stdout().lock(), "{}", printable_json(&text))?;
    }
    Ok(code)
}

fn read(file: &Path) -> Outcome<(ArchiveIndex, u64)> {
    if is_stdin(file) {
        return Err(Failure::usage("an index is read from behind and needs a file, not a pipe"));
    }
    let (mut source, metadata) = open_archive(file)?;
    Ok((ArchiveIndex::read(&mut source, &Limits::default())?, metadata.len()))
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn exactness(language: &LanguageDescriptor) -> String {
    match &language.model.exactness {
        Exactness::Everywhere => "everywhere".into(),
        Exactness::SameMachineKind(kind) => format!("same machine kind: {kind}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The frames of a member; all are in the order of members.
fn frames_of(index: &ArchiveIndex, member: usize) -> &[FrameInfo] {
    let start = index.frames.partition_point(|frame| frame.member < member);
    let end = index.frames.partition_point(|frame| frame.member <= member);
    &index.frames[start..end]
}

/// Tokens and lanes of a frame that was coded with a model. Each record has a lane of its own.
fn tokens_and_lanes(frame: &FrameInfo) -> Option<(u64, Option<u64>)> {
    match frame.header.method {
        Method::Model { tokens, lanes } => Some((tokens, Some(lanes))),
        Method::Records { tokens, .. } => Some((tokens, None)),
        _ => None,
    }
}

fn to_text(file: &Path, index: &ArchiveIndex, archive_bytes: u64) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&printable(&text));
        out.push('\n');
    };
    let percent = ratio(archive_bytes, index.text_bytes())
        .map_or_else(String::new, |ratio| format!(" ({:.2}%)", ratio * 100.0));
    line(format!(
        "{}: {} bytes of text in {} bytes{percent}, {}, {}",
        file.display(),
        grouped(index.text_bytes()),
        grouped(archive_bytes),
        count(index.members.len(), "member"),
        count(index.frames.len(), "frame"),
    ));
    for (number, member) in index.members.iter().enumerate() {
        line(format!(
            "member {number}: format {FORMAT_VERSION}, offset {}, {} bytes of text in {} bytes",
            member.offset,
            grouped(member.text_bytes),
            grouped(member.bytes),
        ));
        for (name, value) in parts(member) {
            line(format!("  {name:<11} {value}"));
        }
        if !frames_of(index, number).is_empty() {
            line(format!(
                "  {:>5}  {:<6} {:>12} {:>12} {:>12} {:>12} {:>7} {:>10} {:>5}",
                "frame",
                "method",
                "offset",
                "text offset",
                "text",
                "block",
                "ratio",
                "tokens",
                "lanes"
            ));
        }
        for frame in frames_of(index, number) {
            let coded = tokens_and_lanes(frame);
            let or_none = |number: Option<u64>| number.map_or_else(|| "-".into(), grouped);
            let percent = ratio(frame.block_bytes, frame.header.original_bytes)
                .map_or_else(|| "-".into(), |ratio| format!("{:.2}%", ratio * 100.0));
            line(format!(
                "  {:>5}  {:<6} {:>12} {:>12} {:>12} {:>12} {percent:>7} {:>10} {:>5}",
                frame.number,
                frame.header.method.name(),
                grouped(frame.offset),
                grouped(frame.text_offset),
                grouped(frame.header.original_bytes),
                grouped(frame.block_bytes),
                or_none(coded.map(|(tokens, _)| tokens)),
                or_none(coded.and_then(|(_, lanes)| lanes)),
            ));
        }
    }
    out
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What a member needs, by name.
fn parts(member: &MemberInfo) -> Vec<(&'static str, String)> {
    let Some(descriptor) = &member.descriptor else {
        return vec![("needs", "nothing".into())];
    };
    let mut parts = Vec::new();
    if let Some(language) = &descriptor.language {
        let model = &language.model;
        parts.push(("model", format!("{} (BLAKE3 {})", model.name, model.fingerprint)));
        if let Some(adapter) = &model.adapter {
            let place = match &member.adapter {
                Some(info) => format!("in the archive, {} bytes", grouped(info.block_bytes)),
                None => "not in the archive".into(),
            };
            parts.push(("adapter", format!("BLAKE3 {adapter}, {place}")));
        }
        parts.push(("engine", model.engine.to_string()));
        parts.push(("exact", exactness(language)));
        parts.push(("tokenizer", hex(&language.tokenizer)));
        parts.push(("schedule", language.schedule.to_string()));
        parts.push(("coder", language.coder.to_string()));
        if !language.prime.is_empty() {
            parts.push(("prime", format!("{} bytes", grouped(language.prime.len() as u64))));
        }
    }
    if let Some(record) = &descriptor.byte_coder {
        parts.push(("byte coder", record.to_string()));
    }
    parts
}

fn to_json(file: &Path, index: &ArchiveIndex, archive_bytes: u64) -> Value {
    let members: Vec<Value> = index
        .members
        .iter()
        .enumerate()
        .map(|(number, member)| {
            json!({
                "format_version": FORMAT_VERSION,
                "offset": member.offset,
                "archive_bytes": member.bytes,
                "text_bytes": member.text_bytes,
                "ratio": ratio(member.bytes, member.text_bytes),
                "adapter_bytes": member.adapter.map(|adapter| adapter.block_bytes),
                "language": member.descriptor.as_ref().and_then(|d| d.language.as_ref()).map(language_json),
                "byte_coder": member.descriptor.as_ref().and_then(|d| d.byte_coder.as_ref()).map(ToString::to_string),
                "frames": frames_of(index, number).iter().map(frame_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "file": file.display().to_string(),
        "archive_bytes": archive_bytes,
        "text_bytes": index.text_bytes(),
        "ratio": ratio(archive_bytes, index.text_bytes()),
        "members": members,
    })
}

fn language_json(language: &LanguageDescriptor) -> Value {
    let model = &language.model;
    let machine_kind = match &model.exactness {
        Exactness::Everywhere => None,
        Exactness::SameMachineKind(kind) => Some(kind),
    };
    json!({
        "model": model.name,
        "blake3": model.fingerprint.to_hex(),
        "adapter_blake3": model.adapter.map(|adapter| adapter.to_hex()),
        "engine": model.engine.to_string(),
        "exact_everywhere": machine_kind.is_none(),
        "machine_kind": machine_kind,
        "tokenizer": hex(&language.tokenizer),
        "schedule": language.schedule.to_string(),
        "coder": language.coder.to_string(),
        "prime_bytes": language.prime.len(),
    })
}

fn frame_json(frame: &FrameInfo) -> Value {
    let coded = tokens_and_lanes(frame);
    let records = match frame.header.method {
        Method::Records { records, .. } => Some(records),
        _ => None,
    };
    json!({
        "number": frame.number,
        "method": frame.header.method.name(),
        "offset": frame.offset,
        "block_bytes": frame.block_bytes,
        "payload_bytes": frame.header.payload_bytes,
        "text_offset": frame.text_offset,
        "text_bytes": frame.header.original_bytes,
        "text_xxh3": format!("{:016x}", frame.header.content_hash),
        "tokens": coded.map(|(tokens, _)| tokens),
        "lanes": coded.and_then(|(_, lanes)| lanes),
        "records": records,
        "ratio": ratio(frame.block_bytes, frame.header.original_bytes),
    })
}
