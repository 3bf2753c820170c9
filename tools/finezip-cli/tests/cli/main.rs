//! The real binary, as a user meets it.
#![forbid(unsafe_code)]

mod support;

mod adapters;
mod contents;
mod files;
mod golden;
mod hostile;
mod learning;
mod listing;
mod models;
mod ranges;
mod real_model;
mod recover;
mod shell;
mod short_texts;
mod small_models;
mod streams;
mod usage;

#[cfg(unix)]
mod interrupts;
#[cfg(unix)]
mod terminals;
