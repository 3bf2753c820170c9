//! The archive format, version 1, as `docs/format.md` specifies it.
//!
//! An archive is one or more *members*, one after another. A member is a start (magic and
//! version), at most one *descriptor* (what a decoder must have: model, tokenizer, schedule,
//! coder), before it the *adapter* it names where that travels along, frames, and an end (index
//! and digest). Every block carries checksums; lengths are checked against [`Limits`] before
//! anything is allocated.

pub(crate) mod adapter;
pub(crate) mod bytes;
pub mod descriptor;
pub mod end;
pub mod frame;
pub mod limits;
mod number;
pub mod parser;
pub mod prime;

pub use descriptor::{Descriptor, LanguageDescriptor};
pub use end::{End, IndexEntry};
pub use frame::{FrameHeader, Method};
pub use limits::Limits;
pub(crate) use number::number_of;
pub use parser::{Block, BlockParser};
pub use prime::MAX_PRIME_BYTES;

/// The first bytes of every member: `8F 46 5A 1A`. The first is no character in UTF-8, the last
/// stops a listing on old terminals.
pub const MAGIC: [u8; 4] = [0x8F, b'F', b'Z', 0x1A];

/// The version this crate writes and reads.
pub const FORMAT_VERSION: u8 = 1;

/// Bytes of a member's start: magic and version.
pub const START_BYTES: u64 = 5;

/// The last bytes of every member, after the length of its end block.
pub const TAIL_MAGIC: [u8; 4] = [0x1A, b'Z', b'F', 0x8F];

/// Bytes of a member's footer: the end block's length and the tail magic.
pub const FOOTER_BYTES: u64 = 8;

/// The first byte of an adapter block.
pub(crate) const ADAPTER_TAG: u8 = b'A';
/// The first byte of a descriptor block.
pub(crate) const DESCRIPTOR_TAG: u8 = b'D';
/// The first byte of a frame block.
pub(crate) const FRAME_TAG: u8 = b'F';
/// The first byte of an end block.
pub(crate) const END_TAG: u8 = b'E';

/// The bytes a member starts with.
pub fn start_bytes() -> [u8; START_BYTES as usize] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, FORMAT_VERSION]
}

/// CRC-32 (IEEE 802.3) of the number of the block in its member, as 8 bytes little-endian,
/// followed by `bytes`: a block moved to another place does not pass.
pub(crate) fn block_crc(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// XXH3 with 64 bits and seed 0: the checksum of original bytes.
pub fn content_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
