//! What a run takes is what was reckoned, or somewhat less.
#![cfg(feature = "train")]

use finezip_lora::data::{Dataset, Text};
use finezip_lora::train::{Duration, Trainer, TrainingSettings, memory_bytes};
use finezip_lora::{LoraSettings, Targets};
use finezip_models::seeded::SeededModel;
use finezip_models::{GgmlType, ModelTokenizer};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LENGTH: usize = 128;
/// What is set aside for the tokenizer and the like; not counted, for it would hide the rest.
const FIXED: u64 = 96 << 20;

#[test]
fn a_run_takes_what_was_reckoned_and_not_much_less() {
    let model = SeededModel {
        hidden_size: 512,
        layers: 6,
        heads: 8,
        kv_heads: 4,
        head_dim: 64,
        feed_forward: 1408,
        weight_type: GgmlType::Q8_0,
        ..SeededModel::default()
    };
    let checkpoint = model.checkpoint().unwrap();
    let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint).unwrap();
    let text =
        Text { name: "text".into(), bytes: b"again and again, but not the same; ".repeat(60) };
    let start = checkpoint.config().start_token();
    let dataset = Dataset::new("text", &[text], &tokenizer, start, LENGTH).unwrap();
    for (qlora, checkpointing, rank, batch) in [
        (false, true, 8, 2),
        (true, true, 8, 2),
        (true, false, 8, 4),
        (false, false, 64, 1),
        (true, true, 256, 1),
    ] {
        let lora = LoraSettings { rank, targets: Targets::all(), ..LoraSettings::default() };
        let settings = TrainingSettings {
            lora,
            qlora,
            checkpointing,
            batch,
            duration: Duration::Steps(2),
            ..TrainingSettings::default()
        };
        let reckoned = memory_bytes(&checkpoint, &settings, LENGTH).unwrap() - FIXED;
        let folder = tempfile::tempdir().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let (training, held_out) = (dataset.clone(), dataset.clone().sample(LENGTH, 1));
        let mut trainer = Trainer::new(&checkpoint, training, held_out, settings.clone()).unwrap();
        trainer.run(folder.path(), &mut |_| Ok(())).unwrap();
        let peak = (MEMORY.peak_usage() - before) as u64;
        let [peak_mb, reckoned_mb] = [peak, reckoned].map(|bytes| bytes >> 20);
        assert!(
            peak <= reckoned && reckoned <= peak * 3 / 2,
            "{peak_mb} MiB, {reckoned_mb} reckoned: qlora {qlora}, checkpointing {checkpointing}, \
             rank {rank}, batch {batch}"
        );
    }
}
