//! Archives of ours beside the smallest that others make of the same text.

use super::findings::{Case, Figures, rows_of};
use super::tables::{bits_per_byte, is_plain, speed};
use crate::run::config::{Finezip, Method, USUAL_CODER};
use crate::run::results::Line;

/// What the paper calls traditional compressors, by how names of methods begin.
const TRADITIONAL: [&str; 5] = ["zlib", "bzip2", "xz", "zstd", "brotli"];

/// The paper's abstract: ratios better by about a half.
const HALF: Figures = Figures { size: Some(-0.5), speed: None };

/// The rows of what is stated of ours and others'.
pub(crate) fn rows(lines: &[&Line]) -> Vec<Vec<String>> {
    let of = |stated, is_ours: fn(&Finezip) -> bool, is_peer: fn(&str) -> bool| {
        cases(lines, stated, is_ours, is_peer)
    };
    let traditional =
        |name: &str| TRADITIONAL.iter().any(|known| name.split('-').next() == Some(*known));
    let statements = [
        (
            "a model's archives are half as large as those of traditional compressors (the smallest \
             of zlib, bzip2, xz, zstd and brotli)",
            "the paper",
            HALF,
            of(HALF, Finezip::has_model, traditional),
        ),
        (
            "a model's archives are smaller than those of every peer",
            "FineZip",
            Figures::default(),
            of(Figures::default(), Finezip::has_model, |_| true),
        ),
        (
            "archives without a model are smaller than those of every peer",
            "FineZip",
            Figures::default(),
            of(Figures::default(), |finezip| !finezip.has_model(), |_| true),
        ),
    ];
    let rows =
        statements.into_iter().map(|(text, by, stated, cases)| rows_of(text, by, stated, &cases));
    rows.flatten().collect()
}

/// For each text that both have: ours as it comes beside the smallest of theirs.
fn cases(
    lines: &[&Line],
    stated: Figures,
    is_ours: fn(&Finezip) -> bool,
    is_peer: fn(&str) -> bool,
) -> Vec<Case> {
    let sizes = |line: &Line| {
        let measures = line.measures()?;
        Some((measures.archive_bytes, speed(line, measures.compress.seconds)))
    };
    let mut cases: Vec<Case> = Vec::new();
    let mut texts: Vec<&str> = Vec::new();
    for line in lines.iter().filter(|line| is_plain(line)) {
        let Some(ours) =
            line.method.finezip().filter(|finezip| is_ours(finezip) && is_usual(finezip))
        else {
            continue;
        };
        let text = line.input.name.as_str();
        let theirs = lines.iter().filter(|other| other.input.name == text).filter(|other| {
            matches!(&other.method, Method::Peer { name } | Method::Command { name, .. } if is_peer(name))
        });
        let least =
            theirs.filter_map(|other| Some((other, other.measures()?))).min_by(|one, other| {
                bits_per_byte(one.0, one.1).total_cmp(&bits_per_byte(other.0, other.1))
            });
        let (Some((peer, _)), Some(size)) = (least, sizes(line)) else { continue };
        let Some(other) = sizes(peer) else { continue };
        // The first model of the grid speaks for models.
        if texts.contains(&text) {
            continue;
        }
        texts.push(text);
        let compared = format!("{text}: {} beside {}", ours.label(), peer.method.label());
        cases.push(Case::smaller(compared, stated, other, size));
    }
    cases
}

/// Whether nothing is set that changes sizes, but the model.
fn is_usual(finezip: &Finezip) -> bool {
    let coder_is_usual = finezip.coder.as_deref().is_none_or(|coder| coder == USUAL_CODER);
    let engine_is_usual = finezip.engine.is_none() && finezip.precision.is_none();
    coder_is_usual && engine_is_usual && finezip.adapter.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::line;

    #[test]
    fn ours_stands_beside_the_smallest_of_the_others() {
        let peer = |name: &str, bytes| line(Method::Peer { name: name.into() }, "a", bytes);
        let ours = |model: &str, bytes| {
            let finezip = Finezip { model: model.into(), ..Finezip::default() };
            line(Method::Finezip(finezip), "a", bytes)
        };
        let lines = [
            peer("zlib-9", 500),
            peer("xz-9e", 400),
            peer("zpaq-m5", 230),
            ours("m", 210),
            ours("other", 100),
            ours("none", 240),
            line(Method::Peer { name: "xz-9e".into() }, "b", 9),
        ];
        let rows = rows(&lines.iter().collect::<Vec<_>>());
        assert_eq!(rows[0][3..], ["a: finezip m beside xz-9e", rows[0][4].as_str(), "yes"]);
        assert!(rows[0][4].starts_with("-47.5 % size"), "{rows:?}");
        assert_eq!(
            (rows[1][3].as_str(), rows[1][5].as_str()),
            ("a: finezip m beside zpaq-m5", "yes")
        );
        assert_eq!(
            (rows[2][3].as_str(), rows[2][5].as_str()),
            ("a: finezip none beside zpaq-m5", "no")
        );
        assert_eq!(rows.len(), 3);
    }
}
