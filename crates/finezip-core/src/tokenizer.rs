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

/// A token for every byte, ids 0 to 255.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteTokenizer;

/// Every byte, so that a token's bytes are a slice of it.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut value = 0;
    while value < 256 {
        bytes[value] = value as u8;
        value += 1;
    }
    bytes
};

impl Tokenizer for ByteTokenizer {
    fn vocab_size(&self) -> usize {
        256
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*b"a token for every byte, 0 to 255")
    }

    fn encode(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> Result<()> {
        tokens.extend(bytes.iter().map(|&byte| TokenId::from(byte)));
        Ok(())
    }

    fn encode_bytes(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> bool {
        tokens.extend(bytes.iter().map(|&byte| TokenId::from(byte)));
        true
    }

    fn token_bytes(&self, token: TokenId) -> &[u8] {
        let token = token as usize;
        BYTES.get(token..token + 1).unwrap_or_default()
    }
}
