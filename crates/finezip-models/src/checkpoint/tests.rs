//! Reading seeded models, safetensors folders and damaged files.

use super::*;
use crate::seeded::SeededModel;
use std::collections::HashMap;

/// A two-layer Llama folder whose tensors are those of a seeded GGUF model.
fn write_folder(folder: &Path, checkpoint: &Checkpoint, shards: usize) {
    let names: Vec<&str> = checkpoint.tensor_names().collect();
    let tensors: HashMap<&str, RawTensor> =
        names.iter().map(|name| (*name, checkpoint.raw(name).unwrap())).collect();
    let mut weight_map = serde_json::Map::new();
    for (number, names) in names.chunks(names.len().div_ceil(shards)).enumerate() {
        let file = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{number}-of-{shards}.safetensors"),
        };
        let views = names.iter().map(|name| {
            weight_map.insert((*name).to_owned(), file.clone().into());
            let raw = &tensors[name];
            let view = safetensors::tensor::TensorView::new(
                safetensors::Dtype::F32,
                raw.shape.clone(),
                &raw.bytes,
            );
            (*name, view.unwrap())
        });
        safetensors::serialize_to_file(views, None, &folder.join(&file)).unwrap();
    }
    if shards > 1 {
        let index = serde_json::json!({ "weight_map": weight_map });
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
    let config = checkpoint.config();
    let json = serde_json::json!({
        "model_type": "llama", "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads, "head_dim": config.head_dim,
        "intermediate_size": config.feed_forward, "vocab_size": config.vocab_size,
        "rms_norm_eps": 1e-5, "max_position_embeddings": config.context_length,
        "tie_word_embeddings": config.tied_embeddings, "bos_token_id": 0, "eos_token_id": [0, 1],
    });
    std::fs::write(folder.join("config.json"), json.to_string()).unwrap();
    let tokenizer = r#"{"added_tokens":[{"id":0,"content":"<|endoftext|>","special":true}]}"#;
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
}

#[test]
fn a_folder_reads_as_the_gguf_file_of_the_same_weights() {
    let seeded = SeededModel { tied_embeddings: false, ..SeededModel::default() };
    let gguf = seeded.checkpoint().unwrap();
    for shards in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        write_folder(folder.path(), &gguf, shards);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.config(), gguf.config());
        for name in gguf.tensor_names() {
            assert_eq!(checkpoint.raw(name).unwrap(), gguf.raw(name).unwrap());
        }
        let before = checkpoint.fingerprint().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        let after = Checkpoint::open(folder.path()).unwrap().fingerprint().unwrap();
        assert_ne!(before, after);
    }
}

/// A file that is written to in place stays the same file, and no longer holds what its hash says.
#[test]
fn a_change_after_the_hash_was_taken_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let models = [1, 2].map(|seed| SeededModel { seed, ..SeededModel::default() });
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, models[0].to_gguf().unwrap()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let expected = checkpoint.fingerprint().unwrap();
    checkpoint.check_unchanged().unwrap();
    std::fs::write(&path, models[1].to_gguf().unwrap()).unwrap();
    let found = Checkpoint::open(&path).unwrap().fingerprint().unwrap();
    match checkpoint.check_unchanged() {
        Err(Error::Changed { name, expected: before, found: after }) => {
            assert_eq!((&*name, before, after), ("model", expected, found));
        }
        other => panic!("{other:?}"),
    }
    // Not even its length is the same.
    std::fs::write(&path, b"GGUF").unwrap();
    assert!(matches!(checkpoint.check_unchanged(), Err(Error::Io { .. })));

    write_folder(folder.path(), &models[0].checkpoint().unwrap(), 1);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    checkpoint.check_unchanged().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(checkpoint.check_unchanged(), Err(Error::Changed { .. })));
}

#[test]
fn gemma_gains_in_a_folder_get_the_one_they_lack() {
    let seeded = SeededModel { architecture: Architecture::Gemma3, ..SeededModel::default() };
    let gguf = seeded.checkpoint().unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &gguf, 1);
    let path = folder.path().join("config.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json["model_type"] = "gemma3_text".into();
    json["sliding_window"] = 32.into();
    json["query_pre_attn_scalar"] = 16.into();
    json["rope_theta"] = 10_000.into();
    std::fs::write(&path, json.to_string()).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.config(), gguf.config());
    let stored = gguf.tensor_f32("model.norm.weight").unwrap().0;
    let read = checkpoint.tensor_f32("model.norm.weight").unwrap().0;
    let expected: Vec<f32> = stored.iter().map(|gain| gain + 1.0).collect();
    assert_eq!(read, expected);
    let name = "model.layers.1.mlp.up_proj.weight";
    assert_eq!(checkpoint.raw(name).unwrap(), gguf.raw(name).unwrap());
}

/// It would change what is computed.
#[test]
fn a_bias_that_is_not_computed_with_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &SeededModel::default().checkpoint().unwrap(), 2);
    let (name, bytes) = ("model.layers.0.mlp.down_proj.bias", [0; 64]);
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![16], &bytes);
    let more = folder.path().join("more.safetensors");
    safetensors::serialize_to_file([(name, view.unwrap())], None, &more).unwrap();
    let path = folder.path().join("model.safetensors.index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["weight_map"][name] = "more.safetensors".into();
    std::fs::write(&path, index.to_string()).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn pairs_split_and_join_back() {
    let bytes: Vec<u8> = (0..48).collect();
    let split = split_pairs(&bytes, 12, 6);
    assert_eq!(split[..12], [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]);
    assert_eq!(join_pairs(&split, 12, 6), bytes);
}

#[test]
fn an_index_that_points_out_of_its_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &SeededModel::default().checkpoint().unwrap(), 2);
    let index = r#"{"weight_map": {"a": "../model.safetensors"}}"#;
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("without folders"), "{error}");
}

#[test]
fn a_missing_tensor_and_a_wrong_shape_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &SeededModel::default().checkpoint().unwrap(), 1);
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(r#""num_hidden_layers":2"#, r#""num_hidden_layers":3"#))
        .unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::TensorMissing { .. }), "{error}");
    std::fs::write(&path, text.replace(r#""head_dim":16"#, r#""head_dim":8"#)).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
}
