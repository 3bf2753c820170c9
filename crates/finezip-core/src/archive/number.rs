//! Which block of its member a checksum was made for.
//!
//! A block's CRC-32 covers the block's number before its bytes, and a CRC can be run backwards:
//! each step is a bijection of its 32-bit state once the byte is known. So a header that stands
//! somewhere in a damaged archive tells its own number, in time that does not depend on how many
//! numbers would be possible.

/// The number under which [`super::block_crc`] of `bytes` is `crc`. There is always exactly one
/// below 2^32, so the answer means something only where few numbers would be believed.
pub(crate) fn number_of(crc: u32, bytes: &[u8]) -> u64 {
    let mut state = !crc;
    for &byte in bytes.iter().rev() {
        state = unwind(state, byte);
    }
    // The upper half of the number is zero; four bytes fed to a state are the state's own bytes
    // changed by them, then four zeros fed.
    for _ in 0..8 {
        state = unwind(state, 0);
    }
    u64::from(!state)
}

/// The state before `byte` was taken in.
fn unwind(state: u32, byte: u8) -> u32 {
    let index = TABLES.index_of_top[(state >> 24) as usize];
    ((state ^ TABLES.forward[index as usize]) << 8) | u32::from(index ^ byte)
}

struct Tables {
    /// The state that eight zero bits make of a byte.
    forward: [u32; 256],
    /// The byte whose entry in `forward` has this top byte; each has one of its own.
    index_of_top: [u8; 256],
}

static TABLES: Tables = {
    let mut tables = Tables { forward: [0; 256], index_of_top: [0; 256] };
    let mut index = 0;
    while index < 256 {
        let mut state = index as u32;
        let mut bit = 0;
        while bit < 8 {
            // The polynomial of IEEE 802.3, lowest bit first.
            state = (state >> 1) ^ if state & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        tables.forward[index] = state;
        tables.index_of_top[(state >> 24) as usize] = index as u8;
        index += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block_crc;
    use super::*;

    proptest! {
        #[test]
        fn a_checksum_tells_its_number(
            number in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let number = u64::from(number);
            prop_assert_eq!(number_of(block_crc(number, &bytes), &bytes), number);
        }

        #[test]
        fn any_checksum_holds_under_the_number_it_tells(
            crc in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            prop_assert_eq!(block_crc(number_of(crc, &bytes), &bytes), crc);
        }
    }
}
