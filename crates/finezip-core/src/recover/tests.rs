//! Archives forged to make recovery take more memory, time or numbers than there are.

use std::io::Cursor;

use super::*;
use crate::archive::{
    End, IndexEntry, Limits, Method, adapter, block_crc, content_hash, start_bytes,
};
use crate::record::Record;

/// A description that needs no model.
fn descriptor(name: &str) -> Descriptor {
    Descriptor { language: None, byte_coder: Some(Record::new(name, 1)) }
}

fn stored_header(number: u64, text: &[u8], bytes: u64) -> Vec<u8> {
    let header = FrameHeader {
        method: Method::Stored,
        original_bytes: bytes,
        payload_bytes: bytes,
        content_hash: content_hash(text),
    };
    header.to_bytes(number)
}

fn stored(number: u64, text: &[u8]) -> Vec<u8> {
    let crc = block_crc(number, text).to_le_bytes();
    [&stored_header(number, text, text.len() as u64), text, &crc].concat()
}

fn survey(archive: &[u8]) -> Survey {
    let mut source = Cursor::new(archive);
    let mut window = Window::new(&mut source).unwrap();
    Surveyor::new(&mut window, Limits::default()).unwrap().run().unwrap()
}

fn recover(archive: &[u8]) -> (Vec<u8>, Recovery) {
    let mut text = Vec::new();
    let recovery =
        Decompressor::without_model().recover(&mut Cursor::new(archive), &mut text).unwrap();
    for loss in &recovery.losses {
        assert!(!loss.to_string().is_empty());
    }
    (text, recovery)
}

fn pieces(archive: &[u8]) -> usize {
    let survey = survey(archive);
    let extent = 0..archive.len() as u64;
    Member::new(0, &survey.members[0], extent).pieces.len()
}

fn lost_frames(recovery: &Recovery) -> Vec<(u64, u64, Option<u64>)> {
    let lost = recovery.losses.iter().filter_map(|loss| match loss.what {
        Lost::Frames { first, count, text_bytes, .. } => Some((first, count, text_bytes)),
        _ => None,
    });
    lost.collect()
}

#[test]
fn frames_with_numbers_far_apart_take_no_more_than_those_side_by_side() {
    let apart = (1 << 20) - 1;
    let frames = (0..100).flat_map(|k| stored(k * apart, b"."));
    let archive: Vec<u8> = start_bytes().into_iter().chain(frames).collect();
    assert_eq!(pieces(&archive), 199);
    let (text, recovery) = recover(&archive);
    assert_eq!(text, [b'.'; 100]);
    let expected: Vec<_> = (0..99).map(|k| (k * apart + 1, apart - 1, None)).collect();
    assert_eq!(lost_frames(&recovery), expected);
}

#[test]
fn frames_that_only_an_index_knows_are_lost_together() {
    let (first, last) = (stored(0, b"first"), stored(999_999, b"-last"));
    let entry = IndexEntry { block_bytes: first.len() as u64, original_bytes: 5 };
    assert_eq!(last.len(), first.len());
    let end = End { frames: vec![entry; 1_000_000], ..End::default() };
    let end = end.to_bytes(1_000_000).unwrap();
    let archive = [&start_bytes()[..], &first, &last, &end].concat();
    assert_eq!(pieces(&archive), 3);
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b"first-last");
    assert_eq!(lost_frames(&recovery), [(1, 999_998, Some(4_999_990))]);
    assert_eq!(recovery.losses.len(), 1, "{:?}", recovery.losses);
}

#[test]
fn frames_missing_on_both_sides_of_a_description_keep_their_numbers() {
    let blocks = [stored(2, b"two"), descriptor("a").to_block(5), stored(8, b"seven")];
    let archive = [&start_bytes()[..], &blocks.concat()].concat();
    assert_eq!(pieces(&archive), 5);
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b"twoseven");
    assert_eq!(lost_frames(&recovery), [(0, 2, None), (3, 2, None), (5, 2, None)]);
}

#[test]
fn an_adapter_before_a_second_description_is_not_that_of_the_first() {
    let blocks = [
        descriptor("a").to_block(0),
        adapter::to_block(b"adapter", 1),
        descriptor("b").to_block(2),
        stored(3, b"text"),
    ];
    let archive = [&start_bytes()[..], &blocks.concat()].concat();
    let survey = survey(&archive);
    assert_eq!(survey.members[0].blocks.len(), 4);
    let member = Member::new(0, &survey.members[0], 0..archive.len() as u64);
    assert_eq!((member.descriptor, member.adapter), (Some(&descriptor("a")), None));
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b"text");
    assert_eq!(lost_frames(&recovery), [(0, 1, None), (1, 1, None)]);
}

#[test]
fn lengths_without_a_sum_are_not_known() {
    let entry = |original_bytes| IndexEntry { block_bytes: 30, original_bytes };
    let mut frames = vec![entry(6); 10];
    frames[8] = entry(u64::MAX);
    let end = End { frames, ..End::default() }.to_bytes(10).unwrap();
    let archive = [&start_bytes()[..], &end].concat();
    let (text, recovery) = recover(&[&archive[..], &archive].concat());
    assert!(text.is_empty());
    assert_eq!(lost_frames(&recovery), [(0, 10, None), (0, 10, None)]);
    assert!(!recovery.is_lost_text_known());

    // One length that has a sum with no other.
    let frames = vec![entry(6); 8].into_iter().chain([entry(u64::MAX - 50)]);
    let end = End { frames: frames.collect(), ..End::default() }.to_bytes(9).unwrap();
    let archive = [&start_bytes()[..], &end].concat();
    let (_, recovery) = recover(&archive.repeat(3));
    assert_eq!(lost_frames(&recovery), [(0, 9, Some(u64::MAX - 2)); 3]);
    assert_eq!(recovery.lost_bytes(), u64::MAX);
    let offsets: Vec<_> = recovery
        .losses
        .iter()
        .map(|loss| match loss.what {
            Lost::Frames { text_offset, .. } => text_offset,
            _ => None,
        })
        .collect();
    assert_eq!(offsets, [Some(0), Some(u64::MAX - 2), None]);
}
