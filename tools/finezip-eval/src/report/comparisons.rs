//! Cells that differ in one setting and in nothing else, brought together.

use std::collections::BTreeSet;

use super::tables::{NOT_ITS_CODER, is_by_its_coder};
use crate::run::config::{Finezip, Method, USUAL_CODER};
use crate::run::results::{Line, Measures};
use crate::text::{bytes_short, grouped};

/// A setting that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// What codes tokens.
    Coder,
    /// How tokens become lanes and windows.
    Schedule,
    /// Tokens that the model sees.
    Context,
    /// Lanes.
    Batch,
    /// Engine and precision of weights.
    Precision,
    /// Model and adapter.
    Model,
    /// Threads.
    Threads,
    /// Bytes in a frame.
    FrameBytes,
    /// Further options.
    Options,
    /// Length of the input, of one text.
    InputBytes,
}

impl Setting {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 10] = [
        Self::Coder,
        Self::Schedule,
        Self::Context,
        Self::Batch,
        Self::Precision,
        Self::Model,
        Self::Options,
        Self::Threads,
        Self::FrameBytes,
        Self::InputBytes,
    ];

    /// The head of its section.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Coder => "Coders",
            Self::Schedule => "Schedules",
            Self::Context => "Context",
            Self::Batch => "Batch",
            Self::Precision => "Engines and precisions",
            Self::Model => "Models and adapters",
            Self::Options => "Other options",
            Self::Threads => "Threads",
            Self::FrameBytes => "Frames",
            Self::InputBytes => "How cost grows with the input",
        }
    }

    /// The head of its column.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Coder => "coder",
            Self::Schedule => "schedule",
            Self::Context => "context, tokens",
            Self::Batch => "lanes",
            Self::Precision => "engine",
            Self::Model => "model",
            Self::Options => "options",
            Self::Threads => "threads",
            Self::FrameBytes => "frame",
            Self::InputBytes => "input",
        }
    }

    /// The value a line has: as a number, where it is one, and as text.
    pub(crate) fn value(self, finezip: &Finezip, line: &Line) -> (Option<f64>, String) {
        let usual = || "usual".to_owned();
        let name = |name: &Option<String>| (None, name.clone().unwrap_or_else(usual));
        let number = |given: Option<u64>, found: Option<u64>| {
            let value = given.or(found);
            let text = match (given, found) {
                (Some(given), _) => grouped(given),
                (None, Some(found)) => format!("usual: {}", grouped(found)),
                (None, None) => usual(),
            };
            (value.map(|value| value as f64), text)
        };
        let told = line.measures().and_then(|measures| measures.finezip.as_ref());
        match self {
            Self::Coder => name(&finezip.coder),
            Self::Schedule => name(&finezip.schedule),
            Self::Context => {
                let language = told.and_then(|told| told.language.as_ref());
                number(finezip.context, language.and_then(recorded_context))
            }
            Self::Batch => number(finezip.batch, told.and_then(|told| told.lanes)),
            Self::Precision => {
                let engine = finezip.engine.as_deref().unwrap_or("exact");
                let parts = [Some(engine), finezip.precision.as_deref()];
                (None, parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
            }
            Self::Model => (None, finezip.model_label()),
            Self::Options if finezip.options.is_empty() => (None, "none".into()),
            Self::Options => (None, finezip.options.join(" ")),
            Self::Threads => number(finezip.threads, None),
            Self::FrameBytes => number(finezip.frame_bytes, None),
            Self::InputBytes => (Some(line.input.bytes as f64), bytes_short(line.input.bytes)),
        }
    }

    /// The configuration without this setting.
    fn without(self, finezip: &Finezip) -> Finezip {
        let mut rest = finezip.clone();
        match self {
            Self::Coder => rest.coder = None,
            Self::Schedule => rest.schedule = None,
            Self::Context => rest.context = None,
            Self::Batch => rest.batch = None,
            Self::Precision => (rest.engine, rest.precision) = (None, None),
            Self::Model => {
                (rest.model, rest.adapter) = (String::new(), None);
                // Without a model there is no choice of coder: that stands beside the usual one.
                rest.coder = rest.coder.filter(|coder| coder != USUAL_CODER);
            }
            Self::Threads => rest.threads = None,
            Self::FrameBytes => rest.frame_bytes = None,
            Self::Options => rest.options.clear(),
            Self::InputBytes => {}
        }
        rest
    }
}

/// The window that an archive's schedule records.
fn recorded_context(language: &serde_json::Value) -> Option<u64> {
    let schedule = language["schedule"].as_str()?;
    let number = |part: &str| -> Option<u64> {
        let value = part.strip_prefix("window=").or_else(|| part.strip_prefix("context="))?;
        value.parse().ok()
    };
    schedule.split_whitespace().find_map(number)
}

/// A line with the value of the setting that is compared.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    /// The value as a number, where it is one.
    pub(crate) number: Option<f64>,
    /// The value as text.
    pub(crate) value: String,
    /// The line.
    pub(crate) line: &'a Line,
    /// What was measured.
    pub(crate) measures: &'a Measures,
}

/// Lines that differ in one setting.
#[derive(Clone, Debug)]
pub(crate) struct Comparison<'a> {
    /// What they have in common: text and configuration.
    pub(crate) common: String,
    /// At least two lines: first those without a number in the order of the results, then the
    /// others, numbers ascending.
    pub(crate) members: Vec<Member<'a>>,
}

/// All comparisons of a setting.
pub(crate) fn of<'a>(setting: Setting, lines: &[&'a Line]) -> Vec<Comparison<'a>> {
    let mut all: Vec<(String, Finezip, Comparison<'a>)> = Vec::new();
    for &line in lines {
        let (Method::Finezip(finezip), Some(measures)) = (&line.method, line.measures()) else {
            continue;
        };
        let numbers = [Setting::Schedule, Setting::Context, Setting::Batch, Setting::Coder];
        if !finezip.has_model() && (numbers.contains(&setting) || setting == Setting::Precision) {
            continue;
        }
        let text = match setting {
            Setting::InputBytes => line.input.file.clone(),
            _ => line.input.name.clone(),
        };
        let rest = setting.without(finezip);
        let (number, mut value) = setting.value(finezip, line);
        if !is_by_its_coder(line) {
            value.push(NOT_ITS_CODER);
        }
        let member = Member { number, value, line, measures };
        match all.iter_mut().find(|(other, config, _)| *other == text && *config == rest) {
            Some((_, _, comparison)) => comparison.members.push(member),
            None => {
                let common = common_text(setting, &text, &rest);
                let comparison = Comparison { common, members: vec![member] };
                all.push((text, rest, comparison));
            }
        }
    }
    let mut comparisons: Vec<_> = all.into_iter().map(|(_, _, comparison)| comparison).collect();
    comparisons.retain(|comparison| comparison.members.len() > 1);
    for comparison in &mut comparisons {
        comparison.members.sort_by(|one, other| match (one.number, other.number) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        });
        if setting == Setting::Coder {
            name_windows(comparison);
        }
    }
    comparisons
}

/// Levels of the mixer may bring windows of their own: where members' differ, values name them.
fn name_windows(comparison: &mut Comparison<'_>) {
    let window = |member: &Member<'_>| {
        recorded_context(member.measures.finezip.as_ref()?.language.as_ref()?)
    };
    let windows: BTreeSet<u64> = comparison.members.iter().filter_map(window).collect();
    if windows.len() < 2 {
        return;
    }
    for member in &mut comparison.members {
        if let Some(tokens) = window(member) {
            member.value.push_str(&format!(", window {}", grouped(tokens)));
        }
    }
}

fn common_text(setting: Setting, text: &str, rest: &Finezip) -> String {
    let label = rest.label();
    let label = label.strip_prefix("finezip").unwrap_or(&label).trim();
    match setting {
        _ if label.is_empty() => text.to_owned(),
        _ => format!("{text}: {label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;
    use crate::run::results::{FinezipMeasures, Outcome};

    #[test]
    fn what_differs_in_one_setting_comes_together() {
        let with = |coder: &str, context: Option<u64>| {
            let finezip = Finezip {
                model: "m".into(),
                coder: Some(coder.into()),
                context,
                ..Finezip::default()
            };
            line(Method::Finezip(finezip), "a", 100)
        };
        let lines = [
            with("ac", Some(512)),
            with("ac", Some(64)),
            with("mixer-6", Some(512)),
            with("ac", Some(128)),
            line(Method::Peer { name: "zlib-9".into() }, "a", 90),
        ];
        let lines: Vec<&Line> = lines.iter().collect();
        let contexts = of(Setting::Context, &lines);
        assert_eq!(contexts.len(), 1);
        assert_eq!(contexts[0].common, "a: m ac");
        let values: Vec<_> = contexts[0].members.iter().map(|member| &member.value).collect();
        assert_eq!(values, ["64", "128", "512"]);
        let coders = of(Setting::Coder, &lines);
        assert_eq!(coders.len(), 1);
        assert_eq!(coders[0].members.len(), 2);
        assert!(of(Setting::Batch, &lines).is_empty());
    }

    #[test]
    fn a_coder_s_own_window_is_named() {
        let with = |coder: &str, window: u64| {
            let coder = Some(coder.into());
            let finezip = Finezip { model: "m".into(), coder, ..Finezip::default() };
            let mut line = line(Method::Finezip(finezip), "a", 100);
            let schedule = format!("rolling/1 sinks=1 window={window}");
            let language = Some(serde_json::json!({ "schedule": schedule }));
            if let Outcome::Done(measures) = &mut line.outcome {
                measures.finezip = Some(FinezipMeasures { language, ..Default::default() });
            }
            line
        };
        let values = |lines: &[Line]| -> Vec<String> {
            let coders = of(Setting::Coder, &lines.iter().collect::<Vec<_>>());
            coders[0].members.iter().map(|member| member.value.clone()).collect()
        };
        let mut lines = vec![with("ac", 512), with("mixer-6", 512)];
        assert_eq!(values(&lines), ["ac", "mixer-6"]);
        lines.push(with("mixer-9", 2048));
        let named = ["ac, window 512", "mixer-6, window 512", "mixer-9, window 2,048"];
        assert_eq!(values(&lines), named);
    }

    #[test]
    fn what_has_no_number_comes_first() {
        let with = |threads: Option<u64>| {
            let finezip = Finezip { model: "m".into(), threads, ..Finezip::default() };
            line(Method::Finezip(finezip), "a", 100)
        };
        let lines = [with(Some(4)), with(None), with(Some(1)), with(Some(2))];
        let threads = of(Setting::Threads, &lines.iter().collect::<Vec<_>>());
        let numbers: Vec<_> = threads[0].members.iter().map(|member| member.number).collect();
        assert_eq!(numbers, [None, Some(1.0), Some(2.0), Some(4.0)]);
    }

    #[test]
    fn no_model_stands_beside_the_usual_coder() {
        let with = |model: &str, coder: Option<&str>| {
            let coder = coder.map(Into::into);
            let finezip = Finezip { model: model.into(), coder, ..Finezip::default() };
            line(Method::Finezip(finezip), "a", 100)
        };
        let lines = [with("none", None), with("m", Some("ac")), with("m", Some(USUAL_CODER))];
        let models = of(Setting::Model, &lines.iter().collect::<Vec<_>>());
        assert_eq!(models.len(), 1);
        let values: Vec<_> = models[0].members.iter().map(|member| &member.value).collect();
        assert_eq!(values, ["none", "m"]);
    }

    #[test]
    fn a_schedule_tells_its_window() {
        let language = serde_json::json!({ "schedule": "rolling/1 sinks=1 window=512" });
        assert_eq!(recorded_context(&language), Some(512));
        assert_eq!(recorded_context(&serde_json::Value::Null), None);
    }
}
