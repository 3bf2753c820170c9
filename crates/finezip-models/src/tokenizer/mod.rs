//! Bytes to a model's tokens and back, exact for any bytes.
//!
//! Merging is done by the `tokenizers` crate. That crate works on text and decodes with loss, so
//! three things are done around it: a table of each token's bytes (`vocabulary`), which is the
//! only way back from tokens; bytes that are not UTF-8 become single-byte tokens; and what comes
//! out is compared with what went in, piece by piece, so that a piece which does not come back is
//! encoded byte by byte. Normalizers are left out, special tokens are not known to it (text that
//! spells one is text), and no token or space is put before or after.

mod from_gguf;
mod from_json;
mod lending;
mod vocabulary;
mod words;

use finezip_core::{Fingerprint, TokenId, Tokenizer};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use vocabulary::{Alphabet, Role, Vocabulary};
use words::{InnerPairs, Step};

/// Text is encoded in pieces of about this many bytes: beyond it the crate gets slower.
const PIECE_BYTES: usize = 16 << 10;

/// A model's tokenizer.
#[derive(Debug)]
pub struct ModelTokenizer {
    vocabulary: Vocabulary,
    encoder: tokenizers::Tokenizer,
    /// Where text without words may be cut.
    inner_pairs: Option<InnerPairs>,
    fingerprint: Fingerprint,
}

/// What the model's files say of merging.
struct Rules {
    /// How text is cut into words, for byte-level vocabularies.
    steps: Vec<Step>,
    /// Spellings of what is merged, best first.
    merges: Merges,
    /// Whether a word that is a token is that token, whatever its merges say (Llama 3).
    whole_words_first: bool,
}

impl ModelTokenizer {
    /// The tokenizer of a checkpoint: from the settings of a GGUF file, or from tokenizer.json.
    ///
    /// # Errors
    /// A tokenizer that is missing, damaged or of a kind that is not read.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let start_token = checkpoint.config().start_token();
        if let Some(gguf) = checkpoint.gguf() {
            return from_gguf::read(gguf, start_token);
        }
        match checkpoint.tokenizer_json()? {
            Some(json) => Self::from_json(checkpoint.name(), &json, start_token),
            None => Err(Error::unsupported(checkpoint.name(), "a folder without tokenizer.json")),
        }
    }

    /// The tokenizer that a tokenizer.json describes; `name` is for errors. `start_token` is what
    /// the model begins with, which is never lent to a byte.
    ///
    /// # Errors
    /// A file that is damaged or of a kind that is not read.
    pub fn from_json(name: &str, json: &[u8], start_token: TokenId) -> Result<Self> {
        from_json::read(name, json, start_token)
    }

    fn new(
        file: &str,
        mut vocabulary: Vocabulary,
        mut rules: Rules,
        start_token: TokenId,
    ) -> Result<Self> {
        lending::lend(&mut vocabulary, &mut rules.merges, start_token);
        let fingerprint = fingerprint(&vocabulary, &rules);
        let unusable =
            |error: tokenizers::Error| Error::unsupported(file, format!("its vocabulary: {error}"));
        let mut ids = Vocab::default();
        let merged = [Role::Text, Role::Byte, Role::Lent];
        for token in merged.into_iter().flat_map(|role| vocabulary.of_role(role)) {
            ids.entry(vocabulary.spelling(token).to_owned()).or_insert(token);
        }
        let characters = vocabulary.alphabet() == Alphabet::Characters;
        // What training took out of text before merging. The crate gives an added token a new id
        // unless its model knows the text, and sees text with marks for spaces.
        let mut user_defined = Vec::new();
        for token in vocabulary.of_role(Role::UserDefined) {
            let text = std::str::from_utf8(vocabulary.bytes(token)).unwrap_or_default();
            let text = if characters { text.replace(' ', "▁") } else { text.to_owned() };
            if !text.is_empty() {
                ids.entry(text.clone()).or_insert(token);
                user_defined.push(AddedToken::from(text, false).normalized(false));
            }
        }
        let build = || {
            let model = BPE::builder()
                .vocab_and_merges(ids, rules.merges)
                .byte_fallback(characters)
                .ignore_merges(rules.whole_words_first)
                // The crate's cache lives as long as the thread that filled it, also when the
                // tokenizer is gone: a program that opens many models would keep them all.
                .cache_capacity(0)
                .build()
                .map_err(unusable)?;
            let mut encoder = tokenizers::Tokenizer::new(model);
            if !characters {
                encoder.with_pre_tokenizer(Some(words::byte_level(file, &rules.steps)?));
            }
            encoder.add_tokens(user_defined).map_err(unusable)?;
            Ok(encoder)
        };
        let encoder = unless_it_panics(build).unwrap_or_else(|| {
            let what = "its vocabulary, merges and patterns together: the tokenizers crate panics";
            Err(Error::unsupported(file, what))
        })?;
        let inner_pairs = characters.then(|| InnerPairs::new(&vocabulary));
        Ok(Self { vocabulary, encoder, inner_pairs, fingerprint })
    }

    /// The special token of this text, such as `<|endoftext|>`; none if it was lent to a byte.
    pub fn special_token(&self, text: &str) -> Option<TokenId> {
        self.vocabulary.special(text)
    }

    /// Appends the tokens of a piece, or of its bytes where those do not give it back.
    fn encode_piece(&self, piece: &str, tokens: &mut Vec<TokenId>) {
        let start = tokens.len();
        let encoded = unless_it_panics(|| match self.vocabulary.alphabet() {
            Alphabet::Bytes => self.encoder.encode_fast(piece, false),
            // In text, the mark itself is no space: the comparison below sends it to its bytes.
            Alphabet::Characters => self.encoder.encode_fast(piece.replace(' ', "▁"), false),
        });
        if let Some(Ok(encoded)) = encoded {
            tokens.extend_from_slice(encoded.get_ids());
        }
        let mut rest = piece.as_bytes();
        for token in &tokens[start..] {
            match rest.strip_prefix(self.vocabulary.bytes(*token)) {
                Some(after) if after.len() < rest.len() => rest = after,
                _ => break,
            }
        }
        let spelled: usize =
            tokens[start..].iter().map(|token| self.vocabulary.bytes(*token).len()).sum();
        if !rest.is_empty() || spelled != piece.len() {
            tokens.truncate(start);
            // A byte without a token is left out; the caller compares and takes another road.
            let bytes = piece.bytes();
            tokens.extend(bytes.filter_map(|byte| self.vocabulary.byte_token(byte)));
        }
    }

    /// Where to end the piece that `text` begins with: a place that no token crosses, if there is
    /// one.
    fn piece_end(&self, text: &str) -> usize {
        if text.len() <= PIECE_BYTES && self.inner_pairs.is_none() {
            return text.len();
        }
        let bytes = text.as_bytes();
        let limit = text.len().min(PIECE_BYTES);
        let place = match &self.inner_pairs {
            // Without words the shortest pieces are the fastest.
            Some(pairs) => (1..limit)
                .find(|&i| text.is_char_boundary(i) && pairs.may_cut(bytes[i - 1], bytes[i])),
            // No pre-tokenizer has a word that goes on from a letter to a space.
            None => {
                (1..limit).rev().find(|&i| bytes[i] == b' ' && bytes[i - 1].is_ascii_alphabetic())
            }
        };
        let whole_character = || (1..=limit).rev().find(|&i| text.is_char_boundary(i));
        place.or_else(whole_character).unwrap_or(text.len())
    }
}

/// What the `tokenizers` crate gives, or `None` where it panics: it takes its files for well made,
/// and here they come from anywhere. Nothing is kept of what it was working on.
fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// A hash of everything that decides how bytes become tokens.
fn fingerprint(vocabulary: &Vocabulary, rules: &Rules) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"finezip tokenizer 1\0");
    vocabulary.hash(&mut hasher);
    for step in &rules.steps {
        match step {
            Step::Pattern(source) => {
                hasher.update(b"pattern\0");
                hasher.update(&(source.len() as u64).to_le_bytes());
                hasher.update(source.as_bytes());
            }
            Step::Digits { individual } => {
                hasher.update(&[b'd', u8::from(*individual)]);
            }
        }
    }
    hasher.update(&(rules.merges.len() as u64).to_le_bytes());
    // Half a million short texts are hashed faster in larger pieces.
    let mut piece = Vec::with_capacity(1 << 16);
    for (left, right) in &rules.merges {
        piece.extend_from_slice(left.as_bytes());
        piece.push(b' ');
        piece.extend_from_slice(right.as_bytes());
        piece.push(0);
        if piece.len() >= 1 << 15 {
            hasher.update(&piece);
            piece.clear();
        }
    }
    hasher.update(&piece);
    hasher.update(&[u8::from(rules.whole_words_first)]);
    Fingerprint(*hasher.finalize().as_bytes())
}

impl Tokenizer for ModelTokenizer {
    fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn encode(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> finezip_core::Result<()> {
        tokens.reserve(bytes.len() / 3);
        for chunk in bytes.utf8_chunks() {
            let mut rest = chunk.valid();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(self.piece_end(rest));
                self.encode_piece(piece, tokens);
                rest = after;
            }
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

#[cfg(test)]
mod tests;
