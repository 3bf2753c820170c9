//! Statements held against lines that are made for them.

use super::case::Size;
use super::statements::FINDINGS;
use super::{Case, Figures, NOT_MEASURED, rows_of, table};
use crate::report::tests::line;
use crate::run::config::{Finezip, Method};
use crate::run::grid::Grid;
use crate::run::results::{FinezipMeasures, Line, Outcome};

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
    for (bytes, expected) in [(60, "yes"), (95, "in direction"), (20, "in direction"), (100, "no")]
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
    let threads = |number, seconds| cell(move |finezip| finezip.threads = Some(number), 9, seconds);
    for (seconds, expected) in [(0.9, "yes"), (0.97, "no"), (1.0, "no"), (1.2, "no")] {
        let lines = [threads(1, 1.0), threads(2, seconds)];
        let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
        let row = table.rows.iter().find(|row| row[0].starts_with("more threads")).unwrap();
        assert_eq!(row[5], expected, "{seconds}");
    }
}

#[test]
fn many_comparisons_are_one_row() {
    let case = |bytes| Case::smaller("a".into(), Figures::default(), (100, 1.0), (bytes, 0.005));
    let rows = rows_of("t", "b", Figures::default(), &[case(50), case(60), case(70), case(110)]);
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
fn many_comparisons_of_memory_are_one_row_of_memory() {
    let of = |context: u64, bytes: u64, peak| {
        let mut line = cell(|finezip| finezip.context = Some(context), 5, 1.0);
        (line.input.name, line.input.bytes) = (format!("t{bytes}"), bytes);
        line.input.file = "t".into();
        if let Outcome::Done(measures) = &mut line.outcome {
            measures.compress.peak_bytes = peak;
        }
        line
    };
    let lines: Vec<Line> = (1..=4)
        .flat_map(|context| [of(context, 1_000_000, 100), of(context, 10_000_000, 100 + context)])
        .collect();
    let table = table(&lines.iter().collect::<Vec<_>>()).unwrap();
    let row = table.rows.iter().find(|row| row[0].starts_with("beyond a frame")).unwrap();
    assert_eq!(row[3..], ["4 comparisons", "1.01 to 1.04 times the memory, median 1.02", "yes"]);
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
