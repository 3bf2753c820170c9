//! How many lanes there may be: as `--batch` says, else as memory allows.

use finezip_core::{LanguageModel, SessionShape, Window};
use finezip_schedule::{LanePolicy, MOST_AUTOMATIC_LANES};

use crate::exit::{Failure, Outcome};

/// The policy for a model under a schedule with this window, with `lanes` of `--batch` and
/// `memory_bytes` of `--memory`, if they were given.
///
/// Archives are verified under the same `memory_bytes`. Lanes that cannot be had within them are a
/// mistake, found here and not after all of the work, when a good archive would be blamed for it.
pub(crate) fn policy(
    lanes: Option<usize>,
    memory_bytes: Option<u64>,
    model: &dyn LanguageModel,
    window: Window,
) -> Outcome<LanePolicy> {
    let lane_bytes = model.lane_bytes(window);
    let Some(memory_bytes) = memory_bytes else {
        return Ok(lanes.map_or(LanePolicy::automatic(lane_bytes), LanePolicy::Fixed));
    };
    let session_bytes = |lanes| model.session_bytes(SessionShape { lanes, window });
    let needed = session_bytes(lanes.unwrap_or(1));
    if needed > memory_bytes {
        return Err(too_little(lanes, memory_bytes, needed, window));
    }
    if let Some(lanes) = lanes {
        return Ok(LanePolicy::Fixed(lanes));
    }
    let fits = |lanes: &usize| session_bytes(*lanes) <= memory_bytes;
    let most = (1..=MOST_AUTOMATIC_LANES).rev().find(fits).unwrap_or(1);
    // Sessions may take more than their lanes; the policy knows of lanes alone.
    Ok(LanePolicy::Automatic { memory_bytes: lane_bytes.saturating_mul(most as u64), lane_bytes })
}

fn too_little(lanes: Option<usize>, memory_bytes: u64, needed: u64, window: Window) -> Failure {
    let (what, instead) = match lanes {
        Some(lanes) => (format!("--batch {lanes}"), "fewer lanes"),
        None => ("a single lane".to_owned(), "a shorter --context"),
    };
    Failure::usage(format!(
        "--memory {memory_bytes}: with a window of {} tokens {what} takes {needed} bytes; give \
         --memory {needed}, or {instead}",
        window.tokens
    ))
}

#[cfg(test)]
mod tests {
    use finezip_candle::{CandleModel, CandleOptions};
    use finezip_exact::{ExactModel, ExactOptions};
    use finezip_models::seeded::SeededModel;

    use super::*;
    use crate::exit::Code;

    const WINDOW: Window = Window { tokens: 16, sinks: 0, rolling: false };

    /// A model whose sessions take what their lanes take, and one with groups of 16.
    fn models() -> [Box<dyn LanguageModel>; 2] {
        let checkpoint = SeededModel::default().checkpoint().unwrap();
        let exact = ExactModel::open(&checkpoint, ExactOptions::default()).unwrap();
        let candle = CandleModel::open(&checkpoint, CandleOptions::default()).unwrap();
        [Box::new(exact), Box::new(candle)]
    }

    fn bytes(model: &dyn LanguageModel, lanes: usize) -> u64 {
        model.session_bytes(SessionShape { lanes, window: WINDOW })
    }

    #[test]
    fn automatic_lanes_are_as_many_as_fit() {
        for model in models() {
            for lanes in [1, 15, 16, 17, 40, 63, 64, 100] {
                let enough = bytes(&*model, lanes);
                for memory_bytes in [enough, enough + 1, enough / 2 * 3] {
                    let most = policy(None, Some(memory_bytes), &*model, WINDOW).unwrap().most();
                    assert!(bytes(&*model, most) <= memory_bytes, "{most} in {memory_bytes}");
                    let is_most = bytes(&*model, most + 1) > memory_bytes;
                    assert!(is_most || most == MOST_AUTOMATIC_LANES, "{most} in {memory_bytes}");
                }
            }
        }
    }

    #[test]
    fn without_a_bound_lanes_alone_are_counted() {
        for model in models() {
            let found = policy(None, None, &*model, WINDOW).unwrap();
            assert_eq!(found, LanePolicy::automatic(model.lane_bytes(WINDOW)));
            let found = policy(Some(3000), None, &*model, WINDOW).unwrap();
            assert_eq!(found, LanePolicy::Fixed(3000));
        }
    }

    #[test]
    fn lanes_without_room_are_refused() {
        for model in models() {
            for lanes in [None, Some(1), Some(7), Some(200)] {
                let needed = bytes(&*model, lanes.unwrap_or(1));
                let failure = policy(lanes, Some(needed - 1), &*model, WINDOW).unwrap_err();
                assert_eq!(failure.code, Code::Usage);
                let advice = format!("takes {needed} bytes; give --memory {needed}, or ");
                assert!(failure.message.contains(&advice), "{}", failure.message);
                let found = policy(lanes, Some(needed), &*model, WINDOW).unwrap();
                assert!(lanes.is_none_or(|lanes| found == LanePolicy::Fixed(lanes)));
            }
        }
    }
}
