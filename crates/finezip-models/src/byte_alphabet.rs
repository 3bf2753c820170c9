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

/// The bytes that a text in the alphabet stands for; none if it has other characters.
#[cfg(feature = "tokenizer")]
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| BYTES.get(character as usize).copied().flatten()).collect()
}

/// The byte of each character up to the alphabet's last, U+0143.
#[cfg(feature = "tokenizer")]
const BYTES: [Option<u8>; 0x144] = {
    let mut bytes = [None; 0x144];
    let (mut byte, mut others) = (0, 0x100);
    while byte < 256 {
        if prints(byte as u8) {
            bytes[byte] = Some(byte as u8);
        } else {
            bytes[others] = Some(byte as u8);
            others += 1;
        }
        byte += 1;
    }
    bytes
};

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

    #[cfg(feature = "tokenizer")]
    #[test]
    fn characters_give_their_bytes_back() {
        let text: String = (0..=255).map(character).collect();
        assert_eq!(bytes(&text), Some((0..=255).collect()));
        assert_eq!(bytes(" "), None);
        assert_eq!(bytes("▁"), None);
    }
}
