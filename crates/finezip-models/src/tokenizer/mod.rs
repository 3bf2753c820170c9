//! Bytes to a model's tokens and back, exact for any bytes.
//!
//! Byte pair encoding is done here, on bytes, not through the `tokenizers` crate: that one works
//! on text, normalises it, decodes with loss, panics on some damaged files and keeps alignments
//! nobody needs here, which makes it several times slower (docs/models.md has the figures). Tests
//! hold this encoder against it. All vocabularies are brought into one form first: a table of each
//! token's bytes ([`vocabulary`]). What text looks like inside a vocabulary (GPT-2's alphabet, `▁`
//! for a space, `<0x0A>` for a byte) ends there, and so does every way of losing a byte.
//!
//! Encoding: runs of valid UTF-8 are cut into words as the model's pre-tokenizer does
//! ([`splitter`]), words are merged ([`merges`]); bytes that are not UTF-8 become single-byte
//! tokens. Special tokens have no bytes and are never found in text. No token is put before or
//! after, and no space.

mod from_gguf;
mod from_json;
mod merges;
mod splitter;
mod vocabulary;

use std::collections::HashMap;

use finezip_core::{Fingerprint, TokenId, Tokenizer};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use merges::{MergeRule, Scratch};
use splitter::Splitter;
use vocabulary::Vocabulary;

/// Words longer than this are merged each time they occur.
const CACHED_WORD_BYTES: usize = 48;
/// Words the cache of one call holds.
const CACHED_WORDS: usize = 1 << 16;
/// Words are cut here even where the pre-tokenizer would go on, so that no text takes much memory.
const MAX_WORD_BYTES: usize = 1 << 15;

/// A model's tokenizer.
#[derive(Debug)]
pub struct ModelTokenizer {
    vocabulary: Vocabulary,
    splitter: Splitter,
    merges: MergeRule,
    /// Whether a word that is a token is that token, whatever its merges say (Llama 3).
    whole_words_first: bool,
    fingerprint: Fingerprint,
}

impl ModelTokenizer {
    /// The tokenizer of a checkpoint: from the settings of a GGUF file, or from tokenizer.json.
    ///
    /// # Errors
    /// A tokenizer that is missing, damaged or of a kind that is not read.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        if let Some(gguf) = checkpoint.gguf() {
            return from_gguf::read(gguf);
        }
        match checkpoint.tokenizer_json()? {
            Some(json) => Self::from_json(checkpoint.name(), &json),
            None => Err(Error::unsupported(checkpoint.name(), "a folder without tokenizer.json")),
        }
    }

    /// The tokenizer that a tokenizer.json describes; `name` is for errors.
    ///
    /// # Errors
    /// A file that is damaged or of a kind that is not read.
    pub fn from_json(name: &str, json: &[u8]) -> Result<Self> {
        from_json::read(name, json)
    }

    fn new(
        vocabulary: Vocabulary,
        splitter: Splitter,
        merges: MergeRule,
        whole_words_first: bool,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"finezip tokenizer 1\0");
        vocabulary.hash(&mut hasher);
        splitter.hash(&mut hasher);
        merges.hash(&mut hasher);
        hasher.update(&[u8::from(whole_words_first)]);
        let fingerprint = Fingerprint(*hasher.finalize().as_bytes());
        Self { vocabulary, splitter, merges, whole_words_first, fingerprint }
    }

    /// The special token of this text, such as `<|endoftext|>`.
    pub fn special_token(&self, text: &str) -> Option<TokenId> {
        self.vocabulary.special(text)
    }

    /// Appends the tokens of one word.
    fn encode_word(&self, word: &[u8], scratch: &mut Scratch, tokens: &mut Vec<TokenId>) {
        if self.whole_words_first
            && let Some(token) = self.vocabulary.text_token(word)
        {
            tokens.push(token);
            return;
        }
        scratch.start();
        self.vocabulary.first_symbols(word, scratch);
        self.merges.merge(&self.vocabulary, scratch, tokens);
    }
}

impl Tokenizer for ModelTokenizer {
    fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn encode(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> finezip_core::Result<()> {
        let mut scratch = Scratch::default();
        let mut cache: HashMap<&[u8], (usize, usize)> = HashMap::new();
        tokens.reserve(bytes.len() / 4);
        for chunk in bytes.utf8_chunks() {
            self.splitter.words(chunk.valid(), &self.vocabulary, &mut |word| match word {
                splitter::Piece::Token(token) => tokens.push(token),
                splitter::Piece::Word(word) => {
                    // The cache remembers where in `tokens` a word has been encoded before.
                    if let Some((start, end)) = cache.get(word.as_bytes()) {
                        tokens.extend_from_within(*start..*end);
                        return;
                    }
                    let start = tokens.len();
                    for part in parts(word) {
                        self.encode_word(part.as_bytes(), &mut scratch, tokens);
                    }
                    if word.len() <= CACHED_WORD_BYTES && cache.len() < CACHED_WORDS {
                        cache.insert(word.as_bytes(), (start, tokens.len()));
                    }
                }
            });
            // A byte without a token is left out; the caller compares and takes another road.
            let lone = chunk.invalid().iter();
            tokens.extend(lone.filter_map(|byte| self.vocabulary.byte_token(*byte)));
        }
        Ok(())
    }

    fn encode_bytes(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> bool {
        let start = tokens.len();
        for byte in bytes {
            let Some(token) = self.vocabulary.byte_token(*byte) else {
                tokens.truncate(start);
                return false;
            };
            tokens.push(token);
        }
        true
    }

    fn token_bytes(&self, token: TokenId) -> &[u8] {
        self.vocabulary.bytes(token)
    }
}

/// A word in pieces of at most [`MAX_WORD_BYTES`], cut between characters.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(MAX_WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (part, tail) = rest.split_at(end);
        rest = tail;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests;
