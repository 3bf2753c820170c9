//! Whole numbers and strings in bytes: LEB128 varints, and a reader that cannot run past its end.

/// Appends a varint: seven bits a byte, lowest first, the high bit set on all but the last byte.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a varint length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Why a read gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// The bytes end within the value.
    End,
    /// A varint of more than 64 bits, or written with more bytes than it needs.
    Varint,
}

/// Reads from a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..count).ok_or(Short::End)?;
        self.position += count;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Short> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Short> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(Short::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(Short::Varint) } else { Ok(value) };
            }
        }
        Err(Short::Varint)
    }

    /// A varint length and as many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Short> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| Short::End)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value in any::<u64>(), shift in 0..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            let mut reader = ByteReader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_at_end());
        }
    }

    #[test]
    fn only_the_shortest_form_of_a_varint_is_read() {
        assert_eq!(ByteReader::new(&[0x80, 0x00]).varint(), Err(Short::Varint));
        assert_eq!(ByteReader::new(&[0xFF; 10]).varint(), Err(Short::Varint));
        assert_eq!(ByteReader::new(&[0x80]).varint(), Err(Short::End));
        assert_eq!(ByteReader::new(&[]).varint(), Err(Short::End));
    }
}
