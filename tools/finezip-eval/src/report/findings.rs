//! The paper's findings, and what this project adds, each beside what the same comparison gives
//! here.

use std::cmp::Ordering;

use super::comparisons::{Comparison, Member, Setting, of};
use super::document::Table;
use super::tables::{adapter_bytes, is_by_its_coder, peak_bytes, speed, speeds};
use crate::run::config::Finezip;
use crate::run::results::Line;

/// A statement that a comparison bears out or does not.
struct Finding {
    /// What is stated.
    text: &'static str,
    /// Whether the paper says so.
    by_the_paper: bool,
    /// The setting that differs.
    setting: Setting,
    /// What is compared, and beside what.
    base: Side,
    other: Side,
    /// How large `other` is beside it.
    size: Option<Size>,
    /// Whether `other` is slower or faster.
    speed: Option<Ordering>,
}

/// An archive's size beside another's.
#[derive(Clone, Copy)]
enum Size {
    Smaller,
    Larger,
    NoLarger,
    /// Within 1 %.
    Alike,
}

impl Size {
    fn holds(self, base: u64, other: u64) -> bool {
        match self {
            Self::Smaller => other < base,
            Self::Larger => other > base,
            Self::NoLarger => other <= base,
            Self::Alike => other.abs_diff(base) <= base / 100,
        }
    }
}

/// Members of a comparison.
enum Side {
    /// Those of these values, of which `""` is what finezip-cli chooses.
    Of(fn(&Finezip) -> Option<&str>, &'static [&'static str]),
    /// That of the least number.
    Least,
    /// That of the greatest number.
    Most,
    /// Without an adapter.
    Plain,
    /// With one.
    Adapted,
    /// Without further options.
    NoOptions,
    /// With this one.
    With(&'static str),
    /// Without a model.
    NoModel,
    /// With a model, without an adapter.
    Model,
}

const SCHEDULE: fn(&Finezip) -> Option<&str> = |finezip| finezip.schedule.as_deref();
const PRECISION: fn(&Finezip) -> Option<&str> = |finezip| finezip.precision.as_deref();
const CODER: fn(&Finezip) -> Option<&str> = |finezip| finezip.coder.as_deref();

const SMALLER: Option<Size> = Some(Size::Smaller);
const LARGER: Option<Size> = Some(Size::Larger);
const FASTER: Option<Ordering> = Some(Ordering::Greater);

const FINDINGS: [Finding; 13] = [
    Finding {
        text: "dynamic context is about 54 times as fast as LLMZip's fixed window, and larger (by \
               10 % with ranks)",
        by_the_paper: true,
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["fixed-window"]),
        other: Side::Of(SCHEDULE, &["chunk-reset"]),
        size: LARGER,
        speed: FASTER,
    },
    Finding {
        text: "a larger batch is faster",
        by_the_paper: true,
        setting: Setting::Batch,
        base: Side::Least,
        other: Side::Most,
        size: None,
        speed: FASTER,
    },
    Finding {
        text: "4-bit weights are 3.7 times as fast as whole ones, and 13 % larger",
        by_the_paper: true,
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["int4"]),
        size: LARGER,
        speed: FASTER,
    },
    Finding {
        text: "a longer context is smaller",
        by_the_paper: true,
        setting: Setting::Context,
        base: Side::Least,
        other: Side::Most,
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "arithmetic coding is 38 % smaller than ranks through bzip2",
        by_the_paper: true,
        setting: Setting::Coder,
        base: Side::Of(CODER, &["rank-bzip2"]),
        other: Side::Of(CODER, &["ac"]),
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "fine-tuning makes archives smaller, the adapter not counted (the paper: on the text \
               itself; here: on other text of its source)",
        by_the_paper: true,
        setting: Setting::Model,
        base: Side::Plain,
        other: Side::Adapted,
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "8-bit weights lose next to nothing beside whole ones (within 1 %), and are faster",
        by_the_paper: false,
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: Some(Size::Alike),
        speed: FASTER,
    },
    Finding {
        text: "archives of 8-bit weights are smaller than those of 4-bit ones, and faster made",
        by_the_paper: false,
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["int4"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: SMALLER,
        speed: FASTER,
    },
    Finding {
        text: "memorizing a text makes its archive no larger, the adapter counted: it is kept where \
               it pays",
        by_the_paper: false,
        setting: Setting::Options,
        base: Side::NoOptions,
        other: Side::With("--memorize"),
        size: Some(Size::NoLarger),
        speed: None,
    },
    Finding {
        text: "windows that roll are smaller than chunks of the same context",
        by_the_paper: false,
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["chunk-reset"]),
        other: Side::Of(SCHEDULE, &["", "rolling"]),
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "a mixer that learns from the text makes archives smaller than arithmetic coding",
        by_the_paper: false,
        setting: Setting::Coder,
        base: Side::Of(CODER, &["ac"]),
        other: Side::Of(CODER, &["", "mixer-6"]),
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "the model makes archives smaller than the mixer of bytes alone",
        by_the_paper: false,
        setting: Setting::Model,
        base: Side::NoModel,
        other: Side::Model,
        size: SMALLER,
        speed: None,
    },
    Finding {
        text: "two threads are faster than one",
        by_the_paper: false,
        setting: Setting::Threads,
        base: Side::Least,
        other: Side::Most,
        size: None,
        speed: FASTER,
    },
];

/// A row for each finding and comparison that tells of it.
pub(crate) fn table(lines: &[&Line]) -> Option<Table> {
    let lines: Vec<&Line> = lines.iter().copied().filter(|line| is_by_its_coder(line)).collect();
    let mut table = Table::new(&["statement", "by", "compared", "found", "borne out"]);
    table.text_columns = 5;
    for finding in &FINDINGS {
        for comparison in of(finding.setting, &lines) {
            let Some(base) = finding.base.of(&comparison) else { continue };
            let Some(other) = finding.other.of(&comparison) else { continue };
            if std::ptr::eq(base.line, other.line) {
                continue;
            }
            table.rows.push(vec![
                finding.text.into(),
                if finding.by_the_paper { "the paper" } else { "FineZip" }.into(),
                format!("{}: {} beside {}", comparison.common, other.value, base.value),
                found(base, other),
                finding.verdict(base, other).into(),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

impl Side {
    fn of<'a, 'b>(&self, comparison: &'b Comparison<'a>) -> Option<&'b Member<'a>> {
        let members = &comparison.members;
        let by = |wanted: &dyn Fn(&Finezip) -> bool| {
            members.iter().find(|member| member.line.method.finezip().is_some_and(wanted))
        };
        match self {
            Self::Of(part, values) => by(&|finezip| {
                values.contains(&part(finezip).unwrap_or_default())
                    && finezip.engine.as_deref().is_none_or(|engine| engine == "exact")
            }),
            // Numbers ascend, and what has none stands before them.
            Self::Least => members.iter().find(|member| member.number.is_some()),
            Self::Most => members.last().filter(|member| member.number.is_some()),
            Self::Adapted => by(&|finezip| finezip.adapter.is_some()),
            Self::NoOptions => by(&|finezip| finezip.options.is_empty()),
            Self::With(option) => {
                by(&|finezip| finezip.options.iter().any(|given| given == option))
            }
            Self::NoModel => by(&|finezip| !finezip.has_model()),
            // The model of the adapter where there is one.
            Self::Plain | Self::Model => {
                let adapted = Self::adapted_model(comparison);
                by(&|finezip| {
                    finezip.has_model()
                        && finezip.adapter.is_none()
                        && adapted.is_none_or(|model| finezip.model == model)
                })
            }
        }
    }

    fn adapted_model<'b>(comparison: &'b Comparison<'_>) -> Option<&'b str> {
        let finezips = comparison.members.iter().filter_map(|member| member.line.method.finezip());
        finezips.filter(|finezip| finezip.adapter.is_some()).map(|finezip| &*finezip.model).next()
    }
}

impl Finding {
    /// Whether what was stated is so.
    fn verdict(&self, base: &Member<'_>, other: &Member<'_>) -> &'static str {
        let bytes = |member: &Member<'_>| member.measures.archive_bytes;
        let size = self.size.map(|size| size.holds(bytes(base), bytes(other)));
        let speed = self.speed.map(|speed| speeds(base, other).total_cmp(&1.0) == speed);
        let stated: Vec<bool> = [size, speed].into_iter().flatten().collect();
        let (held, all) = (stated.iter().filter(|&&held| held).count(), stated.len());
        match held {
            _ if held == all => "yes",
            0 => "no",
            _ => "in part",
        }
    }
}

/// One member beside another in figures.
fn found(base: &Member<'_>, other: &Member<'_>) -> String {
    let size = other.measures.archive_bytes as f64 / base.measures.archive_bytes as f64;
    let mut text =
        format!("{:+.1} % size, {:.2} times the speed", 100.0 * (size - 1.0), speeds(base, other));
    if let (Some(before), Some(after)) = (base.measures.decompress, other.measures.decompress) {
        let ratio = speed(other.line, after.seconds) / speed(base.line, before.seconds);
        text.push_str(&format!(" ({ratio:.2} back)"));
    }
    let memory = peak_bytes(other.measures) as f64 / peak_bytes(base.measures).max(1) as f64;
    text.push_str(&format!(", {memory:.2} times the memory"));
    let adapter = adapter_bytes(other.measures);
    if adapter > 0 {
        let sum = (other.measures.archive_bytes + adapter) as f64;
        let part = sum / base.measures.archive_bytes as f64;
        text.push_str(&format!("; {:+.1} % size with its adapter", 100.0 * (part - 1.0)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;
    use crate::run::config::Method;
    use crate::run::grid::Grid;
    use crate::run::results::{FinezipMeasures, Outcome};

    fn cell(change: impl Fn(&mut Finezip), bytes: u64, seconds: f64) -> Line {
        let mut finezip = Finezip { model: "m".into(), ..Finezip::default() };
        change(&mut finezip);
        let mut line = line(Method::Finezip(finezip), "a", bytes);
        if let Outcome::Done(measures) = &mut line.outcome {
            measures.compress.seconds = seconds;
        }
        line
    }

    #[test]
    fn statements_are_held_against_what_was_measured() {
        let precision = |name: &'static str, bytes, seconds| {
            cell(move |finezip| finezip.precision = Some(name.into()), bytes, seconds)
        };
        let lines = [
            precision("f32", 100, 10.0),
            precision("int4", 120, 20.0),
            precision("int8", 101, 5.0),
            cell(|finezip| finezip.context = Some(64), 300, 1.0),
            cell(|finezip| finezip.context = Some(32), 200, 1.0),
        ];
        let lines: Vec<&Line> = lines.iter().collect();
        let table = table(&lines).unwrap();
        let row = |text: &str| table.rows.iter().find(|row| row[0].contains(text)).unwrap();
        // Larger, but not faster.
        assert_eq!(row("4-bit weights are 3.7")[4], "in part");
        assert_eq!(row("8-bit weights lose")[4], "yes");
        assert_eq!(row("archives of 8-bit weights")[4], "yes");
        assert_eq!(row("longer context")[4], "no");
        assert!(row("longer context")[3].starts_with("+50.0 % size, 1.00 times the speed"));
        assert_eq!(row("longer context")[2], "a: m: 64 beside 32");
        assert_eq!(table.rows.len(), 4);
    }

    #[test]
    fn opening_the_model_is_no_part_of_a_speed() {
        let precision = |name: &'static str, seconds, work_seconds| {
            let mut line = cell(move |finezip| finezip.precision = Some(name.into()), 1, seconds);
            if let Outcome::Done(measures) = &mut line.outcome {
                measures.finezip = Some(FinezipMeasures { work_seconds, ..Default::default() });
            }
            line
        };
        let lines = [precision("f32", 10.0, 8.0), precision("int4", 4.0, 2.0)];
        let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
        assert!(table.rows[0][3].contains(" 4.00 times the speed"), "{:?}", table.rows[0]);
    }

    #[test]
    fn sizes_are_judged_as_they_are_stated() {
        let holds = |size: Size| [989, 990, 1000, 1010, 1011].map(|other| size.holds(1000, other));
        assert_eq!(holds(Size::Smaller), [true, true, false, false, false]);
        assert_eq!(holds(Size::Larger), [false, false, false, true, true]);
        assert_eq!(holds(Size::NoLarger), [true, true, true, false, false]);
        assert_eq!(holds(Size::Alike), [false, true, true, true, false]);
    }

    #[test]
    fn every_built_in_grid_tells_of_every_statement() {
        for name in ["quick", "small", "large"] {
            let grid = Grid::open(name).unwrap();
            let cells = grid.cells().unwrap();
            let lines: Vec<Line> =
                cells.iter().map(|cell| line(cell.method.clone(), &cell.input, 500)).collect();
            let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
            for finding in &FINDINGS {
                let is_there = table.rows.iter().any(|row| row[0] == finding.text);
                assert!(is_there, "{name}: {}", finding.text);
            }
        }
    }

    #[test]
    fn an_adapter_is_held_against_its_own_model() {
        let lines = [
            cell(|finezip| finezip.model = "none".into(), 400, 1.0),
            cell(|finezip| finezip.model = "other".into(), 90, 1.0),
            cell(|_| {}, 100, 1.0),
            cell(|finezip| finezip.adapter = Some("law".into()), 80, 1.0),
        ];
        let lines: Vec<&Line> = lines.iter().collect();
        let table = table(&lines).unwrap();
        let row = |text: &str| table.rows.iter().find(|row| row[0].contains(text)).unwrap();
        assert_eq!(row("fine-tuning")[2], "a: m + law beside m");
        assert!(row("fine-tuning")[3].starts_with("-20.0 % size"));
        assert_eq!(row("bytes alone")[4], "yes");
    }
}
