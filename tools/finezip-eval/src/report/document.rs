//! A report before it is Markdown or HTML.

use super::plot::Picture;

/// A part of a report.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// A heading of level 2 or 3.
    Heading(u8, String),
    /// Plain text.
    Paragraph(String),
    /// A table.
    Table(Table),
    /// A picture, with what to say under it.
    Picture(Picture),
}

/// A table. The first column is text, the others are numbers unless `text_columns` is more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Column heads.
    pub(crate) head: Vec<String>,
    /// How many columns, from the left, are text.
    pub(crate) text_columns: usize,
    /// Rows as long as the head.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads and one column of text.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&text| text.to_owned()).collect(),
            text_columns: 1,
            rows: Vec::new(),
        }
    }
}
