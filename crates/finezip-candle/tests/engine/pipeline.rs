//! Text to an archive and back through the engine: both directions feed the very same shapes.

use std::sync::Arc;

use crate::support::model;
use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{
    ByteTokenizer, Coder, Components, Compressor, Decompressor, Language, Schedule,
};
use finezip_models::Architecture;
use finezip_schedule::{ChunkReset, FixedWindow, LanePolicy};

fn language(threads: usize, schedule: Arc<dyn Schedule>, coder: Arc<dyn Coder>) -> Language {
    let model = Arc::new(model(Architecture::Llama, threads));
    Language { model, tokenizer: Arc::new(ByteTokenizer), schedule, coder }
}

#[test]
fn text_comes_back_with_another_number_of_threads() {
    let text: Vec<u8> = (0..1000u32).map(|place| (place * place / 7 % 251) as u8).collect();
    let schedules: [Arc<dyn Schedule>; 3] = [
        // Seven lanes in groups of four, and a last wave of three lanes, the last one short.
        Arc::new(ChunkReset::new(33, LanePolicy::Fixed(7)).unwrap()),
        Arc::new(ChunkReset::new(600, LanePolicy::Fixed(2)).unwrap()),
        Arc::new(FixedWindow::new(12, LanePolicy::Fixed(3)).unwrap()),
    ];
    for schedule in schedules {
        let coders: [Arc<dyn Coder>; 2] = [
            Arc::new(ArithmeticCoder::default()),
            Arc::new(RankCoder::new(Backend::Zlib, Threads::default())),
        ];
        for coder in coders {
            let archive = Compressor::builder()
                .language(language(1, schedule.clone(), coder.clone()))
                .build()
                .and_then(|compressor| compressor.compress(&text))
                .unwrap();
            let language = Some(language(2, schedule.clone(), coder.clone()));
            let decompressor = Decompressor::new(Components { language, ..Components::default() });
            assert_eq!(decompressor.decompress(&archive).unwrap(), text, "{}", coder.record());
        }
    }
}
