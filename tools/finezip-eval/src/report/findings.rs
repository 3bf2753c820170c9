//! The paper's findings, beside what the same comparison gives here.

use super::comparisons::{Comparison, Member, Setting, of};
use super::document::Table;
use super::tables::{adapter_bytes, speed};
use crate::run::results::Line;

/// What the paper found, and which comparison tells of it.
const FINDINGS: [(&str, Setting); 6] = [
    (
        "dynamic context is about 54 times as fast as LLMZip's fixed window, 10 % larger (ranks)",
        Setting::Schedule,
    ),
    ("a larger batch is faster; past the processor's width it gains no more", Setting::Batch),
    ("4-bit weights are 3.7 times as fast and 13 % larger", Setting::Precision),
    ("a longer context is smaller, with less and less gain", Setting::Context),
    ("arithmetic coding is 38 % smaller than ranks through bzip2", Setting::Coder),
    ("fine-tuning on the text makes it smaller; the adapter is not counted", Setting::Model),
];

/// A row for each finding that some comparison here tells of.
pub(crate) fn table(lines: &[&Line]) -> Option<Table> {
    let mut table = Table::new(&["the paper", "compared here", "found here"]);
    table.text_columns = 3;
    for (finding, setting) in FINDINGS {
        for comparison in of(setting, lines) {
            if setting == Setting::Model && !has_adapter(&comparison) {
                continue;
            }
            table.rows.push(vec![finding.into(), comparison.common.clone(), found(&comparison)]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

fn has_adapter(comparison: &Comparison<'_>) -> bool {
    comparison.members.iter().any(|member| adapter_bytes(member.measures) > 0)
}

/// Each further line beside the first, in words.
fn found(comparison: &Comparison<'_>) -> String {
    let Some((first, others)) = comparison.members.split_first() else { return String::new() };
    let beside = |other: &Member<'_>| {
        let size = other.measures.archive_bytes as f64 / first.measures.archive_bytes as f64;
        let speeds =
            [first, other].map(|member| speed(member.line, member.measures.compress.seconds));
        let net = match adapter_bytes(other.measures) {
            0 => String::new(),
            adapter => {
                let sum = (other.measures.archive_bytes + adapter) as f64;
                let part = sum / first.measures.archive_bytes as f64;
                format!(" ({:+.1} % with its adapter)", 100.0 * (part - 1.0))
            }
        };
        format!(
            "{}: {:+.1} % size{net}, {:.2} times the speed",
            other.value,
            100.0 * (size - 1.0),
            speeds[1] / speeds[0]
        )
    };
    let parts: Vec<String> = others.iter().map(beside).collect();
    format!("against {}: {}", first.value, parts.join("; "))
}
