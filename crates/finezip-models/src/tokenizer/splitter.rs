//! Text to words, the pieces that merging stays inside of.
//!
//! First user-defined tokens are taken out, the longest at each place. What lies between is cut by
//! the steps of the model's pre-tokenizer, each inside the pieces of the step before, or, where
//! the model has none (SentencePiece), between two bytes that stand side by side in no token:
//! merging cannot cross such a place, so the cut changes nothing but time.

use aho_corasick::{AhoCorasick, MatchKind};
use finezip_core::TokenId;
use regex::Regex;

use super::vocabulary::{Role, Vocabulary};
use crate::error::{Error, Result};

/// GPT-2's words (Radford et al. 2019), for all but runs of spaces, see [`Step::Pattern`].
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3's words.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's words: as Llama 3's, digits one by one.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// "White space, but not the last of it before something else": how these patterns leave a space
/// to the word that follows. The regex crate has no look-ahead, so this is done by hand.
const LOOK_AHEAD: &str = r"\s+(?!\S)|\s+";
/// Takes white space up to a line's end before the rule above can.
const LINE_ENDS: &str = r"\s*[\r\n]+";

/// A piece of text.
pub(super) enum Piece<'a> {
    /// Text to be merged.
    Word(&'a str),
    /// A user-defined token.
    Token(TokenId),
}

/// One step of a pre-tokenizer.
#[derive(Debug)]
pub(super) enum Step {
    /// Cuts around the matches of a pattern.
    Pattern {
        /// As the model's files give it.
        source: String,
        /// Without look-ahead.
        regex: Regex,
        /// Whether white space leaves its last character to what follows.
        looks_ahead: bool,
        /// Whether white space with line ends in it does not.
        takes_line_ends: bool,
    },
    /// Cuts around numbers, each digit alone or whole runs.
    Digits {
        /// Each alone.
        individual: bool,
    },
}

impl Step {
    /// A step that isolates the matches of `source`; `file` is for errors.
    pub(super) fn pattern(file: &str, source: &str) -> Result<Self> {
        let looks_ahead = source.ends_with(LOOK_AHEAD);
        let plain = match source.strip_suffix(LOOK_AHEAD) {
            Some(others) => format!(r"{others}\s+"),
            None => source.to_owned(),
        };
        let regex = Regex::new(&plain).map_err(|error| {
            Error::unsupported(file, format!("the pre-tokenizer's pattern {source:?}: {error}"))
        })?;
        let takes_line_ends = source.contains(LINE_ENDS);
        Ok(Self::Pattern { source: source.to_owned(), regex, looks_ahead, takes_line_ends })
    }

    /// Calls `emit` with the pieces of `text` in order; together they are `text`.
    fn split<'a>(&self, text: &'a str, emit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Digits { individual } => split_digits(text, *individual, emit),
            Self::Pattern { regex, looks_ahead, takes_line_ends, .. } => {
                let mut done = 0;
                while let Some(found) = regex.find_at(text, done) {
                    if found.start() > done {
                        emit(&text[done..found.start()]);
                    }
                    let mut end = found.end();
                    if *looks_ahead && end < text.len() {
                        end -= left_to_next(found.as_str(), *takes_line_ends);
                    }
                    // A pattern that matches nothing must not hold us up.
                    if end == found.start() {
                        let Some(next) = text[end..].chars().next() else { break };
                        end += next.len_utf8();
                    }
                    emit(&text[found.start()..end]);
                    done = end;
                }
                if done < text.len() {
                    emit(&text[done..]);
                }
            }
        }
    }
}

/// Bytes of a match that belong to the next one: the last character of several white ones. (A
/// greedy match of white space ends at the text's end or before something else.)
fn left_to_next(found: &str, takes_line_ends: bool) -> usize {
    let Some(last) = found.chars().next_back() else { return 0 };
    let alone = last.len_utf8() == found.len();
    let by_line_end = takes_line_ends && found.contains(['\r', '\n']);
    if alone || by_line_end || !found.chars().all(char::is_whitespace) {
        return 0;
    }
    last.len_utf8()
}

fn split_digits<'a>(text: &'a str, individual: bool, emit: &mut dyn FnMut(&'a str)) {
    let mut start = 0;
    let mut previous_numeric = false;
    for (place, character) in text.char_indices() {
        let numeric = character.is_numeric();
        let cut = numeric != previous_numeric || (individual && numeric);
        if cut && place > start {
            emit(&text[start..place]);
            start = place;
        }
        previous_numeric = numeric;
    }
    if start < text.len() {
        emit(&text[start..]);
    }
}

/// A bit for each pair of bytes: whether they stand side by side in some token.
#[derive(Debug)]
pub(super) struct InnerPairs(Vec<u64>);

impl InnerPairs {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut bits = vec![0; (1 << 16) / 64];
        for token in vocabulary.of_role(Role::Text) {
            for pair in vocabulary.bytes(token).windows(2) {
                let place = Self::place(pair[0], pair[1]);
                bits[place / 64] |= 1 << (place % 64);
            }
        }
        Self(bits)
    }

    fn place(first: u8, second: u8) -> usize {
        usize::from(first) << 8 | usize::from(second)
    }

    fn contains(&self, first: u8, second: u8) -> bool {
        let place = Self::place(first, second);
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn split<'a>(&self, text: &'a str, emit: &mut dyn FnMut(&'a str)) {
        let bytes = text.as_bytes();
        let mut start = 0;
        for place in 1..bytes.len() {
            if text.is_char_boundary(place) && !self.contains(bytes[place - 1], bytes[place]) {
                emit(&text[start..place]);
                start = place;
            }
        }
        if start < text.len() {
            emit(&text[start..]);
        }
    }
}

/// How words are found between user-defined tokens.
#[derive(Debug)]
pub(super) enum Cuts {
    /// The steps of a pre-tokenizer.
    Steps(Vec<Step>),
    /// Where merging cannot cross.
    Between(InnerPairs),
}

/// Text to words.
#[derive(Debug)]
pub(super) struct Splitter {
    user_defined: Option<(AhoCorasick, Vec<TokenId>)>,
    cuts: Cuts,
}

impl Splitter {
    /// A splitter that takes out the vocabulary's user-defined tokens, then cuts.
    pub(super) fn new(file: &str, vocabulary: &Vocabulary, cuts: Cuts) -> Result<Self> {
        let tokens: Vec<TokenId> = vocabulary
            .of_role(Role::UserDefined)
            .filter(|token| {
                std::str::from_utf8(vocabulary.bytes(*token)).is_ok_and(|t| !t.is_empty())
            })
            .collect();
        if tokens.is_empty() {
            return Ok(Self { user_defined: None, cuts });
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| vocabulary.bytes(*token)))
            .map_err(|error| Error::unsupported(file, format!("user-defined tokens: {error}")))?;
        Ok(Self { user_defined: Some((finder, tokens)), cuts })
    }

    /// Calls `emit` with the pieces of `text` in order; their bytes are those of `text`.
    pub(super) fn words<'a>(
        &self,
        text: &'a str,
        vocabulary: &Vocabulary,
        emit: &mut dyn FnMut(Piece<'a>),
    ) {
        let mut done = 0;
        if let Some((finder, tokens)) = &self.user_defined {
            for found in finder.find_iter(text) {
                let token = tokens[found.pattern().as_usize()];
                debug_assert_eq!(vocabulary.bytes(token), text[found.range()].as_bytes());
                self.cut(&text[done..found.start()], emit);
                emit(Piece::Token(token));
                done = found.end();
            }
        }
        self.cut(&text[done..], emit);
    }

    fn cut<'a>(&self, text: &'a str, emit: &mut dyn FnMut(Piece<'a>)) {
        match &self.cuts {
            Cuts::Between(pairs) => pairs.split(text, &mut |word| emit(Piece::Word(word))),
            Cuts::Steps(steps) => cut_by_steps(steps, text, emit),
        }
    }

    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        match &self.cuts {
            Cuts::Between(_) => {
                hasher.update(b"between\0");
            }
            Cuts::Steps(steps) => {
                for step in steps {
                    match step {
                        Step::Pattern { source, .. } => {
                            hasher.update(b"pattern\0");
                            hasher.update(&(source.len() as u64).to_le_bytes());
                            hasher.update(source.as_bytes());
                        }
                        Step::Digits { individual } => {
                            hasher.update(&[b'd', u8::from(*individual)]);
                        }
                    }
                }
            }
        }
    }
}

fn cut_by_steps<'a>(steps: &[Step], text: &'a str, emit: &mut dyn FnMut(Piece<'a>)) {
    match steps {
        [] if text.is_empty() => {}
        [] => emit(Piece::Word(text)),
        [step, rest @ ..] => step.split(text, &mut |piece| cut_by_steps(rest, piece, emit)),
    }
}
