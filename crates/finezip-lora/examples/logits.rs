//! Prints the logits of a model with an adapter, for comparison with PEFT (see peft/check.py):
//! `cargo run --release -p finezip-lora --example logits -- MODEL ADAPTER TOKEN...`
//!
//! One line a token, logits with spaces between.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;

use finezip_lora::{Adapter, adapted_logits};
use finezip_models::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(adapter)) = (arguments.next(), arguments.next()) else {
        return Err("expected MODEL ADAPTER TOKEN...".into());
    };
    let tokens: Vec<u32> = arguments.map(|token| token.parse()).collect::<Result<_, _>>()?;
    let checkpoint = Checkpoint::open(model)?;
    let logits = adapted_logits(&checkpoint, &Adapter::open(adapter)?, &tokens)?;
    for row in logits.chunks(checkpoint.config().vocab_size) {
        let row: Vec<String> = row.iter().map(ToString::to_string).collect();
        println!("{}", row.join(" "));
    }
    Ok(())
}
