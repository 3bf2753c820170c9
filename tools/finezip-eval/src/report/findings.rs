//! The paper's findings, and what this project adds, each beside what the same comparison gives
//! here.

use std::cmp::Ordering;

use super::beside_peers;
use super::comparisons::{Comparison, Member, Setting, of};
use super::document::Table;
use super::tables::{is_by_its_coder, pays_beyond, peak_bytes, speed, speeds};
use crate::median::median;
use crate::run::config::Finezip;
use crate::run::results::Line;
use crate::text::{bytes_short, times};

/// A statement that a comparison bears out or does not.
struct Finding {
    /// What is stated.
    text: &'static str,
    /// Whether the paper says so.
    by_the_paper: bool,
    /// By how much, where that is stated.
    figures: Figures,
    /// The setting that differs.
    setting: Setting,
    /// What is compared, and beside what.
    base: Side,
    other: Side,
    /// How large `other` is beside it.
    size: Option<Size>,
    /// Whether `other` is slower or faster.
    speed: Option<Ordering>,
    /// Whether `other` takes as much memory, within [`ALIKE`].
    same_memory: bool,
}

/// What a statement says of one archive beside another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// The change of its size, as a part of the other's.
    pub(crate) size: Option<f64>,
    /// How many times the speed it is made at.
    pub(crate) speed: Option<f64>,
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

/// Speeds no further apart are no difference: single runs vary by as much.
const NOISE: f64 = 0.05;

/// Peaks of memory no further apart are alike.
const ALIKE: f64 = 0.1;

/// How far from a stated figure a found one may be and still repeat it.
const NEAR: f64 = 0.25;

/// Members of a comparison.
enum Side {
    /// Those of these values, of which `""` is what finezip-cli chooses.
    Of(fn(&Finezip) -> Option<&str>, &'static [&'static str]),
    /// The smallest archive of those of these values.
    SmallestOf(fn(&Finezip) -> Option<&str>, &'static [&'static str]),
    /// That of the least number.
    Least,
    /// That of the least number that is no less than this.
    LeastFrom(f64),
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

/// A finding of the paper's with its figures; what is not set is not stated.
const PAPER: Finding = Finding {
    text: "",
    by_the_paper: true,
    figures: Figures { size: None, speed: None },
    setting: Setting::Coder,
    base: Side::Least,
    other: Side::Most,
    size: None,
    speed: None,
    same_memory: false,
};

/// A finding of this project's.
const OURS: Finding = Finding { by_the_paper: false, ..PAPER };

const FINDINGS: [Finding; 15] = [
    Finding {
        text: "dynamic context is many times as fast as LLMZip's fixed window, and larger (stated \
               of archives of ranks)",
        figures: Figures { size: Some(0.1), speed: Some(54.0) },
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["fixed-window"]),
        other: Side::Of(SCHEDULE, &["chunk-reset"]),
        size: LARGER,
        speed: FASTER,
        ..PAPER
    },
    Finding { text: "a larger batch is faster", setting: Setting::Batch, speed: FASTER, ..PAPER },
    Finding {
        text: "4-bit weights are faster than whole ones, and archives larger",
        figures: Figures { size: Some(0.13), speed: Some(3.7) },
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["int4"]),
        size: LARGER,
        speed: FASTER,
        ..PAPER
    },
    Finding {
        text: "a longer context is smaller",
        setting: Setting::Context,
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "arithmetic coding is smaller than ranks through bzip2",
        figures: Figures { size: Some(-0.38), speed: None },
        base: Side::Of(CODER, &["rank-bzip2"]),
        other: Side::Of(CODER, &["ac"]),
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "fine-tuning makes archives smaller, the adapter not counted (the paper: on the text \
               itself; here: on other text of its source)",
        setting: Setting::Model,
        base: Side::Plain,
        other: Side::Adapted,
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "arithmetic coding is smaller than ranks through what makes them smallest",
        base: Side::SmallestOf(CODER, &["rank-bzip2", "rank-zlib", "rank-zstd", "rank-brotli"]),
        other: Side::Of(CODER, &["ac"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "8-bit weights lose next to nothing beside whole ones (within 1 %), and are faster",
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: Some(Size::Alike),
        speed: FASTER,
        ..OURS
    },
    Finding {
        text: "archives of 8-bit weights are smaller than those of 4-bit ones, and faster made",
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["int4"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: SMALLER,
        speed: FASTER,
        ..OURS
    },
    Finding {
        text: "memorizing a text makes its archive no larger, the adapter counted: it is kept where \
               it pays",
        setting: Setting::Options,
        base: Side::NoOptions,
        other: Side::With("--memorize"),
        size: Some(Size::NoLarger),
        ..OURS
    },
    Finding {
        text: "windows that roll are smaller than chunks of the same context",
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["chunk-reset"]),
        other: Side::Of(SCHEDULE, &["", "rolling"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "a mixer that learns from the text makes archives smaller than arithmetic coding",
        base: Side::Of(CODER, &["ac"]),
        other: Side::Of(CODER, &["", "mixer-6"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "the model makes archives smaller than the mixer of bytes alone",
        setting: Setting::Model,
        base: Side::NoModel,
        other: Side::Model,
        size: SMALLER,
        ..OURS
    },
    Finding { text: "more threads are faster", setting: Setting::Threads, speed: FASTER, ..OURS },
    Finding {
        text: "beyond a frame (1 MiB) memory does not grow with the text",
        setting: Setting::InputBytes,
        base: Side::LeastFrom(1e6),
        same_memory: true,
        ..OURS
    },
];

/// What a comparison says of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    /// As stated, but not by as much, or by more.
    InDirection,
    InPart,
    No,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::InDirection => "in direction",
            Self::InPart => "in part",
            Self::No => "no",
        }
    }
}

/// One comparison that tells of a statement.
pub(crate) struct Case {
    /// What is compared.
    pub(crate) compared: String,
    /// What was found, in words.
    pub(crate) found: String,
    /// The change of the archive's size, as a part of the other's.
    pub(crate) size: f64,
    /// How many times the speed.
    pub(crate) speed: f64,
    verdict: Verdict,
}

impl Case {
    /// A comparison of two archives' sizes, of which the second is stated to be smaller.
    pub(crate) fn smaller(
        compared: String,
        stated: Figures,
        base: (u64, f64),
        other: (u64, f64),
    ) -> Self {
        let (size, speed) = (other.0 as f64 / base.0.max(1) as f64 - 1.0, other.1 / base.1);
        let held = Size::Smaller.holds(base.0, other.0);
        Self {
            compared,
            found: sizes_and_speeds(size, speed),
            size,
            speed,
            verdict: verdict(&[held], stated, size, speed),
        }
    }
}

/// More comparisons than these stand in one row.
const MOST_ROWS: usize = 3;

/// A row for each finding and comparison that tells of it; one for all where they are many, and one
/// that says so where there is none.
pub(crate) fn table(lines: &[&Line]) -> Option<Table> {
    let lines: Vec<&Line> = lines.iter().copied().filter(|line| is_by_its_coder(line)).collect();
    let mut rows = beside_peers::rows(&lines);
    for finding in &FINDINGS {
        let mut cases = Vec::new();
        for comparison in of(finding.setting, &lines) {
            let Some(base) = finding.base.of(&comparison) else { continue };
            let Some(other) = finding.other.of(&comparison) else { continue };
            if !std::ptr::eq(base.line, other.line) {
                cases.push(finding.case(&comparison.common, base, other));
            }
        }
        let by = if finding.by_the_paper { "the paper" } else { "FineZip" };
        rows.extend(rows_of(finding.text, by, finding.figures, &cases));
    }
    if rows.iter().all(|row| row[4] == NOT_MEASURED) {
        return None;
    }
    let mut table = Table::new(&["statement", "by", "stated", "compared", "found", "borne out"]);
    table.text_columns = 6;
    table.rows = rows;
    Some(table)
}

const NOT_MEASURED: &str = "not measured here";

/// The rows of a statement.
pub(crate) fn rows_of(text: &str, by: &str, stated: Figures, cases: &[Case]) -> Vec<Vec<String>> {
    let row = |compared: &str, found: &str, verdict: &str| -> Vec<String> {
        [text, by, stated.text().as_str(), compared, found, verdict].map(Into::into).to_vec()
    };
    if cases.is_empty() {
        return vec![row("-", NOT_MEASURED, "-")];
    }
    if cases.len() <= MOST_ROWS {
        let row = |case: &Case| row(&case.compared, &case.found, case.verdict.text());
        return cases.iter().map(row).collect();
    }
    let holds = |case: &&Case| matches!(case.verdict, Verdict::Yes | Verdict::InDirection);
    let (held, all) = (cases.iter().filter(holds).count(), cases.len());
    let exactly = cases.iter().filter(|case| case.verdict == Verdict::Yes).count();
    let verdict = match held {
        0 => Verdict::No.text().to_owned(),
        _ if exactly == all => Verdict::Yes.text().to_owned(),
        _ if held == all => format!("in direction; {exactly} of {all} by as much"),
        _ => format!("in {held} of {all}"),
    };
    let of = |number: fn(&Case) -> f64| {
        let mut numbers: Vec<f64> = cases.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (numbers[0], numbers[all - 1]);
        (least, median(numbers, |&number| number).unwrap_or_default(), most)
    };
    let (size, speed) = (of(|case| 100.0 * case.size), of(|case| case.speed));
    let found = format!(
        "{:+.1} to {:+.1} % size, median {:+.1} %; {} to {} times the speed, median {}",
        size.0,
        size.2,
        size.1,
        times(speed.0),
        times(speed.2),
        times(speed.1)
    );
    vec![row(&format!("{all} comparisons"), &found, &verdict)]
}

impl Figures {
    fn text(self) -> String {
        let size = self.size.map(|part| format!("{:+.0} % size", 100.0 * part));
        let speed = self.speed.map(|times| format!("{times} times the speed"));
        let stated: Vec<String> = [size, speed].into_iter().flatten().collect();
        if stated.is_empty() { "-".into() } else { stated.join(", ") }
    }

    /// Whether what was found is what is stated, where something is.
    fn are_near(self, size: f64, speed: f64) -> bool {
        let size_is = self.size.is_none_or(|stated| (size - stated).abs() <= NEAR * stated.abs());
        let speed_is = self.speed.is_none_or(|stated| (speed / stated - 1.0).abs() <= NEAR);
        size_is && speed_is
    }
}

/// Whether what was stated is so: of its parts, those that held.
fn verdict(parts: &[bool], stated: Figures, size: f64, speed: f64) -> Verdict {
    match parts.iter().filter(|&&held| held).count() {
        held if held < parts.len() => {
            if held == 0 {
                Verdict::No
            } else {
                Verdict::InPart
            }
        }
        _ if stated.are_near(size, speed) => Verdict::Yes,
        _ => Verdict::InDirection,
    }
}

impl Side {
    fn of<'a, 'b>(&self, comparison: &'b Comparison<'a>) -> Option<&'b Member<'a>> {
        let members = &comparison.members;
        let by = |wanted: &dyn Fn(&Finezip) -> bool| {
            let is_wanted = |member: &&Member<'_>| member.line.method.finezip().is_some_and(wanted);
            members.iter().filter(is_wanted).collect::<Vec<_>>()
        };
        let first = |wanted: &dyn Fn(&Finezip) -> bool| by(wanted).first().copied();
        let has = |part: fn(&Finezip) -> Option<&str>, values: &'static [&'static str]| {
            move |finezip: &Finezip| {
                values.contains(&part(finezip).unwrap_or_default())
                    && finezip.engine.as_deref().is_none_or(|engine| engine == "exact")
            }
        };
        match self {
            Self::Of(part, values) => first(&has(*part, values)),
            Self::SmallestOf(part, values) => {
                let those = by(&has(*part, values));
                those.into_iter().min_by_key(|member| member.measures.archive_bytes)
            }
            // Numbers ascend, and what has none stands before them.
            Self::Least => members.iter().find(|member| member.number.is_some()),
            Self::LeastFrom(least) => {
                members.iter().find(|member| member.number.is_some_and(|number| number >= *least))
            }
            Self::Most => members.last().filter(|member| member.number.is_some()),
            Self::Adapted => first(&|finezip| finezip.adapter.is_some()),
            Self::NoOptions => first(&|finezip| finezip.options.is_empty()),
            Self::With(option) => {
                first(&|finezip| finezip.options.iter().any(|given| given == option))
            }
            Self::NoModel => first(&|finezip| !finezip.has_model()),
            // The model of the adapter where there is one.
            Self::Plain | Self::Model => {
                let adapted = Self::adapted_model(comparison);
                first(&|finezip| {
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
    /// What two members of a comparison say of it.
    fn case(&self, common: &str, base: &Member<'_>, other: &Member<'_>) -> Case {
        let bytes = |member: &Member<'_>| member.measures.archive_bytes;
        let speed = speeds(base, other);
        let memory = memory(base, other);
        let parts = [
            self.size.map(|size| size.holds(bytes(base), bytes(other))),
            self.speed.map(|stated| {
                let found = if (speed - 1.0).abs() <= NOISE { 1.0 } else { speed };
                found.total_cmp(&1.0) == stated
            }),
            self.same_memory.then(|| (memory - 1.0).abs() <= ALIKE),
        ];
        let parts: Vec<bool> = parts.into_iter().flatten().collect();
        let size = bytes(other) as f64 / bytes(base).max(1) as f64 - 1.0;
        Case {
            compared: format!("{common}: {} beside {}", other.value, base.value),
            found: found(base, other, size, self.setting == Setting::InputBytes),
            size,
            speed,
            verdict: verdict(&parts, self.figures, size, speed),
        }
    }
}

fn memory(base: &Member<'_>, other: &Member<'_>) -> f64 {
    peak_bytes(other.measures) as f64 / peak_bytes(base.measures).max(1) as f64
}

fn sizes_and_speeds(size: f64, speed: f64) -> String {
    format!("{:+.1} % size, {} times the speed", 100.0 * size, times(speed))
}

/// One member beside another in figures; sizes of archives of different texts are none.
fn found(base: &Member<'_>, other: &Member<'_>, size: f64, of_other_text: bool) -> String {
    let ratio = speeds(base, other);
    let mut text = if of_other_text {
        format!("{} times the speed", times(ratio))
    } else {
        sizes_and_speeds(size, ratio)
    };
    if let (Some(before), Some(after)) = (base.measures.decompress, other.measures.decompress) {
        let ratio = speed(other.line, after.seconds) / speed(base.line, before.seconds);
        text.push_str(&format!(" ({} back)", times(ratio)));
    }
    text.push_str(&format!(", {:.2} times the memory", memory(base, other)));
    if let Some(bytes) = pays_beyond(base.measures, other.measures, other.line.input.bytes) {
        let bytes = bytes_short(bytes);
        text.push_str(&format!("; its adapter counted, it pays beyond {bytes} of such text"));
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
        assert_eq!(row("4-bit weights are faster")[5], "in part");
        assert_eq!(row("8-bit weights lose")[5], "yes");
        assert_eq!(row("archives of 8-bit weights")[5], "yes");
        assert_eq!(row("longer context")[5], "no");
        assert!(row("longer context")[4].starts_with("+50.0 % size, 1.00 times the speed"));
        assert_eq!(row("longer context")[3], "a: m: 64 beside 32");
        // What has no comparison says so.
        let unmeasured = table.rows.iter().filter(|row| row[4] == NOT_MEASURED).count();
        assert_eq!(table.rows.len() - unmeasured, 4);
        assert_eq!(row("more threads")[3..], ["-", NOT_MEASURED, "-"]);
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
        let row = table.rows.iter().find(|row| row[0].starts_with("4-bit")).unwrap();
        assert!(row[4].contains(" 4.00 times the speed"), "{row:?}");
    }

    #[test]
    fn a_figure_that_is_not_repeated_is_borne_out_in_direction_alone() {
        let coder = |name: &'static str, bytes| {
            cell(move |finezip| finezip.coder = Some(name.into()), bytes, 1.0)
        };
        for (bytes, expected) in
            [(60, "yes"), (95, "in direction"), (20, "in direction"), (100, "no")]
        {
            let lines = [coder("rank-bzip2", 100), coder("ac", bytes), coder("rank-zlib", 90)];
            let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
            let row = table.rows.iter().find(|row| row[0].ends_with("through bzip2")).unwrap();
            assert_eq!((row[2].as_str(), row[5].as_str()), ("-38 % size", expected), "{bytes}");
            let row = table.rows.iter().find(|row| row[0].ends_with("smallest")).unwrap();
            assert!(row[3].ends_with("ac beside rank-zlib"), "{row:?}");
        }
    }

    #[test]
    fn speeds_within_noise_are_no_difference() {
        let threads =
            |number, seconds| cell(move |finezip| finezip.threads = Some(number), 9, seconds);
        for (seconds, expected) in [(0.9, "yes"), (0.97, "no"), (1.0, "no"), (1.2, "no")] {
            let lines = [threads(1, 1.0), threads(2, seconds)];
            let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
            let row = table.rows.iter().find(|row| row[0].starts_with("more threads")).unwrap();
            assert_eq!(row[5], expected, "{seconds}");
        }
    }

    #[test]
    fn many_comparisons_are_one_row() {
        let case =
            |bytes| Case::smaller("a".into(), Figures::default(), (100, 1.0), (bytes, 0.005));
        let rows =
            rows_of("t", "b", Figures::default(), &[case(50), case(60), case(70), case(110)]);
        let expected =
            "-50.0 to +10.0 % size, median -35.0 %; 1/200 to 1/200 times the speed, median 1/200";
        assert_eq!(rows, [["t", "b", "-", "4 comparisons", expected, "in 3 of 4"]]);
        assert_eq!(rows_of("t", "b", Figures::default(), &[case(50), case(60)]).len(), 2);
    }

    #[test]
    fn memory_is_compared_beyond_a_frame() {
        let of = |bytes: u64, peak| {
            let mut line = cell(|_| {}, 5, 1.0);
            (line.input.name, line.input.bytes) = (format!("t{bytes}"), bytes);
            line.input.file = "t".into();
            if let Outcome::Done(measures) = &mut line.outcome {
                measures.compress.peak_bytes = peak;
            }
            line
        };
        for (peak, expected) in [(105, "yes"), (120, "no")] {
            let lines = [of(1_000, 10), of(1_000_000, 100), of(10_000_000, peak)];
            let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
            let row = table.rows.iter().find(|row| row[0].starts_with("beyond a frame")).unwrap();
            assert_eq!((row[3].as_str(), row[5].as_str()), ("t: m: 10 MB beside 1 MB", expected));
            assert!(!row[4].contains("size"), "{row:?}");
        }
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
        for name in ["small", "medium", "large"] {
            let grid = Grid::open(name).unwrap();
            let cells = grid.cells().unwrap();
            let lines = cells.iter().map(|cell| {
                let mut line = line(cell.method.clone(), &cell.input, 500);
                let input = &grid.inputs[&cell.input];
                line.input.file = input.source();
                line.input.bytes = input.bytes.unwrap_or(3_000_000);
                line
            });
            let lines: Vec<Line> = lines.collect();
            let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
            for finding in &FINDINGS {
                let tells = |row: &Vec<String>| row[0] == finding.text && row[4] != NOT_MEASURED;
                let is_there = table.rows.iter().any(tells);
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
        assert_eq!(row("fine-tuning")[3], "a: m + law beside m");
        assert!(row("fine-tuning")[4].starts_with("-20.0 % size"));
        assert_eq!(row("bytes alone")[5], "yes");
    }
}
