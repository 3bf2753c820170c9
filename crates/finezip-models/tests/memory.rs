//! A tokenizer that is dropped leaves no memory behind.

use finezip_core::Tokenizer;
use finezip_models::ModelTokenizer;
use finezip_models::seeded::SeededModel;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Opens a tokenizer, encodes words that no other call has seen, and drops it.
fn open_and_encode(round: usize) {
    let checkpoint = SeededModel::default().checkpoint().unwrap();
    let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint).unwrap();
    let text: String = (0..500).map(|word| format!("word{round}x{word} ")).collect();
    let mut tokens = Vec::new();
    tokenizer.encode(text.as_bytes(), &mut tokens).unwrap();
    assert!(!tokens.is_empty());
}

#[test]
fn what_a_tokenizer_took_is_given_back() {
    open_and_encode(0);
    let before = MEMORY.current_usage();
    for round in 1..=20 {
        open_and_encode(round);
    }
    let kept = MEMORY.current_usage().saturating_sub(before);
    assert!(kept < 16 << 10, "20 tokenizers left {kept} bytes behind");
}
