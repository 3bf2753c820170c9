//! Setting text aside to measure on.

use crate::error::{Error, Result};
use crate::random::mix;

/// A text and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its path, or another name.
    pub name: String,
    /// What it says; any bytes.
    pub bytes: Vec<u8>,
}

/// Splits texts into those to train on and those to measure on, which get about `share` of the
/// bytes: whole texts, chosen by a hash of their content, so that the same text twice never lands
/// on both sides. Of a single text the end is set aside.
///
/// # Errors
/// [`Error::Setting`] for a share outside 0..1, [`Error::Data`] where one side would be empty.
pub fn split_held_out(mut texts: Vec<Text>, share: f64) -> Result<(Vec<Text>, Vec<Text>)> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::setting("held-out share", "above 0 and below 1", share));
    }
    let total: usize = texts.iter().map(|text| text.bytes.len()).sum();
    let wanted = (total as f64 * share).ceil() as usize;
    if let [text] = &mut texts[..] {
        let mut end = total.saturating_sub(wanted);
        // Not within a character, where the text is one of characters.
        while end > 0 && text.bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        let held_out = Text { name: text.name.clone(), bytes: text.bytes.split_off(end) };
        return Ok((texts, vec![held_out]));
    }
    let mut order: Vec<(u64, usize)> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| (content_hash(&text.bytes), number))
        .collect();
    order.sort_unstable();
    let mut chosen = vec![false; texts.len()];
    let (mut bytes, mut last) = (0, None);
    for (hash, number) in order {
        if bytes >= wanted && last != Some(hash) {
            break;
        }
        chosen[number] = true;
        bytes += texts[number].bytes.len();
        last = Some(hash);
    }
    let mut chosen = chosen.into_iter();
    let (held_out, training): (Vec<Text>, Vec<Text>) =
        texts.into_iter().partition(|_| chosen.next().unwrap_or(false));
    if training.is_empty() || held_out.is_empty() {
        let found = format!("{total} bytes in {} texts", training.len() + held_out.len());
        return Err(Error::Data {
            what: "text to split".into(),
            expected: "enough for both sides".into(),
            found,
        });
    }
    Ok((training, held_out))
}

fn content_hash(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    words.iter().fold(0, |mixed, word| mix(mixed ^ u64::from_le_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts_are_set_aside_and_copies_stay_together() {
        let mut texts: Vec<Text> =
            (0..40_u8).map(|i| Text { name: i.to_string(), bytes: vec![i % 20; 100] }).collect();
        let (training, held_out) = split_held_out(texts.clone(), 0.1).unwrap();
        assert_eq!(training.len() + held_out.len(), 40);
        assert!((4..=6).contains(&held_out.len()), "{}", held_out.len());
        assert!(held_out.iter().all(|text| training.iter().all(|t| t.bytes != text.bytes)));
        texts.reverse();
        let (_, mut again) = split_held_out(texts, 0.1).unwrap();
        again.reverse();
        assert_eq!(again, held_out);
    }

    #[test]
    fn the_end_of_a_single_text_is_set_aside_between_characters() {
        let text = Text { name: "one".into(), bytes: "ä".repeat(50).into_bytes() };
        let (training, held_out) = split_held_out(vec![text], 0.25).unwrap();
        assert_eq!((training[0].bytes.len(), held_out[0].bytes.len()), (74, 26));
        assert!(split_held_out(Vec::new(), 0.5).is_err());
        assert!(split_held_out(Vec::new(), 1.0).is_err());
    }
}
