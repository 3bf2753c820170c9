//! A matrix that several tasks write at once, each its own columns.

use std::marker::PhantomData;

/// A borrowed `[rows][columns]` matrix that hands out row segments through a shared reference.
pub(super) struct SharedMatrix<'a> {
    rows: Rows,
    columns: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

/// Where rows begin.
enum Rows {
    /// One after the other.
    Neighbours { start: *mut f32, count: usize },
    /// Each somewhere.
    Apart(Vec<*mut f32>),
}

// SAFETY: the pointers are only used through `segment`, whose callers promise disjoint segments.
unsafe impl Sync for SharedMatrix<'_> {}
// SAFETY: it stands for unique borrows of plain numbers, which may move to another thread.
unsafe impl Send for SharedMatrix<'_> {}

impl<'a> SharedMatrix<'a> {
    /// Borrows `[values.len() / columns][columns]`.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> Self {
        let count = values.len().checked_div(columns).unwrap_or(0);
        let rows = Rows::Neighbours { start: values.as_mut_ptr(), count };
        Self { rows, columns, borrow: PhantomData }
    }

    /// The same of rows that may be anywhere.
    ///
    /// # Panics
    /// If one does not have so many columns.
    pub(super) fn of_rows(rows: impl Iterator<Item = &'a mut [f32]>, columns: usize) -> Self {
        let start = |row: &'a mut [f32]| {
            assert_eq!(row.len(), columns, "columns of a row");
            row.as_mut_ptr()
        };
        Self { rows: Rows::Apart(rows.map(start).collect()), columns, borrow: PhantomData }
    }

    /// The address of a column of a row, which may be none of the matrix.
    pub(super) fn address(&self, row: usize, column: usize) -> *const u8 {
        let start = match &self.rows {
            Rows::Neighbours { start, .. } => start.wrapping_add(row.wrapping_mul(self.columns)),
            Rows::Apart(starts) => starts.get(row).copied().unwrap_or(std::ptr::null_mut()),
        };
        start.wrapping_add(column).cast()
    }

    /// Columns `column` to `column + length` of a row.
    ///
    /// # Safety
    /// While the segment lives, no overlapping one may be taken, here or on another thread.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn segment(&self, row: usize, column: usize, length: usize) -> &mut [f32] {
        assert!(column <= self.columns && length <= self.columns - column);
        let start = match &self.rows {
            Rows::Neighbours { start, count } => {
                assert!(row < *count);
                // SAFETY: in bounds by the assertion.
                unsafe { start.add(row * self.columns) }
            }
            Rows::Apart(starts) => starts[row],
        };
        // SAFETY: in bounds by the assertions, unique by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(start.add(column), length) }
    }
}
