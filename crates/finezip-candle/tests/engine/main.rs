//! The engine on seeded models of every family, and on a real one.

mod adapters;
mod determinism;
mod logits;
mod misuse;
mod pipeline;
mod real_model;
mod reference;
mod support;
