//! A tokenizer from the settings of a GGUF file (`tokenizer.ggml.*`).

use finezip_core::TokenId;
use tokenizers::models::bpe::Merges;

use super::from_json::{can_merge, named_byte, with_spaces};
use super::vocabulary::{Alphabet, Role, Vocabulary};
use super::words::{GPT2, LLAMA3, QWEN2, Step};
use super::{ModelTokenizer, Rules};
use crate::byte_alphabet;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, TextArray, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";

/// GGML's token types.
const NORMAL: i64 = 1;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

pub(super) fn read(gguf: &Gguf, start_token: TokenId) -> Result<ModelTokenizer> {
    let model = gguf.setting(MODEL).and_then(Value::as_str).unwrap_or("nothing");
    match model {
        "gpt2" => byte_level(gguf, start_token),
        "llama" => sentence_piece(gguf, start_token),
        other => {
            let what = format!("tokenizer model {other}; gpt2 and llama are read");
            Err(Error::unsupported(gguf.file(), what))
        }
    }
}

fn missing(gguf: &Gguf, key: &str, expected: &str) -> Error {
    let found = gguf.setting(key).map_or("nothing".to_owned(), ToString::to_string);
    Error::setting(gguf.file(), key, expected, found)
}

fn texts<'a>(gguf: &'a Gguf, key: &str) -> Result<&'a TextArray> {
    let texts = gguf.setting(key).and_then(Value::as_texts);
    texts.ok_or_else(|| missing(gguf, key, "an array of text"))
}

/// Tokens with their types, which are as many.
fn typed_tokens(gguf: &Gguf) -> Result<impl Iterator<Item = (&[u8], i64)>> {
    let tokens = texts(gguf, TOKENS)?;
    let types = match gguf.setting(TYPES) {
        None => vec![NORMAL; tokens.len()],
        Some(value) => value
            .as_integers()
            .filter(|types| types.len() == tokens.len())
            .ok_or_else(|| missing(gguf, TYPES, "one whole number a token"))?
            .to_vec(),
    };
    Ok(tokens.iter().zip(types))
}

fn byte_level(gguf: &Gguf, start_token: TokenId) -> Result<ModelTokenizer> {
    let pre = gguf.setting(PRE).and_then(Value::as_str).unwrap_or("default");
    let step = |pattern: &str| Step::Pattern(pattern.to_owned());
    // The names llama.cpp gives to pre-tokenizers.
    let (steps, whole_words_first) = match pre {
        "default" | "gpt-2" | "gpt2" | "olmo" | "mpt" | "phi-2" => (vec![step(GPT2)], false),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            (vec![Step::Digits { individual: true }, step(GPT2)], false)
        }
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" => (vec![step(LLAMA3)], true),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (vec![step(QWEN2)], false),
        other => {
            let what = format!(
                "pre-tokenizer {other}; default, gpt-2, smollm, starcoder, refact, command-r, \
                 llama-bpe, smaug-bpe, qwen2 and stablelm2 are read"
            );
            return Err(Error::unsupported(gguf.file(), what));
        }
    };
    let mut vocabulary = Vocabulary::new(Alphabet::Bytes);
    for (text, token_type) in typed_tokens(gguf)? {
        let spelling = spelling(gguf, text)?;
        match (token_type, byte_alphabet::bytes(spelling)) {
            (NORMAL, Some(bytes)) => vocabulary.push(Role::Text, spelling, &bytes),
            (USER_DEFINED, _) => vocabulary.push(Role::UserDefined, spelling, text),
            // Normal tokens outside the alphabet cannot come out of merging.
            _ => vocabulary.push(Role::Special, spelling, b""),
        }
    }
    let listed = texts(gguf, MERGES)?;
    let mut merges = Vec::with_capacity(listed.len());
    for merge in listed.iter() {
        // The alphabet has no space, so the first one parts the two.
        let pair = std::str::from_utf8(merge).ok().and_then(|text| text.split_once(' '));
        match pair.filter(|(left, right)| can_merge(&vocabulary, left, right)) {
            Some((left, right)) => merges.push((left.to_owned(), right.to_owned())),
            None => {
                let found = String::from_utf8_lossy(merge);
                let expected = "two tokens that join to one";
                return Err(Error::setting(gguf.file(), MERGES, expected, found));
            }
        }
    }
    let rules = Rules { steps, merges, whole_words_first };
    ModelTokenizer::new(gguf.file(), vocabulary, rules, start_token)
}

fn spelling<'a>(gguf: &Gguf, text: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|_| missing(gguf, TOKENS, "tokens in UTF-8"))
}

fn sentence_piece(gguf: &Gguf, start_token: TokenId) -> Result<ModelTokenizer> {
    let mut vocabulary = Vocabulary::new(Alphabet::Characters);
    for (text, token_type) in typed_tokens(gguf)? {
        let spelling = spelling(gguf, text)?;
        match token_type {
            NORMAL => vocabulary.push(Role::Text, spelling, &with_spaces(text)),
            USER_DEFINED => vocabulary.push(Role::UserDefined, spelling, &with_spaces(text)),
            BYTE => {
                let byte = named_byte(text)
                    .ok_or_else(|| missing(gguf, TOKENS, "a byte token such as <0x0A>"))?;
                vocabulary.push(Role::Byte, spelling, &[byte]);
            }
            _ => vocabulary.push(Role::Special, spelling, b""),
        }
    }
    let scores = gguf.setting(SCORES).and_then(Value::as_floats);
    let scores = scores
        .filter(|scores| scores.len() == vocabulary.len())
        .ok_or_else(|| missing(gguf, SCORES, "one number a token"))?;
    let merges = merges_by_score(&vocabulary, scores).ok_or_else(|| {
        let what = "a vocabulary whose tokens can be cut in two tokens in so many ways";
        Error::unsupported(gguf.file(), what)
    })?;
    let rules = Rules { steps: Vec::new(), merges, whole_words_first: false };
    ModelTokenizer::new(gguf.file(), vocabulary, rules, start_token)
}

/// The most bytes that merges may take for each byte of the vocabulary: Gemma's take some twenty.
const MOST_HELD: usize = 64;

/// What a merge takes beside its text.
const MERGE_BYTES: usize = 2 * size_of::<String>();

/// The most bytes that may be looked at for merges, for each byte of the vocabulary.
const MOST_LOOKED_AT: usize = 512;

/// What small vocabularies may take in any case.
const SMALL_BYTES: usize = 1 << 20;

/// SentencePiece has no list of merges: any two tokens merge that together are a token, the one
/// of the highest score first. As a list: for each token, from the highest score, every way of
/// cutting it in two tokens. None where that is out of all
/// proportion to the vocabulary: tokens that are all starts of one another have cuts without end.
fn merges_by_score(vocabulary: &Vocabulary, scores: &[f64]) -> Option<Merges> {
    let mut order: Vec<u32> = vocabulary.of_role(Role::Text).collect();
    order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    let mut merges = Vec::new();
    let bytes: usize = order.iter().map(|&token| vocabulary.spelling(token).len()).sum();
    let may_take = |most: usize| most.saturating_mul(bytes).max(SMALL_BYTES);
    let (mut to_hold, mut to_look_at) = (may_take(MOST_HELD), may_take(MOST_LOOKED_AT));
    for token in order {
        let whole = vocabulary.spelling(token);
        // Only the first of equals is ever merged to.
        if vocabulary.id(whole) != Some(token) {
            continue;
        }
        for (place, _) in whole.char_indices().skip(1) {
            to_look_at = to_look_at.checked_sub(whole.len())?;
            let (left, right) = whole.split_at(place);
            if vocabulary.is_text(left) && vocabulary.is_text(right) {
                to_hold = to_hold.checked_sub(MERGE_BYTES + whole.len())?;
                merges.push((left.to_owned(), right.to_owned()));
            }
        }
    }
    Some(merges)
}
