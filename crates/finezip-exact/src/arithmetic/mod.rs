//! The part of the written arithmetic (docs/arithmetic.md) that is plain scalar code.

pub(crate) mod elementary;
pub(crate) mod rope;
