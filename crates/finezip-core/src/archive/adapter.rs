//! The adapter block: an adapter that travels in the archive, directly before the descriptor that
//! names it.
//!
//! It is megabytes where a descriptor is a few hundred bytes, and what it holds is for whoever
//! merges adapters to read: here it is so many bytes with a checksum.

use super::bytes::{ByteReader, Short, put_bytes, put_varint};
use super::limits::{Limits, within};
use super::{ADAPTER_TAG, block_crc};
use crate::error::{Error, Result};

/// Bytes of the checksum.
pub(crate) const CRC_BYTES: u64 = 4;

/// The most bytes a block takes beside its body: tag, length, checksum.
pub(crate) const MOST_EXTRA_BYTES: u64 = 1 + 10 + CRC_BYTES;

/// Bytes of the whole block with a body of so many.
pub(crate) fn block_bytes(body_bytes: u64) -> u64 {
    let mut length = Vec::new();
    put_varint(&mut length, body_bytes);
    1 + length.len() as u64 + body_bytes + 4
}

/// The whole block, as block `number` of its member.
pub(crate) fn to_block(body: &[u8], number: u64) -> Vec<u8> {
    let mut block = vec![ADAPTER_TAG];
    put_bytes(&mut block, body);
    let crc = block_crc(number, &block);
    block.extend_from_slice(&crc.to_le_bytes());
    block
}

/// Reads a block, which is block `number` of its member; `Ok(None)` if `bytes` end within it. With
/// its body comes its length, checksum included.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    number: u64,
    limits: &Limits,
) -> Result<Option<(&'a [u8], usize)>> {
    let mut reader = ByteReader::new(bytes);
    let length = match reader.byte().and_then(|_| reader.varint()) {
        Err(Short::End) => return Ok(None),
        Err(Short::Varint) => return Err(Error::damaged("adapter", "its length is not a varint")),
        Ok(length) => within("bytes of adapter", length, limits.adapter_bytes)?,
    };
    let length = usize::try_from(length)
        .map_err(|_| Error::damaged("adapter", "it is longer than memory can be"))?;
    let Ok(body) = reader.take(length) else { return Ok(None) };
    let crc_at = reader.position();
    let Ok(crc) = reader.array() else { return Ok(None) };
    let (expected, found) = (block_crc(number, &bytes[..crc_at]), u32::from_le_bytes(crc));
    if expected != found {
        return Err(Error::checksum("adapter", found, expected));
    }
    Ok(Some((body, reader.position())))
}

/// Bytes of tag and length, and those of the body, at the start of a block; `None` for what is no
/// adapter within limits.
pub(crate) fn read_head(bytes: &[u8], limits: &Limits) -> Option<(u64, u64)> {
    let mut reader = ByteReader::new(bytes);
    let (tag, length) = (reader.byte().ok()?, reader.varint().ok()?);
    let is_adapter = tag == ADAPTER_TAG && length <= limits.adapter_bytes;
    is_adapter.then_some((reader.position() as u64, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_come_back(
            body in prop::collection::vec(any::<u8>(), 0..300),
            number in any::<u64>(),
            flipped in any::<prop::sample::Index>(),
        ) {
            let block = to_block(&body, number);
            prop_assert_eq!(block_bytes(body.len() as u64), block.len() as u64);
            let limits = Limits::default();
            for cut in 0..block.len() {
                prop_assert_eq!(read(&block[..cut], number, &limits).unwrap(), None);
            }
            prop_assert_eq!(read(&block, number, &limits).unwrap(), Some((&body[..], block.len())));
            prop_assert!(read(&block, number ^ 1, &limits).is_err());
            let mut damaged = block.clone();
            let bit = 8 + flipped.index((block.len() - 1) * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A changed length may ask for more bytes than there are.
            prop_assert!(!matches!(read(&damaged, number, &limits), Ok(Some(_))));
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_are_there() {
        let limits = Limits { adapter_bytes: 100, ..Limits::default() };
        let block = to_block(&[7; 101], 0);
        assert!(matches!(read(&block[..2], 0, &limits), Err(Error::Limit { found: 101, .. })));
        assert!(read(&to_block(&[7; 100], 0), 0, &limits).unwrap().is_some());
    }
}
