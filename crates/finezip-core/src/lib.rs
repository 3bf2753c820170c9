//! Lossless text compression with language models: the vocabulary and the pipeline.
//!
//! This crate holds what every part of FineZip agrees on: the traits a model, a tokenizer, a
//! schedule and a coder implement, the archive format, and the road from bytes to an archive and
//! back. It knows no machine-learning framework; engines live in crates of their own and meet
//! here.
#![forbid(unsafe_code)]

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!(
    "without SSE2, sums of floats are rounded otherwise than everywhere else: archives could not \
     be read on other machines"
);

pub mod archive;
pub mod bytes;
pub mod coder;
pub mod components;
pub mod compress;
pub mod decompress;
pub mod error;
pub mod index;
pub mod logits;
pub mod message;
pub mod model;
pub mod partial;
pub mod prime;
pub mod progress;
pub mod range;
pub mod read;
pub mod record;
pub mod records;
pub mod recover;
pub mod schedule;
mod short;
pub mod softmax;
mod steps;
pub mod tokenizer;
pub mod write;

pub use archive::{Descriptor, FrameHeader, LanguageDescriptor, Limits, Method};
pub use bytes::ByteCoder;
pub use coder::{Coder, Decoder, Encoder, FrameShape, ReferenceCoder};
pub use components::{Components, Language, Resolver};
pub use compress::{Compressor, CompressorBuilder, DEFAULT_FRAME_BYTES};
pub use decompress::Decompressor;
pub use error::{Error, Result};
pub use index::{AdapterInfo, ArchiveIndex, FrameInfo, MemberInfo};
pub use logits::{Logits, Rows, WritableRow, WritableRows};
pub use message::{Message, MessageCoder, Profile, ProfileId};
pub use model::{
    Exactness, FeedLength, Fingerprint, LaneFeed, LaneGroup, LaneState, LanguageModel,
    ModelIdentity, Session, SessionShape, Window,
};
pub use prime::PrimedModel;
pub use progress::{Observer, Progress, Timing};
pub use record::Record;
pub use records::RecordRule;
pub use recover::{Loss, Lost, Recovery};
pub use schedule::{Feed, Plan, Schedule, SingleLane, StepEntry};
pub use short::Form;
pub use tokenizer::{ByteTokenizer, TokenId, Tokenizer};
pub use write::Summary;
