//! What the tests of this crate share: seeded checkpoints and sessions over them.

use finezip_candle::{CandleModel, CandleOptions};
use finezip_core::{LaneFeed, LanguageModel, Logits, Session, SessionShape, TokenId, Window};
use finezip_models::seeded::SeededModel;
use finezip_models::{Architecture, Checkpoint};

/// All families.
pub(crate) const FAMILIES: [Architecture; 4] =
    [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3, Architecture::Gemma3];

/// A seeded checkpoint; untied where candle's code can do that, so that both heads are tested.
pub(crate) fn checkpoint(architecture: Architecture) -> Checkpoint {
    let tied_embeddings = matches!(architecture, Architecture::Gemma3 | Architecture::Qwen3);
    SeededModel { architecture, tied_embeddings, ..SeededModel::default() }.checkpoint().unwrap()
}

/// A model of a family in groups of 4 lanes.
pub(crate) fn model(architecture: Architecture, threads: usize) -> CandleModel {
    let options = CandleOptions { group_lanes: Some(4), threads, ..CandleOptions::default() };
    CandleModel::open(&checkpoint(architecture), options).unwrap()
}

/// A session whose lanes are reset at the window's end.
pub(crate) fn session(model: &CandleModel, lanes: usize, tokens: usize) -> Box<dyn Session + '_> {
    let window = Window { tokens, sinks: 0, rolling: false };
    model.open_session(SessionShape { lanes, window }).unwrap()
}

/// Tokens of a made-up text of a lane.
pub(crate) fn text(lane: usize, tokens: usize) -> Vec<TokenId> {
    let vocab_size = SeededModel::VOCAB_SIZE as u64;
    let mut state = lane as u64 * 977 + 13;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((state >> 33) % vocab_size) as TokenId
    };
    (0..tokens).map(next).collect()
}

/// Feeds one lane and gives its rows.
pub(crate) fn feed_one(
    session: &mut dyn Session,
    lane: usize,
    tokens: &[TokenId],
    rows: usize,
) -> Vec<Vec<f32>> {
    let mut logits = Logits::new();
    session.feed(&[LaneFeed { lane, tokens, rows }], &mut logits).unwrap();
    (0..rows).map(|row| logits.row(row).to_vec()).collect()
}

/// Feeds lanes `0..texts.len()` in lockstep, one token each a call as long as they have one, and
/// gives the rows of each lane.
pub(crate) fn feed_in_step(
    session: &mut dyn Session,
    texts: &[Vec<TokenId>],
) -> Vec<Vec<Vec<f32>>> {
    let steps = texts.iter().map(Vec::len).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); texts.len()];
    let mut logits = Logits::new();
    for step in 0..steps {
        let feeds: Vec<LaneFeed<'_>> = (0..texts.len())
            .filter(|lane| step < texts[*lane].len())
            .map(|lane| LaneFeed { lane, tokens: &texts[lane][step..=step], rows: 1 })
            .collect();
        session.feed(&feeds, &mut logits).unwrap();
        for (row, feed) in feeds.iter().enumerate() {
            rows[feed.lane].push(logits.row(row).to_vec());
        }
    }
    rows
}

/// Bits of rows of logits, for comparisons that take no difference for small.
pub(crate) fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

/// The largest difference between rows and their reference, over the largest reference.
pub(crate) fn relative_difference(rows: &[Vec<f32>], reference: &[Vec<f64>]) -> f64 {
    assert_eq!(rows.len(), reference.len());
    let largest =
        reference.iter().flatten().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let pairs = rows.iter().flatten().zip(reference.iter().flatten());
    let difference = |(ours, theirs): (&f32, &f64)| (f64::from(*ours) - theirs).abs();
    pairs.map(difference).fold(0.0, f64::max) / largest
}

/// The root of the mean square of the differences, over that of the reference.
pub(crate) fn root_mean_square_difference(rows: &[Vec<f32>], reference: &[Vec<f64>]) -> f64 {
    assert_eq!(rows.len(), reference.len());
    let pairs = rows.iter().flatten().zip(reference.iter().flatten());
    let difference: f64 = pairs.map(|(ours, theirs)| (f64::from(*ours) - theirs).powi(2)).sum();
    let size: f64 = reference.iter().flatten().map(|value| value.powi(2)).sum();
    (difference / size).sqrt()
}
