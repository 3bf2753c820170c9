//! The match model: where the last tokens have occurred before, the token that followed is
//! expected. Places are those of the frame, whichever lane coded them; a token that no lane has
//! coded yet is never looked at.

use finezip_core::TokenId;

/// Stands for a token that has not been coded yet.
pub(crate) const UNKNOWN: TokenId = TokenId::MAX;

/// How far back a match is verified, in tokens.
const VERIFIED: usize = 32;

/// Lengths and recent misses are told apart in this many states.
pub(crate) const MATCH_STATES: usize = 16 * 4;

/// Where one lane's match stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MatchState {
    /// Place of the expected token.
    pointer: usize,
    /// Tokens that agree before it; 0 for no match.
    length: usize,
    /// Recent misses, the latest lowest.
    misses: u8,
}

impl MatchState {
    /// Length and misses in [`MATCH_STATES`] states.
    #[inline(always)]
    pub(crate) fn state(&self) -> usize {
        self.strength() * 4 + (self.misses.count_ones() as usize).min(3)
    }

    /// Length in 16 steps, 0 for no match.
    #[inline(always)]
    pub(crate) fn strength(&self) -> usize {
        match self.length {
            0..=8 => self.length,
            9..=11 => 9,
            12..=15 => 10,
            16..=23 => 11,
            24..=31 => 12,
            32..=63 => 13,
            64..=255 => 14,
            _ => 15,
        }
    }
}

/// Last places after each hash of `minimum` tokens.
#[derive(Debug)]
pub(crate) struct MatchTable {
    minimum: usize,
    places: Vec<u32>,
    hash_bits: u32,
}

/// Places that are remembered of a frame of `tokens` tokens, as a power of 2.
fn hash_bits(tokens: usize) -> u32 {
    (usize::BITS - tokens.leading_zeros() + 1).clamp(8, 22)
}

impl MatchTable {
    /// Bytes that the places of a frame of `tokens` tokens take.
    pub(crate) fn memory_bytes(tokens: usize) -> u64 {
        (size_of::<u32>() as u64) << hash_bits(tokens)
    }

    /// For frames of `tokens` tokens.
    pub(crate) fn new(minimum: usize, tokens: usize) -> Self {
        let hash_bits = hash_bits(tokens);
        Self { minimum, places: vec![0; 1 << hash_bits], hash_bits }
    }

    fn slot(&self, last: &[TokenId]) -> usize {
        let hash = last.iter().fold(self.minimum as u64, |hash, &token| {
            (hash ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        });
        (hash.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> (64 - self.hash_bits)) as usize
    }

    /// Moves a lane's match past the token just coded at `end - 1`.
    pub(crate) fn advance(&mut self, state: &mut MatchState, tokens: &[TokenId], end: usize) {
        let last = tokens[end - 1];
        if state.length > 0 {
            if tokens[state.pointer] == last {
                state.length = (state.length + 1).min(65_535);
                state.pointer += 1;
                state.misses = state.misses << 1 & 15;
            } else {
                state.length = 0;
                state.misses = (state.misses << 1 | 1) & 15;
            }
        }
        if end >= self.minimum && !tokens[end - self.minimum..end].contains(&UNKNOWN) {
            let slot = self.slot(&tokens[end - self.minimum..end]);
            if state.length < VERIFIED / 2 {
                self.look(state, tokens, end, self.places[slot] as usize);
            }
            self.places[slot] = end as u32;
        }
        if state.length > 0
            && (state.pointer == end
                || tokens.get(state.pointer).is_none_or(|&token| token == UNKNOWN))
        {
            state.length = 0;
        }
    }

    fn look(&self, state: &mut MatchState, tokens: &[TokenId], end: usize, place: usize) {
        if place == 0 || place == end {
            return;
        }
        let agree = (1..=VERIFIED.min(place))
            .take_while(|&back| {
                let token = tokens[end - back.min(end)];
                back <= end && token != UNKNOWN && tokens[place - back] == token
            })
            .count();
        if agree >= self.minimum && agree > state.length {
            state.pointer = place;
            state.length = agree;
        }
    }

    /// The token expected next.
    pub(crate) fn expected(&self, state: &MatchState, tokens: &[TokenId]) -> Option<TokenId> {
        if state.length == 0 {
            return None;
        }
        tokens.get(state.pointer).copied().filter(|&token| token != UNKNOWN)
    }
}
