//! A merged adapter: the same logits, bit for bit, as a model whose file holds the sums.

use std::collections::BTreeMap;
use std::sync::Arc;

use finezip_core::LanguageModel;
use finezip_exact::{CacheUse, ExactModel, ExactOptions, Isa, Precision};
use finezip_lora::{Adapter, AdapterConfig, Linear, LoraMatrices};
use finezip_models::{Architecture, Checkpoint, ModelConfig};

use crate::families::{FAMILIES, checkpoint, fixed, logits_alone, rolling, tokens};

/// An adapter of every linear in layer 0 and of some in layer 1.
pub(crate) fn adapter(config: &ModelConfig, size: f32, use_rslora: bool) -> Adapter {
    let mut state = 1_u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as f32 / (1_u64 << 31) as f32 - 1.0) * size
    };
    let mut modules = BTreeMap::new();
    for (place, linear) in Linear::ALL.into_iter().chain(Linear::ALL).enumerate() {
        if place > 7 && place % 2 == 0 {
            continue;
        }
        let [out_features, in_features] = linear.shape(config);
        let module = LoraMatrices {
            rank: 3,
            in_features,
            out_features,
            alpha: 5.0,
            a: (0..3 * in_features).map(|_| value()).collect(),
            b: (0..3 * out_features).map(|_| value()).collect(),
        };
        modules.insert(linear.path(place / 7), module);
    }
    let config = AdapterConfig {
        rank: 3,
        alpha: 5.0,
        use_rslora,
        dropout: 0.0,
        base_model: None,
        base_fingerprint: None,
    };
    Adapter::new(config, modules).unwrap()
}

/// The checkpoint with the adapter's changes in its file, computed here by the words of
/// docs/arithmetic.md.
fn merged(checkpoint: &Checkpoint, adapter: &Adapter) -> Checkpoint {
    let mut file = checkpoint.gguf_bytes().unwrap().unwrap();
    let head = checkpoint.config().head_dim;
    let llama = checkpoint.config().architecture == Architecture::Llama;
    for (path, module) in adapter.modules() {
        let name = path
            .replace("model.layers", "blk")
            .replace("self_attn.o_proj", "attn_output")
            .replace("self_attn.", "attn_")
            .replace("mlp.", "ffn_")
            .replace("_proj", "");
        let paired = llama && (path.contains("q_proj") || path.contains("k_proj"));
        let info = checkpoint.gguf().unwrap().tensor(&format!("{name}.weight")).unwrap();
        let root = (module.rank as f32).sqrt();
        let divisor = if adapter.config().use_rslora { root } else { module.rank as f32 };
        let scale = module.alpha / divisor;
        for row in 0..module.out_features {
            // Where a row stands in the file: pairs of a head lie side by side there.
            let (first, inner) = (row / head * head, row % head);
            let halves = first + inner % (head / 2) * 2 + inner / (head / 2);
            let file_row = if paired { halves } else { row };
            for column in 0..module.in_features {
                let at = info.offset as usize + 4 * (file_row * module.in_features + column);
                let stored = f32::from_le_bytes(file[at..at + 4].try_into().unwrap());
                let mut sum = 0.0_f32;
                for k in 0..module.rank {
                    let product =
                        module.b[row * module.rank + k] * module.a[k * module.in_features + column];
                    sum += product;
                }
                let sum = stored + sum * scale;
                file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    Checkpoint::from_gguf_bytes(checkpoint.name(), file).unwrap()
}

fn open(checkpoint: &Checkpoint, adapter: Option<Adapter>, options: ExactOptions) -> ExactModel {
    let options = ExactOptions { adapter: adapter.map(Arc::new), ..options };
    ExactModel::open(checkpoint, options).unwrap()
}

fn options(precision: Precision) -> ExactOptions {
    ExactOptions { precision, threads: 1, ..ExactOptions::default() }
}

#[test]
fn merging_gives_the_bits_of_a_model_whose_file_holds_the_sums() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        for (precision, use_rslora) in
            [(Precision::Int8, false), (Precision::Int4, true), (Precision::F32, true)]
        {
            let adapter = adapter(checkpoint.config(), 0.2, use_rslora);
            let summed = merged(&checkpoint, &adapter);
            let logits =
                |model: &ExactModel| logits_alone(model, rolling(24, 1), &tokens(40, 1), 40);
            let expected = logits(&open(&summed, None, options(precision)));
            let alone = logits(&open(&checkpoint, None, options(precision)));
            let model = open(&checkpoint, Some(adapter.clone()), options(precision));
            assert!(logits(&model) == expected, "{architecture:?} {precision}");
            assert!(alone != expected, "{architecture:?} {precision}");
            assert_eq!(model.identity().adapter, Some(adapter.fingerprint()));
            assert_eq!(model.identity().fingerprint, checkpoint.fingerprint().unwrap());
        }
    }
}

#[test]
fn neither_threads_nor_instructions_change_a_bit() {
    let checkpoint = checkpoint(FAMILIES[0]);
    let logits = |precision, threads, isa| {
        let adapter = adapter(checkpoint.config(), 0.2, false);
        let options = ExactOptions { threads, isa, ..options(precision) };
        let model = open(&checkpoint, Some(adapter), options);
        logits_alone(&model, fixed(32), &tokens(20, 3), 7)
    };
    for precision in Precision::ALL {
        let expected = logits(precision, 1, Some(Isa::scalar()));
        for isa in Isa::available() {
            for threads in [1, 3] {
                let same = logits(precision, threads, Some(isa)) == expected;
                assert!(same, "{precision} {isa} {threads} threads");
            }
        }
    }
}

#[test]
fn the_cache_keeps_each_adapter_apart() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(FAMILIES[0]);
    let adapters = [
        None,
        Some(adapter(checkpoint.config(), 0.2, false)),
        Some(adapter(checkpoint.config(), 0.2, true)),
    ];
    let opened = |adapter: &Option<Adapter>| {
        let cache_dir = Some(folder.path().to_owned());
        let options = ExactOptions { cache_dir, ..options(Precision::Int8) };
        let model = open(&checkpoint, adapter.clone(), options);
        (model.cache_use().clone(), logits_alone(&model, fixed(32), &tokens(9, 1), 9))
    };
    let first = adapters.each_ref().map(opened);
    let second = adapters.each_ref().map(opened);
    for (number, ((first_use, first), (second_use, second))) in
        first.iter().zip(&second).enumerate()
    {
        assert_eq!((first_use, second_use), (&CacheUse::Written, &CacheUse::Read));
        assert!(first == second, "adapter {number}");
    }
    assert!(first[0].1 != first[1].1 && first[1].1 != first[2].1);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let small = checkpoint(Architecture::Llama);
    let large = checkpoint(Architecture::Gemma3);
    let refused = |checkpoint: &Checkpoint, adapter: Adapter, precision| {
        let options = ExactOptions { adapter: Some(Arc::new(adapter)), ..options(precision) };
        ExactModel::open(checkpoint, options).unwrap_err().to_string()
    };
    for precision in Precision::ALL {
        let error = refused(&large, adapter(small.config(), 0.2, false), precision);
        assert!(error.contains("does not fit the model"), "{error}");
        // Values that are finite each, and not in their sum.
        let error = refused(&small, adapter(small.config(), 1e20, false), precision);
        assert!(error.contains("finite"), "{precision}: {error}");
    }
}
