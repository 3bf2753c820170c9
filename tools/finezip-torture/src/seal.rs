//! Bytes made into an archive whose checksums hold, so that what lies behind them is reached.
//!
//! A changed byte of an archive is found by a checksum; whoever forges one sets the checksums
//! right. [`seal`] does that to any bytes: it takes them for blocks as far as they can be, and
//! writes each with the checksum it must have.

/// The tags of the format.
const ADAPTER: u8 = b'A';
const DESCRIPTOR: u8 = b'D';
const FRAME: u8 = b'F';
const END: u8 = b'E';

/// A member that begins as it should, of the blocks that `bytes` make, every checksum set right.
pub fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut archive = finezip_core::archive::start_bytes().to_vec();
    let mut rest = Rest(bytes.strip_prefix(&archive[..]).unwrap_or(bytes));
    let mut number = 0;
    while let Some(tag) = rest.byte() {
        let mut block = vec![tag];
        match tag {
            ADAPTER | DESCRIPTOR => {
                let declared = rest.varint(&mut block);
                block.extend_from_slice(rest.take(declared));
                put_crc(&mut archive, number, &block);
                rest.take(4);
            }
            FRAME => {
                let method = rest.byte().unwrap_or(0);
                block.push(method);
                rest.varint(&mut block);
                let declared = rest.varint(&mut block);
                // Tokens and lanes, or records and tokens.
                if matches!(method, 2 | 4) {
                    rest.varint(&mut block);
                    rest.varint(&mut block);
                }
                block.extend_from_slice(rest.take(8));
                put_crc(&mut archive, number, &block);
                rest.take(4);
                put_crc(&mut archive, number, rest.take(declared));
                rest.take(4);
            }
            END => {
                // What stands before its checksum and the footer.
                let body = rest.0.len().saturating_sub(12);
                block.extend_from_slice(rest.take(body as u64));
                let length = block.len() as u32 + 4;
                put_crc(&mut archive, number, &block);
                archive.extend_from_slice(&length.to_le_bytes());
                archive.extend_from_slice(&finezip_core::archive::TAIL_MAGIC);
                break;
            }
            _ => {
                archive.push(tag);
                archive.extend_from_slice(rest.0);
                break;
            }
        }
        number += 1;
    }
    archive
}

fn put_crc(archive: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    archive.extend_from_slice(bytes);
    archive.extend_from_slice(&hasher.finalize().to_le_bytes());
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// At most `count` bytes.
    fn take(&mut self, count: u64) -> &'a [u8] {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// Copies a varint as it stands and gives its value.
    fn varint(&mut self, block: &mut Vec<u8>) -> u64 {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.byte() else { break };
            block.push(byte);
            value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimens::specimens;

    #[test]
    fn a_sealed_archive_stays_as_it_is() {
        for specimen in specimens().unwrap() {
            // It is one member that is sealed.
            if specimen.members == 1 {
                assert_eq!(seal(&specimen.archive), specimen.archive, "{}", specimen.name);
            }
        }
    }

    #[test]
    fn a_changed_payload_passes_its_checksum_when_sealed() {
        let specimens = specimens().unwrap();
        let stored = specimens.iter().find(|s| s.name == "stored").unwrap();
        let mut changed = stored.archive.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        let error = stored.decompressor().decompress(&seal(&changed)).unwrap_err();
        assert!(matches!(error, finezip_core::Error::Content { .. }), "{error}");
    }
}
