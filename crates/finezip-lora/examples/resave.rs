//! Reads an adapter and writes it again, for comparison with PEFT (see peft/check.py):
//! `cargo run --release -p finezip-lora --example resave -- FROM TO`

use std::error::Error;

use finezip_lora::Adapter;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("expected FROM TO".into());
    };
    Ok(Adapter::open(from)?.save(to)?)
}
