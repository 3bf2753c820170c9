//! Adaptive context mixing.
//!
//! Two coders share this crate's parts: one that corrects a language model's distributions by what
//! the text itself has shown so far, and one that models bytes alone, for when no model is at hand
//! or a frame is nothing a language model knows.
#![forbid(unsafe_code)]

mod arithmetic;
mod binary;
pub mod bytes;
mod history;
pub mod learn;
mod maps;
mod network;
mod pages;
mod refinement;
mod slots;
pub mod tokens;
mod vector;
