//! The table of what bytes each token stands for.

use finezip_core::TokenId;
use tokenizers::models::bpe::Vocab;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Made by merging.
    Text,
    /// One byte of a character that has no token (`<0x0A>`).
    Byte,
    /// Text that is taken out before merging, as in training.
    UserDefined,
    /// Not text: has no bytes.
    Special,
    /// Lent to a byte that had no token (`lending`).
    Lent,
}

/// What text looks like inside a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// GPT-2's: a character for each byte (byte-level BPE).
    Bytes,
    /// Characters, `▁` for a space, and tokens for the bytes of others (SentencePiece's BPE with
    /// byte fallback).
    Characters,
}

/// All tokens, by id: their bytes, and how the model's files spell them.
#[derive(Debug)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    roles: Vec<Role>,
    spellings: Vec<String>,
    ids: Vocab,
    alphabet: Alphabet,
    byte_tokens: [Option<TokenId>; 256],
}

impl Vocabulary {
    /// A vocabulary without tokens.
    pub(super) fn new(alphabet: Alphabet) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            roles: Vec::new(),
            spellings: Vec::new(),
            ids: Vocab::default(),
            alphabet,
            byte_tokens: [None; 256],
        }
    }

    /// Adds the next token. Files are far smaller than 4 GB here (their readers see to it).
    pub(super) fn push(&mut self, role: Role, spelling: &str, bytes: &[u8]) {
        let id = self.ends.len() as TokenId;
        if role != Role::Special {
            self.bytes.extend_from_slice(bytes);
            if let [byte] = *bytes {
                let token = &mut self.byte_tokens[usize::from(byte)];
                // A token made for bytes is better than one of text; of equals, the first.
                if token.is_none_or(|old| role == Role::Byte && self.roles[old as usize] != role) {
                    *token = Some(id);
                }
            }
        }
        self.ends.push(self.bytes.len() as u32);
        self.roles.push(role);
        self.spellings.push(spelling.to_owned());
        self.ids.entry(spelling.to_owned()).or_insert(id);
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// A token's bytes; none for special tokens and ids out of range.
    pub(super) fn bytes(&self, token: TokenId) -> &[u8] {
        let token = token as usize;
        let Some(end) = self.ends.get(token) else { return &[] };
        let start = if token == 0 { 0 } else { self.ends[token - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    pub(super) fn role(&self, token: TokenId) -> Role {
        self.roles.get(token as usize).copied().unwrap_or(Role::Special)
    }

    /// How the model's files spell a token.
    pub(super) fn spelling(&self, token: TokenId) -> &str {
        self.spellings.get(token as usize).map_or("", String::as_str)
    }

    /// The token of that spelling, the first of equals.
    pub(super) fn id(&self, spelling: &str) -> Option<TokenId> {
        self.ids.get(spelling).copied()
    }

    /// Whether this is the spelling of a token that merging may meet.
    pub(super) fn is_text(&self, spelling: &str) -> bool {
        self.id(spelling).is_some_and(|token| self.role(token) == Role::Text)
    }

    pub(super) fn special(&self, text: &str) -> Option<TokenId> {
        self.id(text).filter(|token| self.role(*token) == Role::Special)
    }

    /// The token of a single byte: one made for bytes, else one of text.
    pub(super) fn byte_token(&self, byte: u8) -> Option<TokenId> {
        self.byte_tokens[usize::from(byte)]
    }

    /// All tokens of a role.
    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = TokenId> {
        (0..self.len() as TokenId).filter(move |token| self.role(*token) == role)
    }

    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[self.alphabet as u8]);
        hasher.update(&(self.len() as u64).to_le_bytes());
        let ends: Vec<u8> = self.ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        hasher.update(&ends);
        hasher.update(&self.bytes);
        let roles: Vec<u8> = self.roles.iter().map(|role| *role as u8).collect();
        hasher.update(&roles);
    }
}
