//! Files as written, and files that lie.

use super::*;
use crate::seeded::SeededModel;
use proptest::prelude::*;

fn small() -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.setting("text", Value::Text("word".into()));
    writer.setting("texts", Value::Texts(["a", "", "bc"].iter().collect()));
    writer.setting("numbers", Value::Integers(vec![-1, 1 << 40]));
    writer.setting("fractions", Value::Floats(vec![0.5, 0.1]));
    writer.setting("truths", Value::Bools(vec![true, false]));
    writer.setting("large", Value::Unsigned(1 << 40));
    writer.tensor("first", GgmlType::F32, &[2, 3], &[7; 24]).unwrap();
    writer.tensor("second", GgmlType::Q8_0, &[64], &[1; 68]).unwrap();
    writer.to_bytes().unwrap()
}

#[test]
fn what_is_written_is_read() {
    let bytes = small();
    let gguf = Gguf::from_bytes("small", &bytes).unwrap();
    assert_eq!(gguf.setting("text").unwrap().as_str(), Some("word"));
    let texts = gguf.setting("texts").unwrap().as_texts().unwrap();
    assert_eq!(texts.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
    assert_eq!(gguf.setting("numbers").unwrap().as_integers(), Some(&[-1, 1 << 40][..]));
    assert_eq!(gguf.setting("fractions").unwrap().as_floats(), Some(&[0.5, 0.1][..]));
    assert_eq!(gguf.setting("truths"), Some(&Value::Bools(vec![true, false])));
    assert_eq!(gguf.setting("large").unwrap().as_u64(), Some(1 << 40));
    let first = gguf.tensor("first").unwrap();
    assert_eq!((&first.shape[..], first.bytes), (&[2, 3][..], 24));
    let second = gguf.tensor("second").unwrap();
    let start = second.offset as usize;
    assert_eq!(bytes[start..start + second.bytes], [1; 68]);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let bytes = small();
    let tensors_end = {
        let gguf = Gguf::from_bytes("small", &bytes).unwrap();
        let last = gguf.tensor("second").unwrap();
        last.offset as usize + last.bytes
    };
    for length in 0..tensors_end {
        assert!(Gguf::from_bytes("cut", &bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn forged_counts_are_refused_before_memory_is_set_aside() {
    let bytes = small();
    // Tensor count, setting count, first key's length.
    for offset in [8, 16, 24] {
        let mut forged = bytes.clone();
        forged[offset..offset + 8].copy_from_slice(&(u64::MAX / 64).to_le_bytes());
        let error = Gguf::from_bytes("forged", &forged).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[test]
fn other_versions_and_files_are_named() {
    let mut bytes = small();
    bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
    let error = Gguf::from_bytes("old", &bytes).unwrap_err();
    assert!(error.to_string().contains("version 1"), "{error}");
    bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
    let error = Gguf::from_bytes("big", &bytes).unwrap_err();
    assert!(error.to_string().contains("big-endian"), "{error}");
    let error = Gguf::from_bytes("other", b"PK\x03\x04 and so on").unwrap_err();
    assert!(error.to_string().contains("magic"), "{error}");
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let mut writer = GgufWriter::new();
    writer.tensor("a", GgmlType::F32, &[16], &[0; 64]).unwrap();
    writer.tensor("b", GgmlType::F32, &[16], &[0; 64]).unwrap();
    let mut bytes = writer.to_bytes().unwrap();
    // The second info's offset is the last number before the padding.
    let place = bytes.windows(8).rposition(|window| window == 64_u64.to_le_bytes()).unwrap();
    bytes[place..place + 8].copy_from_slice(&32_u64.to_le_bytes());
    let error = Gguf::from_bytes("shared", &bytes).unwrap_err();
    assert!(error.to_string().contains("tensors apart"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..8)) {
        let mut bytes = SeededModel::default().to_gguf().unwrap();
        for (place, value) in changes {
            bytes[place] = value;
        }
        // Whether it still opens does not matter; that it returns does.
        let _ = crate::Checkpoint::from_gguf_bytes("changed", bytes);
    }

    #[test]
    fn any_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tail);
        prop_assert!(Gguf::from_bytes("random", &bytes).is_err() || bytes.len() >= 24);
    }
}
