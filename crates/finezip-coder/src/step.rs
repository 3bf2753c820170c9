//! What every coder checks of a step before it works on it.

use finezip_core::{Error, Result, Rows, StepEntry};

/// An error unless a step has as many rows as entries and tokens, each of `vocab_size` logits.
pub(crate) fn check_step(
    coder: &str,
    vocab_size: usize,
    entries: &[StepEntry],
    rows: Rows<'_>,
    tokens: usize,
) -> Result<()> {
    if rows.len() != tokens || entries.len() != tokens {
        return Err(Error::payload(
            coder,
            format!(
                "a step of {} entries has {} rows of logits and {tokens} tokens",
                entries.len(),
                rows.len()
            ),
        ));
    }
    let wrong = (0..rows.len()).map(|i| rows.row(i).len()).find(|&len| len != vocab_size);
    match wrong {
        None => Ok(()),
        Some(found) => Err(Error::payload(
            coder,
            format!("a row has {found} logits, the vocabulary {vocab_size} tokens"),
        )),
    }
}
