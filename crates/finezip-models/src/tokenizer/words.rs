//! How a model's text is cut into words before merging, as pre-tokenizers of the `tokenizers`
//! crate.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::vocabulary::{Role, Vocabulary};
use crate::error::{Error, Result};

/// GPT-2's words (Radford et al. 2019).
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3's words.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's words: as Llama 3's, digits one by one.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// One step of a pre-tokenizer; each works inside the pieces of the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Isolates the matches of a pattern.
    Pattern(String),
    /// Isolates numbers, each digit alone or whole runs.
    Digits {
        /// Each alone.
        individual: bool,
    },
}

/// The steps, then the byte alphabet; `file` is for errors.
pub(super) fn byte_level(file: &str, steps: &[Step]) -> Result<PreTokenizerWrapper> {
    let mut parts: Vec<PreTokenizerWrapper> = Vec::with_capacity(steps.len() + 1);
    for step in steps {
        parts.push(match step {
            Step::Digits { individual } => Digits::new(*individual).into(),
            Step::Pattern(source) => {
                let pattern = SplitPattern::Regex(source.clone());
                Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                    .map_err(|error| {
                        let what = format!("the pre-tokenizer's pattern {source:?}: {error}");
                        Error::unsupported(file, what)
                    })?
                    .into()
            }
        });
    }
    parts.push(ByteLevel::new(false, false, false).into());
    Ok(Sequence::new(parts).into())
}

/// A bit for each pair of bytes: whether they stand side by side in some token.
///
/// Models in SentencePiece's manner have no words; merging runs over the whole text, in a time
/// that a long one makes felt. It cannot cross a place between two bytes that no token has side by
/// side, so text may be cut there.
#[derive(Debug)]
pub(super) struct InnerPairs(Vec<u64>);

impl InnerPairs {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut bits = vec![0; (1 << 16) / 64];
        for token in 0..vocabulary.len() as u32 {
            if matches!(vocabulary.role(token), Role::Text | Role::UserDefined) {
                for pair in vocabulary.bytes(token).windows(2) {
                    let place = Self::place(pair[0], pair[1]);
                    bits[place / 64] |= 1 << (place % 64);
                }
            }
        }
        Self(bits)
    }

    fn place(first: u8, second: u8) -> usize {
        usize::from(first) << 8 | usize::from(second)
    }

    /// Whether text may be cut between these two bytes.
    pub(super) fn may_cut(&self, first: u8, second: u8) -> bool {
        let place = Self::place(first, second);
        self.0[place / 64] >> (place % 64) & 1 == 0
    }
}
