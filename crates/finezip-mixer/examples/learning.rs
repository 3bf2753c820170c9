//! What learning while coding is worth: the sizes of texts with it and without, over plain coding
//! and over the token mixer, and with single settings changed.
//!
//! `learning MODEL.gguf WINDOW LANES TEXT...` runs the exact engine once over each text (rolling
//! window, one attention sink, that many lanes) and hands each row to an encoder of each kind.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use finezip_core::{
    Coder, Encoder, Feed, FrameShape, LaneFeed, LanguageModel, Logits, Rows, SessionShape,
    StepEntry, Tokenizer, Window,
};
use finezip_exact::{ExactModel, ExactOptions};
use finezip_mixer::learn::{LearningCoder, Settings};
use finezip_mixer::tokens::{self, MixerCoder};
use finezip_models::{Checkpoint, ModelTokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, window, lanes, texts @ ..] = &arguments[..] else {
        return Err("MODEL.gguf WINDOW LANES TEXT...".into());
    };
    let (window, lanes): (usize, usize) = (window.parse()?, lanes.parse()?);
    let checkpoint = Checkpoint::open(path)?;
    let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint)?;
    let model = ExactModel::open(&checkpoint, ExactOptions::default())?;
    let coders = coders(&model, &tokenizer)?;
    for text in texts {
        let bytes = std::fs::read(text)?;
        let mut tokens = Vec::new();
        tokenizer.encode(&bytes, &mut tokens)?;
        println!("{text}: {} bytes, {} tokens", bytes.len(), tokens.len());
        let shape = FrameShape {
            vocab_size: model.vocab_size(),
            lanes,
            tokens: tokens.len(),
            bytes: bytes.len(),
        };
        let mut encoders = Vec::new();
        for (_, coder) in &coders {
            encoders.push(coder.encoder(shape)?);
        }
        run(&model, &tokens, window, lanes, &mut encoders)?;
        for ((name, _), encoder) in coders.iter().zip(encoders) {
            println!("{:>9}  {name}", encoder.finish()?.len());
        }
    }
    Ok(())
}

/// Hands every step of a text to all encoders.
fn run(
    model: &ExactModel,
    tokens: &[u32],
    window: usize,
    lanes: usize,
    encoders: &mut [Box<dyn Encoder + '_>],
) -> Result<(), Box<dyn Error>> {
    let window = Window { tokens: window, sinks: 1, rolling: true };
    let mut session = model.open_session(SessionShape { lanes, window })?;
    let region = tokens.len().div_ceil(lanes).max(1);
    let mut logits = Logits::with_features();
    for step in 0..region {
        let (mut entries, mut before, mut coded) = (Vec::new(), Vec::new(), Vec::new());
        for (lane, part) in tokens.chunks(region).enumerate().filter(|(_, part)| step < part.len())
        {
            let index = lane * region + step;
            let feed = if step == 0 { Feed::Restart { from: index } } else { Feed::Continue };
            entries.push(StepEntry { lane, index, feed });
            before.push([if step == 0 { model.start_token() } else { part[step - 1] }]);
            coded.push(part[step]);
        }
        let feeds: Vec<LaneFeed<'_>> = entries
            .iter()
            .zip(&before)
            .map(|(entry, before)| LaneFeed { lane: entry.lane, tokens: before, rows: 1 })
            .collect();
        session.feed(&feeds, &mut logits)?;
        let order: Vec<usize> = (0..entries.len()).collect();
        for encoder in &mut *encoders {
            encoder.encode(&entries, Rows::new(&logits, &order), &coded)?;
        }
    }
    Ok(())
}

/// A coder, and what is said of it.
type Variant = (String, Arc<dyn Coder>);

/// Plain coding and the mixer, each without learning, with it, and with a setting changed.
fn coders(model: &ExactModel, tokenizer: &ModelTokenizer) -> Result<Vec<Variant>, Box<dyn Error>> {
    let table: Vec<Vec<u8>> =
        (0..model.vocab_size() as u32).map(|token| tokenizer.token_bytes(token).to_vec()).collect();
    let mixer = |level| -> Result<Arc<dyn Coder>, finezip_core::Error> {
        Ok(Arc::new(MixerCoder::new(table.clone(), tokens::Settings::level(level))?))
    };
    let mut coders = Vec::new();
    for level in [1, tokens::DEFAULT_LEVEL] {
        let coder = mixer(level)?;
        coders.push((format!("level {level}"), coder.clone()));
        let learning = LearningCoder::new(coder, Settings::default())?;
        coders.push((format!("level {level}, learning"), Arc::new(learning)));
    }
    let usual = Settings::default();
    let variants = [
        ("half the rate", Settings { rate: usual.rate / 2, ..usual }),
        ("twice the rate", Settings { rate: usual.rate * 2, ..usual }),
        ("no bias", Settings { bias_rate: 0, ..usual }),
        ("bias alone", Settings { rate: 0, ..usual }),
        ("half the candidates", Settings { candidates: usual.candidates / 2, ..usual }),
        ("twice the candidates", Settings { candidates: usual.candidates * 2, ..usual }),
        ("reach 2 less", Settings { reach: usual.reach - 2, ..usual }),
        ("reach 2 more", Settings { reach: usual.reach + 2, ..usual }),
        (
            "learns from errors 4 times as large",
            Settings { sensitivity: usual.sensitivity / 4, ..usual },
        ),
        (
            "learns from errors 4 times as small",
            Settings { sensitivity: usual.sensitivity * 4, ..usual },
        ),
    ];
    let coder = mixer(tokens::DEFAULT_LEVEL)?;
    for (name, settings) in variants {
        let learning = LearningCoder::new(coder.clone(), settings)?;
        coders.push((
            format!("level {}, learning, {name}", tokens::DEFAULT_LEVEL),
            Arc::new(learning),
        ));
    }
    Ok(coders)
}
