//! Logits do not depend on instruction set, threads, lanes or how tokens are fed.

use finezip_core::softmax::row_maximum;
use finezip_core::{
    FeedLength, LaneFeed, LanguageModel, Logits, Rows, SessionShape, TokenId, Window,
};
use finezip_exact::{ExactModel, ExactOptions, Isa, Precision};
use proptest::prelude::*;

use crate::families::{FAMILIES, checkpoint, fixed, logits_alone, model, rolling, tokens};

const WINDOWS: [Window; 2] = [
    Window { tokens: 64, sinks: 0, rolling: false },
    Window { tokens: 20, sinks: 1, rolling: true },
];

#[test]
fn instruction_sets_and_threads_change_nothing() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        for precision in Precision::ALL {
            let tokens = tokens(50, 3);
            let expected = logits_alone(&model(&checkpoint, precision), WINDOWS[1], &tokens, 50);
            for isa in Isa::available() {
                for threads in [1, 2, 3, 7] {
                    let isa = Some(isa);
                    let options = ExactOptions { precision, threads, isa, ..Default::default() };
                    let model = ExactModel::open(&checkpoint, options).unwrap();
                    let found = logits_alone(&model, WINDOWS[1], &tokens, 50);
                    assert!(found == expected, "{architecture:?} {precision} {isa:?} {threads}");
                }
            }
        }
    }
}

#[test]
fn single_steps_and_chunks_give_what_one_call_gives() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        for precision in Precision::ALL {
            let model = model(&checkpoint, precision);
            for window in WINDOWS {
                let tokens = tokens(60, 4);
                let expected = logits_alone(&model, window, &tokens, 60);
                for chunk in [1, 7, 16, 17, 33] {
                    let found = logits_alone(&model, window, &tokens, chunk);
                    assert!(found == expected, "{architecture:?} {precision} {window:?} {chunk}");
                }
            }
        }
    }
}

#[test]
fn other_lanes_change_nothing() {
    for (architecture, precision) in
        FAMILIES.into_iter().flat_map(|family| Precision::ALL.map(|precision| (family, precision)))
    {
        let checkpoint = checkpoint(architecture);
        let model = model(&checkpoint, precision);
        for lanes in [2, 5, 64] {
            let texts: Vec<_> = (0..lanes).map(|lane| tokens(12, lane as u32)).collect();
            let shape = SessionShape { lanes, window: rolling(8, 1) };
            let mut session = model.open_session(shape).unwrap();
            let mut logits = Logits::new();
            let mut found = vec![Vec::new(); lanes];
            for step in 0..12 {
                let feeds: Vec<_> = texts
                    .iter()
                    .enumerate()
                    .map(|(lane, text)| LaneFeed { lane, tokens: &text[step..step + 1], rows: 1 })
                    .collect();
                session.feed(&feeds, &mut logits).unwrap();
                found.iter_mut().enumerate().for_each(|(row, f)| f.push(logits.row(row).to_vec()));
            }
            for lane in [0, 1, lanes - 1] {
                let expected = logits_alone(&model, shape.window, &texts[lane], 12);
                assert!(
                    found[lane] == expected,
                    "{architecture:?} {precision}, lane {lane} of {lanes}"
                );
            }
        }
    }
}

/// One call of a random schedule: for each lane a reset or not, tokens, and rows asked for.
type Call = Vec<(usize, bool, usize, usize)>;

fn schedules(lanes: usize) -> impl Strategy<Value = Vec<Call>> {
    let feed = (0..lanes, prop::bool::weighted(0.1), 0usize..40, 0usize..40);
    prop::collection::vec(prop::collection::vec(feed, 1..8), 1..8)
}

/// Enough for three threads to have lanes of their own, with some to spare.
const LANES: usize = 16;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_schedules_give_what_each_lane_gives_alone(
        schedule in schedules(LANES),
        family in prop::sample::select(FAMILIES.to_vec()),
        rolls in any::<bool>(),
        threads in 1usize..4,
        feeds in prop::sample::select(vec![FeedLength::One, FeedLength::Several]),
    ) {
        let checkpoint = checkpoint(family);
        let options = ExactOptions { threads, ..ExactOptions::default() };
        let model = ExactModel::open(&checkpoint, options).unwrap();
        let window = if rolls { rolling(18, 2) } else { fixed(90) };
        let mut groups = model.open_sessions(SessionShape { lanes: LANES, window }, feeds).unwrap();
        prop_assert_eq!(groups.len(), threads);
        let mut histories: Vec<Vec<TokenId>> = vec![Vec::new(); LANES];
        let mut logits = Logits::new();
        for (number, call) in schedule.iter().enumerate() {
            let mut fed: Vec<(usize, Vec<TokenId>, usize)> = Vec::new();
            for &(lane, reset, count, rows) in call {
                if fed.iter().any(|(other, ..)| *other == lane) {
                    continue;
                }
                if reset || (!rolls && histories[lane].len() + count > 90) {
                    let group = groups.iter_mut().find(|group| group.lanes.contains(&lane)).unwrap();
                    group.session.reset(lane - group.lanes.start).unwrap();
                    histories[lane].clear();
                }
                let text = tokens(count, (number * 10 + lane) as u32);
                histories[lane].extend(&text);
                fed.push((lane, text, rows.min(count)));
            }
            for group in &mut groups {
                let own = || fed.iter().filter(|(lane, ..)| group.lanes.contains(lane));
                let feeds: Vec<_> = own()
                    .map(|(lane, tokens, rows)| {
                        LaneFeed { lane: lane - group.lanes.start, tokens, rows: *rows }
                    })
                    .collect();
                group.session.feed(&feeds, &mut logits).unwrap();
                let mut row = 0;
                for (lane, _, rows) in own().filter(|(.., rows)| *rows > 0) {
                    let expected = logits_alone(&model, window, &histories[*lane], 400);
                    for expected in &expected[expected.len() - rows..] {
                        prop_assert!(logits.row(row) == expected, "lane {}", lane);
                        row += 1;
                    }
                }
                prop_assert_eq!(row, logits.rows());
                let order: Vec<usize> = (0..row).collect();
                for (row, known) in (0..row).map(|i| (logits.row(i), Rows::new(&logits, &order).maximum(i))) {
                    prop_assert_eq!(known, row_maximum(row));
                }
            }
        }
    }
}

/// A lane that goes on from another's state, in a session of another length and among other lanes,
/// has the logits of one that was fed everything.
#[test]
fn restored_lanes_go_on_as_if_they_had_been_fed() {
    for architecture in FAMILIES {
        let checkpoint = checkpoint(architecture);
        for precision in Precision::ALL {
            let model = model(&checkpoint, precision);
            for (short, long) in [(24, 64), (64, 24), (40, 40)] {
                for rolls in [false, true] {
                    let window = |tokens| match rolls {
                        true => rolling(tokens, 1),
                        false => fixed(tokens),
                    };
                    let text = tokens(20, 9);
                    let expected = logits_alone(&model, window(long), &text, 20);
                    let open = |lanes, tokens| {
                        model.open_session(SessionShape { lanes, window: window(tokens) }).unwrap()
                    };
                    let (mut first, mut logits) = (open(1, short), Logits::new());
                    let feed = LaneFeed { lane: 0, tokens: &text[..13], rows: 0 };
                    first.feed(&[feed], &mut logits).unwrap();
                    let state = first.save(0).unwrap().unwrap();
                    let mut second = open(3, long);
                    // What was there before leaves no trace.
                    let feed = LaneFeed { lane: 2, tokens: &text[5..17], rows: 1 };
                    second.feed(&[feed], &mut logits).unwrap();
                    second.restore(2, &state).unwrap();
                    let feed = LaneFeed { lane: 2, tokens: &text[13..], rows: 7 };
                    second.feed(&[feed], &mut logits).unwrap();
                    let found: Vec<_> = (0..7).map(|row| logits.row(row).to_vec()).collect();
                    assert!(
                        found == expected[13..],
                        "{architecture:?} {precision} {short} {long} {rolls}"
                    );
                }
            }
        }
    }
}

#[test]
fn states_of_other_models_and_of_windows_outgrown_are_refused() {
    let checkpoint = checkpoint(FAMILIES[0]);
    let [int8, int4] = [Precision::Int8, Precision::Int4].map(|wanted| model(&checkpoint, wanted));
    let open = |window| int8.open_session(SessionShape { lanes: 1, window }).unwrap();
    let mut session = open(rolling(8, 1));
    let text = tokens(12, 1);
    let feed = LaneFeed { lane: 0, tokens: &text, rows: 0 };
    session.feed(&[feed], &mut Logits::new()).unwrap();
    let outgrown = session.save(0).unwrap().unwrap();
    open(rolling(8, 1)).restore(0, &outgrown).unwrap();
    assert!(open(rolling(9, 1)).restore(0, &outgrown).is_err());
    let shape = SessionShape { lanes: 1, window: rolling(8, 1) };
    assert!(int4.open_session(shape).unwrap().restore(0, &outgrown).is_err());
    assert!(open(rolling(8, 1)).restore(1, &outgrown).is_err());
    assert!(open(rolling(8, 1)).restore(0, &finezip_core::LaneState::new(7)).is_err());
    assert!(session.save(1).is_err());
}
