//! Hashes of logits: any change of a bit on any machine shows here, and needs a new version of
//! the arithmetic.

use finezip_exact::Precision;
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, Checkpoint, GgmlType};

use crate::families::{FAMILIES, checkpoint, logits_alone, model, rolling, seeded, tokens};
use crate::scaling::{divided_llama, linear_gemma, llama3};

/// BLAKE3 of the little-endian logits of 60 tokens through a rolling window of 24 with one sink.
fn hash(checkpoint: &Checkpoint, precision: Precision) -> String {
    let model = model(checkpoint, precision);
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
    let mut add = |name: &str, checkpoint: &Checkpoint, precisions: &[Precision]| {
        for &precision in precisions {
            let hash = hash(checkpoint, precision);
            found.push_str(&format!("{name} {precision} {hash}\n"));
        }
    };
    for architecture in FAMILIES {
        add(&format!("{architecture:?}"), &checkpoint(architecture), &Precision::ALL);
    }
    // Queries and keys of this family are put in order in whole blocks.
    for weight_type in [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q8_0] {
        let description = SeededModel { weight_type, ..seeded(Architecture::Llama) };
        let checkpoint = description.checkpoint().unwrap();
        let precisions = [Precision::Int8, Precision::Int4];
        add(&format!("Llama {weight_type}"), &checkpoint, &precisions);
    }
    let (_folder, ramp) = llama3();
    add("Llama scaled-llama3", &ramp, &Precision::ALL);
    add("Llama scaled-divisors", &divided_llama(), &Precision::ALL);
    add("Gemma3 scaled-linear", &linear_gemma(), &Precision::ALL);
    assert_eq!(found, golden, "golden hashes; found:\n{found}");
}
