//! A report as Markdown.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::document::{Block, Table};

/// The line before the report in a file that holds more.
pub(crate) const BEGIN: &str = "<!-- finezip-eval report: begin -->";

/// The line after it.
pub(crate) const END: &str = "<!-- finezip-eval report: end -->";

/// The text; pictures are in `plots`, a path relative to the file.
pub(crate) fn render(blocks: &[Block], plots: &str) -> String {
    let mut out = String::new();
    for block in blocks {
        // Writing to a String does not fail.
        let _ = match block {
            Block::Heading(level, text) => {
                writeln!(out, "{} {}\n", "#".repeat(usize::from(*level)), plain(text))
            }
            Block::Paragraph(text) => writeln!(out, "{}\n", plain(text)),
            Block::Table(table) => writeln!(out, "{}", table_text(table)),
            Block::Picture(picture) => {
                let address = format!("{plots}/{}.svg", picture.name);
                // With spaces it is an address in angle brackets alone.
                let address = match address.contains(' ') {
                    true => format!("<{address}>"),
                    false => address,
                };
                writeln!(out, "![{}]({address})\n", plain(&picture.title))
            }
        };
    }
    out
}

fn table_text(table: &Table) -> String {
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        out.push_str("| ");
        out.push_str(&cells.collect::<Vec<_>>().join(" | "));
        out.push_str(" |\n");
    };
    line(&mut table.head.iter().map(|cell| escaped(cell)));
    line(
        &mut (0..table.head.len())
            .map(|column| if column < table.text_columns { "---".into() } else { "---:".into() }),
    );
    for row in &table.rows {
        line(&mut row.iter().map(|cell| escaped(cell)));
    }
    out
}

/// Text that is no markup, whatever it holds.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '\\' | '*' | '_' | '`' | '[' => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
    }
    out
}

fn escaped(cell: &str) -> String {
    plain(cell).replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// `text` between the marker lines of `whole`; all of it where there are none.
///
/// # Errors
/// Only the first of the two lines: what is to stay below them cannot be told.
pub(crate) fn placed(whole: Option<&str>, text: &str) -> Result<String> {
    let Some((before, rest)) = whole.and_then(|whole| whole.split_once(BEGIN)) else {
        return Ok(format!("# Results\n\n{}\n", text.trim_end()));
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("it has the line {BEGIN} and no {END}");
    };
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_their_shape() {
        let mut table = Table::new(&["what", "n"]);
        table.rows.push(vec!["a|b\nc".into(), "1".into()]);
        table.rows.push(vec!["<FILE> & a\\|b".into(), "5*".into()]);
        let expected = "| what | n |\n| --- | ---: |\n| a\\|b c | 1 |\n\
            | &lt;FILE> &amp; a\\\\\\|b | 5\\* |\n";
        assert_eq!(table_text(&table), expected);
    }

    #[test]
    fn a_report_takes_the_place_of_an_earlier_one() {
        let placed = |whole, text| placed(whole, text).unwrap();
        let whole = placed(None, "text\n\n");
        assert_eq!(whole, "# Results\n\ntext\n");
        let file = format!("# Mine\n{BEGIN}\nold\n{END}\nmore\n");
        let new = placed(Some(&file), "new");
        assert_eq!(new, format!("# Mine\n{BEGIN}\n\nnew\n\n{END}\nmore\n"));
        assert_eq!(placed(Some(&new), "new"), new);
        let cut = super::placed(Some(&format!("# Mine\n{BEGIN}\nold\nmore\n")), "new");
        assert!(cut.unwrap_err().to_string().contains("and no <!--"));
    }
}
