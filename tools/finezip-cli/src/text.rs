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

/// The same for JSON, whose strings may hold such characters: what stands for one is a JSON escape.
pub(crate) fn printable_json(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, letter| {
        let _ = match letter {
            // Between values; within strings it is escaped already.
            '\n' => write!(out, "{letter}"),
            _ if letter.is_control() => write!(out, "\\u{:04x}", u32::from(letter)),
            _ => write!(out, "{letter}"),
        };
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_what_it_was() {
        let value = serde_json::json!({"a": "b\u{9b}2J\u{7f}\n\u{1b} é"});
        let text = printable_json(&format!("{value:#}"));
        assert!(!text.replace('\n', "").contains(char::is_control), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(printable("größe \"a\" 大"), "größe \"a\" 大");
        assert_eq!(printable("a\u{1b}]0;x\u{7}\nb\u{9b}"), "a\\u{1b}]0;x\\u{7}\\nb\\u{9b}");
    }
}
