//! Lossless text compression with language models: the vocabulary and the pipeline.
//!
//! This crate holds what every part of FineZip agrees on: the traits a model, a tokenizer, a
//! schedule and a coder implement, the archive format, and the road from bytes to an archive and
//! back. It knows no machine-learning framework; engines live in crates of their own and meet
//! here.
#![forbid(unsafe_code)]

pub mod coder;
pub mod error;
pub mod logits;
pub mod model;
pub mod range;
pub mod record;
pub mod schedule;
pub mod softmax;
pub mod tokenizer;

pub use coder::{Coder, Decoder, Encoder, FrameShape, ReferenceCoder};
pub use error::{Error, Result};
pub use logits::{Logits, Rows};
pub use model::{
    Exactness, Fingerprint, LaneFeed, LanguageModel, ModelIdentity, Session, SessionShape, Window,
};
pub use record::Record;
pub use schedule::{Feed, Plan, Schedule, StepEntry};
pub use tokenizer::{TokenId, Tokenizer};
