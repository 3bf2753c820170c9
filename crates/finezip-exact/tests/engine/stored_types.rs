//! Files whose matrices are stored in blocks, as models are shipped: they compute with the values
//! that their blocks stand for.

use std::sync::Arc;

use finezip_exact::{ExactModel, ExactOptions, Precision};
use finezip_models::dequantize::dequantize;
use finezip_models::gguf::Gguf;
use finezip_models::seeded::SeededModel;
use finezip_models::{Checkpoint, GgmlType};

use crate::adapters::adapter;
use crate::families::{FAMILIES, logits_alone, rolling, seeded, tokens};

/// A file in F32 that holds, tensor by tensor and in the file's own order of rows, the values that
/// the blocks of the model's file stand for.
fn in_f32(model: &SeededModel) -> Checkpoint {
    let stored = model.to_gguf().unwrap();
    let plain = SeededModel { weight_type: GgmlType::F32, ..model.clone() };
    let mut plain = plain.to_gguf().unwrap();
    let header = Gguf::from_bytes("stored", &stored).unwrap();
    let plain_header = Gguf::from_bytes("plain", &plain).unwrap();
    for (name, tensor) in header.tensors() {
        let blocks = &stored[tensor.offset as usize..][..tensor.bytes];
        let values = dequantize(tensor.ggml_type, blocks).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let plain_tensor = plain_header.tensor(name).unwrap();
        assert_eq!(bytes.len(), plain_tensor.bytes, "{name}");
        plain[plain_tensor.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    Checkpoint::from_gguf_bytes("plain", plain).unwrap()
}

/// int8 and f32 know values alone, and so does int4 but for the two types whose blocks it keeps:
/// the logits are those of the file that holds the values, bit for bit, with an adapter as well.
#[test]
fn logits_are_those_of_the_values_in_f32() {
    for architecture in FAMILIES {
        for weight_type in [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q8_0] {
            let description = SeededModel { weight_type, ..seeded(architecture) };
            let (stored, plain) = (description.checkpoint().unwrap(), in_f32(&description));
            for precision in Precision::ALL {
                if precision == Precision::Int4 && weight_type != GgmlType::Q8_0 {
                    continue;
                }
                for adapted in [false, true] {
                    let logits = |checkpoint: &Checkpoint| {
                        let adapter =
                            adapted.then(|| Arc::new(adapter(checkpoint.config(), 0.2, false)));
                        let options =
                            ExactOptions { precision, adapter, threads: 1, ..Default::default() };
                        let model = ExactModel::open(checkpoint, options).unwrap();
                        logits_alone(&model, rolling(24, 1), &tokens(40, 1), 40)
                    };
                    let same = logits(&stored) == logits(&plain);
                    assert!(same, "{architecture:?} {weight_type} {precision} {adapted}");
                }
            }
        }
    }
}
