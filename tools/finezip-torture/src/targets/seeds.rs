//! What mutations begin with: whole and valid input for each target.

use std::collections::BTreeMap;
use std::fs;

use finezip_coder::{Backend, RankCoder, Threads};
use finezip_core::ByteCoder;
use finezip_lora::{Adapter, AdapterConfig, LoraMatrices};
use finezip_mixer::bytes;
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, GgmlType};
use tempfile::TempDir;

use super::SAMPLE;
use crate::specimens::{seeded, specimens};

pub(super) fn archive() -> Vec<Vec<u8>> {
    specimens().expect("specimens").into_iter().map(|specimen| specimen.archive).collect()
}

pub(super) fn payload() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0; 12], vec![3, 9, 0, 2, 0, 0x78, 0x9C, 0x03, 0x00, 0, 0, 0, 0, 1]];
    for (number, backend) in (0_u8..).zip(Backend::ALL) {
        let coder = RankCoder::new(backend, Threads::Inline);
        let payload = coder.pack(&[0, 1, 0, 0, 99, 3, 0, 0]).expect("ranks");
        seeds.push([&[number, 7, 0, 0, 9], &payload[..]].concat());
    }
    let mixer = bytes::ByteMixer::new(bytes::Settings { table_bits: 16 }).expect("settings");
    let payload = mixer.compress(SAMPLE).expect("a payload");
    seeds.push([&[SAMPLE.len() as u8, 0], &payload[..]].concat());
    seeds
}

pub(super) fn text() -> Vec<Vec<u8>> {
    let broken: &[u8] = b"\xFF\xC3(\xE4\xB8\x80 of the<|special|>\n\n  the";
    vec![SAMPLE.to_vec(), SAMPLE.repeat(40), broken.to_vec(), Vec::new()]
}

pub(super) fn tokenizer() -> Vec<Vec<u8>> {
    let byte_level = r#"{"added_tokens":[{"id":0,"content":"<|end|>","special":true},{"id":9,"content":"  ","special":false}],
"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
{"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},
{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},
"model":{"type":"BPE","ignore_merges":true,"vocab":{"<|end|>":0,"a":1,"b":2,"t":3,"h":4,"e":5,"th":6,"the":7,"\u0120":8},
"merges":["t h",["th","e"]]}}"#;
    let characters = r#"{"pre_tokenizer":null,"added_tokens":[{"id":0,"content":"<s>","special":true}],
"model":{"type":"BPE","byte_fallback":true,"vocab":{"<s>":0,"<0x0A>":1,"<0xE9>":2,"▁":3,"t":4,"he":5,"the":6,"h":7,"e":8},
"merges":["h e","t he"]}}"#;
    vec![byte_level.as_bytes().to_vec(), characters.as_bytes().to_vec()]
}

pub(super) fn gguf() -> Vec<Vec<u8>> {
    let small = |architecture, weight_type| {
        let model = SeededModel { architecture, weight_type, ..seeded() };
        model.to_gguf().expect("a seeded model")
    };
    vec![
        small(Architecture::Llama, GgmlType::F32),
        small(Architecture::Gemma3, GgmlType::Q8_0),
        small(Architecture::Qwen3, GgmlType::Q4_1),
    ]
}

pub(super) fn folder() -> Vec<Vec<u8>> {
    let config = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":8,"intermediate_size":8,
"num_attention_heads":2,"num_hidden_layers":1,"num_key_value_heads":1,"vocab_size":9,"rms_norm_eps":1e-5,
"rope_theta":10000.0,"max_position_embeddings":64,"tie_word_embeddings":true,"hidden_act":"silu","bos_token_id":0,"eos_token_id":0}"#;
    let tensors = [
        ("model.embed_tokens.weight", vec![9, 8]),
        ("model.layers.0.input_layernorm.weight", vec![8]),
        ("model.layers.0.mlp.down_proj.weight", vec![8, 8]),
        ("model.layers.0.mlp.gate_proj.weight", vec![8, 8]),
        ("model.layers.0.mlp.up_proj.weight", vec![8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", vec![8]),
        ("model.layers.0.self_attn.k_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", vec![8, 8]),
        ("model.layers.0.self_attn.q_proj.weight", vec![8, 8]),
        ("model.layers.0.self_attn.v_proj.weight", vec![4, 8]),
        ("model.norm.weight", vec![8]),
    ];
    let model = pack(&[
        ("config.json", config.as_bytes().to_vec()),
        ("model.safetensors", safetensors(&tensors)),
        ("tokenizer.json", tokenizer().swap_remove(0)),
    ]);
    let made = TempDir::new().expect("a temporary folder");
    adapter().save(made.path()).expect("an adapter");
    let read = |name: &'static str| (name, fs::read(made.path().join(name)).expect("its file"));
    let adapter = pack(&[read("adapter_config.json"), read("adapter_model.safetensors")]);
    vec![model, adapter]
}

/// A file of zeros in the format of safetensors: the header's length, the header, the values.
fn safetensors(tensors: &[(&str, Vec<usize>)]) -> Vec<u8> {
    let mut header = String::new();
    let mut offset = 0;
    for (name, shape) in tensors {
        let end = offset + 4 * shape.iter().product::<usize>();
        let comma = if header.is_empty() { "" } else { "," };
        header.push_str(&format!(
            "{comma}\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{offset},{end}]}}"
        ));
        offset = end;
    }
    let header = format!("{{{header}}}");
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; offset][..]].concat()
}

fn adapter() -> Adapter {
    let config = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        use_rslora: false,
        dropout: 0.0,
        base_model: Some("seeded".into()),
        base_fingerprint: None,
    };
    let matrices = LoraMatrices {
        rank: 2,
        in_features: 3,
        out_features: 4,
        alpha: 4.0,
        a: vec![0.5; 6],
        b: vec![-0.25; 8],
    };
    let modules = BTreeMap::from([("model.layers.0.self_attn.q_proj".to_owned(), matrices)]);
    Adapter::new(config, modules).expect("an adapter")
}

/// The files of a folder as one piece of bytes: for each a line with its number of bytes and its
/// name, then the bytes.
fn pack(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, bytes) in files {
        packed.extend_from_slice(format!("{} {name}\n", bytes.len()).as_bytes());
        packed.extend_from_slice(bytes);
    }
    packed
}
