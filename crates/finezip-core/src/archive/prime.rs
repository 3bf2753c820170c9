//! A descriptor's prime: the text that every lane is fed before its first token.
//!
//! It is as long as a few hundred tokens and stands in every archive that uses it, so it is kept
//! as Zstandard makes it where that is smaller.

use super::bytes::{ByteReader, put_varint};
use crate::bytes::Zstd;

/// The longest prime, in bytes: half of what a descriptor may take.
pub const MAX_PRIME_BYTES: usize = 32 << 10;

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// The field's content.
pub(super) fn to_field(prime: &[u8]) -> Vec<u8> {
    let mut field = vec![ZSTD];
    put_varint(&mut field, prime.len() as u64);
    match Zstd::compress(prime) {
        Ok(payload) if field.len() + payload.len() <= prime.len() => {
            field.extend_from_slice(&payload);
            field
        }
        _ => to_stored_field(prime),
    }
}

/// The field's content with the prime as it is: the same whatever version of Zstandard is at hand.
pub(super) fn to_stored_field(prime: &[u8]) -> Vec<u8> {
    [&[STORED], prime].concat()
}

/// The prime of a field's content, or what is wrong with it.
pub(super) fn from_field(field: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = ByteReader::new(field);
    let invalid = |_| "its prime ends too early".to_owned();
    let prime = match reader.byte().map_err(invalid)? {
        STORED => field[1..].to_vec(),
        ZSTD => {
            let bytes = reader.varint().map_err(invalid)?;
            if bytes > MAX_PRIME_BYTES as u64 {
                return Err(too_long(bytes));
            }
            let payload = &field[reader.position()..];
            Zstd::decompress(payload, bytes as usize).map_err(|error| error.to_string())?
        }
        method => return Err(format!("its prime is coded by method {method}; 0 and 1 are known")),
    };
    match prime.len() {
        0 => Err("its prime is empty".into()),
        1..=MAX_PRIME_BYTES => Ok(prime),
        bytes => Err(too_long(bytes as u64)),
    }
}

fn too_long(bytes: u64) -> String {
    format!("its prime has {bytes} bytes; the limit is {MAX_PRIME_BYTES}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_come_back_in_the_smaller_form() {
        let text = b"level=info msg=\"request done\" path=/ status=200\n".repeat(8);
        let field = to_field(&text);
        assert!(field[0] == ZSTD && field.len() < text.len() / 2, "{}", field.len());
        assert_eq!(from_field(&field).unwrap(), text);
        assert_eq!(to_field(b"x,y"), b"\0x,y");
        assert_eq!(from_field(b"\0x,y").unwrap(), b"x,y");
    }

    #[test]
    fn what_no_writer_makes_is_refused() {
        let mut forged = vec![ZSTD];
        put_varint(&mut forged, u64::MAX);
        for field in [&[][..], &[STORED], &[2, 1], &[ZSTD], &[ZSTD, 3, 7], &forged] {
            assert!(from_field(field).is_err(), "{field:?}");
        }
        assert!(from_field(&vec![STORED; MAX_PRIME_BYTES + 2]).is_err());
    }
}
