//! A tokenizer from a tokenizer.json, as Hugging Face's `tokenizers` writes it.
//!
//! Read are BPE models: byte-level ones with the pre-tokenizers Split (by pattern, isolated),
//! Digits and ByteLevel, and those in SentencePiece's manner with byte fallback. Normalizers, the
//! space some models put first and everything about special tokens are left out on purpose:
//! they change the text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use finezip_core::TokenId;
use serde_json::Value;
use tokenizers::models::bpe::Merges;

use super::vocabulary::{Alphabet, Role, Vocabulary};
use super::words::{GPT2, Step};
use super::{ModelTokenizer, Rules};
use crate::byte_alphabet;
use crate::error::{Error, Result};

/// Ids a vocabulary may leave out between others before it is taken to be damaged.
const MAX_UNUSED_IDS: usize = 1 << 16;

pub(super) fn read(name: &str, json: &[u8], start_token: TokenId) -> Result<ModelTokenizer> {
    let json: Value = serde_json::from_slice(json)
        .map_err(|error| Error::malformed(name, error.column() as u64, "JSON", error))?;
    let model = json.get("model").unwrap_or(&Value::Null);
    // Older files do not name the type of their model.
    if !matches!(model.get("type").and_then(Value::as_str), Some("BPE") | None) {
        let what = format!("tokenizer model {}; BPE is read", model["type"]);
        return Err(Error::unsupported(name, what));
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
            return Err(Error::unsupported(name, format!("{key} in tokenizer.json")));
        }
    }
    let flag = |key: &str| model.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut steps = Vec::new();
    let byte_level = read_pre_tokenizer(name, &json["pre_tokenizer"], &mut steps)?;
    let alphabet = match (byte_level, flag("byte_fallback")) {
        (true, _) => Alphabet::Bytes,
        (false, true) => Alphabet::Characters,
        (false, false) => {
            let what = "a tokenizer that is neither byte-level nor has byte fallback";
            return Err(Error::unsupported(name, what));
        }
    };
    let vocabulary = read_vocabulary(name, &json, model, alphabet)?;
    let merges = read_merges(name, model, &vocabulary)?;
    let whole_words_first = flag("ignore_merges");
    let rules = Rules { steps, merges, whole_words_first };
    ModelTokenizer::new(name, vocabulary, rules, start_token)
}

fn setting(name: &str, key: &str, expected: &str, found: impl ToString) -> Error {
    Error::setting(name, key, expected, found)
}

/// Appends the steps of a pre-tokenizer; true if text ends up in the byte alphabet.
fn read_pre_tokenizer(name: &str, json: &Value, steps: &mut Vec<Step>) -> Result<bool> {
    let kind = json.get("type").and_then(Value::as_str);
    let unsupported = || Error::unsupported(name, format!("pre-tokenizer {json}"));
    match kind {
        None if json.is_null() => Ok(false),
        Some("Sequence") => {
            let parts = json.get("pretokenizers").and_then(Value::as_array);
            let mut byte_level = false;
            for part in parts.ok_or_else(unsupported)? {
                byte_level |= read_pre_tokenizer(name, part, steps)?;
            }
            Ok(byte_level)
        }
        Some("ByteLevel") => {
            if json.get("use_regex").and_then(Value::as_bool).unwrap_or(true) {
                steps.push(Step::Pattern(GPT2.to_owned()));
            }
            Ok(true)
        }
        Some("Digits") => {
            let individual = json.get("individual_digits").and_then(Value::as_bool);
            steps.push(Step::Digits { individual: individual.unwrap_or(false) });
            Ok(false)
        }
        Some("Split") => {
            let pattern = json.get("pattern").unwrap_or(&Value::Null);
            let behavior = json.get("behavior").and_then(Value::as_str);
            let inverted = json.get("invert").and_then(Value::as_bool).unwrap_or(false);
            match (pattern.get("Regex").and_then(Value::as_str), behavior, inverted) {
                (Some(regex), Some("Isolated"), false) | (Some(regex), Some("Removed"), true) => {
                    steps.push(Step::Pattern(regex.to_owned()));
                    Ok(false)
                }
                // SentencePiece models converted: spaces have become "▁" by then.
                _ if pattern.get("String").and_then(Value::as_str) == Some(" ") => Ok(false),
                _ => Err(unsupported()),
            }
        }
        // Parts before each space; merging does not cross there anyway.
        Some("Metaspace") => Ok(false),
        _ => Err(unsupported()),
    }
}

fn read_vocabulary(
    name: &str,
    json: &Value,
    model: &Value,
    alphabet: Alphabet,
) -> Result<Vocabulary> {
    let vocab = model.get("vocab").and_then(Value::as_object);
    let vocab = vocab.ok_or_else(|| setting(name, "model.vocab", "an object of ids", "nothing"))?;
    let mut texts = BTreeMap::new();
    for (text, id) in vocab {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| setting(name, "model.vocab", "an id", &vocab[text]))?;
        texts.insert(id, (text.as_str(), None));
    }
    // Added tokens: special ones have no bytes, the others are taken out of text before merging.
    let added = json.get("added_tokens").and_then(Value::as_array);
    for token in added.into_iter().flatten() {
        let id = token.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let content = token.get("content").and_then(Value::as_str);
        let (Some(id), Some(content)) = (id, content) else {
            return Err(setting(name, "added_tokens", "an id and a content", token));
        };
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        texts.insert(id, (content, Some(special)));
    }
    let mut vocabulary = Vocabulary::new(alphabet);
    let last = texts.last_key_value().map_or(0, |(id, _)| *id as usize);
    if last > texts.len() + MAX_UNUSED_IDS {
        let expected = format!("ids below {}", texts.len() + MAX_UNUSED_IDS);
        return Err(setting(name, "model.vocab", &expected, last));
    }
    for (id, (text, added)) in texts {
        while vocabulary.len() < id as usize {
            vocabulary.push(Role::Special, "", b"");
        }
        push_token(&mut vocabulary, text, added);
    }
    Ok(vocabulary)
}

/// `added`: whether special, of an added token.
fn push_token(vocabulary: &mut Vocabulary, text: &str, added: Option<bool>) {
    let (role, bytes) = match (added, vocabulary.alphabet()) {
        (Some(true), _) => (Role::Special, Cow::Borrowed(&b""[..])),
        (Some(false), Alphabet::Bytes) => (Role::UserDefined, Cow::Borrowed(text.as_bytes())),
        (Some(false), Alphabet::Characters) => (Role::UserDefined, with_spaces(text.as_bytes())),
        (None, Alphabet::Bytes) => match byte_alphabet::bytes(text) {
            Some(bytes) => (Role::Text, Cow::Owned(bytes)),
            // Outside the alphabet: cannot come out of merging.
            None => (Role::Special, Cow::Borrowed(&b""[..])),
        },
        (None, Alphabet::Characters) => match named_byte(text.as_bytes()) {
            Some(byte) => (Role::Byte, Cow::Owned(vec![byte])),
            None => (Role::Text, with_spaces(text.as_bytes())),
        },
    };
    vocabulary.push(role, text, &bytes);
}

fn read_merges(name: &str, model: &Value, vocabulary: &Vocabulary) -> Result<Merges> {
    const KEY: &str = "model.merges";
    let merges = model.get("merges").and_then(Value::as_array);
    let merges = merges.ok_or_else(|| setting(name, KEY, "an array of merges", "nothing"))?;
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        // "a b" in older files, ["a", "b"] in newer ones.
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(parts) => match parts.as_slice() {
                [left, right] => left.as_str().zip(right.as_str()),
                _ => None,
            },
            _ => None,
        };
        let pair = pair.ok_or_else(|| setting(name, KEY, "two tokens that join to one", merge))?;
        // Merges of user-defined tokens, which are found before merging, lead nowhere here.
        if can_merge(vocabulary, pair.0, pair.1) {
            pairs.push((pair.0.to_owned(), pair.1.to_owned()));
        }
    }
    Ok(pairs)
}

/// Whether two spellings and both together are tokens that merging may meet.
pub(super) fn can_merge(vocabulary: &Vocabulary, left: &str, right: &str) -> bool {
    vocabulary.is_text(left)
        && vocabulary.is_text(right)
        && vocabulary.is_text(&format!("{left}{right}"))
}

/// SentencePiece's text: `▁` stands for a space.
pub(super) fn with_spaces(text: &[u8]) -> Cow<'_, [u8]> {
    const MARK: &[u8] = "▁".as_bytes();
    if !text.windows(MARK.len()).any(|window| window == MARK) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(MARK) {
            Some(tail) => {
                bytes.push(b' ');
                rest = tail;
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(bytes)
}

/// The byte of a token such as `<0x0A>`.
pub(super) fn named_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}
