//! Messages: any text comes back, with a header of a few bytes, and nothing else is taken for one.

mod support;

use std::sync::Arc;

use finezip_core::message::{MAX_MESSAGE_BYTES, Message};
use finezip_core::{
    Components, Error, Exactness, Form, Language, MessageCoder, PrimedModel, Profile,
};
use proptest::prelude::*;
use support::{Chunks, HashModel, Words, language};

/// Words of the model's among letters that do not repeat: the model codes them in fewer bytes than
/// Zstandard or storing.
const TEXT: &[u8] = b"the Jand 7of Qing Zthe xand Kof 4ing Wthe band Rof ying Vthe 3and mof Ging (";

fn plain(exactness: Exactness) -> MessageCoder {
    MessageCoder::new(language(exactness, Chunks { chunk: 6, lanes: 4, overlap: 0 })).unwrap()
}

fn everywhere() -> MessageCoder {
    plain(Exactness::Everywhere)
}

/// A language whose lanes begin with `prime`, on sessions that save lanes or do not.
fn primed(prime: &[u8], saves: bool) -> MessageCoder {
    let mut model = HashModel::new(Exactness::Everywhere);
    model.saves = saves;
    let model = PrimedModel::new(Arc::new(model), &Words, prime.to_vec()).unwrap();
    let language = language(Exactness::Everywhere, Chunks { chunk: 50, lanes: 4, overlap: 0 });
    MessageCoder::new(Language { model: Arc::new(model), ..language }).unwrap()
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "[ -~]{0,120}".prop_map(String::into_bytes),
        "(the |and |<\\|end\\|>|\r\n|\u{e9}){0,30}".prop_map(String::into_bytes),
        (any::<u8>(), 0_usize..300).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(text, 0..12)
}

fn slices(texts: &[Vec<u8>]) -> Vec<&[u8]> {
    texts.iter().map(Vec::as_slice).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_texts_come_back_alone_and_together(texts in texts(), kind in 0..4, overlap in 0_usize..3) {
        let schedule = Chunks { chunk: 6, lanes: 4, overlap };
        let coder = match kind {
            0 => MessageCoder::new(Components::default()).unwrap(),
            1 => MessageCoder::new(language(Exactness::Everywhere, schedule)).unwrap(),
            2 => plain(Exactness::SameMachineKind("here".into())),
            _ => primed(b"the end of the thing", true),
        };
        let together = coder.compress_all(&slices(&texts)).unwrap();
        for (text, message) in texts.iter().zip(&together) {
            prop_assert_eq!(&coder.compress(text).unwrap(), message);
            prop_assert_eq!(&coder.decompress(message).unwrap(), text);
            prop_assert!(message.len() <= text.len() + 5);
        }
        prop_assert_eq!(coder.decompress_all(&slices(&together)).unwrap(), texts);
    }

    #[test]
    fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), first in 0x90_u8..0xA0) {
        prop_assert!(everywhere().decompress(&bytes).is_err());
        prop_assert!(everywhere().decompress(&[&[first], &bytes[..]].concat()).is_err());
    }
}

/// A message of each form that can be made here, with the length of its header.
fn messages() -> Vec<(Vec<u8>, Vec<u8>, Form, usize)> {
    [
        (TEXT.to_vec(), Form::Model, 10),
        (vec![b'a'; 200], Form::Zstd, 7),
        (vec![0x80, 0xFF, 0x00, 0xC1], Form::Stored, 5),
        (Vec::new(), Form::Stored, 5),
    ]
    .into_iter()
    .map(|(text, form, header)| (everywhere().compress(&text).unwrap(), text, form, header))
    .collect()
}

#[test]
fn headers_are_as_short_as_they_are_said_to_be() {
    for (message, text, form, header) in messages() {
        let parsed = Message::parse(&message).unwrap();
        assert_eq!((parsed.form, message.len() - parsed.payload.len()), (form, header));
        assert_eq!(parsed.profile.is_some(), form.needs_profile());
        assert!(Message::begins_with(message[0]));
        assert_eq!(everywhere().decompress(&message).unwrap(), text);
    }
}

#[test]
fn damage_anywhere_never_gives_another_text() {
    for (message, text, form, _) in messages() {
        for place in 0..message.len() {
            for bit in 0..8 {
                let mut damaged = message.clone();
                damaged[place] ^= 1 << bit;
                if let Ok(found) = everywhere().decompress(&damaged) {
                    assert_eq!(found, text, "{form:?}: bit {bit} of byte {place}");
                }
            }
        }
        for length in 0..message.len() {
            assert!(everywhere().decompress(&message[..length]).is_err(), "{form:?}: {length}");
        }
    }
}

#[test]
fn headers_that_lie_cost_nothing() {
    for form in [1_u8, 2, 3] {
        let id = everywhere().id().prefix().0.to_le_bytes();
        let id = if form == 1 { &[][..] } else { &id };
        for count in [&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..], &[0x81, 0x80, 0x04]] {
            let message = [&[0x90 | form], id, count, &[0; 4]].concat();
            let error = everywhere().decompress(&message).unwrap_err();
            assert!(matches!(error, Error::Limit { limit: MAX_MESSAGE_BYTES, .. }), "{error}");
        }
    }
    let error = everywhere().decompress(&[0x94, 0, 0, 0, 0]).unwrap_err();
    assert!(matches!(error, Error::FormatVersion { found: 2, known: 1 }), "{error}");
    let long = vec![b'a'; MAX_MESSAGE_BYTES as usize + 1];
    assert!(matches!(everywhere().compress(&long), Err(Error::Settings(_))));
}

#[test]
fn another_profile_is_refused_by_name() {
    let message = everywhere().compress(TEXT).unwrap();
    let other = primed(b"the", true);
    let error = other.decompress(&message).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Profile { .. }), "{said}");
    assert!(said.contains(&everywhere().id().prefix().to_string()), "{said}");
    assert!(said.contains(&other.id().to_string()), "{said}");
    // The same first half of a name is found by the check, which holds the whole.
    let mut forged = message.clone();
    forged[1..5].copy_from_slice(&other.id().prefix().0.to_le_bytes());
    assert!(other.decompress(&forged).is_err());
    // What needs no profile is read with any.
    let stored = everywhere().compress(&[0xFF, 0x00]).unwrap();
    assert_eq!(other.decompress(&stored).unwrap(), [0xFF, 0x00]);
}

#[test]
fn a_name_does_not_matter_and_a_prime_does() {
    let coder = primed(b"the end", true);
    let mut renamed = coder.profile().clone();
    renamed.descriptor.language.as_mut().unwrap().model.name = "another".into();
    assert_eq!(renamed.id(), coder.id());
    assert_ne!(primed(b"the End", true).id(), coder.id());
    assert_ne!(everywhere().id(), coder.id());
    let file = coder.profile().to_bytes();
    assert_eq!(Profile::from_bytes(&file).unwrap(), *coder.profile());
}

#[test]
fn lanes_that_are_restored_are_those_that_were_fed_again() {
    let texts: Vec<Vec<u8>> = (0..20).map(|i| TEXT[i % 7..50 + i].to_vec()).collect();
    let prime = b"Sphinx of the black and quartz";
    let restored = primed(prime, true).compress_all(&slices(&texts)).unwrap();
    assert_eq!(restored, primed(prime, false).compress_all(&slices(&texts)).unwrap());
    let without = plain(Exactness::Everywhere).compress_all(&slices(&texts)).unwrap();
    assert!(restored.iter().zip(&without).all(|(with, without)| with != without));
    assert_eq!(primed(prime, false).decompress_all(&slices(&restored)).unwrap(), texts);
}

#[test]
fn primes_that_cannot_be_are_refused() {
    let model = || Arc::new(HashModel::new(Exactness::Everywhere));
    for prime in [Vec::new(), vec![b'a'; 33 << 10]] {
        assert!(matches!(PrimedModel::new(model(), &Words, prime), Err(Error::Settings(_))));
    }
}
