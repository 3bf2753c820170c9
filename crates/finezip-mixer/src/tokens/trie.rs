//! A vocabulary as a tree of binary decisions.
//!
//! The tokens are sorted by their bytes. Walking down the trie of those strings, each node asks
//! whether the token ends here, then for the next byte's bits from the highest. Decisions only one
//! outcome of which is possible are left out, so a vocabulary of n tokens has exactly n - 1 of
//! them, and each splits a range of the sorted vocabulary in two: a prefix sum over the sorted
//! distribution answers all their probabilities. Tokens of equal bytes (special tokens have none)
//! stand in the order of their ids and are told apart by halving.

use finezip_core::{Error, Result, TokenId};

/// What a decision asks; numbers below 8 are the bit of the byte, 0 the highest.
pub(crate) const KIND_END: u8 = 8;

/// A child that is no decision: the token is decided.
pub(crate) const LEAF: u32 = u32::MAX;

/// Tokens whose ids fit 16 bits.
pub(crate) const NARROW: usize = 1 << 16;

/// One decision over the places `low..high` of the sorted vocabulary (the walk knows both).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    /// Places below this have outcome 0, from this on outcome 1.
    pub(crate) middle: u32,
    /// The decisions that follow outcomes 0 and 1.
    pub(crate) next: [u32; 2],
    /// The bit of the byte (0 the highest), or [`KIND_END`].
    pub(crate) kind: u8,
    /// Bits of this byte decided so far below a leading one.
    pub(crate) partial: u8,
    /// Bytes of the token before this one.
    pub(crate) depth: u8,
}

/// The decisions of a vocabulary.
#[derive(Debug)]
pub(crate) struct Trie {
    pub(crate) decisions: Vec<Decision>,
    /// Token at each place of the sorted vocabulary.
    pub(crate) tokens: Vec<TokenId>,
    /// The same in 16 bits; empty where the vocabulary has more than [`NARROW`] tokens.
    pub(crate) narrow_tokens: Vec<u16>,
    /// Place of each token.
    pub(crate) places: Vec<u32>,
}

/// A part of the sorted vocabulary that is yet to be split.
struct Part {
    low: usize,
    high: usize,
    depth: usize,
    /// Next bit of the byte at `depth`; before the first of them the end flag is asked.
    kind: u8,
    /// Whether only tokens of equal bytes are left.
    equal: bool,
    /// Whose child it is.
    parent: Option<(usize, usize)>,
}

impl Trie {
    /// The trie of a vocabulary, bytes by id; at most 2^24 tokens.
    pub(crate) fn new(table: &[Vec<u8>]) -> Result<Self> {
        if table.is_empty() || table.len() > 1 << 24 {
            return Err(Error::Settings(format!(
                "a mixer needs a vocabulary of 1 to {} tokens, found {}",
                1 << 24,
                table.len()
            )));
        }
        let mut tokens: Vec<TokenId> = (0..table.len() as u32).collect();
        tokens.sort_by_key(|&token| (&table[token as usize], token));
        let mut places = vec![0; table.len()];
        for (place, &token) in tokens.iter().enumerate() {
            places[token as usize] = place as u32;
        }
        let narrow = if tokens.len() <= NARROW { &tokens[..] } else { &[] };
        let narrow_tokens = narrow.iter().map(|&token| token as u16).collect();
        let decisions = Vec::with_capacity(table.len());
        let mut trie = Self { decisions, tokens, narrow_tokens, places };
        trie.split_all(table);
        Ok(trie)
    }

    /// The first decision; [`LEAF`] where there is but one token.
    pub(crate) fn root(&self) -> u32 {
        if self.decisions.is_empty() { LEAF } else { 0 }
    }

    fn split_all(&mut self, table: &[Vec<u8>]) {
        let whole = Part {
            low: 0,
            high: self.tokens.len(),
            depth: 0,
            kind: KIND_END,
            equal: false,
            parent: None,
        };
        let mut parts = vec![whole];
        while let Some(mut part) = parts.pop() {
            if part.high - part.low < 2 {
                continue;
            }
            let bytes = |place: usize| &table[self.tokens[place] as usize][..];
            let (middle, after) = loop {
                if part.equal {
                    break (part.low.midpoint(part.high), [(KIND_END, part.depth, true); 2]);
                }
                let places = part.low..part.high;
                if part.kind == KIND_END {
                    let ended = places.clone().take_while(|&at| bytes(at).len() == part.depth);
                    let middle = part.low + ended.count();
                    if middle == part.high {
                        part.equal = true;
                        continue;
                    }
                    part.kind = 0;
                    if middle > part.low {
                        break (middle, [(KIND_END, part.depth, true), (0, part.depth, false)]);
                    }
                    continue;
                }
                let shift = 7 - part.kind;
                let zero = |place: &usize| bytes(*place)[part.depth] >> shift & 1 == 0;
                let middle = part.low + places.take_while(zero).count();
                let next = if part.kind == 7 {
                    (KIND_END, part.depth + 1, false)
                } else {
                    (part.kind + 1, part.depth, false)
                };
                if middle > part.low && middle < part.high {
                    break (middle, [next; 2]);
                }
                (part.kind, part.depth) = (next.0, next.1);
            };
            // The kind asked is the one before what follows.
            let (kind, depth) = match after[1] {
                (0, depth, false) => (KIND_END, depth),
                (KIND_END, depth, true) => (KIND_END, depth),
                (KIND_END, depth, false) => (7, depth - 1),
                (kind, depth, _) => (kind - 1, depth),
            };
            let partial = if kind == KIND_END {
                1
            } else {
                let byte = u32::from(bytes(middle)[depth]) | 256;
                (byte >> (8 - kind)) as u8
            };
            let at = self.decisions.len();
            self.decisions.push(Decision {
                middle: middle as u32,
                next: [LEAF; 2],
                kind,
                partial,
                depth: depth.min(255) as u8,
            });
            if let Some((parent, outcome)) = part.parent {
                self.decisions[parent].next[outcome] = at as u32;
            }
            for outcome in [1, 0] {
                let (kind, depth, equal) = after[outcome];
                let (low, high) =
                    if outcome == 0 { (part.low, middle) } else { (middle, part.high) };
                parts.push(Part { low, high, depth, kind, equal, parent: Some((at, outcome)) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks every walk and returns the number of decisions met over all tokens.
    fn check(table: &[Vec<u8>]) {
        let trie = Trie::new(table).unwrap();
        assert_eq!(trie.decisions.len(), table.len() - 1);
        for (token, bytes) in table.iter().enumerate() {
            let place = trie.places[token];
            assert_eq!(trie.tokens[place as usize] as usize, token);
            let (mut low, mut high) = (0, table.len() as u32);
            let mut at = if table.len() > 1 { 0 } else { LEAF };
            while at != LEAF {
                let decision = trie.decisions[at as usize];
                assert!(low < decision.middle && decision.middle < high);
                let outcome = place >= decision.middle;
                if decision.kind < 8 {
                    let byte = bytes[usize::from(decision.depth)];
                    assert_eq!(byte >> (7 - decision.kind) & 1 == 1, outcome);
                    assert_eq!(
                        u32::from(decision.partial),
                        (u32::from(byte) | 256) >> (8 - decision.kind)
                    );
                }
                if outcome {
                    low = decision.middle
                } else {
                    high = decision.middle
                }
                at = decision.next[usize::from(outcome)];
            }
            assert_eq!((low, high), (place, place + 1));
        }
    }

    #[test]
    fn special_and_equal_tokens_have_their_place() {
        let table: Vec<Vec<u8>> =
            ["", "a", "", "ab", "a", "abc", "b", "", "a"].map(|s| s.as_bytes().to_vec()).to_vec();
        check(&table);
        check(&vec![Vec::new(); 5]);
        check(&[b"only".to_vec()]);
        assert!(Trie::new(&[]).is_err());
    }

    proptest! {
        #[test]
        fn every_vocabulary_has_a_trie(
            table in prop::collection::vec(
                prop::collection::vec(prop_oneof![any::<u8>(), 97u8..99], 0..5), 1..200),
        ) {
            check(&table);
        }
    }
}
