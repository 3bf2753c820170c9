use super::*;

/// Values that are exact in `f32` and BF16.
fn matrices(rank: usize, in_features: usize, out_features: usize) -> LoraMatrices {
    let value = |i: usize| (i % 13) as f32 / 8.0 - 0.75;
    LoraMatrices {
        rank,
        in_features,
        out_features,
        alpha: 16.0,
        a: (0..rank * in_features).map(value).collect(),
        b: (0..rank * out_features).map(|i| value(i * 7 + 3)).collect(),
    }
}

fn adapter() -> Adapter {
    let config = AdapterConfig {
        rank: 4,
        alpha: 16.0,
        use_rslora: false,
        dropout: 0.05,
        base_model: Some("seeded".into()),
        base_fingerprint: Some("00ff".into()),
    };
    let mut modules = BTreeMap::new();
    modules.insert(Linear::QProj.path(0), matrices(4, 6, 5));
    modules.insert(Linear::DownProj.path(1), matrices(4, 3, 6));
    Adapter::new(config, modules).unwrap()
}

#[test]
fn what_is_saved_reads_back_and_has_the_same_bytes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let adapter = adapter();
    adapter.save(&first).unwrap();
    let read = Adapter::open(&first).unwrap();
    assert_eq!(read, adapter);
    read.save(&second).unwrap();
    for name in [CONFIG_FILE, WEIGHTS_FILE] {
        assert_eq!(
            std::fs::read(first.join(name)).unwrap(),
            std::fs::read(second.join(name)).unwrap()
        );
    }
}

#[test]
fn modules_may_have_ranks_and_alphas_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = adapter();
    let other = LoraMatrices { alpha: 3.0, ..matrices(2, 6, 5) };
    adapter.modules.insert(Linear::QProj.path(0), other);
    adapter.save(folder.path()).unwrap();
    let read = Adapter::open(folder.path()).unwrap();
    assert_eq!(read, adapter);
    assert_eq!(read.scale(read.module(&Linear::QProj.path(0)).unwrap()), 1.5);
    assert_eq!(read.scale(read.module(&Linear::DownProj.path(1)).unwrap()), 4.0);
}

#[test]
fn a_delta_is_the_scaled_product() {
    let adapter = adapter();
    let path = Linear::QProj.path(0);
    let module = adapter.module(&path).unwrap();
    let delta = adapter.delta(&path).unwrap();
    assert_eq!(delta.len(), 30);
    for row in 0..5 {
        for column in 0..6 {
            let sum: f64 = (0..4)
                .map(|k| f64::from(module.b[row * 4 + k]) * f64::from(module.a[k * 6 + column]))
                .sum();
            assert_eq!(f64::from(delta[row * 6 + column]), 4.0 * sum);
        }
    }
    assert!(adapter.delta("model.layers.9.mlp.up_proj").is_none());
    let mut weight = vec![0.5; 30];
    adapter.merge(&path, &mut weight).unwrap();
    assert!(weight.iter().zip(&delta).all(|(merged, delta)| *merged == 0.5 + delta));
    let mut other = vec![0.1; 7];
    adapter.merge("model.layers.9.mlp.up_proj", &mut other).unwrap();
    assert_eq!(other, [0.1; 7]);
    assert!(adapter.merge(&path, &mut other).unwrap_err().to_string().contains("30"));
}

#[test]
fn sizes_must_be_those_of_the_values() {
    for change in [
        |m: &mut LoraMatrices| m.rank = 0,
        |m: &mut LoraMatrices| (m.in_features, m.a) = (0, Vec::new()),
        |m: &mut LoraMatrices| (m.out_features, m.b) = (0, Vec::new()),
        |m: &mut LoraMatrices| m.in_features = usize::MAX,
        |m: &mut LoraMatrices| m.b.truncate(7),
    ] {
        let mut module = matrices(4, 6, 5);
        change(&mut module);
        let modules = BTreeMap::from([(Linear::QProj.path(0), module)]);
        assert!(Adapter::new(adapter().config, modules).is_err());
    }
    assert!(Adapter::new(adapter().config, BTreeMap::new()).is_err());
}

#[test]
fn rank_stabilisation_divides_by_the_root() {
    assert_eq!(merge::scale(32.0, 16, false), 2.0);
    assert_eq!(merge::scale(32.0, 16, true), 8.0);
}

#[test]
fn the_hash_covers_what_merging_computes_with_and_nothing_else() {
    let original = adapter();
    let mut renamed = original.clone();
    renamed.config.base_model = None;
    renamed.config.dropout = 0.0;
    assert_eq!(original.fingerprint(), renamed.fingerprint());
    let mut stabilised = original.clone();
    stabilised.config.use_rslora = true;
    assert_ne!(original.fingerprint(), stabilised.fingerprint());
    let mut other = original.clone();
    other.modules.get_mut(&Linear::QProj.path(0)).unwrap().b[7] += 0.5;
    assert_ne!(original.fingerprint(), other.fingerprint());
    // Recorded in archives, so it never changes.
    assert_eq!(
        original.fingerprint().to_hex(),
        "8d820f0a031f6037ec5fadd255befb44de96e8b325917ddf74506a5f1a03ffd3"
    );
}

#[test]
fn settings_that_merging_cannot_honour_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    adapter().save(folder.path()).unwrap();
    let path = folder.path().join(CONFIG_FILE);
    let json = std::fs::read_to_string(&path).unwrap();
    for (from, to, named) in [
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"LORA\"", "\"IA3\"", "IA3"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "lm_head"),
        ("\"r\": 4", "\"r\": 0", "at least 1"),
        ("\"r\": 4", "\"r\": 8", "rank 8"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\".*q_proj\": 2}", ".*q_proj"),
        ("\"lora_alpha\": 16.0", "\"lora_alpha\": -1", "above 0"),
        ("\"r\": 4", "\"r\": 4, \"init_lora_weights\": \"pissa_niter_4\"", "pissa_niter_4"),
        ("\"r\": 4", "\"r\": 4, \"init_lora_weights\": \"olora\"", "init_lora_weights"),
        ("\"r\": 4", "\"r\": 4, \"init_lora_weights\": \"lora_ga\"", "init_lora_weights"),
        ("\"r\": 4", "\"r\": 4, \"alora_invocation_tokens\": [5]", "alora_invocation_tokens"),
        ("\"r\": 4", "\"r\": 4, \"target_parameters\": [\"up\"]", "target_parameters"),
        ("\"r\": 4", "\"r\": 4, \"arrow_config\": {\"top_k\": 3}", "arrow_config"),
        ("\"r\": 4", "\"r\": 4, \"use_qalora\": true", "use_qalora"),
        ("\"r\": 4", "\"r\": 4, \"use_bdlora\": {\"nblocks\": 2}", "use_bdlora"),
    ] {
        assert!(json.contains(from), "{from}: {json}");
        std::fs::write(&path, json.replace(from, to)).unwrap();
        let error = Adapter::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}

#[test]
fn what_changes_nothing_in_merging_is_read_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter();
    adapter.save(folder.path()).unwrap();
    let path = folder.path().join(CONFIG_FILE);
    let json = std::fs::read_to_string(&path).unwrap();
    for init in ["true", "false", "null", "\"gaussian\"", "\"eva\"", "\"orthogonal\""] {
        let more = format!(
            "\"r\": 4, \"init_lora_weights\": {init}, \"alora_invocation_tokens\": null, \
             \"target_parameters\": [], \"arrow_config\": null, \"use_qalora\": false, \
             \"qalora_group_size\": 16, \"use_bdlora\": null, \"loftq_config\": {{}}"
        );
        std::fs::write(&path, json.replace("\"r\": 4", &more)).unwrap();
        let read = Adapter::open(folder.path()).unwrap();
        assert_eq!(read, adapter, "{init}");
        read.save(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), json);
    }
}

#[test]
fn matrices_in_16_bits_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter();
    adapter.save(folder.path()).unwrap();
    let path = folder.path().join(WEIGHTS_FILE);
    let whole = std::fs::read(&path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&whole).unwrap();
    let metadata = header.metadata().clone();
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    // The values are exact in both.
    for dtype in [safetensors::Dtype::F16, safetensors::Dtype::BF16] {
        let short = |bytes: &[u8; 4]| match (f32::from_le_bytes(*bytes), dtype) {
            (value, safetensors::Dtype::F16) => half::f16::from_f32(value).to_le_bytes(),
            (value, _) => half::bf16::from_f32(value).to_le_bytes(),
        };
        let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, view)| {
                let (values, _) = view.data().as_chunks();
                let bytes = values.iter().flat_map(short).collect();
                (name.to_owned(), view.shape().to_vec(), bytes)
            })
            .collect();
        let views = stored.iter().map(|(name, shape, bytes)| {
            (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(&path, safetensors::serialize(views, metadata.clone()).unwrap()).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < whole.len() as u64);
        assert_eq!(Adapter::open(folder.path()).unwrap(), adapter, "{dtype:?}");
    }
    assert_eq!(adapter.config().base_fingerprint.as_deref(), Some("00ff"));
}

#[test]
fn damaged_matrices_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    adapter().save(folder.path()).unwrap();
    let path = folder.path().join(WEIGHTS_FILE);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Adapter::open(folder.path()).is_err(), "{length} bytes");
    }
    let mut not_finite = whole.clone();
    let end = not_finite.len();
    not_finite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, not_finite).unwrap();
    assert!(Adapter::open(folder.path()).unwrap_err().to_string().contains("finite"));
    std::fs::remove_file(&path).unwrap();
    let error = Adapter::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains(WEIGHTS_FILE), "{error}");
}

#[test]
fn an_adapter_of_another_model_is_named() {
    let model = finezip_models::seeded::SeededModel::default().checkpoint().unwrap();
    let error = adapter().check(model.config()).unwrap_err().to_string();
    assert!(error.contains("q_proj") && error.contains("[5, 6]"), "{error}");
    let mut deep = adapter();
    let module = deep.modules.remove(&Linear::DownProj.path(1)).unwrap();
    deep.modules = BTreeMap::from([(Linear::DownProj.path(40), module)]);
    let error = deep.check(model.config()).unwrap_err().to_string();
    assert!(error.contains("layers.40"), "{error}");
}
