//! A matrix that several tasks write at once, each its own columns.

use std::marker::PhantomData;

/// A borrowed `[rows][columns]` matrix that hands out row segments through a shared reference.
pub(super) struct SharedMatrix<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is only used through `segment`, whose callers promise disjoint segments.
unsafe impl Sync for SharedMatrix<'_> {}
// SAFETY: it stands for a unique borrow of plain numbers, which may move to another thread.
unsafe impl Send for SharedMatrix<'_> {}

impl<'a> SharedMatrix<'a> {
    /// Borrows `[values.len() / columns][columns]`.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self { start: values.as_mut_ptr(), rows, columns, borrow: PhantomData }
    }

    /// Columns `column` to `column + length` of a row.
    ///
    /// # Safety
    /// While the segment lives, no overlapping one may be taken, here or on another thread.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn segment(&self, row: usize, column: usize, length: usize) -> &mut [f32] {
        assert!(row < self.rows && column <= self.columns && length <= self.columns - column);
        // SAFETY: in bounds by the assertion, unique by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.columns + column), length)
        }
    }
}
