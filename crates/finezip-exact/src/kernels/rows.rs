//! Rows of floats inside a wider matrix.

/// Columns of a row-major matrix: what a stacked product leaves, one part at a time.
///
/// ```
/// use finezip_exact::kernels::StridedRows;
/// let stacked = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
/// let last_two = StridedRows::new(&stacked, 3, 1, 2);
/// assert_eq!(last_two.row(1), [20.0, 30.0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StridedRows<'a> {
    values: &'a [f32],
    stride: usize,
    first: usize,
    width: usize,
}

impl<'a> StridedRows<'a> {
    /// Columns `first` to `first + width` of `values`, `[rows][stride]`.
    ///
    /// # Panics
    /// If the columns are not within a row, or `values` does not hold whole rows.
    pub fn new(values: &'a [f32], stride: usize, first: usize, width: usize) -> Self {
        assert!(first <= stride && width <= stride - first, "columns within a row");
        assert!(stride > 0 && values.len().is_multiple_of(stride), "whole rows");
        Self { values, stride, first, width }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.stride
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One row, `[width]`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride + self.first..][..self.width]
    }
}
