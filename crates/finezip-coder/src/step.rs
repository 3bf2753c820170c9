//! What every coder checks of a step before it works on it.

use finezip_core::{Error, Result, Rows, StepEntry, coder};

/// An error unless a step has as many rows as entries and tokens, each of `vocab_size` logits.
pub(crate) fn check_step(
    name: &str,
    vocab_size: usize,
    entries: &[StepEntry],
    rows: Rows<'_>,
    tokens: usize,
) -> Result<()> {
    coder::check_step(name, entries, rows, tokens)?;
    let wrong = (0..rows.len()).map(|i| rows.row(i).len()).find(|&len| len != vocab_size);
    match wrong {
        None => Ok(()),
        Some(found) => Err(Error::payload(
            name,
            format!("a row has {found} logits, the vocabulary {vocab_size} tokens"),
        )),
    }
}
