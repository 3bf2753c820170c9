//! The catalog's default model, fetched as a user's first run does.
#![cfg(feature = "hub")]

use finezip_core::Fingerprint;
use finezip_models::Checkpoint;
use finezip_models::hub::{Store, find, find_by_fingerprint};

#[test]
fn the_default_model_is_fetched_checked_and_found_by_its_fingerprint() {
    let store = Store::from_env().unwrap();
    let entry = find("smollm2-135m").unwrap();
    let path = store.fetch(entry, &mut ()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), entry.bytes.unwrap());
    // Once here, it needs no network.
    let offline = store.offline(true);
    assert_eq!(offline.locate(entry, &mut ()).unwrap(), Some(path.clone()));
    assert_eq!(offline.fetch(entry, &mut ()).unwrap(), path);
    let fingerprint = Checkpoint::open(&path).unwrap().fingerprint().unwrap();
    assert_eq!(Some(fingerprint.to_hex().as_str()), entry.blake3);
    assert_eq!(find_by_fingerprint(fingerprint).unwrap().name, "smollm2-135m");
    assert!(find_by_fingerprint(Fingerprint([0; 32])).is_none());
}
