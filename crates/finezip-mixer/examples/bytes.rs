//! Sizes and speeds of the byte mixer on the files named; with `CHECK` set in the environment each
//! is decoded again and compared.
#![allow(clippy::print_stdout)]
use std::time::Instant;

use finezip_core::ByteCoder;
use finezip_mixer::bytes::ByteMixer;

fn main() {
    let mixer = ByteMixer::default();
    for name in std::env::args().skip(1) {
        let text = std::fs::read(&name).expect("a file to read");
        let start = Instant::now();
        let payload = mixer.compress(&text).expect("a payload");
        let forth = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let back = if std::env::var("CHECK").is_ok() {
            mixer.decompress(&payload, text.len())
        } else {
            Ok(text.clone())
        };
        let home = start.elapsed().as_secs_f64();
        let speed = |time: f64| text.len() as f64 / time / 1000.0;
        println!(
            "{name}: {} -> {} ({:.4} bpb), {:.0} / {:.0} KB/s, {}",
            text.len(),
            payload.len(),
            payload.len() as f64 * 8.0 / text.len() as f64,
            speed(forth),
            speed(home),
            if back.is_ok_and(|back| back == text) { "same" } else { "DIFFERENT" }
        );
    }
}
