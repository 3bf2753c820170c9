//! A matrix that several tasks write at once, each its own columns.

use std::marker::PhantomData;

/// A borrowed `[rows][columns]` matrix that hands out row segments through a shared reference.
pub(super) struct SharedMatrix<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    /// The row of the matrix that each row of a product goes to; itself where there are none.
    places: Option<&'a [usize]>,
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
        Self { start: values.as_mut_ptr(), rows, columns, places: None, borrow: PhantomData }
    }

    /// The same for a product whose row `i` goes to row `places[i]`.
    ///
    /// # Panics
    /// If two rows have one place.
    pub(super) fn with_places(values: &'a mut [f32], columns: usize, places: &'a [usize]) -> Self {
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        assert!(sorted.is_sorted_by(|one, next| one < next), "places of rows: two have one");
        Self { places: Some(places), ..Self::new(values, columns) }
    }

    /// The address of a column of a row, which may be none of the matrix.
    pub(super) fn address(&self, row: usize, column: usize) -> *const u8 {
        let row = self.place(row);
        self.start.wrapping_add(row.wrapping_mul(self.columns).wrapping_add(column)).cast()
    }

    fn place(&self, row: usize) -> usize {
        self.places.map_or(row, |places| places[row])
    }

    /// Columns `column` to `column + length` of a row.
    ///
    /// # Safety
    /// While the segment lives, no overlapping one may be taken, here or on another thread.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn segment(&self, row: usize, column: usize, length: usize) -> &mut [f32] {
        let row = self.place(row);
        assert!(row < self.rows && column <= self.columns && length <= self.columns - column);
        // SAFETY: in bounds by the assertion, unique by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.columns + column), length)
        }
    }
}
