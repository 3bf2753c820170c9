//! Text that comes from elsewhere, as a terminal gets it.

use std::borrow::Cow;
use std::fmt::Write;

/// One line of text, in which characters that would steer a terminal or begin another line are
/// escaped: names in archives are anyone's.
pub(crate) fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    let escaped = line.chars().fold(String::new(), |mut out, letter| {
        let _ = match letter.is_control() {
            true => write!(out, "{}", letter.escape_default()),
            false => write!(out, "{letter}"),
        };
        out
    });
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(printable("größe \"a\" 大"), "größe \"a\" 大");
        assert_eq!(printable("a\u{1b}]0;x\u{7}\nb\u{9b}"), "a\\u{1b}]0;x\\u{7}\\nb\\u{9b}");
    }
}
