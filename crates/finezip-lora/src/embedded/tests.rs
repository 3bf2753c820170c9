use std::collections::BTreeMap;

use finezip_models::seeded::SeededModel;
use proptest::prelude::*;

use super::*;
use crate::adapter::{AdapterConfig, LoraMatrices};
use crate::random::Random;
use crate::target::Linear;

fn model() -> ModelConfig {
    SeededModel::default().checkpoint().unwrap().config().clone()
}

/// An adapter of some linears, with bell-shaped values as trained ones have.
fn adapter(config: &ModelConfig, rank: usize, kept: impl Fn(usize) -> bool, seed: u64) -> Adapter {
    let mut random = Random::new(seed);
    let mut value = |size: f32| (0..6).map(|_| random.symmetric()).sum::<f32>() * size;
    let mut modules = BTreeMap::new();
    for layer in 0..config.layers {
        for linear in Linear::ALL {
            if !kept(layer * Linear::ALL.len() + linear as usize) {
                continue;
            }
            let [out_features, in_features] = linear.shape(config);
            let module = LoraMatrices {
                rank,
                in_features,
                out_features,
                alpha: 16.0,
                a: (0..rank * in_features).map(|_| value(0.02)).collect(),
                b: (0..rank * out_features).map(|_| value(0.004)).collect(),
            };
            modules.insert(linear.path(layer), module);
        }
    }
    let settings = AdapterConfig {
        rank,
        alpha: 16.0,
        use_rslora: false,
        dropout: 0.1,
        base_model: Some("seeded".into()),
        base_fingerprint: None,
    };
    Adapter::new(settings, modules).unwrap()
}

fn squares(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum()
}

#[test]
fn what_is_read_is_what_was_written_and_close_to_the_adapter() {
    let config = model();
    let adapter = adapter(&config, 4, |_| true, 1);
    let mut sizes = Vec::new();
    for (precision, most) in [
        (EmbeddedPrecision::Int4, 0.03),
        (EmbeddedPrecision::Int8, 0.0001),
        (EmbeddedPrecision::F16, 1e-6),
    ] {
        let embedded = EmbeddedAdapter::new(&adapter, precision, &config).unwrap();
        let read = EmbeddedAdapter::read(embedded.bytes(), &config).unwrap();
        assert_eq!(&read, embedded.adapter());
        assert_eq!(read.modules().count(), 14);
        for ((path, module), (other_path, rounded)) in adapter.modules().zip(read.modules()) {
            assert_eq!((path, module.alpha), (other_path, rounded.alpha));
            for (values, rounded) in [(&module.a, &rounded.a), (&module.b, &rounded.b)] {
                let error = squares(values.iter().zip(rounded).map(|(v, r)| v - r));
                let share = error / squares(values.iter().copied());
                assert!(share < most, "{precision} {path}: {share}");
            }
        }
        sizes.push(8.0 * embedded.bytes().len() as f64 / adapter.parameters() as f64);
        // Rounding what is rounded already changes nothing.
        if precision == EmbeddedPrecision::F16 {
            let again = EmbeddedAdapter::new(&read, precision, &config).unwrap();
            assert_eq!(again.bytes(), embedded.bytes());
        }
    }
    // Bits a value, scales and all, of an adapter so small that most symbols of `int8` are new.
    assert!(sizes[0] < 4.1 && sizes[1] < 9.3 && sizes[2] < 15.5, "{sizes:?}");
}

#[test]
fn the_stored_form_never_changes() {
    let config = model();
    let hash = |precision| {
        let adapter = adapter(&config, 3, |place| place % 3 == 1, 5);
        let embedded = EmbeddedAdapter::new(&adapter, precision, &config).unwrap();
        let bytes = blake3::hash(embedded.bytes()).to_hex();
        format!("{} {}", &bytes[..16], &embedded.adapter().fingerprint().to_hex()[..16])
    };
    // Recorded in archives.
    assert_eq!(
        EmbeddedPrecision::ALL.map(hash),
        [
            "096d277865d9c855 05c8b8c3476f67a8",
            "337d70c1ffb15409 4a4e7177e4bd45eb",
            "0cf35e9b34dbf3f4 85eab5bfd4c5b7d5"
        ]
    );
}

#[test]
fn modules_may_have_settings_of_their_own() {
    let config = model();
    let mut modules: BTreeMap<String, LoraMatrices> = adapter(&config, 4, |_| true, 2)
        .modules()
        .map(|(path, module)| (path.to_owned(), module.clone()))
        .collect();
    let other = adapter(&config, 7, |place| place == 3, 3);
    let (path, module) = other.modules().next().unwrap();
    modules.insert(path.to_owned(), LoraMatrices { alpha: 0.3, ..module.clone() });
    let settings = AdapterConfig { use_rslora: true, ..other.config().clone() };
    let adapter = Adapter::new(settings, modules).unwrap();
    let embedded = EmbeddedAdapter::new(&adapter, EmbeddedPrecision::Int8, &config).unwrap();
    let own = embedded.adapter().module(path).unwrap();
    assert_eq!((own.rank, own.alpha), (7, 0.3));
    assert!(embedded.adapter().config().use_rslora);
    assert_eq!(embedded.adapter().module(&Linear::QProj.path(0)).unwrap().rank, 4);
}

#[test]
fn what_cannot_be_stored_is_named() {
    let config = model();
    let embed = |change: &dyn Fn(&mut LoraMatrices), precision| {
        let adapter = adapter(&config, 2, |place| place == 0, 1);
        let (path, module) = adapter.modules().next().unwrap();
        let mut module = module.clone();
        change(&mut module);
        let modules = BTreeMap::from([(path.to_owned(), module)]);
        let adapter = Adapter::new(adapter.config().clone(), modules).unwrap();
        EmbeddedAdapter::new(&adapter, precision, &config).map_err(|error| error.to_string())
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for precision in EmbeddedPrecision::ALL {
            let error = embed(&|module| module.b[3] = value, precision).unwrap_err();
            assert!(error.contains("finite") && error.contains("q_proj"), "{error}");
        }
    }
    let large = |module: &mut LoraMatrices| module.a[0] = 1e5;
    assert!(embed(&large, EmbeddedPrecision::Int4).is_ok());
    assert!(embed(&large, EmbeddedPrecision::F16).unwrap_err().contains("f16"));
    let high = |module: &mut LoraMatrices| {
        module.rank = 33;
        module.a = vec![0.0; 33 * module.in_features];
        module.b = vec![0.0; 33 * module.out_features];
    };
    let error = embed(&high, EmbeddedPrecision::Int4).unwrap_err();
    assert!(error.contains("rank of ") && error.contains("1 to 32"), "{error}");

    let wide = SeededModel { hidden_size: 96, ..SeededModel::default() };
    let other = wide.checkpoint().unwrap().config().clone();
    let fitting = adapter(&config, 2, |_| true, 1);
    let error = EmbeddedAdapter::new(&fitting, EmbeddedPrecision::Int4, &other).unwrap_err();
    assert!(matches!(error, Error::Misfit { .. }), "{error}");
}

#[test]
fn forged_headers_are_refused() {
    let config = model();
    let adapter = adapter(&config, 2, |_| true, 1);
    let bytes = EmbeddedAdapter::new(&adapter, EmbeddedPrecision::Int4, &config).unwrap();
    let read = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.bytes().to_vec();
        change(&mut bytes);
        EmbeddedAdapter::read(&bytes, &config).map_err(|error| error.to_string())
    };
    assert!(read(&|_| {}).is_ok());
    for (change, named) in [
        (&(|bytes: &mut Vec<u8>| bytes[0] = 2) as &dyn Fn(&mut Vec<u8>), "version"),
        (&|bytes| bytes[1] = 5, "bits of a value"),
        (&|bytes| bytes[2] = 2, "rank stabilisation"),
        (&|bytes| bytes[3..7].copy_from_slice(&[255; 4]), "rank of "),
        (&|bytes| bytes[3..7].copy_from_slice(&[0; 4]), "rank of "),
        (&|bytes| bytes[7..11].copy_from_slice(&f32::NAN.to_le_bytes()), "alpha of "),
        (&|bytes| bytes.truncate(10), "at least 11 bytes"),
        (&|bytes| bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 9]), "to its end"),
    ] {
        let error = read(change).unwrap_err();
        assert!(error.contains(named), "{named}: {error}");
    }
    // Of another model: the sizes that are read by are others.
    let deep = SeededModel { layers: 1, ..SeededModel::default() };
    let other = deep.checkpoint().unwrap().config().clone();
    assert!(EmbeddedAdapter::read(bytes.bytes(), &other).is_err());
}

proptest! {
    #[test]
    fn any_adapter_comes_back(
        rank in 1_usize..16,
        kept in 1_u32..1 << 14,
        seed in any::<u64>(),
        precision in prop::sample::select(EmbeddedPrecision::ALL.to_vec()),
    ) {
        let config = model();
        let adapter = adapter(&config, rank, |place| kept >> place & 1 == 1, seed);
        let embedded = EmbeddedAdapter::new(&adapter, precision, &config).unwrap();
        let read = EmbeddedAdapter::read(embedded.bytes(), &config).unwrap();
        prop_assert_eq!(read.fingerprint(), embedded.adapter().fingerprint());
        prop_assert_eq!(read.modules().count(), adapter.modules().count());
    }

    #[test]
    fn any_bytes_are_an_adapter_or_an_error(
        precision in prop::sample::select(vec![4_u8, 8, 16]),
        rank in 0_u8..40,
        code in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = vec![1, precision, 0, rank, 0, 0, 0];
        bytes.extend(8.0_f32.to_le_bytes());
        bytes.extend(code);
        if let Ok(adapter) = EmbeddedAdapter::read(&bytes, &model()) {
            prop_assert!(adapter.check(&model()).is_ok());
            let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
            prop_assert!(adapter.modules().all(|(_, module)| finite(&module.a) && finite(&module.b)));
        }
    }
}
