//! Bytes to tokens and back, without losing one.

use crate::error::Result;
use crate::model::Fingerprint;

/// Index of a token in the vocabulary.
pub type TokenId = u32;

/// A tokenizer that is exact for any bytes.
///
/// The bytes of the tokens, one after another, are the input: always. Text that spells a special
/// token is text. Where an implementation cannot keep that promise for some input it returns
/// tokens that do not give the input back, which the pipeline notices (it compares before it
/// codes), and the frame is coded by [`Tokenizer::encode_bytes`] or by a byte compressor.
pub trait Tokenizer: Send + Sync {
    /// Number of ids; those without bytes (special tokens) included.
    fn vocab_size(&self) -> usize;

    /// A hash of everything that decides how bytes become tokens.
    fn fingerprint(&self) -> Fingerprint;

    /// Appends the tokens of `bytes`.
    fn encode(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> Result<()>;

    /// Appends one single-byte token a byte and returns true, or leaves `tokens` as it is and
    /// returns false where a byte of the input has no token of its own.
    fn encode_bytes(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> bool;

    /// The bytes a token stands for; empty for special tokens and ids out of range.
    fn token_bytes(&self, token: TokenId) -> &[u8];
}
