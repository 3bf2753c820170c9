//! Frozen weights: dense, or in the blocks of their file.
//!
//! QLoRA (Dettmers et al. 2023, arXiv 2305.14314) keeps the base model quantized and makes the
//! values of a weight only while a product needs them, in the forward and again in the backward
//! pass. The values, and the products computed with them, are those of the dense weight, bit for
//! bit.

use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType};
use finezip_models::dequantize::dequantize_into;
use finezip_models::{Checkpoint, GgmlType};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::{Matrix, Real, for_dtype};

/// Whether weights are made dense when a model is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BaseForm {
    /// Dense in this type of numbers.
    Dense(DType),
    /// As they are stored.
    Stored,
}

/// A weight `[rows, columns]` that is not trained.
#[derive(Debug)]
pub(crate) struct FrozenMatrix {
    rows: usize,
    columns: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Dense(CpuStorage),
    Blocks { ggml_type: GgmlType, row_bytes: usize, bytes: Vec<u8> },
}

impl FrozenMatrix {
    /// Reads a weight of the checkpoint.
    ///
    /// # Errors
    /// Tensors that cannot be read.
    pub(crate) fn load(checkpoint: &Checkpoint, name: &str, form: BaseForm) -> Result<Self> {
        let raw = checkpoint.raw(name)?;
        let (rows, columns) = match *raw.shape {
            [rows, columns] => (rows, columns),
            _ => return Err(Error::misfit(name, "a matrix", format!("shape {:?}", raw.shape))),
        };
        // A row of whole blocks can be lent alone; all types of models in use have such rows.
        let row_bytes = raw.ggml_type.bytes_for(columns).ok_or_else(|| {
            let expected = format!("columns in whole blocks of {}", raw.ggml_type);
            Error::misfit(name, expected, columns)
        })?;
        let stored = Values::Blocks { ggml_type: raw.ggml_type, row_bytes, bytes: raw.bytes };
        let stored = Self { rows, columns, values: stored };
        let BaseForm::Dense(dtype) = form else { return Ok(stored) };
        let dense = for_dtype!(dtype, T => {
            candle_core::WithDType::to_cpu_storage_owned(stored.dense_rows::<T>(0..rows)?)
        });
        Ok(Self { rows, columns, values: Values::Dense(dense) })
    }

    /// A dense weight of these values.
    #[cfg(test)]
    pub(crate) fn dense<T: Real>(values: Vec<T>, columns: usize) -> Self {
        let rows = values.len() / columns;
        Self { rows, columns, values: Values::Dense(T::to_cpu_storage_owned(values)) }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Lends some rows as a dense matrix, which lives only as long as `f` where the weight is
    /// stored in blocks.
    ///
    /// # Errors
    /// Those of `f`.
    pub(crate) fn with_rows<T: Real, R>(
        &self,
        rows: Range<usize>,
        f: impl FnOnce(Matrix<'_>) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        match &self.values {
            Values::Dense(storage) if storage.dtype() == T::DTYPE => {
                f(Matrix::whole::<T>(storage, self.columns)?.rows(rows)?)
            }
            Values::Dense(storage) => {
                candle_core::bail!("weights of {:?} for tensors of {:?}", storage.dtype(), T::DTYPE)
            }
            Values::Blocks { .. } => {
                let storage = T::to_cpu_storage_owned(self.dense_rows::<T>(rows)?);
                f(Matrix::whole::<T>(&storage, self.columns)?)
            }
        }
    }

    /// Lends all rows.
    ///
    /// # Errors
    /// Those of `f`.
    pub(crate) fn with_all<T: Real, R>(
        &self,
        f: impl FnOnce(Matrix<'_>) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        self.with_rows::<T, R>(0..self.rows, f)
    }

    /// Copies a row.
    ///
    /// # Errors
    /// A row that is not there.
    pub(crate) fn copy_row<T: Real>(
        &self,
        row: usize,
        target: &mut [T],
    ) -> candle_core::Result<()> {
        match &self.values {
            Values::Dense(storage) => {
                let values = T::cpu_storage_as_slice(storage)?;
                match values.chunks_exact(self.columns).nth(row) {
                    Some(values) => target.copy_from_slice(values),
                    None => candle_core::bail!("row {row} of {}", self.rows),
                }
            }
            Values::Blocks { .. } => target.copy_from_slice(&self.dense_rows::<T>(row..row + 1)?),
        }
        Ok(())
    }

    fn dense_rows<T: Real>(&self, rows: Range<usize>) -> candle_core::Result<Vec<T>> {
        let Values::Blocks { ggml_type, row_bytes, bytes } = &self.values else {
            candle_core::bail!("the weight is dense already")
        };
        let Some(bytes) = bytes.get(rows.start * row_bytes..rows.end * row_bytes) else {
            candle_core::bail!("rows {rows:?} of {}", self.rows)
        };
        let mut values = vec![0.0; rows.len() * self.columns];
        values
            .par_chunks_mut(self.columns)
            .zip(bytes.par_chunks(*row_bytes))
            .try_for_each(|(values, bytes)| dequantize_into(*ggml_type, bytes, values))
            .map_err(candle_core::Error::wrap)?;
        Ok(T::from_vec(values))
    }
}
