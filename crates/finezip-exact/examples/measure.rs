//! Code length and speed of a model over a file of tokens.
//!
//! `measure MODEL TOKENS BYTES PRECISION LANES WINDOW ROLLING THREADS`: `TOKENS` holds 32-bit
//! little-endian ids, `BYTES` is the size of the text they stand for. Folded weights are kept in
//! the folder that `FINEZIP_WEIGHTS_CACHE` names, if it is set.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use finezip_core::{LaneFeed, LanguageModel, Logits, SessionShape, Window};
use finezip_exact::{ExactModel, ExactOptions};
use finezip_models::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, tokens, bytes, precision, lanes, window, rolling, threads] = &arguments[..] else {
        return Err("MODEL TOKENS BYTES PRECISION LANES WINDOW ROLLING THREADS".into());
    };
    let (lanes, window): (usize, usize) = (lanes.parse()?, window.parse()?);
    let (bytes, rolling): (f64, bool) = (bytes.parse()?, rolling.parse()?);
    let tokens: Vec<u32> = std::fs::read(tokens)?
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect();
    let start = Instant::now();
    let checkpoint = Checkpoint::open(path)?;
    let options = ExactOptions {
        precision: precision.parse()?,
        threads: threads.parse()?,
        cache_dir: std::env::var_os("FINEZIP_WEIGHTS_CACHE").map(Into::into),
        ..ExactOptions::default()
    };
    let model = ExactModel::open(&checkpoint, options)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("opened in {seconds:.2} s on {}, cache: {:?}", model.isa(), model.cache_use());

    let shape = SessionShape {
        lanes,
        window: Window { tokens: window, sinks: usize::from(rolling), rolling },
    };
    println!("{} bytes a lane", model.lane_bytes(shape.window));
    let mut session = model.open_session(shape)?;
    let mut logits = Logits::new();
    let region = tokens.len().div_ceil(lanes);
    let regions: Vec<&[u32]> = tokens.chunks(region).collect();
    let (mut bits, mut coded) = (0.0f64, 0);
    let (mut engine_seconds, mut cpu_seconds, start) = (0.0, 0.0, Instant::now());
    for step in 0..region {
        let restarts = step == 0 || (!rolling && step % window == 0);
        let mut fed = Vec::new();
        for (lane, tokens) in regions.iter().enumerate().filter(|(_, region)| step < region.len()) {
            if restarts {
                session.reset(lane)?;
            }
            fed.push((lane, if restarts { model.start_token() } else { tokens[step - 1] }));
        }
        let feeds: Vec<_> = fed
            .iter()
            .map(|(lane, token)| LaneFeed {
                lane: *lane,
                tokens: std::slice::from_ref(token),
                rows: 1,
            })
            .collect();
        let (engine, cpu) = (Instant::now(), thread_cpu_seconds());
        session.feed(&feeds, &mut logits)?;
        engine_seconds += engine.elapsed().as_secs_f64();
        cpu_seconds += thread_cpu_seconds() - cpu;
        for (row, (lane, _)) in fed.iter().enumerate() {
            bits += code_length(logits.row(row), regions[*lane][step] as usize);
            coded += 1;
        }
    }
    println!(
        "{coded} tokens, {:.4} bits a token, {:.5} bits a byte, engine {:.1} tokens/s \
         ({:.1} by the calling thread's CPU time), all {:.1} s",
        bits / f64::from(coded),
        bits / bytes,
        f64::from(coded) / engine_seconds,
        f64::from(coded) / cpu_seconds,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// CPU time of this thread, which other load on the machine does not change (Linux; else 0).
fn thread_cpu_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_whitespace().next().and_then(|field| field.parse().ok());
    nanoseconds.unwrap_or(0.0) * 1e-9
}

/// Bits of a token under the softmax of the logits.
fn code_length(logits: &[f32], token: usize) -> f64 {
    let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - maximum).exp())).sum();
    (sum.ln() - f64::from(logits[token] - maximum)) / std::f64::consts::LN_2
}
