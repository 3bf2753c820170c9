//! What each part of the token mixer is worth: the sizes of texts with each part off.
//!
//! `ablation MODEL.gguf WINDOW LANES TEXT...` runs the exact engine once over each text (rolling
//! window, one attention sink, that many lanes) and then every setting over what it said.
#![allow(clippy::print_stdout)]

use std::error::Error;

use finezip_core::{LaneFeed, LanguageModel, Logits, SessionShape, Tokenizer, Window};
use finezip_exact::{ExactModel, ExactOptions};
use finezip_mixer::tokens::{Settings, replay::Recording};
use finezip_models::{Checkpoint, ModelTokenizer};

/// The contexts by their bits in [`Settings::contexts`], as docs/mixer.md names them.
const CONTEXTS: [&str; 16] = [
    "t1",
    "t1 t2",
    "t1 t2 t3",
    "t1..t4",
    "o2",
    "o4",
    "word o1",
    "top",
    "top t1",
    "t2",
    "bracket",
    "word pair",
    "t2 t3",
    "column",
    "o6",
    "word skip",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, window, lanes, texts @ ..] = &arguments[..] else {
        return Err("MODEL.gguf WINDOW LANES TEXT...".into());
    };
    let (window, lanes): (usize, usize) = (window.parse()?, lanes.parse()?);
    let checkpoint = Checkpoint::open(path)?;
    let tokenizer = ModelTokenizer::from_checkpoint(&checkpoint)?;
    let model = ExactModel::open(&checkpoint, ExactOptions::default())?;
    let table: Vec<Vec<u8>> =
        (0..model.vocab_size() as u32).map(|token| tokenizer.token_bytes(token).to_vec()).collect();

    let mut recordings = Vec::new();
    for text in texts {
        let bytes = std::fs::read(text)?;
        let mut tokens = Vec::new();
        tokenizer.encode(&bytes, &mut tokens)?;
        println!("{text}: {} bytes, {} tokens", bytes.len(), tokens.len());
        recordings.push(record(&model, &table, &tokens, window, lanes)?);
    }
    for (name, settings) in variants() {
        let sizes: Result<Vec<usize>, _> =
            recordings.iter().map(|recording| recording.size(settings, lanes)).collect();
        let cells: Vec<String> = sizes?.iter().map(|size| format!("{size:>9}")).collect();
        println!("{name:<24}{}", cells.join(" "));
    }
    Ok(())
}

/// Runs the engine over a text and keeps what it says of each token.
fn record(
    model: &ExactModel,
    table: &[Vec<u8>],
    tokens: &[u32],
    window: usize,
    lanes: usize,
) -> Result<Recording, Box<dyn Error>> {
    let window = Window { tokens: window, sinks: 1, rolling: true };
    let mut session = model.open_session(SessionShape { lanes, window })?;
    let region = tokens.len().div_ceil(lanes).max(1);
    let mut parts: Vec<Recording> = Vec::new();
    for _ in 0..lanes {
        parts.push(Recording::new(table.to_vec())?);
    }
    let mut logits = Logits::new();
    for step in 0..region {
        let fed: Vec<(usize, [u32; 1], u32)> = tokens
            .chunks(region)
            .enumerate()
            .filter(|(_, part)| step < part.len())
            .map(|(lane, part)| {
                let before = if step == 0 { model.start_token() } else { part[step - 1] };
                (lane, [before], part[step])
            })
            .collect();
        let feeds: Vec<LaneFeed<'_>> = fed
            .iter()
            .map(|(lane, before, _)| LaneFeed { lane: *lane, tokens: before, rows: 1 })
            .collect();
        session.feed(&feeds, &mut logits)?;
        for (row, (lane, _, token)) in fed.iter().enumerate() {
            parts[*lane].push(logits.row(row), *token)?;
        }
    }
    let mut whole = Recording::new(table.to_vec())?;
    for part in parts {
        whole.append(part);
    }
    Ok(whole)
}

/// The default with each part off, then the levels.
fn variants() -> Vec<(String, Settings)> {
    let default = Settings::default();
    let mut variants = vec![("default".to_owned(), default)];
    let mut add = |name: String, settings| variants.push((name, settings));
    add("nothing mixed".to_owned(), Settings { mix: false, ..default });
    add("no contexts, no matches".to_owned(), Settings { contexts: 0, matches: 0, ..default });
    add("no contexts".to_owned(), Settings { contexts: 0, ..default });
    for (bit, name) in CONTEXTS.iter().enumerate() {
        if default.contexts >> bit & 1 == 1 {
            let contexts = default.contexts & !(1 << bit);
            add(format!("without {name}"), Settings { contexts, ..default });
        }
    }
    for matches in 0..default.matches {
        add(format!("{matches} match models"), Settings { matches, ..default });
    }
    for weight_sets in 1..default.weight_sets {
        add(format!("{weight_sets} weight sets"), Settings { weight_sets, ..default });
    }
    for refinements in 0..default.refinements {
        add(format!("{refinements} refinements"), Settings { refinements, ..default });
    }
    for level in 1..=9 {
        add(format!("level {level}"), Settings::level(level));
    }
    let all = Settings::level(9);
    for (bit, name) in CONTEXTS.iter().enumerate() {
        let contexts = all.contexts & !(1 << bit);
        add(format!("level 9 without {name}"), Settings { contexts, ..all });
    }
    variants
}
