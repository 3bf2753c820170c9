//! The plots of a report.

use super::comparisons::{Comparison, Member, Setting};
use super::file_name;
use super::plot::{Axis, Bars, Chart, Picture, Points, Series, front_of};
use super::tables::{
    adapter_bytes, bits_per_byte, distributions, label, model_text, peak_bytes, speed,
};
use crate::run::config::Method;
use crate::run::results::{Line, Measures, Position};

/// The looks of the three families of methods.
const FINEZIP_LOOK: usize = 0;
const BYTES_LOOK: usize = 3;
const PEER_LOOK: usize = 1;

fn axis(label: &str, logarithmic: bool) -> Axis {
    Axis { label: label.into(), logarithmic, ticks_at_points: false }
}

/// Size against speed of all methods on one text, with the Pareto front.
pub(crate) fn size_and_speed(name: String, text: &str, lines: &[&Line]) -> Option<Picture> {
    let mut rows: Vec<(&Line, &Measures)> =
        lines.iter().filter_map(|line| Some((*line, line.measures()?))).collect();
    if rows.len() < 3 {
        return None;
    }
    rows.sort_by_key(|(_, measures)| measures.archive_bytes);
    let series: Vec<Series> = rows
        .iter()
        .map(|(line, measures)| Series {
            label: label(line),
            points: vec![(speed(line, measures.compress.seconds), bits_per_byte(line, measures))],
            joined: false,
            look: match &line.method {
                Method::Finezip(finezip) if finezip.has_model() => FINEZIP_LOOK,
                Method::Finezip(_) | Method::Ideal(_) => BYTES_LOOK,
                Method::Peer { .. } | Method::Command { .. } => PEER_LOOK,
            },
        })
        .collect();
    let points: Vec<(f64, f64)> =
        series.iter().flat_map(|series| series.points.iter().copied()).collect();
    Some(Picture {
        name,
        title: format!("{text}: size against speed, and the Pareto front"),
        chart: Chart::Points(Points {
            x: axis("compression speed, KB/s", true),
            y: axis("bits a byte", false),
            front: front_of(&points),
            series,
            numbered: true,
        }),
    })
}

/// Something by a setting that is a number, a series for each comparison.
fn by_number(
    picture: (&str, &str),
    x: Axis,
    y: Axis,
    comparisons: &[Comparison<'_>],
    measure: impl Fn(&Line, &Measures) -> f64,
) -> Option<Picture> {
    let series: Vec<Series> = comparisons
        .iter()
        .enumerate()
        .map(|(look, comparison)| Series {
            label: comparison.common.clone(),
            points: comparison
                .members
                .iter()
                .filter_map(|member| Some((member.number?, measure(member.line, member.measures))))
                .collect(),
            joined: true,
            look,
        })
        .filter(|series| series.points.len() > 1)
        .collect();
    if series.is_empty() {
        return None;
    }
    let points = Points { x, y, series, front: Vec::new(), numbered: false };
    Some(Picture { name: picture.0.into(), title: picture.1.into(), chart: Chart::Points(points) })
}

/// The plots of a setting.
pub(crate) fn of_setting(setting: Setting, comparisons: &[Comparison<'_>]) -> Vec<Picture> {
    let at_points = |label: &str| Axis { ticks_at_points: true, ..axis(label, true) };
    let bits = || axis("bits a byte", false);
    let kilobytes = |line: &Line, measures: &Measures| speed(line, measures.compress.seconds);
    let pictures = match setting {
        Setting::Context => vec![by_number(
            ("context", "Size by context"),
            at_points("context, tokens"),
            bits(),
            comparisons,
            bits_per_byte,
        )],
        Setting::Batch => vec![
            by_number(
                ("batch-speed", "Speed by batch"),
                at_points("lanes"),
                axis("compression speed, KB/s", false),
                comparisons,
                kilobytes,
            ),
            by_number(
                ("batch-size", "Size by batch"),
                at_points("lanes"),
                bits(),
                comparisons,
                bits_per_byte,
            ),
        ],
        Setting::InputBytes => vec![
            by_number(
                ("input-size", "Size by length of the input"),
                axis("input, bytes", true),
                bits(),
                comparisons,
                bits_per_byte,
            ),
            by_number(
                ("input-speed", "Speed by length of the input"),
                axis("input, bytes", true),
                axis("compression speed, KB/s", true),
                comparisons,
                kilobytes,
            ),
            by_number(
                ("input-memory", "Peak memory by length of the input"),
                axis("input, bytes", true),
                axis("peak memory, MB", false),
                comparisons,
                |_, measures| peak_bytes(measures) as f64 / 1e6,
            ),
        ],
        Setting::Precision => vec![bars(setting, comparisons)],
        Setting::Model => vec![bars(setting, comparisons), adapters(comparisons)],
        _ => Vec::new(),
    };
    pictures.into_iter().flatten().collect()
}

fn bars(setting: Setting, comparisons: &[Comparison<'_>]) -> Option<Picture> {
    let (name, title) = match setting {
        Setting::Precision => ("precision", "Size by engine and precision"),
        _ => ("model", "Size by model"),
    };
    let bars: Vec<(String, f64)> = comparisons
        .iter()
        .flat_map(|comparison| {
            comparison.members.iter().map(|member| {
                let name = format!("{}, {}", comparison.common, member.value);
                (name, bits_per_byte(member.line, member.measures))
            })
        })
        .collect();
    (!bars.is_empty()).then(|| Picture {
        name: name.into(),
        title: title.into(),
        chart: Chart::Bars(Bars { label: "bits a byte".into(), bars }),
    })
}

/// Lengths of text that the gain of an adapter is reckoned for, as powers of ten.
const ADAPTED_LENGTHS: std::ops::RangeInclusive<i32> = 4..=11;

/// What adapters gain: archive and adapter beside the archive without, by how much such text there
/// is to share the adapter.
fn adapters(comparisons: &[Comparison<'_>]) -> Option<Picture> {
    let mut series: Vec<Series> = Vec::new();
    for comparison in comparisons {
        for member in &comparison.members {
            let adapter = adapter_bytes(member.measures);
            let model = |member: &Member<'_>| Some(member.line.method.finezip()?.model.clone());
            let plain = comparison
                .members
                .iter()
                .find(|other| adapter_bytes(other.measures) == 0 && model(other) == model(member));
            let (Some(plain), true) = (plain, adapter > 0) else { continue };
            let a_byte = |measures: &Measures| {
                measures.archive_bytes as f64 / member.line.input.bytes.max(1) as f64
            };
            let part = |power| {
                let length = 10_f64.powi(power);
                let with = a_byte(member.measures) * length + adapter as f64;
                (length, 100.0 * with / (a_byte(plain.measures) * length))
            };
            series.push(Series {
                label: format!("{}, {}", comparison.common, member.value),
                points: ADAPTED_LENGTHS.map(part).collect(),
                joined: true,
                look: series.len(),
            });
        }
    }
    (!series.is_empty()).then(|| Picture {
        name: "adapters".into(),
        title: "Archive and adapter by how much such text there is, reckoned from this one".into(),
        chart: Chart::Points(Points {
            x: axis("such text, bytes", true),
            y: axis("% of the archive without an adapter", true),
            series,
            front: Vec::new(),
            numbered: false,
        }),
    })
}

/// Series that a plot of positions has at most, so that they can be told apart.
const MOST_SERIES: usize = 7;

/// What a token costs by its place since its lane was emptied: the texts at the usual context
/// beside each other, and of each text the other contexts.
pub(crate) fn positions(prefix: &str, lines: &[&Line]) -> Vec<Picture> {
    let mut usual: Vec<Series> = Vec::new();
    let mut of_texts: Vec<(&str, Vec<Series>)> = Vec::new();
    for line in lines {
        let (Method::Ideal(finezip), Some(measured)) = (&line.method, distributions(line)) else {
            continue;
        };
        let points = places(&measured.positions);
        if points.len() < 2 {
            continue;
        }
        let series = |label| Series { label, points, joined: true, look: 0 };
        let name = line.input.name.as_str();
        if finezip.context.is_none() {
            usual.push(series(format!("{name}: {}", model_text(line))));
            continue;
        }
        let series = series(model_text(line));
        match of_texts.iter_mut().find(|(text, _)| *text == name) {
            Some((_, all)) => all.push(series),
            None => of_texts.push((name, vec![series])),
        }
    }
    let title = "Cost of a token by its place in its lane";
    let mut pictures = in_parts(&format!("{prefix}positions"), title, usual);
    for (text, series) in of_texts {
        let name = format!("{prefix}positions-of-{}", file_name(text));
        pictures.extend(in_parts(&name, &format!("{title}: {text} by context"), series));
    }
    pictures
}

/// Bits a token by the first place of a range.
fn places(positions: &[Position]) -> Vec<(f64, f64)> {
    // The first place cannot stand on a logarithmic axis; it has the start token alone.
    let is_shown = |position: &&Position| position.from > 0 && position.tokens > 0;
    let point =
        |position: &Position| (position.from as f64, position.ideal_bits / position.tokens as f64);
    positions.iter().filter(is_shown).map(point).collect()
}

/// Plots of a few series each.
fn in_parts(name: &str, title: &str, series: Vec<Series>) -> Vec<Picture> {
    let part = |(number, part): (usize, &[Series])| Picture {
        name: if number == 0 { name.to_owned() } else { format!("{name}-{}", number + 1) },
        title: title.to_owned(),
        chart: Chart::Points(Points {
            x: Axis { ticks_at_points: true, ..axis("tokens before it, from", true) },
            y: axis("bits a token", false),
            series: part
                .iter()
                .enumerate()
                .map(|(look, series)| Series { look, ..series.clone() })
                .collect(),
            front: Vec::new(),
            numbered: false,
        }),
    };
    series.chunks(MOST_SERIES).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;
    use crate::run::config::Finezip;
    use crate::run::results::{Distributions, FinezipMeasures, Outcome};

    #[test]
    fn positions_are_drawn_a_few_at_a_time() {
        let ideal = |text: &str, context| {
            let finezip = Finezip { model: "m".into(), context, ..Finezip::default() };
            let mut line = line(Method::Ideal(finezip), text, 1);
            let at = |from| Position { from, tokens: 1, ideal_bits: 3.0 };
            let measured = Distributions {
                tokens: 3,
                ideal_bytes: 1.0,
                positions: [0, 1, 2].map(at).into(),
                ..Distributions::default()
            };
            if let Outcome::Done(measures) = &mut line.outcome {
                let distributions = Some(measured);
                measures.finezip = Some(FinezipMeasures { distributions, ..Default::default() });
            }
            line
        };
        let mut lines: Vec<Line> = (0..9).map(|text| ideal(&format!("t{text}"), None)).collect();
        lines.extend([64, 128].map(|context| ideal("t1", Some(context))));
        let pictures = positions("", &lines.iter().collect::<Vec<_>>());
        let shown: Vec<(&str, usize)> = pictures
            .iter()
            .map(|picture| match &picture.chart {
                Chart::Points(points) => (picture.name.as_str(), points.series.len()),
                Chart::Bars(_) => (picture.name.as_str(), 0),
            })
            .collect();
        assert_eq!(shown, [("positions", 7), ("positions-2", 2), ("positions-of-t1", 2)]);
    }
}
