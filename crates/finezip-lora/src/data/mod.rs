//! Texts as rows of tokens.
//!
//! A text is cut into pieces of at most a row's length, and each piece begins anew after the
//! model's start token, as a lane of an archive does. Pieces shorter than a row share one
//! (best fit decreasing), and a token sees its own piece alone, so what stands beside it in a row changes
//! nothing.

mod packing;
mod split;

use std::sync::Arc;

use finezip_core::{TokenId, Tokenizer};

use crate::error::{Error, Result};
use crate::network::Batch;
use crate::ops::IGNORED;
use crate::random::{Random, key};
use packing::{Piece, pack};

pub use split::{Text, split_held_out};

/// Where the order of rows is drawn from, under the seed of a run.
const ROW_ORDER: u64 = 2;
/// Where rows of a sample are drawn from.
const SAMPLE: u64 = 3;

/// Texts, tokenized and packed into rows of one length.
#[derive(Clone, Debug)]
pub struct Dataset {
    length: usize,
    start_token: TokenId,
    rows: Vec<Row>,
    tokens: usize,
    bytes: usize,
    fingerprint: blake3::Hash,
}

/// One row: pieces side by side.
#[derive(Clone, Debug)]
struct Row {
    pieces: Vec<Piece>,
    /// Bytes of text that its tokens stand for.
    bytes: usize,
}

impl Dataset {
    /// Tokenizes texts and packs them into rows of `length` tokens. `what` names the set in
    /// errors.
    ///
    /// # Errors
    /// [`Error::Data`] where the texts are empty, or shorter than one row together.
    pub fn new(
        what: &str,
        texts: &[Text],
        tokenizer: &dyn Tokenizer,
        start_token: TokenId,
        length: usize,
    ) -> Result<Self> {
        if length < 2 {
            return Err(Error::setting("length", "at least 2 tokens", length));
        }
        let data = |expected: String, found: String| {
            Err(Error::Data { what: what.to_owned(), expected, found })
        };
        let bytes: usize = texts.iter().map(|text| text.bytes.len()).sum();
        if bytes == 0 {
            return data("text".into(), format!("{} files with 0 bytes", texts.len()));
        }
        let mut hasher = blake3::Hasher::new();
        let mut pieces = Vec::new();
        for text in texts {
            let mut tokens = Vec::new();
            tokenizer.encode(&text.bytes, &mut tokens)?;
            tokens.iter().for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
            hasher.update(&TokenId::MAX.to_le_bytes());
            for tokens in tokens.chunks(length) {
                let bytes = tokens.iter().map(|token| tokenizer.token_bytes(*token).len()).sum();
                pieces.push(Piece { tokens: tokens.to_vec(), bytes });
            }
        }
        let tokens: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
        if tokens < length {
            let found = format!("{tokens} tokens ({bytes} bytes)");
            return data(format!("at least one row of {length} tokens"), found);
        }
        let rows = pack(pieces, length)
            .into_iter()
            .map(|pieces| Row { bytes: pieces.iter().map(|piece| piece.bytes).sum(), pieces })
            .collect();
        let fingerprint = hasher.finalize();
        Ok(Self { length, start_token, rows, tokens, bytes, fingerprint })
    }

    /// A seeded choice of rows with about `tokens` tokens; all of them where there are no more.
    #[must_use]
    pub fn sample(mut self, tokens: usize, seed: u64) -> Self {
        if self.tokens <= tokens {
            return self;
        }
        let order = Random::new(key(seed, SAMPLE)).permutation(self.rows.len());
        let rows = std::mem::take(&mut self.rows);
        let mut slots: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        (self.tokens, self.bytes) = (0, 0);
        for place in order {
            let Some(row) = slots[place].take() else { continue };
            self.tokens += row.tokens();
            self.bytes += row.bytes;
            self.rows.push(row);
            if self.tokens >= tokens {
                break;
            }
        }
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Tokens that are predicted in all rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Bytes of text that those tokens stand for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokens of a row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A hash of all tokens in the order of the texts.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint.to_hex().to_string()
    }

    /// The rows of micro-batch `number` of a run: epoch after epoch, each in an order of its own
    /// that follows from the seed.
    pub(crate) fn rows_of(&self, seed: u64, number: usize, batch: usize) -> Vec<usize> {
        let mut rows = Vec::with_capacity(batch);
        let mut order: Option<(usize, Vec<usize>)> = None;
        for place in number * batch..(number + 1) * batch {
            let (epoch, place) = (place / self.rows.len(), place % self.rows.len());
            let current = match &order {
                Some((known, order)) if *known == epoch => order,
                _ => {
                    let mut random = Random::new(key(key(seed, ROW_ORDER), epoch as u64));
                    &order.insert((epoch, random.permutation(self.rows.len()))).1
                }
            };
            rows.push(current[place]);
        }
        rows
    }

    /// Predicted tokens, and bytes, of some rows.
    pub(crate) fn size_of(&self, rows: &[usize]) -> (usize, usize) {
        let rows = rows.iter().map(|row| &self.rows[*row]);
        rows.fold((0, 0), |(tokens, bytes), row| (tokens + row.tokens(), bytes + row.bytes))
    }

    /// Some rows as a batch.
    pub(crate) fn batch(&self, rows: &[usize]) -> Batch {
        let size = rows.len() * self.length;
        let mut tokens = Vec::with_capacity(size);
        let mut targets = Vec::with_capacity(size);
        let mut starts = Vec::with_capacity(size);
        for (number, row) in rows.iter().enumerate() {
            for piece in &self.rows[*row].pieces {
                let start = (tokens.len() - number * self.length) as u32;
                let before = piece.tokens.split_last().map_or(&[][..], |(_, before)| before);
                tokens.push(self.start_token);
                tokens.extend_from_slice(before);
                targets.extend_from_slice(&piece.tokens);
                starts.extend(piece.tokens.iter().map(|_| start));
            }
            // Padding sees itself alone and is not predicted.
            for place in tokens.len() - number * self.length..self.length {
                tokens.push(self.start_token);
                targets.push(IGNORED);
                starts.push(place as u32);
            }
        }
        Batch {
            sequences: rows.len(),
            length: self.length,
            tokens,
            targets: Arc::new(targets),
            starts: Arc::new(starts),
        }
    }
}

impl Row {
    fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.tokens.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use finezip_core::ByteTokenizer;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> Text {
        Text { name: "text".into(), bytes: bytes.to_vec() }
    }

    fn dataset(texts: &[Text], length: usize) -> Result<Dataset> {
        Dataset::new("training text", texts, &ByteTokenizer, 0, length)
    }

    proptest! {
        #[test]
        fn every_byte_is_predicted_once_from_its_own_piece(
            texts in proptest::collection::vec(
                proptest::collection::vec(1..255_u8, 0..40), 1..12),
            length in 2..16_usize,
        ) {
            let texts: Vec<Text> = texts.iter().map(|bytes| text(bytes)).collect();
            let total: usize = texts.iter().map(|text| text.bytes.len()).sum();
            let Ok(set) = dataset(&texts, length) else {
                prop_assert!(total < length);
                return Ok(());
            };
            prop_assert_eq!((set.tokens(), set.bytes()), (total, total));
            let all: Vec<usize> = (0..set.rows()).collect();
            let batch = set.batch(&all);
            let mut predicted = Vec::new();
            for place in 0..batch.tokens.len() {
                let (row, column) = (place / length, place % length);
                let target = batch.targets[place];
                let start = row * length + batch.starts[place] as usize;
                prop_assert!(start <= place);
                if target == IGNORED {
                    prop_assert_eq!(start, place);
                    continue;
                }
                predicted.push(target);
                prop_assert_eq!(batch.tokens[start], 0);
                // Between its start and itself a token sees what came before it in its text.
                if place > start {
                    prop_assert_eq!(batch.tokens[place], batch.targets[place - 1]);
                }
                prop_assert!(column < length);
            }
            let mut expected: Vec<u32> =
                texts.iter().flat_map(|text| text.bytes.iter().map(|b| u32::from(*b))).collect();
            expected.sort_unstable();
            predicted.sort_unstable();
            prop_assert_eq!(predicted, expected);
        }
    }

    #[test]
    fn each_epoch_has_every_row_once_in_an_order_of_its_own() {
        let texts: Vec<Text> = (0..10).map(|i| text(&[i + 1; 8])).collect();
        let set = dataset(&texts, 8).unwrap();
        let epoch = |number: usize| -> Vec<usize> {
            (0..5).flat_map(|batch| set.rows_of(9, number * 5 + batch, 2)).collect()
        };
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
        // A batch may reach over the end of an epoch.
        assert_eq!(set.rows_of(9, 1, 7)[..3], set.rows_of(9, 0, 10)[7..]);
    }

    #[test]
    fn too_little_text_is_named() {
        let error = dataset(&[], 8).unwrap_err().to_string();
        assert!(error.contains("0 bytes"), "{error}");
        let error = dataset(&[text(b"")], 8).unwrap_err().to_string();
        assert!(error.contains("1 files"), "{error}");
        let error = dataset(&[text(b"short")], 8).unwrap_err().to_string();
        assert!(error.contains("row of 8") && error.contains("5 tokens"), "{error}");
    }

    #[test]
    fn a_sample_is_seeded_and_no_larger_than_asked() {
        let texts: Vec<Text> = (0..10).map(|i| text(&[i + 1; 8])).collect();
        let set = dataset(&texts, 8).unwrap();
        let sample = set.clone().sample(24, 1);
        assert_eq!((sample.rows(), sample.tokens(), sample.bytes()), (3, 24, 24));
        assert_eq!(set.clone().sample(1000, 1).rows(), 10);
    }
}
