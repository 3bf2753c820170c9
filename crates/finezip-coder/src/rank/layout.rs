//! Ranks as bytes: one variable-length number after another.
//!
//! Seven bits a byte, the lowest first, the top bit set where more follow (LEB128): most ranks of
//! text take one byte, and equal ranks are equal bytes, which is what byte compressors look for.

use finezip_core::{Error, Result};

use super::RANK;

/// Bytes the largest rank of a vocabulary takes.
pub(crate) fn longest(vocab_size: usize) -> usize {
    let bits = usize::BITS - vocab_size.saturating_sub(1).leading_zeros();
    (bits as usize).div_ceil(7).max(1)
}

/// The bytes of `ranks`.
pub(crate) fn to_bytes(ranks: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranks.len() + ranks.len() / 8);
    for &rank in ranks {
        let mut rest = rank;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes
}

/// The `tokens` ranks that `bytes` hold, all below `vocab_size`.
pub(crate) fn from_bytes(bytes: &[u8], tokens: usize, vocab_size: usize) -> Result<Vec<u32>> {
    // Each rank takes a byte, so that no memory is taken for ranks that are not there.
    if bytes.len() < tokens {
        return Err(wrong(format!("{} bytes for the ranks of {tokens} tokens", bytes.len())));
    }
    let mut ranks = Vec::with_capacity(tokens);
    let mut rest = bytes;
    while ranks.len() < tokens {
        let (rank, after) = first(rest).ok_or_else(|| {
            wrong(format!("rank {} of {tokens} is no number of 32 bits", ranks.len()))
        })?;
        if rank as usize >= vocab_size {
            return Err(wrong(format!("rank {rank} in a vocabulary of {vocab_size}")));
        }
        ranks.push(rank);
        rest = after;
    }
    if rest.is_empty() {
        return Ok(ranks);
    }
    Err(wrong(format!("{} bytes after the ranks of {tokens} tokens", rest.len())))
}

/// The first rank of `bytes` and what follows it.
fn first(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (place, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            return u32::try_from(value).ok().zip(bytes.get(place + 1..));
        }
    }
    None
}

fn wrong(message: String) -> Error {
    Error::payload(RANK, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths() {
        for (vocab_size, expected) in
            [(0, 1), (1, 1), (128, 1), (129, 2), (16_384, 2), (16_385, 3), (49_152, 3)]
        {
            assert_eq!(longest(vocab_size), expected, "{vocab_size}");
        }
        assert_eq!(
            to_bytes(&[0, 127, 128, 300, 16_383, 16_384]),
            [0, 127, 0x80, 1, 0xAC, 2, 0xFF, 0x7F, 0x80, 0x80, 1]
        );
    }

    proptest! {
        #[test]
        fn ranks_come_back(ranks in prop::collection::vec(any::<u32>(), 0..100)) {
            let bytes = to_bytes(&ranks);
            prop_assert_eq!(from_bytes(&bytes, ranks.len(), 1 << 32).unwrap(), ranks.clone());
            prop_assert!(from_bytes(&bytes, ranks.len() + 1, 1 << 32).is_err());
            if let Some(fewer) = ranks.len().checked_sub(1) {
                prop_assert!(from_bytes(&bytes, fewer, 1 << 32).is_err());
            }
        }

        #[test]
        fn any_bytes_give_ranks_in_range_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60), tokens in 0..60_usize,
        ) {
            if let Ok(ranks) = from_bytes(&bytes, tokens, 1000) {
                prop_assert_eq!(ranks.len(), tokens);
                prop_assert!(ranks.iter().all(|&rank| rank < 1000));
            }
        }
    }
}
