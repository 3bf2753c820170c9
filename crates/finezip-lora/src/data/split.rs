//! Setting text aside to measure on.

use std::collections::BTreeMap;

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
/// on both sides. A text that would bring more than twice the share is passed over; where all would,
/// the smallest is chosen. Of a single text, or one beside which the others have less than the share,
/// the end is set aside.
///
/// # Errors
/// [`Error::Setting`] for a share outside 0..1, [`Error::Data`] where one side would be empty.
pub fn split_held_out(texts: Vec<Text>, share: f64) -> Result<(Vec<Text>, Vec<Text>)> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::setting("held-out share", "above 0 and below 1", share));
    }
    let total: usize = texts.iter().map(|text| text.bytes.len()).sum();
    let wanted = (total as f64 * share).ceil() as usize;
    let groups = groups(&texts);
    let dominates = |group: &&Group| {
        let others = total - group.bytes;
        let is_alone = others == 0 && total > 0;
        is_alone || (others < wanted && group.bytes > 2 * wanted)
    };
    if let Some(group) = groups.iter().find(dominates) {
        return Ok(split_ends(texts, &group.texts, wanted));
    }
    let mut chosen = vec![false; texts.len()];
    let mut bytes = 0;
    let mut choose = |group: &Group| {
        group.texts.iter().for_each(|number| chosen[*number] = true);
        group.bytes
    };
    for group in &groups {
        if bytes >= wanted {
            break;
        }
        let with_it = bytes + group.bytes;
        if with_it <= 2 * wanted && with_it < total {
            bytes += choose(group);
        }
    }
    if bytes == 0 {
        let with_text = groups.iter().filter(|group| group.bytes > 0);
        bytes = with_text.min_by_key(|group| group.bytes).map_or(0, choose);
    }
    if bytes == 0 || bytes == total {
        return Err(Error::Data {
            what: "text to split".into(),
            expected: "enough for both sides".into(),
            found: format!("{total} bytes in {} texts", texts.len()),
        });
    }
    let mut chosen = chosen.into_iter();
    let (held_out, training): (Vec<Text>, Vec<Text>) =
        texts.into_iter().partition(|_| chosen.next().unwrap_or(false));
    Ok((training, held_out))
}

/// Texts of one content.
struct Group {
    /// Bytes of all of them.
    bytes: usize,
    /// Their numbers.
    texts: Vec<usize>,
}

/// All texts by content, in the order of its hash.
fn groups(texts: &[Text]) -> Vec<Group> {
    let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
    for (number, text) in texts.iter().enumerate() {
        let empty = || Group { bytes: 0, texts: Vec::new() };
        let group = groups.entry(content_hash(&text.bytes)).or_insert_with(empty);
        group.bytes += text.bytes.len();
        group.texts.push(number);
    }
    groups.into_values().collect()
}

/// Sets aside the ends of the texts with these numbers, which are one text and its copies: `wanted`
/// bytes of all of them.
fn split_ends(mut texts: Vec<Text>, numbers: &[usize], wanted: usize) -> (Vec<Text>, Vec<Text>) {
    let wanted = wanted.div_ceil(numbers.len().max(1));
    let mut held_out = Vec::new();
    for number in numbers {
        let text = &mut texts[*number];
        let mut end = text.bytes.len().saturating_sub(wanted);
        // Not within a character, where the text is one of characters.
        while end > 0 && text.bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        held_out.push(Text { name: text.name.clone(), bytes: text.bytes.split_off(end) });
    }
    (texts, held_out)
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

    fn bytes(texts: &[Text]) -> usize {
        texts.iter().map(|text| text.bytes.len()).sum()
    }

    #[test]
    fn of_many_small_texts_those_that_come_first_by_hash_are_chosen() {
        let text =
            |i: usize| Text { name: i.to_string(), bytes: i.to_string().repeat(20 + i % 9).into() };
        let texts: Vec<Text> = (100..180).map(text).collect();
        let wanted = (bytes(&texts) as f64 * 0.1).ceil() as usize;
        let mut order: Vec<&Text> = texts.iter().collect();
        order.sort_by_key(|text| content_hash(&text.bytes));
        let mut enough = 0;
        let first = order.into_iter().take_while(|text| {
            let takes = enough < wanted;
            enough += text.bytes.len();
            takes
        });
        let mut expected: Vec<Text> = first.cloned().collect();
        expected.sort_by(|left, right| left.name.cmp(&right.name));
        let (_, held_out) = split_held_out(texts, 0.1).unwrap();
        assert_eq!(held_out, expected);
    }

    #[test]
    fn a_large_text_among_small_ones_is_learned_from() {
        // Hashes that come first, last and between.
        for fill in 100..116_u8 {
            let text = |i: u8| Text { name: i.to_string(), bytes: vec![i; 100] };
            let mut texts: Vec<Text> = (0..30).map(text).collect();
            texts.push(Text { name: "large".into(), bytes: vec![fill; 2000] });
            let (training, held_out) = split_held_out(texts, 0.1).unwrap();
            assert_eq!((bytes(&training), bytes(&held_out)), (4500, 500));
            assert!(held_out.iter().all(|text| text.name != "large"));
        }
    }

    #[test]
    fn where_no_text_is_small_the_smallest_is_set_aside() {
        for fill in 0..8_u8 {
            let text = |i: u8| Text {
                name: i.to_string(),
                bytes: vec![8 * i + fill; 1000 * usize::from(i)],
            };
            let texts = vec![text(3), text(2), text(4)];
            let (_, held_out) = split_held_out(texts, 0.1).unwrap();
            assert_eq!((held_out.len(), held_out[0].name.as_str()), (1, "2"));
        }
    }

    #[test]
    fn of_a_text_that_dominates_the_end_is_set_aside_and_of_its_copies_too() {
        let small = |i: u8| Text { name: i.to_string(), bytes: vec![i; 100] };
        for copies in [1, 2] {
            for fill in 100..108_u8 {
                let mut texts: Vec<Text> = (0..3).map(small).collect();
                texts.push(Text { name: "empty".into(), bytes: Vec::new() });
                let large = Text { name: "large".into(), bytes: vec![fill; 100_000] };
                texts.extend(vec![large; copies]);
                let total = bytes(&texts);
                let (training, held_out) = split_held_out(texts, 0.1).unwrap();
                assert_eq!((training.len(), held_out.len()), (4 + copies, copies));
                assert_eq!(bytes(&training) + bytes(&held_out), total);
                let tenth = total / 10;
                assert!((tenth..tenth + 4).contains(&bytes(&held_out)), "{}", bytes(&held_out));
                assert!(held_out.iter().all(|text| text.name == "large"));
            }
        }
    }
}
