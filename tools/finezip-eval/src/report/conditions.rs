//! Under what conditions things were measured: what stands before all tables of a machine.

use super::document::Table;
use super::tables;
use crate::fetch;
use crate::run::Text;
use crate::run::config::Method;
use crate::run::grid;
use crate::run::machine::Machine;
use crate::run::results::{self, Line};
use crate::text::{bytes_short, grouped};

/// What all that follows has in common.
pub(crate) fn of(machine: &Machine, lines: &[&Line]) -> String {
    let done = lines.iter().filter(|line| line.measures().is_some()).count();
    let measured = lines.iter().filter(|line| !matches!(line.method, Method::Ideal(_)));
    let mut repeats: Vec<usize> =
        measured.filter_map(|line| Some(line.measures()?.repeats)).collect();
    repeats.sort_unstable();
    let repeats = match (repeats.first(), repeats.last()) {
        (Some(1) | None, Some(1) | None) => "of one run".to_owned(),
        (Some(least), Some(most)) if least == most => format!("the median of {most} runs"),
        (Some(least), Some(most)) => format!("the median of {least} to {most} runs"),
        (None, _) | (_, None) => String::new(),
    };
    let instructions = match machine.instructions.as_slice() {
        [] => String::new(),
        names => format!(" with {}", names.join(", ")),
    };
    let memory = machine.memory_gigabytes.map_or_else(String::new, |size| format!(", {size} GB"));
    let marked = if lines.iter().any(|line| !tables::is_by_its_coder(line)) {
        format!(
            " An archive keeps what is smallest for each frame: where ranks or arithmetic coding \
             lost some frames to the mixer of bytes, the method has the mark {}, and findings leave \
             it out.",
            tables::NOT_ITS_CODER
        )
    } else {
        String::new()
    };
    let is_ideal = |line: &&&Line| matches!(line.method, Method::Ideal(_));
    let apart = match lines.iter().filter(is_ideal).count() {
        0 => String::new(),
        count => format!(
            ", but for {} that measure the model's distributions and are not decompressed",
            grouped(count as u64)
        ),
    };
    let floor = lines.iter().filter_map(|line| line.floor_bytes).max();
    let floor = floor.map_or_else(String::new, |bytes| {
        format!(
            " Peaks are at least that of the process that started the others, here up to {}.",
            bytes_short(bytes)
        )
    });
    let times =
        lines.iter().filter_map(|line| Some((line, line.measures()?))).flat_map(|(line, of)| {
            let back = of.decompress.as_ref();
            std::iter::once(&of.compress).chain(back).map(|cost| tables::is_disturbed(line, cost))
        });
    let disturbed = match times.filter(|&is| is).count() {
        0 => String::new(),
        count => format!(
            " During {} of the runs other work took more than a twentieth of the machine's time: \
             their times have the mark ~.",
            grouped(count as u64)
        ),
    };
    format!(
        "{}{instructions}, {} cores{memory}, {}. {} cells, {} of them failed; each ran in processes of its own, \
         and what came back was compared with the text byte for byte{apart}. Times are of whole \
         processes, opening the model included, each {repeats}; tokens/s leave the start out, and \
         so do speeds of one of ours beside another of ours, but for the way back. Sizes are of \
         whole archives, models not counted, and ratios are archive by text. KB are 1,000 bytes.{floor}{marked}{disturbed}{}",
        machine.processor,
        machine.cores,
        machine.system,
        grouped(lines.len() as u64),
        lines.len() - done,
        absent(lines),
    )
}

/// The programs of the PATH that have no cell, in a sentence.
fn absent(lines: &[&Line]) -> String {
    let is_there = |name: &String| {
        let of_name =
            |line: &&Line| matches!(&line.method, Method::Command { name: of, .. } if of == name);
        lines.iter().any(of_name)
    };
    let mut names = grid::known_commands();
    names.retain(|name| !is_there(name));
    if names.is_empty() {
        return String::new();
    }
    format!(" Without a cell, as not on the PATH or not asked for: {}.", names.join(", "))
}

/// The binaries measured, and how often.
pub(crate) fn binaries(lines: &[&Line]) -> Table {
    let mut table = Table::new(&["binary", "version", "SHA-256", "cells"]);
    table.text_columns = 3;
    let mut seen: Vec<(&results::Tool, u64)> = Vec::new();
    for line in lines {
        match seen.iter_mut().find(|(tool, _)| **tool == line.tool) {
            Some((_, count)) => *count += 1,
            None => seen.push((&line.tool, 1)),
        }
    }
    for (tool, count) in seen {
        let version = tool.version.clone().unwrap_or_else(|| "-".into());
        let hash = tool.sha256.get(..16).unwrap_or(&tool.sha256).to_owned();
        table.rows.push(vec![tool.name.clone(), version, hash, grouped(count)]);
    }
    table
}

/// The texts measured: what they are, and which.
pub(crate) fn texts(lines: &[&Line]) -> Option<Table> {
    let mut table = Table::new(&["text", "what it is", "of", "SHA-256", "bytes"]);
    table.text_columns = 4;
    let mut seen: Vec<&Text> = Vec::new();
    for line in lines.iter().filter(|line| line.measures().is_some()) {
        if seen.iter().any(|text| text.name == line.input.name) {
            continue;
        }
        seen.push(&line.input);
        table.rows.push(vec![
            line.input.name.clone(),
            fetch::kind_of(&line.input.file).unwrap_or_else(|| "-".into()),
            line.input.file.clone(),
            line.input.sha256.get(..16).unwrap_or(&line.input.sha256).to_owned(),
            grouped(line.input.bytes),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Texts so short that what archives hold beside their code is a large part.
const SHORT_BYTES: u64 = 50_000;

/// What archives hold beside the text's code, said where texts are short.
pub(crate) fn containers(lines: &[&Line]) -> Option<String> {
    let is_zpaq = |line: &Line| matches!(&line.method, Method::Command { name, .. } if name.starts_with("zpaq"));
    let short: Vec<&&Line> = lines
        .iter()
        .filter(|line| line.input.bytes < SHORT_BYTES && line.measures().is_some())
        .collect();
    let mut said = Vec::new();
    let ours = short.iter().filter_map(|line| tables::container_bytes(line));
    if let (Some(least), Some(most)) = (ours.clone().min(), ours.max()) {
        said.push(format!(
            "An archive of ours made with a model holds {least} to {most} bytes beside the text's \
             code: a header, the description of the model, an index.",
        ));
    }
    if short.iter().any(|line| is_zpaq(line)) {
        said.push("An archive of zpaq is a journal, which takes some 0.9 KB.".into());
    }
    if said.is_empty() {
        return None;
    }
    said.push("That is a large part of it where texts are as short as some of these.".into());
    Some(said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;
    use crate::run::config::Finezip;
    use crate::run::results::{Distributions, FinezipMeasures, Outcome};

    #[test]
    fn conditions_tell_what_was_not_compared_and_what_was_not_there() {
        let finezip = Finezip { model: "m".into(), ..Finezip::default() };
        let lines = [
            line(Method::Finezip(finezip.clone()), "a", 5),
            line(Method::Ideal(finezip.distributions()), "a", 5),
        ];
        let said = of(&Machine::default(), &lines.iter().collect::<Vec<_>>());
        assert!(said.contains("2 cells, 0 of them failed"), "{said}");
        assert!(said.contains("byte for byte, but for 1 that measure"), "{said}");
        assert!(said.contains("Without a cell") && said.contains("zpaq-m5"), "{said}");
    }

    #[test]
    fn what_stands_beside_the_code_is_told_of_short_texts() {
        let ideal = |payload_bytes, bytes, method: &str| {
            let finezip = Finezip { model: "m".into(), ..Finezip::default() };
            let mut line = line(Method::Ideal(finezip), "a", 500);
            line.input.bytes = bytes;
            let measured =
                Distributions { tokens: 9, ideal_bytes: 1.0, payload_bytes, ..Default::default() };
            if let Outcome::Done(measures) = &mut line.outcome {
                measures.finezip = Some(FinezipMeasures {
                    frames: [(method.to_owned(), 1)].into(),
                    distributions: Some(measured),
                    ..Default::default()
                });
            }
            line
        };
        let lines = [
            ideal(300, 2_000, "model"),
            ideal(280, 2_000, "model"),
            ideal(10, 90_000, "model"),
            ideal(10, 2_000, "byte-mixer"),
        ];
        let said = containers(&lines.iter().collect::<Vec<_>>()).unwrap();
        assert!(said.contains(" holds 200 to 220 bytes beside"), "{said}");
        assert_eq!(containers(&[&lines[2], &lines[3]]), None);
    }

    #[test]
    fn texts_are_named_with_their_kind() {
        let mut known = line(Method::Peer { name: "zlib-9".into() }, "news", 5);
        known.input.file = "news.txt".into();
        let other = line(Method::Peer { name: "zlib-9".into() }, "mine", 5);
        let table = texts(&[&known, &known, &other]).unwrap();
        assert_eq!(table.rows.len(), 2);
        assert!(table.rows[0][1].contains("English prose"), "{:?}", table.rows);
        assert_eq!(table.rows[1][1], "-");
    }
}
