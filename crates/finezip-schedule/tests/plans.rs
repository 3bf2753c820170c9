//! What every plan must be, whatever the frame's size and the number of lanes.

use std::collections::BTreeMap;

use finezip_core::{Feed, Record, Schedule, StepEntry};
use finezip_schedule::{ChunkReset, FixedWindow, LanePolicy, Rolling, from_record};
use proptest::prelude::*;

fn steps(schedule: &dyn Schedule, tokens: usize, lanes: usize) -> Vec<Vec<StepEntry>> {
    let mut plan = schedule.plan(tokens, lanes);
    let mut steps = Vec::new();
    let mut entries = vec![StepEntry { lane: 9, index: 9, feed: Feed::Continue }];
    while plan.next_step(&mut entries) {
        steps.push(entries.clone());
    }
    assert!(!plan.next_step(&mut entries), "a plan that has ended stays ended");
    steps
}

/// Checks what the trait promises, and that no token sees more positions than the window where
/// it does not roll.
fn check(schedule: &dyn Schedule, tokens: usize, lanes: usize) -> Vec<Vec<StepEntry>> {
    let steps = steps(schedule, tokens, lanes);
    let mut coded = vec![false; tokens];
    // For each lane, the token it coded last and the positions it holds.
    let mut held: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for step in &steps {
        assert!(!step.is_empty());
        assert!(step.windows(2).all(|pair| pair[0].lane < pair[1].lane), "lanes ascend");
        for entry in step {
            assert!(entry.lane < lanes.max(1));
            let positions = match entry.feed {
                Feed::Restart { from } => {
                    assert!(from <= entry.index);
                    assert!(coded[from..entry.index].iter().all(|&coded| coded));
                    1 + entry.index - from
                }
                Feed::Continue => {
                    let (last, positions) = held[&entry.lane];
                    assert_eq!(last + 1, entry.index, "a lane continues with its next token");
                    positions + 1
                }
            };
            let window = schedule.window();
            assert!(window.rolling || positions <= window.tokens);
            held.insert(entry.lane, (entry.index, positions));
        }
        for entry in step {
            assert!(!std::mem::replace(&mut coded[entry.index], true), "coded once");
        }
    }
    assert!(coded.iter().all(|&coded| coded), "every token is coded");
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chunks_are_whole(tokens in 0..600_usize, lanes in 1..12_usize, context in 1..70_usize) {
        let schedule = ChunkReset::new(context, LanePolicy::Fixed(lanes)).unwrap();
        let steps = check(&schedule, tokens, lanes);
        // Waves of lanes x context tokens, the last as long as its longest chunk.
        let rest = tokens % (lanes * context);
        prop_assert_eq!(steps.len(), tokens / (lanes * context) * context + rest.min(context));
        for entry in steps.iter().flatten() {
            prop_assert_eq!(entry.feed == Feed::Continue, entry.index % context != 0);
        }
    }

    #[test]
    fn rolling_lanes_restart_once(
        tokens in 0..600_usize, lanes in 1..12_usize, window in 1..70_usize,
    ) {
        let schedule = Rolling::new(window, window.min(2) - 1, LanePolicy::default()).unwrap();
        let steps = check(&schedule, tokens, lanes);
        prop_assert_eq!(steps.len(), tokens.div_ceil(lanes));
        let restarts = steps.iter().flatten().filter(|entry| entry.feed != Feed::Continue).count();
        prop_assert_eq!(restarts, tokens.min(lanes));
    }

    #[test]
    fn fixed_windows_are_as_full_as_their_region_allows(
        tokens in 0..400_usize, lanes in 1..5_usize, context in 1..70_usize,
    ) {
        let schedule = FixedWindow::new(context, LanePolicy::Fixed(lanes)).unwrap();
        let steps = check(&schedule, tokens, lanes);
        prop_assert_eq!(steps.len(), tokens.div_ceil(lanes));
        for (place, step) in steps.iter().enumerate() {
            for entry in step {
                let from = entry.index - place.min(context - 1);
                prop_assert_eq!(entry.feed, Feed::Restart { from });
            }
        }
    }

    #[test]
    fn lanes_are_within_what_was_promised(
        tokens: u32, fixed in 0..2000_usize, memory_bytes: u64, lane_bytes: u64,
    ) {
        for lanes in [LanePolicy::Fixed(fixed), LanePolicy::Automatic { memory_bytes, lane_bytes }] {
            for schedule in [
                Box::new(ChunkReset::new(512, lanes).unwrap()) as Box<dyn Schedule>,
                Box::new(Rolling::new(512, 1, lanes).unwrap()),
                Box::new(FixedWindow::new(512, lanes).unwrap()),
            ] {
                let found = schedule.lanes(tokens as usize);
                prop_assert!((1..=schedule.max_lanes()).contains(&found));
                prop_assert!(found <= (tokens as usize).max(1));
            }
        }
    }
}

/// The schedules of the documentation, with the defaults of the tools.
fn schedules(lanes: LanePolicy) -> [Box<dyn Schedule>; 3] {
    [
        Box::new(ChunkReset::new(512, lanes).unwrap()),
        Box::new(Rolling::new(512, 1, lanes).unwrap()),
        Box::new(FixedWindow::new(512, lanes).unwrap()),
    ]
}

#[test]
fn automatic_lanes() {
    let found = [0, 1, 1000, 3000, 42_000, 250_000, 4_000_000].map(|tokens| {
        schedules(LanePolicy::automatic(1 << 20)).map(|schedule| schedule.lanes(tokens))
    });
    assert_eq!(
        found,
        [[1, 1, 1], [1, 1, 1], [2, 1, 1], [6, 2, 1], [42, 10, 1], [62, 25, 1], [64, 64, 1]]
    );
    // 2 GiB hold three lanes of 600 MiB.
    let large = schedules(LanePolicy::automatic(600 << 20));
    assert_eq!(large.map(|schedule| schedule.lanes(250_000)), [3, 3, 1]);
}

#[test]
fn the_last_wave_of_chunks_ends_with_the_shorter_chunk() {
    let schedule = ChunkReset::new(4, LanePolicy::Fixed(2)).unwrap();
    let steps = steps(&schedule, 14, 2);
    let indices: Vec<Vec<usize>> =
        steps.iter().map(|step| step.iter().map(|entry| entry.index).collect()).collect();
    let expected: Vec<Vec<usize>> = vec![
        vec![0, 4],
        vec![1, 5],
        vec![2, 6],
        vec![3, 7],
        vec![8, 12],
        vec![9, 13],
        vec![10],
        vec![11],
    ];
    assert_eq!(indices, expected);
}

#[test]
fn records_come_back_and_others_are_refused() {
    let rolling = Rolling::new(1024, 4, LanePolicy::Fixed(3)).unwrap();
    let records: Vec<Record> = schedules(LanePolicy::Fixed(3))
        .iter()
        .map(|schedule| schedule.record())
        .chain([rolling.record(), Record::new("single-lane", 1).with("window", 64)])
        .collect();
    let shown: Vec<String> = records.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "chunk-reset/1 context=512",
            "rolling/1 sinks=1 window=512",
            "fixed-window/1 context=512",
            "rolling/1 sinks=4 window=1024",
            "single-lane/1 window=64",
        ]
    );
    for record in &records {
        let schedule = from_record(record).unwrap();
        assert_eq!(schedule.record(), *record);
        let mut later = record.clone();
        later.version = 2;
        assert!(from_record(&later).is_err(), "{later}");
        assert!(from_record(&record.clone().with("more", 1)).is_err());
    }
    let rolling =
        |window, sinks| Record::new("rolling", 1).with("window", window).with("sinks", sinks);
    for record in [
        Record::new("other", 1),
        Record::new("chunk-reset", 1),
        Record::new("chunk-reset", 1).with("context", 0),
        Record::new("chunk-reset", 1).with("context", u64::MAX),
        Record::new("fixed-window", 1).with("context", 0),
        rolling(0, 0),
        rolling(4, 5),
    ] {
        assert!(from_record(&record).is_err(), "{record}");
    }
}
