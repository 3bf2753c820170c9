//! What must not break FineZip, as functions that others call: [`specimens`] are archives of every
//! coder, [`targets`] take any bytes as an archive, a model, an adapter.
//!
//! The program beside it damages, kills and overloads, and feeds the targets mutations; the tests
//! here replay every input that once did harm or was made to.
#![forbid(unsafe_code)]

pub mod random;
pub mod seal;
pub mod specimens;
pub mod targets;
