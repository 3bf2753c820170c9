//! Reading past damage: what is whole comes out, and what is lost is named.

mod support;

use std::io::Cursor;
use std::ops::Range;

use finezip_core::{
    ArchiveIndex, Compressor, CompressorBuilder, Decompressor, Error, Exactness, FrameInfo, Limits,
    Lost, Method, RecordRule, Recovery,
};
use proptest::prelude::*;
use support::{Chunks, TEXT, language};

const FRAME_BYTES: usize = 45;

fn builder() -> CompressorBuilder {
    Compressor::builder()
        .language(language(Exactness::Everywhere, Chunks { chunk: 5, lanes: 3, overlap: 0 }))
        .frame_bytes(FRAME_BYTES)
}

fn compressor() -> Compressor {
    builder().build().unwrap()
}

fn decompressor() -> Decompressor {
    Decompressor::new(compressor().components().clone())
}

/// Frames of every kind: model, Zstandard, stored.
fn text() -> Vec<u8> {
    [TEXT, &[b'a'; 90], &[0x80, 0xFF, 0x00, 0xC1], TEXT, TEXT].concat()
}

fn archive() -> Vec<u8> {
    compressor().compress(&text()).unwrap()
}

/// Archives of records with their texts: lines, what NUL ends, and single bytes, whose frames are
/// several times as long as their text.
fn records() -> [(Vec<u8>, Vec<u8>); 3] {
    let nul = text().iter().map(|&byte| if byte == b'\n' { 0 } else { byte }).collect();
    let noise = (0..100_u32).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect();
    [(RecordRule::LINES, text()), (RecordRule::Delimiter(0), nul), (RecordRule::Bytes(1), noise)]
        .map(|(rule, text)| {
            (builder().records(rule).build().unwrap().compress(&text).unwrap(), text)
        })
}

fn recover(archive: &[u8]) -> (Vec<u8>, Recovery) {
    let mut text = Vec::new();
    let recovery = decompressor().recover(&mut Cursor::new(archive), &mut text).unwrap();
    assert_eq!(recovery.summary.text_bytes, text.len() as u64);
    (text, recovery)
}

fn frames(archive: &[u8]) -> Vec<FrameInfo> {
    ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap().frames
}

fn block(frame: &FrameInfo) -> Range<usize> {
    frame.offset as usize..(frame.offset + frame.block_bytes) as usize
}

/// `text` without the text of one frame.
fn without(text: &[u8], frame: &FrameInfo) -> Vec<u8> {
    let from = frame.text_offset as usize;
    [&text[..from], &text[from + frame.header.original_bytes as usize..]].concat()
}

/// The ranges of the text that are reported as lost.
fn lost_ranges(recovery: &Recovery) -> Vec<Range<u64>> {
    recovery
        .losses
        .iter()
        .filter_map(|loss| match loss.what {
            Lost::Frames { text_offset, text_bytes, .. } => {
                let from = text_offset?;
                Some(from..from + text_bytes?)
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_whole_archive_is_its_text_and_nothing_is_lost() {
    for archive in [archive(), [archive(), archive()].concat(), compressor().compress(b"").unwrap()]
    {
        let (found, recovery) = recover(&archive);
        assert_eq!(found, decompressor().decompress(&archive).unwrap());
        assert!(recovery.is_whole(), "{:?}", recovery.losses);
        assert_eq!(recovery.summary.archive_bytes, archive.len() as u64);
    }
}

#[test]
fn frames_of_records_are_read() {
    let mut most_longer = 0;
    for (archive, text) in records() {
        let frames = frames(&archive);
        assert!(frames.len() > 2);
        for frame in frames {
            assert!(matches!(frame.header.method, Method::Records { .. }), "{frame:?}");
            let longer = frame.block_bytes.saturating_sub(frame.header.original_bytes);
            most_longer = most_longer.max(longer);
        }
        let (found, recovery) = recover(&archive);
        assert_eq!(found, text);
        assert!(recovery.is_whole(), "{:?}", recovery.losses);
        // Without its index.
        let (found, recovery) = recover(&archive[..archive.len() - 8]);
        assert_eq!(found, text);
        assert_eq!(recovery.losses.len(), 1, "{:?}", recovery.losses);
        assert_eq!(recovery.losses[0].what, Lost::Index);
    }
    assert!(most_longer > 100, "{most_longer} bytes");
}

#[test]
fn a_changed_byte_costs_at_most_its_frame() {
    a_changed_byte_costs_its_frame_of(&archive(), &text(), &[0x01, 0x80, 0xFF]);
    for (archive, text) in records() {
        a_changed_byte_costs_its_frame_of(&archive, &text, &[0x55]);
    }
}

fn a_changed_byte_costs_its_frame_of(archive: &[u8], text: &[u8], changes: &[u8]) {
    let frames = frames(archive);
    let descriptor = 5..frames[0].offset as usize;
    assert!(descriptor.len() > 50, "the descriptor stands first");
    for at in 0..archive.len() {
        for change in changes {
            let mut damaged = archive.to_vec();
            damaged[at] ^= change;
            let (found, recovery) = recover(&damaged);
            let place = format!("byte {at} of {} ^ {change:#x}", archive.len());
            assert!(!recovery.is_whole(), "{place}");
            if let Some(frame) = frames.iter().find(|frame| block(frame).contains(&at)) {
                assert_eq!(found, without(text, frame), "{place}: {:?}", recovery.losses);
                let range = frame.text_offset..frame.text_offset + frame.header.original_bytes;
                assert_eq!(lost_ranges(&recovery), [range], "{place}: {:?}", recovery.losses);
                assert_eq!(recovery.lost_bytes(), frame.header.original_bytes);
            } else if descriptor.contains(&at) {
                let kept = frames.iter().filter(|frame| !frame.header.method.needs_descriptor());
                let kept: Vec<u8> = kept
                    .flat_map(|f| {
                        &text[f.text_offset as usize..][..f.header.original_bytes as usize]
                    })
                    .copied()
                    .collect();
                assert_eq!(found, kept, "{place}");
            } else {
                assert_eq!(found, text, "{place}: {:?}", recovery.losses);
                assert_eq!(recovery.lost_bytes(), 0);
            }
        }
    }
}

#[test]
fn an_archive_cut_anywhere_gives_its_whole_frames() {
    let (archive, text) = (archive(), text());
    let frames = frames(&archive);
    for length in 5..archive.len() {
        let (found, recovery) = recover(&archive[..length]);
        let whole = frames.iter().filter(|frame| block(frame).end <= length);
        let expected: usize = whole.map(|frame| frame.header.original_bytes as usize).sum();
        assert_eq!(found, &text[..expected], "{length}");
        assert!(!recovery.is_whole(), "{length}");
    }
    let index_at = block(frames.last().unwrap()).end;
    for length in frames[0].offset as usize..=index_at {
        let (found, recovery) = recover(&archive[length..]);
        let whole: Vec<_> = frames.iter().filter(|frame| block(frame).start >= length).collect();
        // Frames of the model need the descriptor, which is cut away.
        let kept = whole.iter().filter(|frame| !frame.header.method.needs_descriptor());
        let expected: usize = kept.map(|frame| frame.header.original_bytes as usize).sum();
        assert_eq!(found.len(), expected, "{length}");
        assert_eq!(recovery.lost_bytes() as usize + found.len(), text.len(), "{length}");
    }
}

#[test]
fn frames_dropped_swapped_or_repeated_are_put_in_order() {
    let (archive, text) = (archive(), text());
    let frames = frames(&archive);
    assert!(frames.len() >= 5);
    for (i, frame) in frames.iter().enumerate() {
        let at = block(frame);
        let dropped = [&archive[..at.start], &archive[at.end..]].concat();
        let (found, recovery) = recover(&dropped);
        assert_eq!(found, without(&text, frame), "frame {i} dropped");
        let range = frame.text_offset..frame.text_offset + frame.header.original_bytes;
        assert_eq!(lost_ranges(&recovery), [range], "frame {i} dropped");

        let twice = [&archive[..at.end], &archive[at.start..]].concat();
        let (found, recovery) = recover(&twice);
        assert_eq!(found, text, "frame {i} repeated");
        assert_eq!(recovery.losses.len(), 1, "{:?}", recovery.losses);
        assert_eq!(recovery.losses[0].what, Lost::Order);
        let Some(next) = frames.get(i + 1).map(block) else { continue };
        if next.start != at.end {
            continue;
        }
        let swapped =
            [&archive[..at.start], &archive[next.clone()], &archive[at], &archive[next.end..]]
                .concat();
        let (found, recovery) = recover(&swapped);
        assert_eq!(found, text, "frames {i} and {} swapped", i + 1);
        assert!(
            recovery.losses.iter().all(|loss| loss.what == Lost::Order) && !recovery.is_whole()
        );
    }
}

/// Bytes put in or taken out shift everything behind them: frames are found where they are now.
#[test]
fn shifted_frames_are_found() {
    let (archive, text) = (archive(), text());
    for frame in frames(&archive) {
        let middle = (block(&frame).start + block(&frame).end) / 2;
        for damaged in [
            [&archive[..middle], b"FFFFEDF\x8F\x00\x00", &archive[middle..]].concat(),
            [&archive[..middle - 3], &archive[middle..]].concat(),
        ] {
            let (found, recovery) = recover(&damaged);
            assert_eq!(found, without(&text, &frame), "{:?}", recovery.losses);
        }
    }
}

#[test]
fn members_are_read_past_damage_in_others() {
    let (archive, text) = (archive(), text());
    let double = [&archive[..], &archive].concat();
    let length = archive.len();
    // The end of the first and the start of the second.
    let mut damaged = double.clone();
    damaged[length - 30..length + 3].fill(0);
    let (found, recovery) = recover(&damaged);
    assert_eq!(found, [&text[..], &text].concat(), "{:?}", recovery.losses);
    assert_eq!((recovery.members, recovery.lost_bytes()), (2, 0));
    let kinds: Vec<_> = recovery.losses.iter().map(|loss| &loss.what).collect();
    assert_eq!(kinds, [&Lost::Index, &Lost::Start]);

    // The descriptor of one: that of the other serves.
    let mut damaged = double.clone();
    damaged[20] ^= 1;
    let (found, recovery) = recover(&damaged);
    assert_eq!(found, [&text[..], &text].concat());
    assert_eq!(recovery.losses.len(), 1);
    assert_eq!(recovery.losses[0].what, Lost::Descriptor);

    // Bytes between them.
    let damaged = [&archive[..], b"\n", &archive].concat();
    let (found, recovery) = recover(&damaged);
    assert_eq!(found, [&text[..], &text].concat());
    assert_eq!(recovery.losses.len(), 1);
    let at = length as u64;
    assert_eq!(
        (&recovery.losses[0].what, &recovery.losses[0].archive),
        (&Lost::Nothing, &(at..at + 1))
    );
}

/// A stored frame may hold an archive; while the index stands, its frames are not taken for ours.
#[test]
fn an_archive_within_a_frame_stays_within() {
    let inner = compressor().compress(TEXT).unwrap();
    let outer = Compressor::builder().frame_bytes(inner.len()).build().unwrap();
    let text = [&inner[..], &inner, &inner].concat();
    let archive = outer.compress(&text).unwrap();
    let frames = frames(&archive);
    for at in block(&frames[1]) {
        let mut damaged = archive.clone();
        damaged[at] ^= 1;
        let (found, _) = recover(&damaged);
        assert_eq!(found, without(&text, &frames[1]), "byte {at}");
    }
}

#[test]
fn a_missing_model_is_no_damage() {
    let mut out = Vec::new();
    let error =
        Decompressor::without_model().recover(&mut Cursor::new(archive()), &mut out).unwrap_err();
    assert!(matches!(error, Error::ModelMissing { .. }), "{error}");
}

#[test]
fn what_is_no_archive_is_named() {
    for other in [&b""[..], b"Alice was beginning to get very tired", b"FED\x8F"] {
        let error = decompressor().recover(&mut Cursor::new(other), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::NotAnArchive { .. }), "{error}");
    }
    let error =
        decompressor().recover(&mut Cursor::new(b"\x8FFZ\x1A\x09"), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::FormatVersion { found: 9, .. }), "{error}");
}

#[test]
fn losses_are_told_in_words() {
    let archive = archive();
    let frame = frames(&archive)[1];
    let mut damaged = archive.clone();
    damaged[frame.offset as usize + 1] ^= 0x80;
    let (_, recovery) = recover(&damaged);
    let end = frame.offset + frame.block_bytes;
    let told = recovery.losses[0].to_string();
    let expected = format!(
        "member 0, frame 1: bytes {}..{} of the text lost, at byte {} of what was written (archive \
         bytes {}..{end}: no readable frame)",
        frame.text_offset,
        frame.text_offset + frame.header.original_bytes,
        frame.text_offset,
        frame.offset,
    );
    assert_eq!(told, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever happens to an archive, what comes out is made of whole frames in their order.
    #[test]
    fn only_whole_frames_come_out(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..12),
        cut in any::<prop::sample::Index>(),
        moved in any::<(prop::sample::Index, prop::sample::Index)>(),
        splices in any::<bool>(),
    ) {
        let (archive, text) = (archive(), text());
        let mut damaged = archive.clone();
        for (at, change) in changes {
            damaged[at.index(archive.len())] ^= change;
        }
        if splices {
            let (a, b) = (moved.0.index(damaged.len()), moved.1.index(damaged.len()));
            let piece: Vec<u8> = damaged[a.min(b)..a.max(b)].to_vec();
            let at = cut.index(damaged.len());
            damaged.splice(at..at, piece);
        }
        let mut found = Vec::new();
        let recovered = decompressor().recover(&mut Cursor::new(&damaged), &mut found);
        if let Ok(recovery) = recovered {
            prop_assert_eq!(recovery.is_whole(), damaged == archive, "{:?}", recovery.losses);
            let pieces: Vec<&[u8]> = frames(&archive)
                .iter()
                .map(|f| &text[f.text_offset as usize..][..f.header.original_bytes as usize])
                .collect();
            let mut rest = &found[..];
            while !rest.is_empty() {
                let next = pieces.iter().filter_map(|piece| rest.strip_prefix(*piece)).min_by_key(|rest| rest.len());
                prop_assert!(next.is_some(), "{:?}", String::from_utf8_lossy(rest));
                rest = next.unwrap_or_default();
            }
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for bytes in [bytes.clone(), [b"\x8FFZ\x1A\x01", &bytes[..]].concat()] {
            let mut out = Vec::new();
            if let Ok(recovery) = decompressor().recover(&mut Cursor::new(bytes), &mut out) {
                prop_assert!(!recovery.is_whole() && out.is_empty());
            }
        }
    }
}
