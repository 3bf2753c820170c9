//! Matrix products through candle's, on parts of a tensor's storage and without copies.

use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape, bail};

use super::Real;

/// A matrix that lies in a storage: rows and columns may be any steps apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    storage: &'a CpuStorage,
    offset: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix that begins at `offset`, which must lie in the storage wholly.
    pub(crate) fn new<T: Real>(
        storage: &'a CpuStorage,
        offset: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Self> {
        let length = T::cpu_storage_as_slice(storage)?.len();
        let end = rows.checked_mul(columns).and_then(|values| values.checked_add(offset));
        if end.is_none_or(|end| end > length) {
            bail!("a matrix of {rows} x {columns} at {offset} does not lie in {length} values");
        }
        Ok(Self { storage, offset, rows, columns, row_stride: columns, column_stride: 1 })
    }

    /// All of a storage, as so many rows.
    pub(crate) fn whole<T: Real>(storage: &'a CpuStorage, columns: usize) -> Result<Self> {
        let length = T::cpu_storage_as_slice(storage)?.len();
        Self::new::<T>(storage, 0, length / columns.max(1), columns)
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some of the rows.
    pub(crate) fn rows(self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.rows {
            bail!("rows {range:?} of {}", self.rows);
        }
        let offset = self.offset + range.start * self.row_stride;
        Ok(Self { offset, rows: range.len(), ..self })
    }

    fn layout(&self) -> Layout {
        let shape = Shape::from((self.rows, self.columns));
        Layout::new(shape, vec![self.row_stride, self.column_stride], self.offset)
    }
}

/// `left * right`, row-major.
pub(crate) fn product<T: Real>(left: Matrix<'_>, right: Matrix<'_>) -> Result<Vec<T>> {
    if left.columns != right.rows {
        bail!("a product of {} columns with {} rows", left.columns, right.rows);
    }
    if left.rows == 0 || right.columns == 0 {
        return Ok(Vec::new());
    }
    let sizes = (1, left.rows, right.columns, left.columns);
    let result = left.storage.matmul(right.storage, sizes, &left.layout(), &right.layout())?;
    T::cpu_storage_data(result)
}

/// Adds `values` to `sums`.
pub(crate) fn add<T: Real>(sums: &mut [T], values: &[T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}
