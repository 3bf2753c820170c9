//! Every peer, both ways.

use finezip_peers::{ALL, named};

#[test]
fn every_peer_comes_back_and_makes_text_smaller() {
    let text = include_bytes!("../../../fixtures/texts/alice.txt");
    for peer in ALL {
        let (name, version) = (peer.name(), peer.version());
        let archive = peer.compress(text).unwrap();
        assert!(archive.len() * 3 < text.len() * 2, "{name}: {}", archive.len());
        assert!(peer.decompress(&archive).unwrap() == text, "{name}");
        let nothing = peer.compress(b"").unwrap();
        assert!(peer.decompress(&nothing).unwrap().is_empty(), "{name}");
        assert!(version.contains(|letter: char| letter.is_ascii_digit()), "{name}: {version}");
    }
}

#[test]
fn no_peer_takes_what_is_none_of_its_archives() {
    for peer in ALL {
        let name = peer.name();
        assert_eq!(named(name), Some(peer));
        assert!(peer.decompress(b"\xffno archive of anybody's").is_err(), "{name}");
    }
    assert_eq!(named("zlib-8"), None);
}
