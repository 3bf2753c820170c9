//! The paper's findings, and what this project adds, each beside what the same comparison gives
//! here.

mod case;
mod side;
mod statements;
#[cfg(test)]
mod tests;

use super::beside_peers;
use super::comparisons::of;
use super::document::Table;
use super::tables::is_by_its_coder;
use crate::median::median;
use crate::run::results::Line;
use crate::text::times;
use case::Verdict;
pub(crate) use case::{Case, Figures};
use statements::FINDINGS;

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
    let of = |number: &dyn Fn(&Case) -> f64| {
        let mut numbers: Vec<f64> = cases.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (numbers[0], numbers[all - 1]);
        (least, median(numbers, |&number| number).unwrap_or_default(), most)
    };
    let found = if cases.iter().all(|case| case.memory.is_some()) {
        // Sizes and speeds of different texts are beside the point.
        let (least, middle, most) = of(&|case| case.memory.unwrap_or_default());
        format!("{least:.2} to {most:.2} times the memory, median {middle:.2}")
    } else {
        let (size, speed) = (of(&|case| 100.0 * case.size), of(&|case| case.speed));
        format!(
            "{:+.1} to {:+.1} % size, median {:+.1} %; {} to {} times the speed, median {}",
            size.0,
            size.2,
            size.1,
            times(speed.0),
            times(speed.2),
            times(speed.1)
        )
    };
    vec![row(&format!("{all} comparisons"), &found, &verdict)]
}
