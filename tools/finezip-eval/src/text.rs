//! Numbers and bytes as text.

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A number with its thousands set apart.
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

/// A positive number with three significant digits, and no exponent.
pub(crate) fn three_digits(number: f64) -> String {
    if !number.is_finite() {
        return "-".into();
    }
    let size = number.abs();
    let decimals = match size {
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    if size >= 1000.0 { grouped(number.round() as u64) } else { format!("{number:.decimals$}") }
}

/// A ratio: what is far below one as a fraction of one.
pub(crate) fn times(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.1 {
        return format!("1/{}", grouped((1.0 / ratio).round() as u64));
    }
    three_digits(ratio)
}

/// A number of bytes as people say it: 10 KB, 1.5 MB, 2.5 GB.
pub(crate) fn bytes_short(bytes: u64) -> String {
    let (number, unit) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (bytes as f64 / 1e3, "KB"),
        1_000_000..1_000_000_000 => (bytes as f64 / 1e6, "MB"),
        _ => (bytes as f64 / 1e9, "GB"),
    };
    let text = format!("{number:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(three_digits(1234.4), "1,234");
        assert_eq!(three_digits(0.12345), "0.123");
        assert_eq!(three_digits(12.345), "12.3");
        assert_eq!(three_digits(f64::NAN), "-");
        assert_eq!(bytes_short(999), "999 B");
        assert_eq!(bytes_short(10_000), "10 KB");
        assert_eq!(bytes_short(1_500_000), "1.5 MB");
        assert_eq!(bytes_short(2_000_000_000), "2 GB");
        assert_eq!([times(0.0047), times(0.25), times(54.2)], ["1/213", "0.250", "54.2"]);
    }
}
