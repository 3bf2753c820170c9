//! What a constructor of kernel data can refuse.

/// Data that kernels cannot work on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A buffer has another length than its shape asks for.
    #[error("{what}: expected {expected} elements, found {found}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Elements the shape asks for.
        expected: usize,
        /// Elements given.
        found: usize,
    },

    /// A size is outside what the arithmetic is exact for.
    #[error("{what}: expected at most {limit}, found {found}")]
    Limit {
        /// The size.
        what: &'static str,
        /// The largest size allowed.
        limit: usize,
        /// The size asked for.
        found: usize,
    },

    /// A size does not divide as it must.
    #[error("{what}: expected a multiple of {divisor}, found {found}")]
    Multiple {
        /// The size.
        what: &'static str,
        /// What it must be a multiple of.
        divisor: usize,
        /// The size asked for.
        found: usize,
    },

    /// The thread pool could not be started.
    #[error("thread pool of {threads} threads: {message}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the pool said.
        message: String,
    },
}

/// Checks a buffer's length.
pub(super) fn expect_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), KernelError> {
    if expected == found { Ok(()) } else { Err(KernelError::Length { what, expected, found }) }
}

/// Checks a size against its limit.
pub(super) fn expect_at_most(
    what: &'static str,
    limit: usize,
    found: usize,
) -> Result<(), KernelError> {
    if found <= limit { Ok(()) } else { Err(KernelError::Limit { what, limit, found }) }
}
