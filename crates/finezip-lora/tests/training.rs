//! Whole runs on small models: they learn, they resume exactly, they fail clearly.

use std::path::Path;

use finezip_lora::data::{Dataset, Text};
use finezip_lora::train::{Decay, Duration, Event, LearningRate, Trainer, TrainingSettings};
use finezip_lora::{Adapter, Error, LoraSettings, Result, Targets};
use finezip_models::seeded::SeededModel;
use finezip_models::{Checkpoint, GgmlType, ModelTokenizer};

fn checkpoint(weight_type: GgmlType) -> Checkpoint {
    SeededModel { weight_type, ..SeededModel::default() }.checkpoint().unwrap()
}

fn settings() -> TrainingSettings {
    TrainingSettings {
        lora: LoraSettings { rank: 4, dropout: 0.1, targets: Targets::all(), ..Default::default() },
        batch: 2,
        accumulation: 2,
        duration: Duration::Steps(12),
        learning_rate: LearningRate {
            peak: 3e-2,
            warmup_steps: 2,
            decay: Decay::Cosine,
            final_share: 0.1,
        },
        evaluate_every: 5,
        save_every: 3,
        ..TrainingSettings::default()
    }
}

/// Rows of 24 tokens from sentences of a small language.
fn dataset(checkpoint: &Checkpoint, sentences: std::ops::Range<usize>) -> Dataset {
    let sentence = |i: usize| format!("the {} of the {} is in the {}; ", i % 7, i % 5, i % 3);
    let texts: Vec<Text> = sentences
        .map(|i| Text { name: i.to_string(), bytes: sentence(i).repeat(2).into_bytes() })
        .collect();
    let tokenizer = ModelTokenizer::from_checkpoint(checkpoint).unwrap();
    let start = checkpoint.config().start_token();
    Dataset::new("text", &texts, &tokenizer, start, 24).unwrap()
}

fn trainer(checkpoint: &Checkpoint, settings: TrainingSettings) -> Trainer {
    let (training, held_out) = (dataset(checkpoint, 0..30), dataset(checkpoint, 30..36));
    Trainer::new(checkpoint, training, held_out, settings).unwrap()
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    ["state.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"]
        .map(|name| std::fs::read(folder.join(name)).unwrap())
        .to_vec()
}

fn nothing(_: &Event) -> Result<()> {
    Ok(())
}

#[test]
fn a_run_learns_and_its_adapter_is_the_best_measured() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(GgmlType::F32);
    let mut measured = Vec::new();
    let outcome = trainer(&checkpoint, settings())
        .run(folder.path(), &mut |event| {
            if let Event::Evaluation(evaluation) = event {
                measured.push((evaluation.step, evaluation.bits_per_byte));
            }
            Ok(())
        })
        .unwrap();
    let steps: Vec<usize> = measured.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 5, 10, 12]);
    assert_eq!(measured[0].1, outcome.base_bits_per_byte);
    let best = measured.iter().map(|(_, bpb)| *bpb).fold(f64::INFINITY, f64::min);
    assert_eq!(best, outcome.best_bits_per_byte);
    assert!(best < 0.8 * outcome.base_bits_per_byte, "{measured:?}");

    let adapter = Adapter::open(folder.path().join("adapter")).unwrap();
    assert_eq!(adapter.fingerprint(), outcome.adapter.fingerprint());
    adapter.check(checkpoint.config()).unwrap();
    let expected = checkpoint.fingerprint().unwrap().to_hex();
    assert_eq!(adapter.config().base_fingerprint, Some(expected));
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_with_the_same_bytes() {
    let checkpoint = checkpoint(GgmlType::Q8_0);
    let settings = TrainingSettings { qlora: true, ..settings() };
    let undisturbed = tempfile::tempdir().unwrap();
    trainer(&checkpoint, settings.clone()).run(undisturbed.path(), &mut nothing).unwrap();
    let expected = bytes(undisturbed.path());

    let folder = tempfile::tempdir().unwrap();
    let stop = || Err(Error::Io { path: "here".into(), source: std::io::Error::other("stopped") });
    // Before the first state, after that of step 3, after that of the evaluation of step 5, and at
    // the step of an evaluation: states between them are saved when the next gradient is known.
    for (begins_at, stop_at) in [(0, 2), (0, 4), (3, 6), (5, 10)] {
        let mut begun = Vec::new();
        let error =
            trainer(&checkpoint, settings.clone()).run(folder.path(), &mut |event| match event {
                Event::Started { step, .. } => {
                    begun.push(*step);
                    Ok(())
                }
                Event::Step(report) if report.step == stop_at => stop(),
                _ => Ok(()),
            });
        assert!(error.is_err());
        assert_eq!(begun, [begins_at]);
        assert!(!folder.path().join("adapter").exists());
    }
    let mut steps = Vec::new();
    trainer(&checkpoint, settings.clone())
        .run(folder.path(), &mut |event| {
            match event {
                Event::Started { step, .. } => steps.push(*step),
                Event::Step(report) => steps.push(report.step),
                Event::Evaluation(_) => {}
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(steps, [9, 10, 11, 12]);
    assert_eq!(bytes(folder.path()), expected);
    // A finished run does nothing again.
    let mut events = 0;
    trainer(&checkpoint, settings)
        .run(folder.path(), &mut |_| {
            events += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(events, 1);
    assert_eq!(bytes(folder.path()), expected);
}

#[test]
fn other_settings_do_not_go_on_with_a_run() {
    let checkpoint = checkpoint(GgmlType::F32);
    let folder = tempfile::tempdir().unwrap();
    let short = TrainingSettings { duration: Duration::Steps(1), ..settings() };
    trainer(&checkpoint, short.clone()).run(folder.path(), &mut nothing).unwrap();
    let mut other = short;
    other.lora.alpha = 5.0;
    let error = trainer(&checkpoint, other).run(folder.path(), &mut nothing).unwrap_err();
    assert!(error.to_string().contains("settings.lora.alpha"), "{error}");
}

#[test]
fn divergence_is_an_error_and_no_state_of_it_is_kept() {
    let checkpoint = checkpoint(GgmlType::F32);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = TrainingSettings { clip: 0.0, save_every: 1, ..settings() };
    settings.learning_rate.peak = 1e38;
    settings.learning_rate.warmup_steps = 0;
    let error = trainer(&checkpoint, settings).run(folder.path(), &mut nothing).unwrap_err();
    assert!(error.to_string().contains("nothing is kept"), "{error}");
    let Error::NotFinite { step, last_saved, best_step, .. } = error else { panic!("{error}") };
    assert_eq!((step, last_saved, best_step), (2, 0, 0));
    assert!(!folder.path().join("state.safetensors").exists());
    assert!(!folder.path().join("adapter").exists());
}

/// Overwrites the parameters of a state with what gives no numbers, as a step too far would.
fn lead_astray(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info("parameters.00000").unwrap().data_offsets;
    let values = &mut bytes[8 + header..][start..end];
    values.chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&f32::NAN.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn divergence_leaves_the_best_adapter_from_before_it() {
    let checkpoint = checkpoint(GgmlType::F32);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.learning_rate.peak = 1e-2;
    let stopped = trainer(&checkpoint, settings.clone()).run(folder.path(), &mut |event| {
        if let Event::Evaluation(evaluation) = event {
            assert!(evaluation.is_best, "{evaluation:?}");
        }
        match event {
            Event::Step(report) if report.step == 6 => {
                Err(Error::Io { path: "here".into(), source: std::io::Error::other("stopped") })
            }
            _ => Ok(()),
        }
    });
    assert!(stopped.is_err());
    let state = folder.path().join("state.safetensors");
    lead_astray(&state);
    let before = std::fs::read(&state).unwrap();
    let mut hashes = Vec::new();
    // The state is no use, so a second attempt ends as the first.
    for _ in 0..2 {
        let error =
            trainer(&checkpoint, settings.clone()).run(folder.path(), &mut nothing).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("the adapter of step 5") && said.contains("another folder"),
            "{said}"
        );
        let Error::NotFinite { step, last_saved, best_step, .. } = error else { panic!("{error}") };
        assert_eq!((step, last_saved, best_step), (6, 5, 5));
        assert_eq!(std::fs::read(&state).unwrap(), before);
        let adapter = Adapter::open(folder.path().join("adapter")).unwrap();
        adapter.check(checkpoint.config()).unwrap();
        hashes.push(adapter.fingerprint());
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn patience_ends_a_run_early() {
    let checkpoint = checkpoint(GgmlType::F32);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = TrainingSettings { patience: 2, evaluate_every: 1, ..settings() };
    // So small that nothing changes.
    settings.learning_rate.peak = 1e-30;
    let outcome = trainer(&checkpoint, settings).run(folder.path(), &mut nothing).unwrap();
    assert_eq!((outcome.steps, outcome.best_step), (2, 0));
    assert_eq!(outcome.best_bits_per_byte, outcome.base_bits_per_byte);
}

#[test]
fn rows_longer_than_the_context_are_refused() {
    let checkpoint =
        SeededModel { context_length: 16, ..SeededModel::default() }.checkpoint().unwrap();
    let (training, held_out) = (dataset(&checkpoint, 0..4), dataset(&checkpoint, 4..8));
    let error = Trainer::new(&checkpoint, training, held_out, settings()).err().unwrap();
    assert!(error.to_string().contains("16 tokens"), "{error}");
}
