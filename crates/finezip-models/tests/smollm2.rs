//! The default model's settings and tokenizer, on its real file, fetched where it is not here.
#![cfg(all(feature = "hub", feature = "tokenizer"))]

use std::sync::LazyLock;

use finezip_core::{TokenId, Tokenizer};
use finezip_models::hub::{Store, find};
use finezip_models::{Architecture, Checkpoint, GgmlType, ModelTokenizer};
use proptest::prelude::*;

static MODEL: LazyLock<Checkpoint> = LazyLock::new(|| {
    let entry = find("smollm2-135m").unwrap();
    let path = Store::from_env().unwrap().fetch(entry, &mut ()).unwrap();
    Checkpoint::open(path).unwrap()
});

static TOKENIZER: LazyLock<ModelTokenizer> =
    LazyLock::new(|| ModelTokenizer::from_checkpoint(&MODEL).unwrap());

fn encode(bytes: &[u8]) -> Vec<TokenId> {
    let mut tokens = Vec::new();
    TOKENIZER.encode(bytes, &mut tokens).unwrap();
    tokens
}

fn decode(tokens: &[TokenId]) -> Vec<u8> {
    tokens.iter().flat_map(|token| TOKENIZER.token_bytes(*token).to_vec()).collect()
}

#[test]
fn settings_are_those_of_the_model_card() {
    let config = MODEL.config();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!((config.layers, config.hidden_size, config.feed_forward), (30, 576, 1536));
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (9, 3, 64));
    assert_eq!((config.vocab_size, config.context_length), (49_152, 8192));
    assert_eq!((config.rope_theta, config.norm_eps), (100_000.0, 1e-5));
    assert!(config.tied_embeddings && config.rope_scaling.is_none());
    // `<|endoftext|>`, though the chat format names another first token.
    assert_eq!((config.start_token(), config.bos_token), (0, Some(1)));
    let name = "model.layers.7.self_attn.k_proj.weight";
    assert_eq!(MODEL.tensor_type(name), Some(GgmlType::Q4_1));
    let (values, shape) = MODEL.tensor_f32(name).unwrap();
    assert_eq!((values.len(), &shape[..]), (192 * 576, &[192, 576][..]));
    assert!(values.iter().all(|value| value.is_finite()));
}

/// Tokens as the `tokenizers` crate gives them for this vocabulary, special tokens left out.
#[test]
fn tokens_are_those_of_the_tokenizers_crate() {
    use tokenizers::models::bpe::{BPE, Vocab};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::pre_tokenizers::{PreTokenizerWrapper, sequence::Sequence};
    let texts = |key: &str| -> Vec<String> {
        let texts = MODEL.gguf().unwrap().setting(key).unwrap().as_texts().unwrap();
        texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
    };
    let vocab: Vocab = texts("tokenizer.ggml.tokens").into_iter().zip(0..).collect();
    let merges = texts("tokenizer.ggml.merges");
    let merges = merges.iter().map(|merge| merge.split_once(' ').unwrap());
    let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).build().unwrap();
    let mut reference = tokenizers::Tokenizer::new(bpe);
    let steps = vec![Digits::new(true).into(), ByteLevel::new(false, false, true).into()];
    let steps: PreTokenizerWrapper = Sequence::new(steps).into();
    reference.with_pre_tokenizer(Some(steps));
    for text in [include_str!("smollm2.rs"), include_str!("../src/gguf/value.rs"), "naïve 東京 ½"]
    {
        let expected = reference.encode_fast(text, false).unwrap();
        assert_eq!(encode(text.as_bytes()), expected.get_ids());
    }
}

#[test]
fn text_that_spells_special_tokens_is_text() {
    let text = b"<|endoftext|> and <|im_start|>user\n<repo_name>";
    let tokens = encode(text);
    assert!(tokens.iter().all(|token| *token > 16), "{tokens:?}");
    assert_eq!(decode(&tokens), text);
    assert_eq!(TOKENIZER.token_bytes(0), b"");
}

/// The vocabulary was trained on text in which these bytes never occurred: control characters, and
/// bytes that UTF-8 has no or hardly any use for.
const WITHOUT_TOKEN: [u8; 21] = [
    0x04, 0x06, 0x13, 0x14, 0x16, 0x1d, 0xc0, 0xc1, 0xf1, 0xf2, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    0xfb, 0xfc, 0xfd, 0xfe, 0xff,
];

/// Such bytes take the special tokens but the start token, then the tokens of the last merges.
#[test]
fn bytes_without_a_token_are_lent_one() {
    let ids = (1..=16).chain([49_151, 49_150, 49_149, 49_148, 49_147]);
    for (byte, token) in WITHOUT_TOKEN.into_iter().zip(ids) {
        assert_eq!(encode(&[byte]), [token], "{byte:#04x}");
        assert_eq!(TOKENIZER.token_bytes(token), [byte]);
    }
    assert_eq!(TOKENIZER.token_bytes(0), b"");
    // What the last merge made is two tokens now, and what it was made of is as it was.
    let parts = [&b"ect"[..], b"able"];
    let found = encode(&parts.concat());
    let found: Vec<&[u8]> = found.into_iter().map(|token| TOKENIZER.token_bytes(token)).collect();
    assert_eq!(found, parts);
    // A control character in the middle of text costs one token, and its neighbours nothing.
    let text = b"the quick brown fox";
    let (whole, with) = (encode(text), encode(b"the quick\x13 brown fox\xff"));
    assert_eq!((with[2], with[5]), (3, 49_147));
    assert_eq!([&with[..2], &with[3..5]].concat(), whole);
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(decode(&encode(&bytes)), &bytes[..]);
        let mut single = Vec::new();
        prop_assert!(TOKENIZER.encode_bytes(&bytes, &mut single));
        prop_assert_eq!(single.len(), bytes.len());
        prop_assert_eq!(decode(&single), &bytes[..]);
    }

    #[test]
    fn any_text_comes_back(
        text in "([ -~éüßñ“”–]|[ \r\n\t]|[a-z]{1,8} ?|[0-9]|[一-龥]|[а-я]|<\\|[a-z]+\\|>){0,80}",
    ) {
        prop_assert_eq!(decode(&encode(text.as_bytes())), text.as_bytes());
    }
}
