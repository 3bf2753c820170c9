//! A lane's logits are the same bits whatever else happens in its session.

use crate::support::{FAMILIES, bits, feed_in_step, feed_one, session, text};
use finezip_candle::{CandleModel, CandleOptions, WeightFormat};
use finezip_core::{Exactness, LaneFeed, LanguageModel, Logits, TokenId};
use finezip_models::{Architecture, GgmlType, seeded::SeededModel};
use proptest::prelude::*;

#[test]
fn threads_and_sessions_change_no_bit() {
    for family in FAMILIES {
        let texts: Vec<Vec<TokenId>> = (0..11).map(|lane| text(lane, 40 - lane)).collect();
        let run = |threads: usize| {
            let model = crate::support::model(family, threads);
            let mut first = session(&model, texts.len(), 40);
            let rows = feed_in_step(first.as_mut(), &texts);
            for lane in 0..texts.len() {
                first.reset(lane).unwrap();
            }
            let after_reset = feed_in_step(first.as_mut(), &texts);
            assert_eq!(rows, after_reset, "{family:?}");
            let mut second = session(&model, texts.len(), 40);
            assert_eq!(rows, feed_in_step(second.as_mut(), &texts), "{family:?}");
            rows.iter().map(|rows| bits(rows)).collect::<Vec<_>>()
        };
        let one = run(1);
        assert_eq!(one, run(2), "{family:?}");
        assert_eq!(one, run(3), "{family:?}");
    }
}

#[test]
fn rows_without_a_lane_do_not_show() {
    for family in FAMILIES {
        let model = crate::support::model(family, 1);
        let texts: Vec<Vec<TokenId>> = (0..4).map(|lane| text(lane, 20)).collect();
        let mut full = session(&model, 4, 20);
        let full = feed_in_step(full.as_mut(), &texts);
        for lanes in 1..4 {
            let mut part = session(&model, lanes, 20);
            let part = feed_in_step(part.as_mut(), &texts[..lanes]);
            assert_eq!(full[..lanes], part[..], "{family:?}, {lanes} lanes");
        }
    }
}

#[test]
fn the_window_of_a_session_does_not_show() {
    for family in FAMILIES {
        let model = crate::support::model(family, 1);
        let text = text(1, 20);
        let mut short = session(&model, 1, 20);
        let mut long = session(&model, 1, 500);
        let short = feed_one(short.as_mut(), 0, &text, 20);
        assert_eq!(short, feed_one(long.as_mut(), 0, &text, 20), "{family:?}");
    }
}

#[test]
fn the_machine_kind_depends_on_arithmetic_alone() {
    let kind = |model: &CandleModel| match &model.identity().exactness {
        Exactness::SameMachineKind(kind) => kind.clone(),
        Exactness::Everywhere => String::new(),
    };
    let one = crate::support::model(Architecture::Llama, 1);
    let two = crate::support::model(Architecture::Llama, 2);
    assert_eq!(kind(&one), kind(&two));
    assert!(kind(&one).contains(std::env::consts::ARCH), "{}", kind(&one));
    assert_eq!(one.identity().engine.to_string(), "candle/1 compute=0 group=4 weights=0");
}

#[test]
fn quantized_sessions_repeat() {
    for family in [Architecture::Llama, Architecture::Qwen2] {
        let seeded = SeededModel {
            architecture: family,
            weight_type: GgmlType::Q4_1,
            ..SeededModel::default()
        };
        let options = CandleOptions {
            weights: WeightFormat::Quantized,
            group_lanes: Some(2),
            ..CandleOptions::default()
        };
        let model = CandleModel::open(&seeded.checkpoint().unwrap(), options).unwrap();
        let texts: Vec<Vec<TokenId>> = (0..5).map(|lane| text(lane, 20)).collect();
        let rows = feed_in_step(session(&model, 5, 20).as_mut(), &texts);
        assert_eq!(rows, feed_in_step(session(&model, 5, 30).as_mut(), &texts), "{family:?}");
    }
}

/// What a lane is fed: pieces of its text with the rows asked for, and whether a reset and the
/// same again comes after.
#[derive(Clone, Debug)]
struct LanePlan {
    pieces: Vec<(usize, usize)>,
    again: bool,
}

fn lane_plan() -> impl Strategy<Value = LanePlan> {
    let piece = (1usize..12).prop_flat_map(|tokens| (Just(tokens), 0..=tokens));
    let pieces = proptest::collection::vec(piece, 0..4);
    (pieces, any::<bool>()).prop_map(|(pieces, again)| LanePlan { pieces, again })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Lanes fed in any interleaving, several a call or one, give what each gives alone.
    #[test]
    fn other_lanes_do_not_show(
        family in proptest::sample::select(FAMILIES.to_vec()),
        plans in proptest::collection::vec(lane_plan(), 6),
        order in proptest::collection::vec(proptest::bits::u8::masked(0x3f), 64),
    ) {
        let model = crate::support::model(family, 2);
        let texts: Vec<Vec<TokenId>> = (0..6).map(|lane| text(lane, 50)).collect();
        let alone: Vec<Vec<Vec<f32>>> = plans
            .iter()
            .enumerate()
            .map(|(lane, plan)| {
                let mut session = session(&model, 6, 50);
                let mut position = 0;
                let mut rows = Vec::new();
                for (tokens, asked) in &plan.pieces {
                    let piece = &texts[lane][position..position + tokens];
                    rows.extend(feed_one(session.as_mut(), lane, piece, *asked));
                    position += tokens;
                }
                rows
            })
            .collect();

        let mut session = session(&model, 6, 50);
        let mut logits = Logits::new();
        let mut progress = [(0usize, 0usize, 0usize); 6];
        let mut together: Vec<Vec<Vec<f32>>> = vec![Vec::new(); 6];
        // Masks of lanes to feed in a call; at the end each lane by itself.
        let rest = (0..6).flat_map(|lane| std::iter::repeat_n(1u8 << lane, 8));
        for mask in order.into_iter().chain(rest) {
            let mut feeds = Vec::new();
            for lane in (0..6).filter(|lane| mask >> lane & 1 == 1) {
                let (round, piece, position) = &mut progress[lane];
                if *piece == plans[lane].pieces.len() && *round == 0 && plans[lane].again {
                    session.reset(lane).unwrap();
                    (*round, *piece, *position) = (1, 0, 0);
                }
                if let Some((tokens, rows)) = plans[lane].pieces.get(*piece) {
                    let tokens = &texts[lane][*position..*position + tokens];
                    feeds.push(LaneFeed { lane, tokens, rows: *rows });
                    *piece += 1;
                    *position += tokens.len();
                }
            }
            session.feed(&feeds, &mut logits).unwrap();
            let mut row = 0;
            for feed in &feeds {
                for _ in 0..feed.rows {
                    together[feed.lane].push(logits.row(row).to_vec());
                    row += 1;
                }
            }
            prop_assert_eq!(logits.rows(), row);
        }
        for lane in 0..6 {
            let mut expected = bits(&alone[lane]);
            if plans[lane].again {
                expected.extend(bits(&alone[lane]));
            }
            prop_assert_eq!(bits(&together[lane]), expected, "{:?}, lane {}", family, lane);
        }
    }
}
