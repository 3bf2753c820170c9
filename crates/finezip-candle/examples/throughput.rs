//! Measures tokens a second: `throughput MODEL [lanes] [group] [threads] [position] [steps]
//! [f32|quantized]`. Lanes are brought to `position`, then `steps` lockstep steps are timed.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use finezip_candle::{CandleModel, CandleOptions, WeightFormat};
use finezip_core::{Error, LaneFeed, LanguageModel, Logits, Result, SessionShape, Window};
use finezip_models::Checkpoint;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| {
        arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let [lanes, group, threads] = [(1, 64), (2, 16), (3, 1)].map(|(at, value)| number(at, value));
    let [position, steps] = [(4, 256), (5, 8)].map(|(at, value)| number(at, value));
    let weights = match arguments.get(6).map(String::as_str) {
        Some("quantized") => WeightFormat::Quantized,
        _ => WeightFormat::F32,
    };
    let path = arguments.first().ok_or_else(|| Error::Settings("a model file".into()))?;
    let started = Instant::now();
    let checkpoint = Checkpoint::open(path).map_err(|error| Error::engine("models", error))?;
    let options =
        CandleOptions { weights, group_lanes: Some(group), threads, ..CandleOptions::default() };
    let model = CandleModel::open(&checkpoint, options)?;
    println!("opened in {:.2} s: {:?}", started.elapsed().as_secs_f64(), model.identity());

    let window = Window { tokens: position + steps, sinks: 0, rolling: false };
    println!("{:.1} MB a lane", model.lane_bytes(window) as f64 / 1e6);
    let mut session = model.open_session(SessionShape { lanes, window })?;
    let vocab_size = model.vocab_size();
    let token = |lane: usize, place: usize| ((lane * 31 + place * 7919) % vocab_size) as u32;
    let texts: Vec<Vec<u32>> = (0..lanes)
        .map(|lane| (0..window.tokens).map(|place| token(lane, place)).collect())
        .collect();
    let mut logits = Logits::new();
    let mut feed = |from: usize, to: usize, rows: usize| {
        let feed = |lane: usize| LaneFeed { lane, tokens: &texts[lane][from..to], rows };
        let feeds: Vec<LaneFeed<'_>> = (0..lanes).map(feed).collect();
        session.feed(&feeds, &mut logits)
    };
    let clock = Clock::start();
    feed(0, position, 0)?;
    clock.report("blocks", lanes * position);
    let clock = Clock::start();
    for step in position..window.tokens {
        feed(step, step + 1, 1)?;
    }
    clock.report("lockstep", lanes * steps);
    Ok(())
}

/// Time passed and time computed: the second says what a machine busy with other work would do
/// were it not.
struct Clock {
    started: Instant,
    processor_seconds: Option<f64>,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), processor_seconds: processor_seconds() }
    }

    fn report(&self, what: &str, tokens: usize) {
        let tokens = tokens as f64;
        let rate = tokens / self.started.elapsed().as_secs_f64();
        print!("{what}: {rate:.1} tokens/s");
        if let (Some(before), Some(after)) = (self.processor_seconds, processor_seconds()) {
            print!(", {:.1} tokens per second of processor time", tokens / (after - before));
        }
        println!();
    }
}

/// Processor time of all threads of this process, where the system is Linux with 100 ticks a
/// second.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15 of the line; the name in field 2 may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
