//! What can go wrong between a checkpoint and a session.

use crate::kernels::KernelError;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything the engine can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] finezip_models::Error),

    /// The adapter is none of this model.
    #[error(transparent)]
    Adapter(#[from] finezip_lora::Error),

    /// Sizes that the kernels cannot work on.
    #[error(transparent)]
    Kernel(#[from] KernelError),

    /// A weight is infinite or not a number.
    #[error("tensor {tensor}: expected finite numbers, found {found} at {index}")]
    NotFinite {
        /// The tensor's canonical name.
        tensor: String,
        /// Its first such element.
        index: usize,
        /// What stands there.
        found: f32,
    },

    /// Weights that are finite, but whose products with gains or rotations are not.
    #[error("{matrix}: expected finite numbers after folding, found others in row {row}")]
    Overflow {
        /// Which matrix of the model.
        matrix: &'static str,
        /// Its first such row.
        row: usize,
    },

    /// A tensor has another size than the configuration asks for.
    #[error("tensor {tensor}: expected {expected} elements, found {found}")]
    TensorSize {
        /// The tensor's canonical name.
        tensor: String,
        /// Elements the configuration asks for.
        expected: usize,
        /// Elements it has.
        found: usize,
    },
}
