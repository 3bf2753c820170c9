//! Small seeded models of each family, and ways of feeding them.

use finezip_core::{LaneFeed, LanguageModel, Logits, SessionShape, TokenId, Window};
use finezip_exact::{ExactModel, ExactOptions, Precision};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, Checkpoint, GgmlType};

/// All families.
pub(crate) const FAMILIES: [Architecture; 4] =
    [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3, Architecture::Gemma3];

/// A model whose widths reach the parts that real ones do: a rotation with a dense factor, the
/// online Hadamard blocks of queries, keys and the feed-forward part, grouped queries, a layer that sees all among layers that slide.
pub(crate) fn seeded(architecture: Architecture) -> SeededModel {
    let gemma = architecture == Architecture::Gemma3;
    SeededModel {
        architecture,
        hidden_size: if gemma { 160 } else { 96 },
        layers: if gemma { 6 } else { 2 },
        heads: 4,
        kv_heads: 2,
        head_dim: if architecture == Architecture::Qwen2 { 32 } else { 64 },
        feed_forward: 128,
        sliding_window: 12,
        tied_embeddings: architecture != Architecture::Qwen3,
        weight_type: GgmlType::F32,
        ..SeededModel::default()
    }
}

/// The model of [`seeded`].
pub(crate) fn checkpoint(architecture: Architecture) -> Checkpoint {
    seeded(architecture).checkpoint().expect("a seeded model")
}

/// The model with one thread and the best instruction set.
pub(crate) fn model(checkpoint: &Checkpoint, precision: Precision) -> ExactModel {
    let options = ExactOptions { precision, threads: 1, ..ExactOptions::default() };
    ExactModel::open(checkpoint, options).expect("a model")
}

/// Tokens that no pattern repeats.
pub(crate) fn tokens(count: usize, seed: u32) -> Vec<TokenId> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % SeededModel::VOCAB_SIZE as u32
    };
    (0..count).map(|_| next()).collect()
}

/// A window without sinks that is reset when it is full.
pub(crate) fn fixed(tokens: usize) -> Window {
    Window { tokens, sinks: 0, rolling: false }
}

/// A rolling window.
pub(crate) fn rolling(tokens: usize, sinks: usize) -> Window {
    Window { tokens, sinks, rolling: true }
}

/// Logits of all tokens of one lane alone, fed `chunk` tokens a call, as rows.
pub(crate) fn logits_alone(
    model: &ExactModel,
    window: Window,
    tokens: &[TokenId],
    chunk: usize,
) -> Vec<Vec<f32>> {
    let mut session = model.open_session(SessionShape { lanes: 1, window }).expect("a session");
    let mut logits = Logits::new();
    let mut rows = Vec::new();
    for tokens in tokens.chunks(chunk) {
        session
            .feed(&[LaneFeed { lane: 0, tokens, rows: tokens.len() }], &mut logits)
            .expect("logits");
        rows.extend((0..tokens.len()).map(|row| logits.row(row).to_vec()));
    }
    rows
}
