//! Byte pair encoding (Sennrich, Haddow and Birch 2016): of all neighbouring pairs that can be
//! joined, the best is, the leftmost of equals, until none can.
//!
//! Short words are searched anew for each merge; long ones keep a heap. Both do the same, which a
//! test holds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use finezip_core::TokenId;

use super::vocabulary::Vocabulary;

/// Words up to so many symbols are searched anew for each merge.
const SCANNED_SYMBOLS: usize = 40;
/// No merge, or no neighbour.
const NONE: u32 = u32::MAX;

/// Which pairs can be joined and which goes first.
#[derive(Debug)]
pub(super) enum MergeRule {
    /// A list of pairs, best first.
    Pairs(PairTable),
    /// Any pair whose joined bytes are a token, in the order of the tokens' ranks (lowest first),
    /// `[vocabulary]`: SentencePiece's rule, ranks after its scores.
    Ranks(Vec<u32>),
}

/// Rank and resulting token for each pair in a list.
#[derive(Debug, Default)]
pub(super) struct PairTable {
    table: HashMap<u64, Merge, BuildHasherDefault<PairHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Merge {
    rank: u32,
    token: TokenId,
}

impl PairTable {
    pub(super) fn with_capacity(pairs: usize) -> Self {
        Self { table: HashMap::with_capacity_and_hasher(pairs, BuildHasherDefault::default()) }
    }

    /// Adds the next best pair; a pair that is there already keeps its rank.
    pub(super) fn push(&mut self, left: TokenId, right: TokenId, token: TokenId) {
        let rank = self.table.len() as u32;
        self.table.entry(pair_key(left, right)).or_insert(Merge { rank, token });
    }
}

fn pair_key(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl MergeRule {
    /// Rank and token of joining two, if they can be.
    fn lookup(&self, vocabulary: &Vocabulary, left: TokenId, right: TokenId) -> Option<Merge> {
        match self {
            Self::Pairs(pairs) => pairs.table.get(&pair_key(left, right)).copied(),
            Self::Ranks(ranks) => {
                let token = vocabulary.joined(left, right)?;
                Some(Merge { rank: *ranks.get(token as usize)?, token })
            }
        }
    }

    /// Merges the symbols in `scratch` and appends what is left to `tokens`.
    pub(super) fn merge(
        &self,
        vocabulary: &Vocabulary,
        scratch: &mut Scratch,
        tokens: &mut Vec<TokenId>,
    ) {
        if scratch.symbols.len() <= SCANNED_SYMBOLS {
            self.merge_by_scan(vocabulary, scratch);
        } else {
            self.merge_by_heap(vocabulary, scratch);
        }
        tokens.extend_from_slice(&scratch.symbols);
    }

    fn merge_by_scan(&self, vocabulary: &Vocabulary, scratch: &mut Scratch) {
        let Scratch { symbols, merges, .. } = scratch;
        let none = Merge { rank: NONE, token: 0 };
        let look = |left, right| self.lookup(vocabulary, left, right).unwrap_or(none);
        merges.clear();
        merges.extend(symbols.windows(2).map(|pair| look(pair[0], pair[1])));
        while let Some((place, best)) =
            merges.iter().copied().enumerate().min_by_key(|(_, merge)| merge.rank)
        {
            if best.rank == NONE {
                break;
            }
            symbols[place] = best.token;
            symbols.remove(place + 1);
            merges.remove(place);
            if place > 0 {
                merges[place - 1] = look(symbols[place - 1], best.token);
            }
            if place < merges.len() {
                merges[place] = look(best.token, symbols[place + 1]);
            }
        }
    }

    fn merge_by_heap(&self, vocabulary: &Vocabulary, scratch: &mut Scratch) {
        let Scratch { symbols, links, heap, .. } = scratch;
        let count = symbols.len() as u32;
        links.clear();
        links.extend((0..count).map(|place| Link {
            previous: place.wrapping_sub(1),
            next: if place + 1 == count { NONE } else { place + 1 },
            gone: false,
        }));
        heap.clear();
        let candidate = |place: u32, left: TokenId, right: TokenId| {
            let merge = self.lookup(vocabulary, left, right)?;
            Some(Reverse(Candidate { rank: merge.rank, place, left, right, token: merge.token }))
        };
        for place in 1..count {
            let (left, right) = (symbols[place as usize - 1], symbols[place as usize]);
            heap.extend(candidate(place - 1, left, right));
        }
        while let Some(Reverse(best)) = heap.pop() {
            let place = best.place as usize;
            let next = links[place].next as usize;
            // A candidate is stale where one of its two has been merged since.
            if links[place].gone
                || links[place].next == NONE
                || symbols[place] != best.left
                || symbols[next] != best.right
            {
                continue;
            }
            symbols[place] = best.token;
            links[next].gone = true;
            let after = links[next].next;
            links[place].next = after;
            if after != NONE {
                links[after as usize].previous = best.place;
                heap.extend(candidate(best.place, best.token, symbols[after as usize]));
            }
            let before = links[place].previous;
            if before != NONE {
                heap.extend(candidate(before, symbols[before as usize], best.token));
            }
        }
        let mut link = links.iter();
        symbols.retain(|_| link.next().is_none_or(|link| !link.gone));
    }

    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Pairs(pairs) => {
                hasher.update(&[0]);
                let mut ordered: Vec<_> = pairs.table.iter().collect();
                ordered.sort_unstable_by_key(|(_, merge)| merge.rank);
                for (pair, merge) in ordered {
                    hasher.update(&pair.to_le_bytes());
                    hasher.update(&merge.token.to_le_bytes());
                }
            }
            Self::Ranks(ranks) => {
                hasher.update(&[1]);
                ranks.iter().for_each(|rank| {
                    hasher.update(&rank.to_le_bytes());
                });
            }
        }
    }
}

/// Memory that is used again for each word.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    symbols: Vec<TokenId>,
    merges: Vec<Merge>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Scratch {
    /// Forgets the last word.
    pub(super) fn start(&mut self) {
        self.symbols.clear();
    }

    /// Adds a symbol to the word.
    pub(super) fn push(&mut self, token: TokenId) {
        self.symbols.push(token);
    }
}

/// A symbol's neighbours, by place.
#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    gone: bool,
}

/// A pair that could be joined when it was looked at. Ordered by rank, then place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    place: u32,
    left: TokenId,
    right: TokenId,
    token: TokenId,
}

/// Spreads a pair of ids over 64 bits by one multiplication.
#[derive(Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x2545_f491_4f6c_dd1d)
            * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{Alphabet, Role, VocabularyBuilder};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Letters a to d, and tokens and merges drawn at random.
        #[test]
        fn scan_and_heap_agree(
            picks in proptest::collection::vec((0_usize..64, 0_usize..64), 0..40),
            word in proptest::collection::vec(0_u32..4, 0..200),
            by_ranks in any::<bool>(),
        ) {
            let mut builder = VocabularyBuilder::default();
            let mut texts: Vec<Vec<u8>> = (b'a'..=b'd').map(|letter| vec![letter]).collect();
            let mut pairs = Vec::new();
            for (left, right) in picks {
                let (left, right) = (left % texts.len(), right % texts.len());
                let joined = [&texts[left][..], &texts[right][..]].concat();
                if joined.len() < 20 && !texts.contains(&joined) {
                    pairs.push((left as u32, right as u32, texts.len() as u32));
                    texts.push(joined);
                }
            }
            texts.iter().for_each(|text| builder.push(Role::Text, text));
            let vocabulary = builder.build(Alphabet::Bytes);
            let rule = if by_ranks {
                // Equal ranks on purpose: the leftmost must win in both.
                MergeRule::Ranks((0..texts.len() as u32).map(|token| token / 3).collect())
            } else {
                let mut table = PairTable::default();
                pairs.iter().for_each(|(left, right, token)| table.push(*left, *right, *token));
                MergeRule::Pairs(table)
            };
            let mut scratch = Scratch { symbols: word.clone(), ..Scratch::default() };
            rule.merge_by_scan(&vocabulary, &mut scratch);
            let scanned = scratch.symbols.clone();
            scratch.symbols.clone_from(&word);
            rule.merge_by_heap(&vocabulary, &mut scratch);
            prop_assert_eq!(&scratch.symbols, &scanned);
            let bytes = |tokens: &[u32]| -> Vec<u8> {
                tokens.iter().flat_map(|token| vocabulary.bytes(*token).to_vec()).collect()
            };
            prop_assert_eq!(bytes(&scanned), bytes(&word));
        }
    }
}
