//! The kind of machine on which candle's logits repeat, as a string to compare.
//!
//! candle's sums depend on vector instructions, on cache sizes (they set how long a partial sum
//! its matrix product keeps in registers) and on the system's `exp`. The first are named; for
//! what names do not cover, a few tokens are computed and their logits hashed, so that two
//! machines of one name that differ in arithmetic are told apart before anything is decoded.

use candle_core::{Device, Tensor};
use finezip_core::{Exactness, Result};

use crate::failure;
use crate::network::Blueprint;
use crate::options::Compute;

/// Tokens a lane that the probe computes: a block of two, and one alone.
const PROBE_TOKENS: usize = 3;

/// Bytes of the probe's hash that are kept.
const PROBE_HASH_BYTES: usize = 8;

/// Where this model's logits repeat.
///
/// # Errors
/// What computing the probe gives.
pub(crate) fn exactness(
    blueprint: &dyn Blueprint,
    group_lanes: usize,
    vocab_size: usize,
    compute: Compute,
    device: &Device,
) -> Result<Exactness> {
    let probe = probe(blueprint, group_lanes, vocab_size, device)?;
    let processor = match compute {
        Compute::Cpu => processor_features().join(" "),
        Compute::Cuda(_) => "cuda".to_owned(),
        Compute::Metal(_) => "metal".to_owned(),
    };
    let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
    Ok(Exactness::SameMachineKind(format!("{arch} {system} {processor} logits {probe}")))
}

/// Hash of the logits of a few fixed tokens, computed in the shapes that sessions use.
fn probe(
    blueprint: &dyn Blueprint,
    group_lanes: usize,
    vocab_size: usize,
    device: &Device,
) -> Result<String> {
    let mut network = blueprint.network(PROBE_TOKENS)?;
    let mut hasher = blake3::Hasher::new();
    let mut position = 0;
    while position < PROBE_TOKENS {
        let remaining = (PROBE_TOKENS - 1).saturating_sub(position).max(1);
        let count = blueprint.block_rule().next(position, remaining);
        let ids: Vec<u32> = (0..group_lanes * count)
            .map(|place| ((place * 7919 + position * 104_729) % vocab_size.max(1)) as u32)
            .collect();
        let tokens = Tensor::from_vec(ids, (group_lanes, count), device).map_err(failure)?;
        let logits = network.forward(&tokens, position).map_err(failure)?;
        let logits = logits.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        for logit in logits.map_err(failure)? {
            hasher.update(&logit.to_bits().to_le_bytes());
        }
        position += count;
    }
    let hash = hasher.finalize();
    Ok(hash.as_bytes()[..PROBE_HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The vector instructions of this processor that candle and its matrix product choose by.
fn processor_features() -> Vec<&'static str> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        let features = [
            ("avx", std::is_x86_feature_detected!("avx")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
            ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
            ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ];
        features.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let features = [
            ("neon", std::arch::is_aarch64_feature_detected!("neon")),
            ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
            ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
            ("sve", std::arch::is_aarch64_feature_detected!("sve")),
        ];
        features.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        vec!["portable"]
    }
}
