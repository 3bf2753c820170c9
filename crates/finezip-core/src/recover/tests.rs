//! Archives forged to make recovery take more memory, time or numbers than there are.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::archive::{
    End, IndexEntry, Limits, Method, adapter, block_crc, content_hash, start_bytes,
};
use crate::components::Resolver;
use crate::compress::Compressor;
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

/// What was found, and the work that took.
fn survey(archive: &[u8]) -> (Survey, u64) {
    let mut source = Cursor::new(archive);
    let mut window = Window::new(&mut source).unwrap();
    let survey = Surveyor::new(&mut window, Limits::default()).unwrap().run().unwrap();
    (survey, window.work())
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
    let (survey, _) = survey(archive);
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

/// Bytes without order, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
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
    let (survey, _) = survey(&archive);
    assert_eq!(survey.members[0].blocks.len(), 2);
    let member = Member::new(0, &survey.members[0], 0..archive.len() as u64);
    assert_eq!((member.descriptor, member.adapter), (Some(&descriptor("a")), None));
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b"text");
    assert_eq!(lost_frames(&recovery), [(0, 2, None)]);
}

/// Descriptors of six bytes each, which are more in memory: under one number, under all numbers,
/// and behind adapters.
#[test]
fn descriptions_after_the_first_are_left_out_and_take_no_memory() {
    let block = |number| Descriptor::default().to_block(number);
    assert_eq!(block(0).len(), 6);
    let pair = |number| [adapter::to_block(b"", number), block(number + 1)].concat();
    let pairs: Vec<Vec<u8>> = (0..100_000).step_by(2).map(pair).collect();
    for (what, kept, forged) in [
        ("one number", 1, block(0).repeat(100_000)),
        ("all numbers", 1, (0..100_000).flat_map(block).collect()),
        ("one pair", 2, pairs[0].repeat(50_000)),
        ("all pairs", 2, pairs.concat()),
    ] {
        let archive = [&start_bytes()[..], &forged].concat();
        let (found, _) = survey(&archive);
        assert_eq!(found.members.len(), 1, "{what}");
        let member = &found.members[0];
        assert_eq!((member.has_start, member.blocks.len()), (true, kept), "{what}");
        assert_eq!(found.gaps.len(), 1, "{what}");
        assert_eq!(found.gaps[0], 5 + 6 * kept as u64..archive.len() as u64, "{what}");
        let (text, recovery) = recover(&archive);
        assert!(text.is_empty(), "{what}");
        let lost: Vec<&Lost> = recovery.losses.iter().map(|loss| &loss.what).collect();
        assert_eq!(lost, [&Lost::Index], "{what}");
    }
}

#[test]
fn a_description_that_stands_twice_hinders_nothing() {
    let blocks = [descriptor("a").to_block(0), descriptor("a").to_block(0), stored(1, b"text")];
    let archive = [&start_bytes()[..], &blocks.concat()].concat();
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b"text");
    let lost: Vec<&Lost> = recovery.losses.iter().map(|loss| &loss.what).collect();
    assert_eq!(lost, [&Lost::Index, &Lost::Nothing]);
}

#[test]
fn neighbours_out_of_their_order_are_one_loss() {
    let frame = stored(0, b".");
    let blocks = [stored(1, b"-"), frame.repeat(1000), stored(2, b"!"), frame.repeat(10)];
    let archive = [&start_bytes()[..], &blocks.concat()].concat();
    let (text, recovery) = recover(&archive);
    assert_eq!(text, b".-!");
    let length = frame.len() as u64;
    let order: Vec<Range<u64>> = recovery
        .losses
        .iter()
        .filter(|loss| loss.what == Lost::Order)
        .map(|loss| loss.archive.clone())
        .collect();
    let first = 5 + length;
    let second = first + 1001 * length;
    assert_eq!(order, [first..first + 1000 * length, second..second + 10 * length]);
}

/// Every few bytes begin a member: its start, or a block whose number begins again.
#[test]
fn no_more_members_begin_than_an_archive_can_have() {
    let text = noise(100);
    let archive = Compressor::builder().frame_bytes(30).build().unwrap().compress(&text).unwrap();
    let empty = Compressor::builder().build().unwrap().compress(b"").unwrap();
    assert_eq!(empty.len() as u64, survey::MIN_MEMBER_BYTES);
    let block = [b"x", &Descriptor::default().to_block(0)[..]].concat();
    for forged in [start_bytes().repeat(100_000), block.repeat(100_000)] {
        let archive = [&forged[..], &archive].concat();
        let (found, _) = survey(&archive);
        let most = archive.len() as u64 / survey::MIN_MEMBER_BYTES + survey::MEMBERS_BESIDES + 1;
        let members = found.members.len() as u64;
        assert!(members > most / 2 && members <= most, "{members}");
        // The one that an index knows of is still believed.
        let (recovered, recovery) = recover(&archive);
        assert_eq!(recovered, text);
        assert!(recovery.losses.len() as u64 <= 3 * most, "{}", recovery.losses.len());
    }
    // What is whole is never over the bound.
    let (found, _) = survey(&empty.repeat(10_000));
    assert_eq!(found.members.len(), 10_000);
    assert!(recover(&empty.repeat(10_000)).1.is_whole());
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

/// Bytes in which every few begin a block of hundreds of thousands.
fn forged_blocks(bytes: usize) -> [(&'static str, Vec<u8>); 4] {
    // Its end is the start of another, under a number that does not follow.
    let frame = stored_header(7, b"", 200_016);
    assert_eq!(frame.len(), 20);
    // Entries by the million, the first of which could be those of frames.
    let index = [&[b'E', 0, 0xFF, 0xFF, 0xFF, 0x7F], &[30, 10].repeat(8)[..]].concat();
    // A body of 60,000 bytes that is one field.
    let description = [b'D', 0xE0, 0xD4, 0x03, 200, 0xDC, 0xD4, 0x03];
    // All end before the one description.
    let mut adapters = Vec::new();
    while adapters.len() + 16_384 < bytes {
        let body = (bytes - adapters.len() - 8) as u32;
        let digits = [body | 0x80, body >> 7 | 0x80, body >> 14].map(|digit| digit as u8);
        adapters.extend([b'A', digits[0], digits[1], digits[2]]);
    }
    adapters.resize(bytes, 0);
    adapters.extend(descriptor("a").to_block(1));
    [
        ("frames", frame.repeat(bytes / frame.len())),
        ("indexes", index.repeat(bytes / index.len())),
        ("descriptions", description.repeat(bytes / description.len())),
        ("adapters", adapters),
    ]
}

#[test]
fn forged_blocks_at_every_place_do_not_take_forever() {
    let text = noise(100);
    let archive = Compressor::builder().frame_bytes(30).build().unwrap().compress(&text).unwrap();
    for (what, forged) in forged_blocks(300_000) {
        let archive = [&forged[..], &archive].concat();
        let (found, work) = survey(&archive);
        // Once over the bound, the block at hand is still read.
        let most = 66 * archive.len() as u64 + (16 << 20) + (1 << 20);
        assert!(work < most, "{what}: {work}");
        assert!(work > 60 * archive.len() as u64, "{what}: only {work}, all was looked at");
        assert!(found.members.iter().any(|member| member.has_start && member.has_end), "{what}");
        // What an index knows is still believed.
        let (recovered, _) = recover(&archive);
        assert_eq!(recovered, text, "{what}");
        let (recovered, recovery) = recover(&archive[..archive.len() - 1]);
        assert!(recovered.is_empty() && recovery.loses_text(), "{what}");
    }
}

#[test]
fn what_noise_between_blocks_costs_leaves_the_bound_far_away() {
    let text = noise(1 << 19);
    for frame_bytes in [100, 5_000, 1 << 17] {
        let compressor = Compressor::builder().frame_bytes(frame_bytes).build().unwrap();
        let archive = compressor.compress(&text).unwrap();
        let most = 16 * archive.len() as u64;
        let (found, work) = survey(&archive);
        assert!(work < most, "{frame_bytes}: {work} for {} bytes", archive.len());
        let offsets: Vec<_> = found.members[0].blocks.iter().map(|block| block.offset).collect();
        for stop in [archive.len(), archive.len() - 8] {
            let mut damaged = archive[..stop].to_vec();
            for (_, at) in offsets.iter().enumerate().filter(|(i, _)| i % 3 < 2) {
                damaged[*at as usize + 3] ^= 0x10;
            }
            let (_, work) = survey(&damaged);
            assert!(work < most, "{frame_bytes}, damaged: {work} for {} bytes", archive.len());
        }
    }
}

/// Has nothing, and counts how often it is asked.
struct Counting(Arc<AtomicUsize>);

impl Resolver for Counting {
    fn resolve(&self, _: &Descriptor) -> Result<Components> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Error::Settings("nothing is here".into()))
    }
}

#[test]
fn a_frame_without_description_is_tried_with_a_bounded_number_of_others() {
    let mut archive = Vec::new();
    for member in 0..MOST_GUESSES + 20 {
        archive.extend(start_bytes());
        archive.extend(descriptor(&member.to_string()).to_block(0));
    }
    archive.extend(start_bytes());
    let payload = b"payload";
    let header = FrameHeader {
        method: Method::Bytes,
        original_bytes: 10,
        payload_bytes: payload.len() as u64,
        content_hash: 0,
    };
    archive.extend(header.to_bytes(1));
    archive.extend(payload);
    archive.extend(block_crc(1, payload).to_le_bytes());
    let asked = Arc::new(AtomicUsize::new(0));
    let decompressor = Decompressor::new(Counting(Arc::clone(&asked)));
    let recovery = decompressor.recover(&mut Cursor::new(&archive), &mut Vec::new()).unwrap();
    assert_eq!(recovery.members, MOST_GUESSES + 21);
    assert_eq!(lost_frames(&recovery), [(0, 1, Some(10))]);
    assert_eq!(asked.load(Ordering::Relaxed), MOST_GUESSES);
}
