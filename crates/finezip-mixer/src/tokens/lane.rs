//! What a lane remembers of the text it has coded.

use finezip_core::TokenId;

use super::matches::MatchState;

/// Number of match models.
pub(crate) const MATCHES: usize = 2;

/// Tokens before a restart that are read again.
pub(crate) const REPLAYED: usize = 64;

/// The past of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Place in the frame of the token it would go on with.
    pub(crate) next: Option<usize>,
    /// Tokens since the engine's lane was emptied.
    pub(crate) position: usize,
    /// The last tokens plus one, the latest first; 0 for none.
    pub(crate) last_tokens: [u32; 5],
    /// The last eight bytes, the latest lowest.
    pub(crate) bytes: u64,
    /// Hash of the letters of the word that is not ended, and of the words before.
    pub(crate) word: u32,
    pub(crate) words: [u32; 2],
    /// The last opened bracket that is not closed, the latest lowest.
    pub(crate) brackets: u64,
    /// Hash of the first two bytes of the line, and bytes since its start.
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) matches: [MatchState; MATCHES],
}

impl Lane {
    /// Moves on by one token.
    pub(crate) fn advance(&mut self, token: TokenId, bytes: &[u8]) {
        self.last_tokens.rotate_right(1);
        self.last_tokens[0] = token + 1;
        for &byte in bytes {
            self.bytes = self.bytes << 8 | u64::from(byte);
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | 128..=255 => {
                    let lower = u32::from(byte.to_ascii_lowercase());
                    self.word = (self.word.wrapping_add(lower + 1))
                        .wrapping_mul(0x3D4D_51CB)
                        .rotate_left(5);
                }
                _ if self.word != 0 => {
                    self.words = [self.word, self.words[0]];
                    self.word = 0;
                }
                _ => {}
            }
            match byte {
                b'(' | b'[' | b'{' | b'<' => self.brackets = self.brackets << 8 | u64::from(byte),
                b')' | b']' | b'}' | b'>' => self.brackets >>= 8,
                b'\n' => (self.line, self.column) = (0, 0),
                _ => {}
            }
            if byte != b'\n' {
                // A hostile vocabulary can make a line of more bytes than this counts.
                self.column = self.column.saturating_add(1);
                if self.column <= 2 {
                    self.line = self.line << 8 | u32::from(byte);
                }
            }
        }
    }
}
