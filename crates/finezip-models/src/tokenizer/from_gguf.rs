//! A tokenizer from the settings of a GGUF file (`tokenizer.ggml.*`).

use super::merges::{MergeRule, PairTable};
use super::splitter::{Cuts, GPT2, InnerPairs, LLAMA3, QWEN2, Splitter, Step};
use super::vocabulary::{Alphabet, Role, VocabularyBuilder};
use super::{ModelTokenizer, from_json};
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

pub(super) fn read(gguf: &Gguf) -> Result<ModelTokenizer> {
    let model = gguf.setting(MODEL).and_then(Value::as_str).unwrap_or("nothing");
    match model {
        "gpt2" => byte_level(gguf),
        "llama" => sentence_piece(gguf),
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

fn byte_level(gguf: &Gguf) -> Result<ModelTokenizer> {
    let pre = gguf.setting(PRE).and_then(Value::as_str).unwrap_or("default");
    let step = |pattern: &str| Step::pattern(gguf.file(), pattern);
    // The names llama.cpp gives to pre-tokenizers.
    let (steps, whole_words_first) = match pre {
        "default" | "gpt-2" | "gpt2" | "olmo" | "mpt" | "phi-2" => (vec![step(GPT2)?], false),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            (vec![Step::Digits { individual: true }, step(GPT2)?], false)
        }
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" => (vec![step(LLAMA3)?], true),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (vec![step(QWEN2)?], false),
        other => {
            let what = format!(
                "pre-tokenizer {other}; default, gpt-2, smollm, starcoder, refact, command-r, \
                 llama-bpe, smaug-bpe, qwen2 and stablelm2 are read"
            );
            return Err(Error::unsupported(gguf.file(), what));
        }
    };
    let mut builder = VocabularyBuilder::default();
    for (text, token_type) in typed_tokens(gguf)? {
        let text_bytes = std::str::from_utf8(text).ok().and_then(byte_alphabet::bytes);
        match (token_type, text_bytes) {
            (NORMAL, Some(bytes)) => builder.push(Role::Text, &bytes),
            (USER_DEFINED, _) => builder.push(Role::UserDefined, text),
            // Normal tokens outside the alphabet cannot come out of merging.
            _ => builder.push(Role::Special, text),
        }
    }
    let vocabulary = builder.build(Alphabet::Bytes);
    let merges = texts(gguf, MERGES)?;
    let mut table = PairTable::with_capacity(merges.len());
    for merge in merges.iter() {
        let text = std::str::from_utf8(merge).ok();
        // The alphabet has no space, so the first one parts the two.
        let pair = text.and_then(|text| text.split_once(' '));
        let added = pair.and_then(|(left, right)| {
            let left = vocabulary.text_token(&byte_alphabet::bytes(left)?)?;
            let right = vocabulary.text_token(&byte_alphabet::bytes(right)?)?;
            table.push(left, right, vocabulary.joined(left, right)?);
            Some(())
        });
        if added.is_none() {
            let found = String::from_utf8_lossy(merge);
            return Err(Error::setting(gguf.file(), MERGES, "two tokens that join to one", found));
        }
    }
    let splitter = Splitter::new(gguf.file(), &vocabulary, Cuts::Steps(steps))?;
    Ok(ModelTokenizer::new(vocabulary, splitter, MergeRule::Pairs(table), whole_words_first))
}

fn sentence_piece(gguf: &Gguf) -> Result<ModelTokenizer> {
    let mut builder = VocabularyBuilder::default();
    for (text, token_type) in typed_tokens(gguf)? {
        match token_type {
            NORMAL => builder.push(Role::Text, &from_json::with_spaces(text)),
            USER_DEFINED => builder.push(Role::UserDefined, &from_json::with_spaces(text)),
            BYTE => {
                let byte = from_json::named_byte(text)
                    .ok_or_else(|| missing(gguf, TOKENS, "a byte token such as <0x0A>"))?;
                builder.push(Role::Byte, &[byte]);
            }
            _ => builder.push(Role::Special, text),
        }
    }
    let vocabulary = builder.build(Alphabet::Characters);
    let scores = gguf.setting(SCORES).and_then(Value::as_floats);
    let scores = scores
        .filter(|scores| scores.len() == vocabulary.len())
        .ok_or_else(|| missing(gguf, SCORES, "one number a token"))?;
    let rule = MergeRule::Ranks(ranks(scores));
    let cuts = Cuts::Between(InnerPairs::new(&vocabulary));
    let splitter = Splitter::new(gguf.file(), &vocabulary, cuts)?;
    Ok(ModelTokenizer::new(vocabulary, splitter, rule, false))
}

/// The highest score has rank 0, equal scores have equal ranks.
fn ranks(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let score = |token: u32| scores[token as usize];
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let mut ranks = vec![0; scores.len()];
    let mut rank = 0;
    for (place, token) in order.iter().enumerate() {
        if place > 0 && score(order[place - 1]).total_cmp(&score(*token)).is_ne() {
            rank += 1;
        }
        ranks[*token as usize] = rank;
    }
    ranks
}
