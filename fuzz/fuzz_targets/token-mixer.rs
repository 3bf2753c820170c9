#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| finezip_torture::targets::token_mixer(bytes));
