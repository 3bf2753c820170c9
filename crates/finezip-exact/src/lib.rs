//! The bit-exact CPU engine: logits are a function of weights and tokens alone.

pub mod kernels;
