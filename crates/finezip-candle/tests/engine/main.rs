//! The engine on seeded models of every family.

mod determinism;
mod logits;
mod misuse;
mod reference;
mod support;
