//! Tokens for bytes that a vocabulary has none for.
//!
//! A byte-level vocabulary trained on clean text may have never seen some bytes (SmolLM2's lacks
//! 21). A text that holds one of them could not be coded at all, so ids that text does not need
//! are lent to such bytes: first the special tokens in ascending order, but for the one that every
//! lane starts with; then, where those are too few, the tokens of the last merges, the last first.
//! A last merge is what training found least worth a token, and nothing builds on it: its text
//! becomes the two tokens it was made of, and no other text changes. The missing bytes, ascending,
//! take the ids in that order. Vocabularies that have all bytes stay as they are.

use std::collections::{HashMap, HashSet};

use finezip_core::TokenId;
use tokenizers::models::bpe::Merges;

use super::vocabulary::{Alphabet, Role, Vocabulary};
use crate::byte_alphabet;

/// Lends ids to the bytes that have no token, as far as there are any; `merges` are best first.
pub(super) fn lend(vocabulary: &mut Vocabulary, merges: &mut Merges, start_token: TokenId) {
    let missing = (0..=255).filter(|byte| vocabulary.byte_token(*byte).is_none());
    let missing: Vec<u8> = missing.collect();
    if missing.is_empty() {
        return;
    }
    let special = vocabulary.of_role(Role::Special).filter(|token| *token != start_token);
    let mut lent: Vec<TokenId> = special.take(missing.len()).collect();
    let wanted = missing.len() - lent.len();
    lent.extend(last_merged(vocabulary, merges, wanted, start_token));
    let loans: HashMap<TokenId, u8> = lent.into_iter().zip(missing).collect();
    merges.retain(|(left, right)| {
        let whole = vocabulary.id(&format!("{left}{right}"));
        whole.is_none_or(|token| !loans.contains_key(&token))
    });
    *vocabulary = with_loans(vocabulary, &loans);
}

/// How a vocabulary of this alphabet spells a byte.
fn spelling(alphabet: Alphabet, byte: u8) -> String {
    match alphabet {
        Alphabet::Bytes => byte_alphabet::character(byte).to_string(),
        Alphabet::Characters => format!("<0x{byte:02X}>"),
    }
}

/// Up to `wanted` tokens that only merging makes and that no other merge needs, last merge first.
fn last_merged(
    vocabulary: &Vocabulary,
    merges: &Merges,
    wanted: usize,
    start_token: TokenId,
) -> Vec<TokenId> {
    if wanted == 0 {
        return Vec::new();
    }
    let mut needed: HashMap<&str, usize> = HashMap::new();
    for part in merges.iter().flat_map(|(left, right)| [left, right]) {
        *needed.entry(part).or_default() += 1;
    }
    let wholes: Vec<String> = merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
    let mut ways: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, whole) in wholes.iter().enumerate() {
        ways.entry(whole).or_default().push(i);
    }
    let (mut taken, mut seen) = (Vec::new(), HashSet::new());
    for whole in wholes.iter().rev().map(String::as_str) {
        if taken.len() == wanted {
            break;
        }
        let token = vocabulary
            .id(whole)
            .filter(|token| vocabulary.role(*token) == Role::Text && *token != start_token);
        let Some(token) = token.filter(|_| needed.get(whole).is_none_or(|uses| *uses == 0)) else {
            continue;
        };
        if !seen.insert(token) {
            continue;
        }
        taken.push(token);
        // What only this token was made of may go next.
        for (left, right) in ways[whole].iter().filter_map(|i| merges.get(*i)) {
            for part in [left, right] {
                if let Some(uses) = needed.get_mut(part.as_str()) {
                    *uses -= 1;
                }
            }
        }
    }
    taken
}

/// The vocabulary in which some tokens stand for bytes.
fn with_loans(old: &Vocabulary, loans: &HashMap<TokenId, u8>) -> Vocabulary {
    let mut new = Vocabulary::new(old.alphabet());
    for token in 0..old.len() as TokenId {
        match loans.get(&token) {
            Some(byte) => new.push(Role::Lent, &spelling(old.alphabet(), *byte), &[*byte]),
            None => new.push(old.role(token), old.spelling(token), old.bytes(token)),
        }
    }
    new
}
