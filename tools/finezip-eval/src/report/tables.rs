//! The tables of a report.

use super::comparisons::{Comparison, Member, Setting};
use super::document::Table;
use crate::run::child::Cost;
use crate::run::config::Method;
use crate::run::results::{Distributions, Line, Measures, Outcome};
use crate::text::{bytes_short, grouped, three_digits};

/// Bits of archive a byte of text.
pub(crate) fn bits_per_byte(line: &Line, measures: &Measures) -> f64 {
    8.0 * measures.archive_bytes as f64 / line.input.bytes.max(1) as f64
}

/// Thousands of bytes of text a second.
pub(crate) fn speed(line: &Line, seconds: f64) -> f64 {
    line.input.bytes as f64 / seconds.max(1e-9) / 1e3
}

/// How much faster or slower one compresses than another: without starting and opening the model,
/// where both tell how long that took.
pub(crate) fn speeds(base: &Member<'_>, other: &Member<'_>) -> f64 {
    let of = |member: &Member<'_>, seconds| speed(member.line, seconds);
    match (work_seconds(base.measures), work_seconds(other.measures)) {
        (Some(before), Some(after)) => of(other, after) / of(base, before),
        _ => of(other, other.measures.compress.seconds) / of(base, base.measures.compress.seconds),
    }
}

fn work_seconds(measures: &Measures) -> Option<f64> {
    let told = measures.finezip.as_ref()?;
    Some(told.work_seconds).filter(|seconds| *seconds > 0.0)
}

/// Whether a line is of the kind that tables of all methods show: nothing set but model,
/// engine, precision, coder and adapter.
pub(crate) fn is_plain(line: &Line) -> bool {
    match &line.method {
        Method::Finezip(finezip) => {
            finezip.schedule.is_none()
                && finezip.context.is_none()
                && finezip.batch.is_none()
                && finezip.frame_bytes.is_none()
                && finezip.threads.is_none()
                && finezip.options.is_empty()
        }
        Method::Ideal(_) => false,
        Method::Peer { .. } | Method::Command { .. } => true,
    }
}

/// What stands behind a method whose frames are not all its own.
pub(crate) const NOT_ITS_CODER: char = '*';

/// Whether all frames are coded the way the method says: an archive keeps the smallest candidate
/// of each frame, which may be the byte mixer's.
pub(crate) fn is_by_its_coder(line: &Line) -> bool {
    let Some(finezip) = line.method.finezip().filter(|finezip| finezip.has_model()) else {
        return true;
    };
    let told = line.measures().and_then(|measures| measures.finezip.as_ref());
    // Mixing may end in the byte mixer: that is part of what it promises.
    let promised = finezip.coder.as_deref().is_none_or(|coder| coder.starts_with("mixer"));
    let by_model = |method: &String| matches!(method.as_str(), "model" | "records");
    promised || told.is_none_or(|told| told.frames.keys().all(by_model))
}

/// The method with its mark.
pub(crate) fn label(line: &Line) -> String {
    label_among(line, &[])
}

/// The method with its mark, told from those of other lines.
fn label_among(line: &Line, others: &[&Line]) -> String {
    let mut label = line.method.label_among(others.iter().map(|other| &other.method));
    if !is_by_its_coder(line) {
        label.push(NOT_ITS_CODER);
    }
    label
}

/// All methods on one text, the smallest archive first: the paper's first table.
pub(crate) fn of_text(lines: &[&Line]) -> Table {
    let mut table = Table::new(&[
        "method",
        "bytes",
        "ratio",
        "bits/byte",
        "compress s",
        "decompress s",
        "compress KB/s",
        "decompress KB/s",
        "tokens/s",
        "peak MB",
    ]);
    let mut rows: Vec<(&Line, &Measures)> =
        lines.iter().filter_map(|line| Some((*line, line.measures()?))).collect();
    rows.sort_by_key(|(_, measures)| measures.archive_bytes);
    for (line, measures) in rows {
        let mut row = vec![label_among(line, lines)];
        row.extend(sizes(line, measures));
        row.extend(times(line, measures));
        row.push(tokens_per_second(measures));
        row.push(megabytes(measures));
        table.rows.push(row);
    }
    table
}

fn sizes(line: &Line, measures: &Measures) -> [String; 3] {
    let ratio = measures.archive_bytes as f64 / line.input.bytes.max(1) as f64;
    [grouped(measures.archive_bytes), format!("{ratio:.4}"), format!("{:.3}", ratio * 8.0)]
}

/// What stands before a time while which the machine did other work as well.
const DISTURBED: char = '~';

/// The part of the machine's time that others may take before a time counts as disturbed.
const MOST_OF_OTHERS: f64 = 0.05;

/// What others may take of any run: the system counts in hundredths of a second, for each kind of
/// work and core.
const TICKS_OF_OTHERS: f64 = 0.1;

/// Whether other work took a part of the machine's time that may have shown.
pub(crate) fn is_disturbed(line: &Line, cost: &Cost) -> bool {
    let whole = cost.seconds * line.machine.cores as f64;
    let most = (MOST_OF_OTHERS * whole).max(TICKS_OF_OTHERS);
    cost.others_seconds.is_some_and(|others| others > most)
}

fn times(line: &Line, measures: &Measures) -> [String; 4] {
    let marked = |cost: &Cost, number: f64| {
        let mark = is_disturbed(line, cost).then_some(DISTURBED);
        format!("{}{}", mark.map(String::from).unwrap_or_default(), three_digits(number))
    };
    let or_none = |number: fn(&Line, f64) -> f64| {
        let back = measures.decompress.as_ref();
        back.map_or_else(|| "-".into(), |cost| marked(cost, number(line, cost.seconds)))
    };
    let there = &measures.compress;
    [
        marked(there, there.seconds),
        or_none(|_, seconds| seconds),
        marked(there, speed(line, there.seconds)),
        or_none(speed),
    ]
}

/// Tokens of the model a second of compressing, without its start.
fn tokens_per_second(measures: &Measures) -> String {
    match &measures.finezip {
        Some(told) if told.tokens > 0 && told.work_seconds > 0.0 => {
            three_digits(told.tokens as f64 / told.work_seconds)
        }
        _ => "-".into(),
    }
}

/// The most memory of either direction.
pub(crate) fn peak_bytes(measures: &Measures) -> u64 {
    let back = measures.decompress.map_or(0, |cost| cost.peak_bytes);
    measures.compress.peak_bytes.max(back)
}

fn megabytes(measures: &Measures) -> String {
    grouped((peak_bytes(measures) as f64 / 1e6).round() as u64)
}

/// Bits a byte of each method that was run on several texts.
pub(crate) fn of_texts(lines: &[&Line]) -> Option<Table> {
    let (mut texts, mut methods): (Vec<&str>, Vec<&Method>) = (Vec::new(), Vec::new());
    let done = || lines.iter().filter(|line| line.measures().is_some());
    for line in done() {
        if !texts.contains(&line.input.name.as_str()) {
            texts.push(&line.input.name);
        }
        if !methods.iter().any(|method| method.is_told_as(&line.method)) {
            methods.push(&line.method);
        }
    }
    if texts.len() < 2 {
        return None;
    }
    let mut table = Table::new(&[&["method"][..], &texts].concat());
    for method in &methods {
        let found = |text: &&str| {
            let line =
                done().find(|line| line.input.name == **text && line.method.is_told_as(method))?;
            let mark = (!is_by_its_coder(line)).then_some(NOT_ITS_CODER);
            let bits = bits_per_byte(line, line.measures()?);
            Some(format!("{bits:.3}{}", mark.map(String::from).unwrap_or_default()))
        };
        let cells: Vec<Option<String>> = texts.iter().map(found).collect();
        if cells.iter().flatten().count() > 1 {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into()));
            let label = method.label_among(methods.iter().copied());
            table.rows.push(std::iter::once(label).chain(cells).collect());
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Lines that differ in one setting, each beside the first.
pub(crate) fn of_comparison(setting: Setting, comparison: &Comparison<'_>) -> Table {
    let mut head = vec![setting.column(), "bytes", "bits/byte"];
    let has_adapter = comparison.members.iter().any(|member| adapter_bytes(member.measures) > 0);
    if setting != Setting::InputBytes {
        head.push("size, % of the first");
    }
    if has_adapter {
        head.extend(["adapter's bytes", "pays beyond"]);
    }
    head.extend([
        "compress s",
        "decompress s",
        "compress KB/s",
        "decompress KB/s",
        "speed, of the first",
        "tokens/s",
        "peak MB",
    ]);
    let mut table = Table::new(&head);
    let Some(first) = comparison.members.first() else { return table };
    let first_bytes = first.measures.archive_bytes.max(1) as f64;
    for member in &comparison.members {
        let (line, measures) = (member.line, member.measures);
        let [bytes, _, bits] = sizes(line, measures);
        let mut row = vec![member.value.clone(), bytes, bits];
        let percent = |bytes: u64| format!("{:.2}", 100.0 * bytes as f64 / first_bytes);
        if setting != Setting::InputBytes {
            row.push(percent(measures.archive_bytes));
        }
        if has_adapter {
            row.push(grouped(adapter_bytes(measures)));
            // The same model without an adapter, if that is here.
            let of_model = |other: &&Member<'_>| {
                let of = |member: &Member<'_>| Some(member.line.method.finezip()?.model.clone());
                adapter_bytes(other.measures) == 0 && of(other) == of(member)
            };
            let plain = comparison.members.iter().find(of_model);
            let beyond =
                plain.and_then(|plain| pays_beyond(plain.measures, measures, line.input.bytes));
            row.push(beyond.map_or_else(|| "-".into(), bytes_short));
        }
        row.extend(times(line, measures));
        row.push(three_digits(speeds(first, member)));
        row.push(tokens_per_second(measures));
        row.push(megabytes(measures));
        table.rows.push(row);
    }
    table
}

/// Bytes of the adapter that a decoder needs beside the archive.
pub(crate) fn adapter_bytes(measures: &Measures) -> u64 {
    measures.finezip.as_ref().and_then(|told| told.adapter_bytes).unwrap_or(0)
}

/// The length of such text from which on an adapter, counted once, makes an archive smaller: where
/// what it saves of each byte has paid for it. `None` where there is none, or it saves nothing.
pub(crate) fn pays_beyond(plain: &Measures, adapted: &Measures, text_bytes: u64) -> Option<u64> {
    let adapter = adapter_bytes(adapted);
    let saved = plain.archive_bytes.checked_sub(adapted.archive_bytes)?;
    let is_paid = adapter > 0 && saved > 0;
    is_paid.then(|| (adapter as f64 * text_bytes as f64 / saved as f64).ceil() as u64)
}

/// What an archive of ours holds beside the code of its frames: header, description of the model,
/// index. Known where all of its frames are the model's and their code was measured.
pub(crate) fn container_bytes(line: &Line) -> Option<u64> {
    let code = distributions(line)?.payload_bytes;
    let measures = line.measures()?;
    let frames = &measures.finezip.as_ref()?.frames;
    let is_all = frames.keys().all(|method| method == "model");
    if is_all { measures.archive_bytes.checked_sub(code) } else { None }
}

/// What the model's distributions are worth, whatever codes under them.
pub(crate) fn of_distributions(lines: &[&Line]) -> Option<Table> {
    let mut table = Table::new(&[
        "text",
        "model",
        "tokens",
        "bits/token",
        "rank 0, %",
        "ranks 0 to 15, %",
        "ideal bytes",
        "arithmetic coding",
        "overhead, %",
        "archive",
        "beside the code",
    ]);
    table.text_columns = 2;
    for (line, measured) in lines.iter().filter_map(|line| Some((line, distributions(line)?))) {
        let share = |part: u64| format!("{:.1}", 100.0 * part as f64 / measured.tokens as f64);
        let over = measured.payload_bytes as f64 / measured.ideal_bytes - 1.0;
        table.rows.push(vec![
            line.input.name.clone(),
            model_text(line),
            grouped(measured.tokens),
            format!("{:.3}", 8.0 * measured.ideal_bytes / measured.tokens as f64),
            share(measured.rank_0),
            share(measured.ranks_0_to_15),
            grouped(measured.ideal_bytes.round() as u64),
            grouped(measured.payload_bytes),
            format!("{:+.3}", 100.0 * over),
            line.measures().map_or_else(|| "-".into(), |measures| grouped(measures.archive_bytes)),
            container_bytes(line).map_or_else(|| "-".into(), grouped),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The distributions that a line measured, if any tokens were.
pub(crate) fn distributions(line: &Line) -> Option<&Distributions> {
    let Method::Ideal(_) = line.method else { return None };
    let measured = line.measures()?.finezip.as_ref()?.distributions.as_ref()?;
    (measured.tokens > 0 && measured.ideal_bytes > 0.0).then_some(measured)
}

/// The configuration of an ideal line without what all have.
pub(crate) fn model_text(line: &Line) -> String {
    let label = line.method.label();
    label.trim_start_matches("ideal finezip ").replace(" ac", "")
}

/// What failed, and why.
pub(crate) fn of_failures(lines: &[&Line]) -> Option<Table> {
    let mut table = Table::new(&["text", "method", "error"]);
    table.text_columns = 3;
    for line in lines {
        if let Outcome::Failed { error } = &line.outcome {
            table.rows.push(vec![line.input.name.clone(), line.method.label(), error.clone()]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;
    use crate::run::results::FinezipMeasures;

    #[test]
    fn a_failure_takes_no_figure_s_place() {
        let peer = |text| line(Method::Peer { name: "zlib-9".into() }, text, 125);
        let mut failed = peer("a");
        failed.outcome = Outcome::Failed { error: "lost".into() };
        let lines = [failed, peer("a"), peer("b")];
        let table = of_texts(&lines.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(table.rows, [["zlib-9", "1.000", "1.000"]]);
    }

    #[test]
    fn an_adapter_pays_where_what_it_saves_is_its_size() {
        let of = |archive_bytes, adapter: Option<u64>| {
            let finezip = FinezipMeasures { adapter_bytes: adapter, ..Default::default() };
            Measures { archive_bytes, finezip: Some(finezip), ..Measures::default() }
        };
        // A tenth of a byte saved of each.
        assert_eq!(pays_beyond(&of(200, None), &of(100, Some(5_000)), 1_000), Some(50_000));
        assert_eq!(pays_beyond(&of(200, None), &of(200, Some(5_000)), 1_000), None);
        assert_eq!(pays_beyond(&of(200, None), &of(300, Some(5_000)), 1_000), None);
        assert_eq!(pays_beyond(&of(200, None), &of(100, None), 1_000), None);
    }

    #[test]
    fn a_time_beside_other_work_is_marked() {
        let mut line = line(Method::Peer { name: "zlib-9".into() }, "a", 125);
        line.machine.cores = 2;
        let short = Cost { seconds: 0.05, others_seconds: Some(0.09), ..Cost::default() };
        assert!(!is_disturbed(&line, &short));
        let times_with = |others_seconds| {
            let cost = Cost { seconds: 2.0, others_seconds, ..Cost::default() };
            let measures =
                Measures { compress: cost, decompress: Some(cost), ..Measures::default() };
            times(&line, &measures)
        };
        for quiet in [None, Some(0.0), Some(0.19)] {
            assert_eq!(times_with(quiet), ["2.00", "2.00", "0.500", "0.500"]);
        }
        assert_eq!(times_with(Some(0.21)), ["~2.00", "~2.00", "~0.500", "~0.500"]);
    }
}
