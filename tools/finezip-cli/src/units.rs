//! Numbers of bytes as people write and read them.

use finezip_core::RecordRule;

/// Reads a number of bytes: digits with an optional suffix K, M, G or T (powers of 1024; `KiB`
/// and `KB` mean the same).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => {
            return Err(format!(
                "expected a number of bytes such as 65536, 256K, 4M or 2G, found {text:?}"
            ));
        }
    };
    let number: u64 = number.parse().map_err(|_| {
        format!("expected a number of bytes such as 65536, 256K, 4M or 2G, found {text:?}")
    })?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more bytes than there are"))
}

/// A number with its thousands set apart, for tables and messages.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A range of byte offsets `A..B`, `A..`, `..B` or `..`; the end is not part of it.
pub(crate) fn parse_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let expected = || {
        format!("expected a range of byte offsets such as 0..4096, 1M.. or ..512, found {text:?}")
    };
    let (start, end) = text.split_once("..").ok_or_else(expected)?;
    let offset = |text: &str, unless: u64| {
        if text.is_empty() { Ok(unless) } else { parse_bytes(text).map_err(|_| expected()) }
    };
    let (start, end) = (offset(start, 0)?, offset(end, u64::MAX)?);
    if start > end {
        return Err(format!("the range {text} ends before it starts"));
    }
    Ok(start..end)
}

/// What a record is: `lines`, `nul`, or a number of bytes.
pub(crate) fn parse_rule(text: &str) -> Result<RecordRule, String> {
    match text {
        "lines" => Ok(RecordRule::LINES),
        "nul" => Ok(RecordRule::Delimiter(0)),
        _ => match parse_bytes(text).map(usize::try_from) {
            Ok(Ok(bytes)) if bytes > 0 => Ok(RecordRule::Bytes(bytes)),
            _ => Err(format!("expected lines, nul or a number of bytes from 1, found {text:?}")),
        },
    }
}

/// Numbers of records: one, `N`, or a range as of bytes.
pub(crate) fn parse_records(text: &str) -> Result<std::ops::Range<u64>, String> {
    match text.parse::<u64>() {
        Ok(number) => Ok(number..number.saturating_add(1)),
        Err(_) => parse_range(text).map_err(|_| {
            format!("expected a record such as 7 or a range such as 10..20, found {text:?}")
        }),
    }
}

/// A part and its number, `PART=N`, in decimal or with `0x`.
pub(crate) fn parse_part(text: &str) -> Result<(String, u64), String> {
    let expected = || format!("expected a part and its number such as matches=0, found {text:?}");
    let (part, number) = text.split_once('=').ok_or_else(expected)?;
    let number = match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => number.parse(),
    };
    Ok((part.to_owned(), number.map_err(|_| expected())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_with_their_number() {
        assert_eq!(parse_part("contexts=0x814a"), Ok(("contexts".into(), 0x814a)));
        assert_eq!(parse_part("matches=2"), Ok(("matches".into(), 2)));
        for text in ["matches", "matches=", "matches=x", "matches=0x", "matches=-1"] {
            assert!(parse_part(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_suffix() {
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("12"), Ok(12));
        assert_eq!(parse_bytes("256K"), Ok(256 << 10));
        assert_eq!(parse_bytes("4mib"), Ok(4 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        for wrong in ["", "K", "-1", "1.5M", "1X", "99999999999G", "18446744073709551616"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn records_are_lines_what_ends_with_nul_or_bytes() {
        assert_eq!(parse_rule("lines"), Ok(RecordRule::Delimiter(b'\n')));
        assert_eq!(parse_rule("nul"), Ok(RecordRule::Delimiter(0)));
        assert_eq!(parse_rule("1K"), Ok(RecordRule::Bytes(1024)));
        for wrong in ["", "0", "line", "-3"] {
            assert!(parse_rule(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_records("7"), Ok(7..8));
        assert_eq!(parse_records("7..9"), Ok(7..9));
        assert_eq!(parse_records("7.."), Ok(7..u64::MAX));
        for wrong in ["", "-1", "9..7", "seven"] {
            assert!(parse_records(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn ranges_may_be_open() {
        assert_eq!(parse_range("10..20"), Ok(10..20));
        assert_eq!(parse_range("10.."), Ok(10..u64::MAX));
        assert_eq!(parse_range("..1K"), Ok(0..1024));
        assert_eq!(parse_range(".."), Ok(0..u64::MAX));
        for wrong in ["", "5", "20..10", "a..b", "1..2..3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
