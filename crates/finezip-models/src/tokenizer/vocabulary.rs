//! The table of what bytes each token stands for, and the ways of finding a token by its bytes.

use finezip_core::TokenId;

use super::merges::Scratch;

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
}

/// How words begin: as bytes, or as the characters that are tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Every byte is a symbol (byte-level BPE).
    Bytes,
    /// Every character that is a token is a symbol, of others each byte (SentencePiece's BPE with
    /// byte fallback).
    Characters,
}

/// Bytes of all tokens in one allocation, and an index of those that text is made of.
#[derive(Debug)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    roles: Vec<Role>,
    specials: Vec<(String, TokenId)>,
    alphabet: Alphabet,
    byte_tokens: [Option<TokenId>; 256],
    /// Open addressing over ids of text tokens, a power of two long; `EMPTY` where free.
    slots: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

/// Collects tokens in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct VocabularyBuilder {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    roles: Vec<Role>,
    specials: Vec<(String, TokenId)>,
}

impl VocabularyBuilder {
    /// The number of tokens so far: the next id.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds the next token. Files are far smaller than 4 GB here (their readers see to it).
    pub(super) fn push(&mut self, role: Role, bytes: &[u8]) {
        if role != Role::Special {
            self.bytes.extend_from_slice(bytes);
        } else if let Ok(text) = std::str::from_utf8(bytes) {
            self.specials.push((text.to_owned(), self.ends.len() as TokenId));
        }
        self.ends.push(self.bytes.len() as u32);
        self.roles.push(role);
    }

    pub(super) fn build(self, alphabet: Alphabet) -> Vocabulary {
        let slots = (self.ends.len() * 2).next_power_of_two();
        let mut vocabulary = Vocabulary {
            bytes: self.bytes,
            ends: self.ends,
            roles: self.roles,
            specials: self.specials,
            alphabet,
            byte_tokens: [None; 256],
            slots: vec![EMPTY; slots],
        };
        vocabulary.index();
        vocabulary
    }
}

impl Vocabulary {
    fn index(&mut self) {
        let mut text_bytes = [None; 256];
        for id in 0..self.ends.len() as TokenId {
            let role = self.role(id);
            if let [byte] = *self.bytes(id) {
                let table = match role {
                    Role::Byte => &mut self.byte_tokens,
                    _ => &mut text_bytes,
                };
                table[usize::from(byte)].get_or_insert(id);
            }
            if role == Role::Text && !self.bytes(id).is_empty() {
                let (slot, taken) = self.find(self.bytes(id), &[]);
                // Of equal tokens the first is used.
                if taken.is_none() {
                    self.slots[slot] = id;
                }
            }
        }
        for (byte, token) in self.byte_tokens.iter_mut().enumerate() {
            *token = token.or(text_bytes[byte]);
        }
    }

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

    pub(super) fn special(&self, text: &str) -> Option<TokenId> {
        self.specials.iter().find(|(special, _)| special == text).map(|(_, token)| *token)
    }

    /// The token of a single byte: one made for bytes, else one of text.
    pub(super) fn byte_token(&self, byte: u8) -> Option<TokenId> {
        self.byte_tokens[usize::from(byte)]
    }

    /// The text token with these bytes.
    pub(super) fn text_token(&self, bytes: &[u8]) -> Option<TokenId> {
        self.find(bytes, &[]).1
    }

    /// The text token whose bytes are those of `left` and `right`.
    pub(super) fn joined(&self, left: TokenId, right: TokenId) -> Option<TokenId> {
        self.find(self.bytes(left), self.bytes(right)).1
    }

    /// The slot where `left` followed by `right` is or would be, and what is there.
    fn find(&self, left: &[u8], right: &[u8]) -> (usize, Option<TokenId>) {
        let hash = left.iter().chain(right).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mask = self.slots.len() - 1;
        let mut slot = (hash ^ hash >> 29) as usize & mask;
        loop {
            let token = self.slots[slot];
            if token == EMPTY {
                return (slot, None);
            }
            let bytes = self.bytes(token);
            if bytes.len() == left.len() + right.len()
                && bytes.starts_with(left)
                && bytes.ends_with(right)
            {
                return (slot, Some(token));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The symbols a word has before merging.
    pub(super) fn first_symbols(&self, word: &[u8], scratch: &mut Scratch) {
        match self.alphabet {
            Alphabet::Bytes => {
                word.iter().filter_map(|byte| self.byte_token(*byte)).for_each(|t| scratch.push(t));
            }
            Alphabet::Characters => {
                let mut rest = word;
                while !rest.is_empty() {
                    let (character, tail) = rest.split_at(character_bytes(rest));
                    rest = tail;
                    match self.text_token(character) {
                        Some(token) => scratch.push(token),
                        None => {
                            let bytes = character.iter();
                            bytes.filter_map(|b| self.byte_token(*b)).for_each(|t| scratch.push(t));
                        }
                    }
                }
            }
        }
    }

    /// All tokens of a role.
    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = TokenId> {
        (0..self.len() as TokenId).filter(move |token| self.role(*token) == role)
    }

    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[self.alphabet as u8]);
        hasher.update(&(self.len() as u64).to_le_bytes());
        self.ends.iter().for_each(|end| {
            hasher.update(&end.to_le_bytes());
        });
        hasher.update(&self.bytes);
        let roles: Vec<u8> = self.roles.iter().map(|role| *role as u8).collect();
        hasher.update(&roles);
    }
}

/// Bytes of the first character of valid UTF-8.
fn character_bytes(text: &[u8]) -> usize {
    let continued = text.iter().skip(1).take_while(|byte| **byte & 0xc0 == 0x80);
    1 + continued.count()
}
