//! Sizes and speeds of the byte mixer on the files named; with `CHECK` set in the environment each
//! is decoded again and compared.
#![allow(clippy::print_stdout)]
use finezip_mixer::bytes::{Settings, compress, decompress};
use std::time::Instant;

fn main() {
    let settings = Settings::default();
    for name in std::env::args().skip(1) {
        let text = std::fs::read(&name).expect("a file to read");
        let start = Instant::now();
        let payload = compress(&text, &settings);
        let forth = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let back = if std::env::var("CHECK").is_ok() {
            decompress(&payload, text.len(), &settings)
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
