//! Round trips of any bytes, and the same tokens as the `tokenizers` crate gives.

use super::*;
use crate::gguf::{Gguf, GgufWriter, Value};
use crate::seeded::SeededModel;
use proptest::prelude::*;
use std::sync::LazyLock;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

static SEEDED: LazyLock<ModelTokenizer> = LazyLock::new(|| {
    ModelTokenizer::from_checkpoint(&SeededModel::default().checkpoint().unwrap()).unwrap()
});

/// White space, digits, contractions, other scripts, marks, and text that spells special tokens.
const TEXT: &str = "It's  the hand\r\n\r\n  of 12345 things,\tand WE'LL see: naïve café, \u{a0}日本語の本。\
    \u{2581}the <|endoftext|> in\u{301} ١٢٣ ½ x²   \n\n\n end   ";

fn tokens(tokenizer: &ModelTokenizer, bytes: &[u8]) -> Vec<TokenId> {
    let mut tokens = Vec::new();
    tokenizer.encode(bytes, &mut tokens).unwrap();
    tokens
}

fn bytes(tokenizer: &ModelTokenizer, tokens: &[TokenId]) -> Vec<u8> {
    tokens.iter().flat_map(|token| tokenizer.token_bytes(*token).to_vec()).collect()
}

/// The `tokenizers` crate's idea of a byte-level GGUF vocabulary, without special tokens.
fn reference(gguf: &Gguf, pre: PreTokenizerWrapper) -> tokenizers::Tokenizer {
    let texts = |key: &str| -> Vec<String> {
        let texts = gguf.setting(key).unwrap().as_texts().unwrap();
        texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
    };
    let vocab: tokenizers::models::bpe::Vocab =
        texts("tokenizer.ggml.tokens").into_iter().zip(0..).collect();
    let merges = texts("tokenizer.ggml.merges");
    let merges = merges.iter().map(|merge| merge.split_once(' ').unwrap());
    let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).build().unwrap();
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pre));
    tokenizer
}

fn smollm() -> PreTokenizerWrapper {
    let byte_level = ByteLevel::new(false, false, true);
    Sequence::new(vec![Digits::new(true).into(), byte_level.into()]).into()
}

fn by_pattern(pattern: &str) -> PreTokenizerWrapper {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
    let byte_level = ByteLevel::new(false, false, false);
    Sequence::new(vec![split.into(), byte_level.into()]).into()
}

/// The seeded vocabulary, said to have another pre-tokenizer.
fn seeded_gguf(pre: &str) -> Gguf {
    let bytes = SeededModel::default().to_gguf().unwrap();
    let gguf = Gguf::from_bytes("seeded", &bytes).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.settings() {
        let value =
            if key == "tokenizer.ggml.pre" { Value::Text(pre.into()) } else { value.clone() };
        writer.setting(key, value);
    }
    Gguf::from_bytes("seeded", &writer.to_bytes().unwrap()).unwrap()
}

static PAIRS: LazyLock<Vec<(ModelTokenizer, tokenizers::Tokenizer)>> = LazyLock::new(|| {
    let pair = |pre: &str, reference_pre: PreTokenizerWrapper| {
        let gguf = seeded_gguf(pre);
        (from_gguf::read(&gguf, 0).unwrap(), reference(&gguf, reference_pre))
    };
    vec![
        pair("smollm", smollm()),
        pair("gpt-2", ByteLevel::new(false, false, true).into()),
        pair("qwen2", by_pattern(words::QWEN2)),
        // Llama 3's rule of whole words first changes nothing in this vocabulary.
        pair("llama-bpe", by_pattern(words::LLAMA3)),
    ]
});

fn assert_same(ours: &ModelTokenizer, theirs: &tokenizers::Tokenizer, text: &str) {
    let expected = theirs.encode_fast(text, false).unwrap();
    assert_eq!(tokens(ours, text.as_bytes()), expected.get_ids(), "{text:?}");
}

#[test]
fn words_and_tokens_are_those_of_the_tokenizers_crate() {
    for (ours, theirs) in PAIRS.iter() {
        assert_same(ours, theirs, TEXT);
        assert_same(ours, theirs, include_str!("from_json.rs"));
        // And after a way through tokenizer.json.
        let json = theirs.to_string(false).unwrap();
        let from_json = ModelTokenizer::from_json("json", json.as_bytes(), 0).unwrap();
        assert_same(&from_json, theirs, TEXT);
    }
}

#[test]
fn text_that_spells_special_tokens_is_text() {
    let encoded = tokens(&SEEDED, b"<|endoftext|><|special|>");
    assert!(encoded.iter().all(|token| *token > 1));
    assert_eq!(bytes(&SEEDED, &encoded), b"<|endoftext|><|special|>");
    assert_eq!(SEEDED.special_token("<|endoftext|>"), Some(0));
    assert_eq!(SEEDED.token_bytes(0), b"");
    assert_eq!(SEEDED.token_bytes(u32::MAX), b"");
    let json = PAIRS[0].1.clone();
    let mut json = json;
    let special = tokenizers::AddedToken::from("<|endoftext|>", true);
    json.add_special_tokens([special]).unwrap();
    let json = json.to_string(false).unwrap();
    let from_json = ModelTokenizer::from_json("json", json.as_bytes(), 0).unwrap();
    let encoded = tokens(&from_json, b"a<|endoftext|>");
    assert_eq!(bytes(&from_json, &encoded), b"a<|endoftext|>");
    assert_eq!(from_json.token_bytes(0), b"");
}

#[test]
fn nothing_is_put_before_text() {
    assert!(tokens(&SEEDED, b"").is_empty());
    assert_eq!(bytes(&SEEDED, &tokens(&SEEDED, b"the")), b"the");
}

/// A vocabulary in SentencePiece's manner: bytes, letters, `▁`, some words, user-defined runs.
fn sentence_piece() -> GgufWriter {
    let mut texts: Vec<(String, i64, f64)> = vec![("<unk>".into(), 2, 0.0), ("<s>".into(), 3, 0.0)];
    texts.extend(["\n", "\n\n", "  "].map(|text| (text.into(), 4, -1000.0)));
    texts.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 6, 0.0)));
    let pieces =
        ["▁t", "he", "▁the", "in", "ing", "▁a", "▁", "t", "h", "e", "i", "n", "g", "a", "é"];
    texts.extend(pieces.iter().zip(0..).map(|(text, rank)| ((*text).into(), 1, -f64::from(rank))));
    let mut writer = GgufWriter::new();
    writer.setting("tokenizer.ggml.model", Value::Text("llama".into()));
    let tokens = texts.iter().map(|text| &text.0).collect();
    writer.setting("tokenizer.ggml.tokens", Value::Texts(tokens));
    let types = texts.iter().map(|text| text.1).collect();
    writer.setting("tokenizer.ggml.token_type", Value::Integers(types));
    let scores = texts.iter().map(|text| text.2).collect();
    writer.setting("tokenizer.ggml.scores", Value::Floats(scores));
    writer
}

static PIECES: LazyLock<ModelTokenizer> = LazyLock::new(|| {
    let bytes = sentence_piece().to_bytes().unwrap();
    from_gguf::read(&Gguf::from_bytes("pieces", &bytes).unwrap(), 0).unwrap()
});

/// Their merges would take many times the memory of the file.
#[test]
fn tokens_with_cuts_without_end_are_refused() {
    let texts: Vec<String> = (1..=600).map(|length| "a".repeat(length)).collect();
    let mut writer = GgufWriter::new();
    writer.setting("tokenizer.ggml.model", Value::Text("llama".into()));
    writer.setting("tokenizer.ggml.scores", Value::Floats(vec![0.0; texts.len()]));
    writer.setting("tokenizer.ggml.tokens", Value::Texts(texts.iter().collect()));
    let gguf = Gguf::from_bytes("cuts", &writer.to_bytes().unwrap()).unwrap();
    let error = from_gguf::read(&gguf, 0).err().unwrap();
    assert!(error.to_string().contains("so many ways"), "{error}");
}

#[test]
fn sentence_piece_vocabularies_merge_by_score_and_fall_back_to_bytes() {
    let texts = |text: &str| -> Vec<Vec<u8>> {
        let tokens = tokens(&PIECES, text.as_bytes());
        tokens.iter().map(|token| PIECES.token_bytes(*token).to_vec()).collect()
    };
    let expected: [&[u8]; 4] = [b"t", b"he", b" the", b" t"];
    assert_eq!(texts("the the t"), expected);
    assert_eq!(texts("thing"), [&b"t"[..], b"h", b"ing"]);
    assert_eq!(texts("\n\n\n  a"), [&b"\n\n"[..], b"\n", b"  ", b"a"]);
    // A character without a token: its bytes; a literal ▁ is not a space.
    assert_eq!(texts("é\u{2581}"), [&b"\xc3\xa9"[..], b"\xe2", b"\x96", b"\x81"]);
    assert_eq!(tokens(&PIECES, b"<s>").len(), 3);
}

#[test]
fn the_fingerprint_covers_every_part() {
    let other = |pre: &str| from_gguf::read(&seeded_gguf(pre), 0).unwrap().fingerprint();
    assert_eq!(other("smollm"), SEEDED.fingerprint());
    assert_ne!(other("gpt-2"), other("smollm"));
    assert_ne!(other("llama-bpe"), other("qwen2"));
    assert_ne!(PIECES.fingerprint(), SEEDED.fingerprint());
}

static INCOMPLETE: LazyLock<ModelTokenizer> = LazyLock::new(|| incomplete(0));

/// A byte-level vocabulary of two special tokens, the bytes below 252 and some merges.
fn incomplete(start_token: TokenId) -> ModelTokenizer {
    let spell = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| crate::byte_alphabet::character(*byte)).collect()
    };
    let mut texts: Vec<(String, i64)> = vec![("<start>".into(), 3), ("<end>".into(), 3)];
    texts.extend((0..252).map(|byte| (spell(&[byte]), 1)));
    let merges = [("t", "h"), ("th", "e"), ("i", "n"), ("in", "g"), ("a", "b")];
    texts.extend(merges.iter().map(|(left, right)| (format!("{left}{right}"), 1)));
    let mut writer = GgufWriter::new();
    writer.setting("tokenizer.ggml.model", Value::Text("gpt2".into()));
    let tokens = texts.iter().map(|text| &text.0).collect();
    writer.setting("tokenizer.ggml.tokens", Value::Texts(tokens));
    let types = texts.iter().map(|text| text.1).collect();
    writer.setting("tokenizer.ggml.token_type", Value::Integers(types));
    let merges: Vec<String> =
        merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
    writer.setting("tokenizer.ggml.merges", Value::Texts(merges.iter().collect()));
    let gguf = Gguf::from_bytes("incomplete", &writer.to_bytes().unwrap()).unwrap();
    from_gguf::read(&gguf, start_token).unwrap()
}

#[test]
fn bytes_without_a_token_take_special_tokens_then_those_of_the_last_merges() {
    // The bytes below 252 are tokens 2 to 253; "th", "the", "in", "ing", "ab" are 254 to 258.
    let tokenizer = incomplete(0);
    for (byte, token) in (252..=255).zip([1, 258, 257, 256]) {
        assert_eq!(tokens(&tokenizer, &[b'x', byte]), [2 + u32::from(b'x'), token]);
        assert_eq!(tokenizer.token_bytes(token), [byte]);
    }
    assert_eq!(tokenizer.token_bytes(0), b"");
    assert_eq!(tokenizer.special_token("<end>"), None);
    assert_eq!(tokens(&tokenizer, b"the<end>")[..2], [255, 2 + u32::from(b'<')]);
    assert_eq!(tokens(&tokenizer, b"ing").len(), 3);
    let other = incomplete(1);
    assert_eq!(tokens(&other, &[252]), [0]);
    assert_ne!(other.fingerprint(), tokenizer.fingerprint());
}

#[test]
fn damaged_vocabularies_are_errors() {
    let error = from_gguf::read(&seeded_gguf("unheard-of"), 0).unwrap_err();
    assert!(error.to_string().contains("unheard-of"), "{error}");
    let mut writer = sentence_piece();
    writer.setting("tokenizer.ggml.pre", Value::Text("default".into()));
    let mut bytes = writer.to_bytes().unwrap();
    // The scores' item type: from floats to booleans of the same length and worse.
    let place = bytes.windows(6).rposition(|window| window == b"scores").unwrap() + 6 + 4;
    bytes[place] = 4;
    let gguf = Gguf::from_bytes("pieces", &bytes).unwrap();
    let error = from_gguf::read(&gguf, 0).unwrap_err();
    assert!(error.to_string().contains("scores"), "{error}");
    for json in [
        "",
        "{}",
        r#"{"model":{"type":"Unigram"}}"#,
        r#"{"model":{"vocab":{"a":4000000000},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
    ] {
        assert!(ModelTokenizer::from_json("json", json.as_bytes(), 0).is_err(), "{json}");
    }
}

#[test]
fn long_words_take_neither_bytes_nor_forever() {
    for byte in [b'a', b' ', b'1', b'\n', 0xff, 0] {
        let text = vec![byte; 300_000];
        for tokenizer in [&*SEEDED, &*PIECES] {
            assert!(bytes(tokenizer, &tokens(tokenizer, &text)) == text);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_come_back(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        for tokenizer in [&*SEEDED, &*PIECES, &*INCOMPLETE] {
            prop_assert_eq!(bytes(tokenizer, &tokens(tokenizer, &input)), &input[..]);
            let mut single = Vec::new();
            prop_assert!(tokenizer.encode_bytes(&input, &mut single));
            prop_assert_eq!(single.len(), input.len());
            prop_assert_eq!(bytes(tokenizer, &single), &input[..]);
        }
    }

    #[test]
    fn texts_come_back_as_the_tokenizers_crate_cuts_them(text in "([a-e]{1,4}|[ \r\n\t]{1,3}|[0-9]{1,4}|'[A-Za-z]|\\PC|\\s){0,60}") {
        for (ours, theirs) in PAIRS.iter() {
            let expected = theirs.encode_fast(text.as_str(), false).unwrap();
            let encoded = tokens(ours, text.as_bytes());
            prop_assert_eq!(&encoded[..], expected.get_ids());
            prop_assert_eq!(bytes(ours, &encoded), text.as_bytes());
        }
        prop_assert_eq!(bytes(&PIECES, &tokens(&PIECES, text.as_bytes())), text.as_bytes());
    }
}

/// A tokenizer from hostile data is an error or a tokenizer that does not panic.
fn withstand(tokenizer: Result<ModelTokenizer>) {
    if let Ok(tokenizer) = tokenizer {
        for text in [TEXT.as_bytes(), b"abcabc  \n\n<s>12\xff\xfe\x00", b"<0x41>\xe2\x96\x81ab"] {
            let encoded = tokens(&tokenizer, text);
            let spelled = bytes(&tokenizer, &encoded);
            // Bytes without a token are left out, and nothing else is ever put in.
            assert!(spelled.len() <= text.len(), "{spelled:?}");
            tokenizer.encode_bytes(text, &mut Vec::new());
        }
        tokenizer.token_bytes(u32::MAX);
    }
}

/// Texts as they stand in vocabularies, and such as do not.
fn spellings() -> impl Strategy<Value = String> {
    let usual = ["a", "b", "c", "ab", "bc", "abc", "▁", "▁a", "Ġ", "Ġa", "<s>", "Ċ", "1", "2"];
    let odd = ["", " ", "\n", "  ", "<0x41>", "<0xZZ>", "<0x4", "é", "日", "\u{0}", "\u{10ffff}"];
    prop_oneof![
        4 => proptest::sample::select(usual.to_vec()).prop_map(str::to_owned),
        2 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

/// Any JSON, mostly of the words that a tokenizer.json has.
fn json_values() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(-1), Just(0), Just(300), Just(1 << 32), any::<i64>()]
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        spellings().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(
                (
                    proptest::sample::select(vec!["type", "vocab", "merges", "id", "content", "a"])
                        .prop_map(str::to_owned),
                    inner,
                ),
                0..4
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts a value at a place of a JSON text, found by going down `path`.
fn replace(json: &mut serde_json::Value, path: &[usize], value: serde_json::Value) {
    use serde_json::Value;
    let mut place = json;
    for step in path {
        let count = match place {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        if count == 0 {
            break;
        }
        place = match place {
            Value::Array(items) => &mut items[step % count],
            Value::Object(members) => members.values_mut().nth(step % count).unwrap(),
            _ => return,
        };
    }
    *place = value;
}

static JSON: LazyLock<serde_json::Value> = LazyLock::new(|| {
    let mut tokenizer = PAIRS[0].1.clone();
    tokenizer.add_special_tokens([AddedToken::from("<|endoftext|>", true)]).unwrap();
    tokenizer.add_tokens([AddedToken::from("  ", false)]).unwrap();
    serde_json::from_str(&tokenizer.to_string(false).unwrap()).unwrap()
});

proptest! {
    #[test]
    fn damaged_json_is_an_error_or_a_tokenizer(
        changes in proptest::collection::vec(
            (proptest::collection::vec(any::<usize>(), 1..5), json_values()), 1..4),
    ) {
        let mut json = JSON.clone();
        for (path, value) in changes {
            replace(&mut json, &path, value);
        }
        withstand(ModelTokenizer::from_json("hostile", json.to_string().as_bytes(), 0));
    }

    #[test]
    fn hostile_vocabularies_are_errors_or_tokenizers(
        vocab in proptest::collection::vec((spellings(), 0_u64..40), 0..30),
        merges in proptest::collection::vec((spellings(), spellings()), 0..30),
        added in proptest::collection::vec((spellings(), 0_u64..50, any::<bool>()), 0..6),
        flags in any::<[bool; 3]>(),
        start in 0_u32..4,
    ) {
        use serde_json::{Value, json};
        let vocab: serde_json::Map<_, _> =
            vocab.into_iter().map(|(text, id)| (text, Value::from(id))).collect();
        let added: Vec<_> = added.into_iter().map(|(content, id, special)| {
            json!({ "id": id, "content": content, "special": special })
        }).collect();
        let json = json!({
            "pre_tokenizer": flags[0].then(|| json!({ "type": "ByteLevel" })),
            "added_tokens": added,
            "model": {
                "type": "BPE", "byte_fallback": flags[1], "ignore_merges": flags[2],
                "vocab": vocab, "merges": merges,
            },
        });
        withstand(ModelTokenizer::from_json("hostile", json.to_string().as_bytes(), start));
    }

    #[test]
    fn hostile_settings_are_errors_or_tokenizers(
        tokens in proptest::collection::vec((spellings(), -1_i64..9, any::<f64>()), 0..40),
        merges in proptest::collection::vec((spellings(), spellings()), 0..30),
        byte_level in any::<bool>(),
        start in 0_u32..4,
    ) {
        let mut writer = GgufWriter::new();
        let model = if byte_level { "gpt2" } else { "llama" };
        writer.setting("tokenizer.ggml.model", Value::Text(model.into()));
        let texts = tokens.iter().map(|token| &token.0).collect();
        writer.setting("tokenizer.ggml.tokens", Value::Texts(texts));
        let types = tokens.iter().map(|token| token.1).collect();
        writer.setting("tokenizer.ggml.token_type", Value::Integers(types));
        let scores = tokens.iter().map(|token| token.2).collect();
        writer.setting("tokenizer.ggml.scores", Value::Floats(scores));
        // Merges that are refused end the test early: mostly those of tokens.
        let known = |text: &str| tokens.iter().any(|token| token.0 == text && token.1 == 1);
        let merges: Vec<String> = merges.into_iter()
            .filter(|(left, right)| known(left) && known(right) && known(&format!("{left}{right}")))
            .map(|(left, right)| format!("{left} {right}")).collect();
        writer.setting("tokenizer.ggml.merges", Value::Texts(merges.iter().collect()));
        let gguf = Gguf::from_bytes("hostile", &writer.to_bytes().unwrap()).unwrap();
        withstand(from_gguf::read(&gguf, start));
    }

    #[test]
    fn damaged_headers_are_errors_or_tokenizers(
        pieces in any::<bool>(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let mut bytes = if pieces {
            sentence_piece().to_bytes().unwrap()
        } else {
            SeededModel::default().to_gguf().unwrap()
        };
        // The header of the seeded model, not its weights.
        let header = bytes.len().min(12_000);
        for (place, value) in changes {
            bytes[place % header] = value;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut % header));
        if let Ok(gguf) = Gguf::from_bytes("hostile", &bytes) {
            withstand(from_gguf::read(&gguf, 0));
        }
        let _ = Checkpoint::from_gguf_bytes("hostile", bytes);
    }
}
