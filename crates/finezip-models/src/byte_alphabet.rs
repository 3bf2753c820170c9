//! GPT-2's alphabet: one printable character for each byte, in which byte-level BPE vocabularies
//! are written (Radford et al. 2019).
//!
//! Bytes that Latin-1 prints stand for themselves; the others, in ascending order, are the
//! characters from U+0100 on.

/// Whether Latin-1 prints the byte without ambiguity.
const fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character of a byte.
pub(crate) fn character(byte: u8) -> char {
    if prints(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !prints(*other)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_characters_and_all_different() {
        assert_eq!(character(b' '), 'Ġ');
        assert_eq!(character(b'\n'), 'Ċ');
        assert_eq!(character(b'\t'), 'ĉ');
        assert_eq!(character(b'a'), 'a');
        let all: std::collections::BTreeSet<char> = (0..=255).map(character).collect();
        assert_eq!(all.len(), 256);
    }
}
