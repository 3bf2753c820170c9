//! The real binary over real processes, by what is looked at.
#![forbid(unsafe_code)]

mod support;

mod adapters;
mod grids;
mod processes;
mod reports;
mod test_set;
