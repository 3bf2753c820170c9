//! Bytes that start at a cache line, so that no vector load straddles two.

/// Bytes of a cache line, and of the widest vector.
pub(super) const LINE: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A growable buffer of bytes whose first byte is aligned to [`LINE`].
#[derive(Clone, Default)]
pub(super) struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBytes {
    /// `length` bytes of this value.
    pub(super) fn filled(length: usize, value: u8) -> Self {
        Self { lines: vec![Line([value; LINE]); length.div_ceil(LINE)], length }
    }

    /// A copy.
    pub(super) fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::filled(bytes.len(), 0);
        copy.copy_from_slice(bytes);
        copy
    }

    /// Makes it `length` bytes long; new bytes are zero, old ones stay.
    pub(super) fn resize(&mut self, length: usize) {
        self.lines.resize(length.div_ceil(LINE), Line([0; LINE]));
        self.length = length;
    }

    /// The bytes as floats.
    pub(super) fn as_floats(&self) -> &[f32] {
        // SAFETY: the buffer is aligned to a line and initialised; every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length / 4) }
    }

    /// The bytes as floats, for writing.
    pub(super) fn as_floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_floats`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length / 4) }
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `lines` holds at least `length` initialised bytes, as `Line` is plain bytes
        // without padding; the borrow of `self` keeps them in place.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_line_and_keeps_its_bytes() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut aligned = AlignedBytes::copy_of(&bytes);
            assert_eq!(&*aligned, &bytes[..]);
            assert_eq!(aligned.as_ptr() as usize % LINE, 0);
            aligned.resize(length + 70);
            assert_eq!(&aligned[..length], &bytes[..]);
            assert_eq!(aligned.len(), length + 70);
        }
    }
}
