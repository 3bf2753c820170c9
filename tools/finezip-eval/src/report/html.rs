//! A report as one HTML page that needs nothing else.

use std::fmt::Write as _;

use anyhow::Result;

use super::document::{Block, Table};
use super::plot;

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;\
color:#111;background:#fff}table{border-collapse:collapse;margin:1rem 0;font-size:.85rem;\
font-variant-numeric:tabular-nums;display:block;overflow-x:auto}th,td{padding:.2rem .6rem;\
border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}th{border-bottom:2px solid #111}\
.t{text-align:left}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}";

/// The page.
///
/// # Errors
/// A picture that cannot be drawn.
pub(crate) fn render(blocks: &[Block]) -> Result<String> {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>FineZip: results</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Results</h1>\n"
    );
    for block in blocks {
        match block {
            Block::Heading(level, text) => {
                writeln!(out, "<h{level}>{}</h{level}>", escaped(text))?;
            }
            Block::Paragraph(text) => writeln!(out, "<p>{}</p>", escaped(text))?,
            Block::Table(table) => out.push_str(&table_text(table)),
            Block::Picture(picture) => {
                writeln!(out, "<figure>\n{}\n</figure>", plot::svg(picture)?)?;
            }
        }
    }
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

fn table_text(table: &Table) -> String {
    let row = |tag: &str, cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let class = if column < table.text_columns { " class=\"t\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escaped(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = table.rows.iter().map(|cells| row("td", cells)).collect();
    format!(
        "<table>\n<thead>\n{}</thead>\n<tbody>\n{body}</tbody>\n</table>\n",
        row("th", &table.head)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut table = Table::new(&["<a>"]);
        table.rows.push(vec!["\"b\" & c".into()]);
        let page = render(&[Block::Heading(2, "x<y".into()), Block::Table(table)]).unwrap();
        assert!(page.contains("<h2>x&lt;y</h2>"), "{page}");
        assert!(page.contains("<th class=\"t\">&lt;a&gt;</th>"), "{page}");
        assert!(page.contains("&quot;b&quot; &amp; c"), "{page}");
    }
}
