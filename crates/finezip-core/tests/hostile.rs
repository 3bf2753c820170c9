//! Damaged and forged archives: an error, never a panic, never wrong bytes.

mod support;

use std::io::{Cursor, Write};

use finezip_core::{ArchiveIndex, Compressor, Decompressor, Error, Exactness, Limits, write};
use proptest::prelude::*;
use support::{Chunks, TEXT, language};

fn compressor(frame_bytes: usize) -> Compressor {
    Compressor::builder()
        .language(language(Exactness::Everywhere, Chunks { chunk: 5, lanes: 3, overlap: 0 }))
        .frame_bytes(frame_bytes)
        .build()
        .unwrap()
}

/// Frames of every kind: model, Zstandard, stored.
fn text() -> Vec<u8> {
    [TEXT, &[b'a'; 90], &[0x80, 0xFF, 0x00, 0xC1], TEXT].concat()
}

fn decode(archive: &[u8]) -> Result<Vec<u8>, Error> {
    Decompressor::new(compressor(1).components().clone()).decompress(archive)
}

/// The text by way of the index.
fn extract(archive: &[u8]) -> Result<Vec<u8>, Error> {
    let mut source = Cursor::new(archive);
    let index = ArchiveIndex::read(&mut source, &Limits::default())?;
    let decompressor = Decompressor::new(compressor(1).components().clone());
    let mut text = Vec::new();
    index.extract(&mut source, 0..u64::MAX, &decompressor, &mut text)?;
    Ok(text)
}

#[test]
fn a_truncation_at_any_length_is_found() {
    let archive = compressor(45).compress(&text()).unwrap();
    assert_eq!(decode(&archive).unwrap(), text());
    assert_eq!(extract(&archive).unwrap(), text());
    for length in 0..archive.len() {
        assert!(decode(&archive[..length]).is_err(), "{length} of {} bytes", archive.len());
        assert!(extract(&archive[..length]).is_err(), "{length} of {} bytes", archive.len());
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let archive = compressor(45).compress(&text()).unwrap();
    for bit in 0..archive.len() * 8 {
        let mut damaged = archive.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit} of {}", archive.len() * 8);
        // The index's way does not read what it does not need, but gives no wrong bytes.
        if let Ok(found) = extract(&damaged) {
            assert_eq!(found, text(), "bit {bit}");
        }
    }
}

/// Blocks as (offset, length), descriptor and frames.
fn blocks(archive: &[u8]) -> Vec<(usize, usize)> {
    let index = ArchiveIndex::read(&mut Cursor::new(archive), &Limits::default()).unwrap();
    index.frames.iter().map(|f| (f.offset as usize, f.block_bytes as usize)).collect()
}

#[test]
fn frames_swapped_repeated_or_dropped_are_found() {
    let archive = compressor(45).compress(&text()).unwrap();
    let blocks = blocks(&archive);
    assert!(blocks.len() >= 4, "{}", blocks.len());
    let piece = |i: usize| archive[blocks[i].0..blocks[i].0 + blocks[i].1].to_vec();
    for (i, &(offset, length)) in blocks.iter().enumerate() {
        let without = [&archive[..offset], &archive[offset + length..]].concat();
        assert!(decode(&without).is_err(), "frame {i} dropped");
        assert!(extract(&without).is_err(), "frame {i} dropped");
        let twice = [&archive[..offset + length], &piece(i), &archive[offset + length..]].concat();
        assert!(decode(&twice).is_err(), "frame {i} repeated");
        assert!(extract(&twice).is_err(), "frame {i} repeated");
    }
    for i in 1..blocks.len() - 1 {
        let (start, end) = (blocks[i].0, blocks[i + 1].0 + blocks[i + 1].1);
        if blocks[i].0 + blocks[i].1 != blocks[i + 1].0 {
            continue;
        }
        let swapped = [&archive[..start], &piece(i + 1), &piece(i), &archive[end..]].concat();
        assert!(decode(&swapped).is_err(), "frames {i} and {} swapped", i + 1);
        assert!(extract(&swapped).is_err(), "frames {i} and {} swapped", i + 1);
    }
}

#[test]
fn two_archives_spliced_are_found() {
    let one = compressor(45).compress(&text()).unwrap();
    // Every frame is another, and most are as long.
    let other = compressor(45).compress(&[b"!", &text()[..]].concat()).unwrap();
    for &(offset, _) in &blocks(&one) {
        let spliced = [&one[..offset], &other[offset.min(other.len())..]].concat();
        // A splice before the first difference is the other archive itself.
        if spliced != other {
            assert!(decode(&spliced).is_err(), "at {offset}");
            assert!(extract(&spliced).is_err(), "at {offset}");
        }
    }
}

/// Frames of one number and the same lengths: only the index's digest tells them apart.
#[test]
fn a_frame_of_another_archive_with_the_same_place_is_found() {
    // What neither Zstandard nor the model makes smaller.
    let noise: Vec<u8> = (0..170_u8).map(|i| 0x80 | i.wrapping_mul(37)).collect();
    let one = compressor(45).compress(&noise).unwrap();
    let places = blocks(&one);
    assert!(places.len() >= 4, "{}", places.len());
    for (i, &(offset, length)) in places.iter().enumerate() {
        let mut changed = noise.clone();
        changed[i * 45] ^= 1;
        let other = compressor(45).compress(&changed).unwrap();
        assert_eq!(blocks(&other), places);
        let block = offset..offset + length;
        let spliced = [&one[..block.start], &other[block.clone()], &one[block.end..]].concat();
        for error in [decode(&spliced).unwrap_err(), extract(&spliced).unwrap_err()] {
            let said = error.to_string();
            assert!(matches!(error, Error::Damaged { part: "index", .. }), "frame {i}: {said}");
            let end = places.last().map_or(0, |last| last.0 + last.1);
            assert!(said.contains(&format!("index at offset {end}: ")), "frame {i}: {said}");
        }
    }
}

#[test]
fn an_index_over_the_limit_is_refused_however_it_arrives() {
    // A hundred stored frames, and an index of some 200 bytes.
    let plain = Compressor::builder().frame_bytes(1).build().unwrap();
    let archive = plain.compress(&[0xFF; 100]).unwrap();
    let footer = &archive[archive.len() - 8..];
    let length = u64::from(u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]));
    assert!(length > 200, "{length}");
    for (end_bytes, is_read) in [(100, false), (length - 1, false), (length, true)] {
        let limits = Limits { end_bytes, ..Limits::default() };
        let decompressor = Decompressor::without_model().with_limits(limits);
        let pieces = |bytes| {
            let mut decoder = write::Decoder::new(Vec::new(), &decompressor);
            archive
                .chunks(bytes)
                .try_for_each(|piece| decoder.write_all(piece).map_err(Error::from_io))?;
            decoder.finish().map(|(text, _)| text)
        };
        let whole = decompressor.decompress(&archive);
        let index = ArchiveIndex::read(&mut Cursor::new(&archive), &limits).map(|_| Vec::new());
        for found in [whole, pieces(archive.len()), pieces(50), pieces(1), index] {
            match found {
                Ok(text) => assert!(is_read && (text.is_empty() || text == [0xFF; 100])),
                Err(error) => {
                    assert!(!is_read, "{end_bytes}: {error}");
                    assert!(matches!(error, Error::Limit { .. }), "{end_bytes}: {error}");
                }
            }
        }
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    for other in [&b""[..], b"\x28\xB5\x2F\xFD", b"Alice was beginning", b"\x8FFZ"] {
        let error = decode(other).unwrap_err();
        let expected = matches!(error, Error::NotAnArchive { .. } | Error::Truncated { .. });
        assert!(expected, "{other:?}: {error}");
    }
    let error = decode(b"\x8FFZ\x1A\x02").unwrap_err();
    assert!(matches!(error, Error::FormatVersion { found: 2, known: 1 }), "{error}");
    let archive = compressor(45).compress(TEXT).unwrap();
    let error = decode(&[&archive[..], b"garbage"].concat()).unwrap_err();
    assert!(matches!(error, Error::Damaged { part: "archive", .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_after_a_start_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let archive = [b"\x8FFZ\x1A\x01", &bytes[..]].concat();
        prop_assert!(decode(&archive).is_err());
        prop_assert!(extract(&archive).is_err());
    }

    #[test]
    fn many_changed_bytes_are_found(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..20),
    ) {
        let archive = compressor(45).compress(&text()).unwrap();
        let mut damaged = archive.clone();
        for (at, change) in changes {
            damaged[at.index(archive.len())] ^= change;
        }
        if damaged != archive {
            prop_assert!(decode(&damaged).is_err());
        }
    }
}
