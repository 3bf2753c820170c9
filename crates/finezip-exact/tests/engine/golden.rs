//! Hashes of logits: any change of a bit on any machine shows here, and needs a new version of
//! the arithmetic.

use finezip_exact::Precision;
use finezip_models::Architecture;

use crate::families::{checkpoint, logits_alone, model, rolling, tokens};

/// BLAKE3 of the little-endian logits of 60 tokens through a rolling window of 24 with one sink.
fn hash(architecture: Architecture, precision: Precision) -> String {
    let checkpoint = checkpoint(architecture);
    let model = model(&checkpoint, precision);
    let mut hasher = blake3::Hasher::new();
    for row in logits_alone(&model, rolling(24, 1), &tokens(60, 1), 60) {
        for logit in row {
            assert!(logit.is_finite());
            hasher.update(&logit.to_le_bytes());
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[test]
fn logits_never_change() {
    let golden = include_str!("golden.txt");
    let mut found = String::new();
    for architecture in crate::families::FAMILIES {
        for precision in Precision::ALL {
            let hash = hash(architecture, precision);
            found.push_str(&format!("{architecture:?} {precision} {hash}\n"));
        }
    }
    assert_eq!(found, golden, "golden hashes; found:\n{found}");
}
