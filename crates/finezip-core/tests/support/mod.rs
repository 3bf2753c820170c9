//! A small language to test the pipeline with: deterministic logits, tokens of several bytes,
//! lanes that restart.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use finezip_core::{
    ByteTokenizer, Error, Exactness, Feed, FeedLength, Fingerprint, LaneFeed, LaneGroup, LaneState,
    Language, LanguageModel, Logits, ModelIdentity, Plan, Record, ReferenceCoder, Result, Schedule,
    Session, SessionShape, StepEntry, TokenId, Tokenizer, Window,
};

/// Words with tokens of their own, after the 256 bytes; the empty one is a special token.
const WORDS: [&str; 8] = ["", "the ", "and ", "of ", "ing ", "<|end|>", "e", "\r\n"];

pub(crate) const VOCABULARY: usize = 256 + WORDS.len();

/// Longest word first; a special token's text is text.
pub(crate) struct Words;

impl Tokenizer for Words {
    fn vocab_size(&self) -> usize {
        VOCABULARY
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint([7; 32])
    }

    fn encode(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> Result<()> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let word = (1..WORDS.len()).find(|&word| rest.starts_with(WORDS[word].as_bytes()));
            (rest, _) = match word {
                Some(word) => (&rest[WORDS[word].len()..], tokens.push(256 + word as TokenId)),
                None => (after, tokens.push(TokenId::from(byte))),
            };
        }
        Ok(())
    }

    fn encode_bytes(&self, bytes: &[u8], tokens: &mut Vec<TokenId>) -> bool {
        ByteTokenizer.encode_bytes(bytes, tokens)
    }

    fn token_bytes(&self, token: TokenId) -> &[u8] {
        let id = token as usize;
        match id.checked_sub(256) {
            None => &BYTES[id..=id],
            Some(word) => WORDS.get(word).map_or(&[], |word| word.as_bytes()),
        }
    }
}

static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut value = 0;
    while value < 256 {
        bytes[value] = value as u8;
        value += 1;
    }
    bytes
};

/// Logits that are a hash of everything a lane has been fed: any token fed wrongly, twice or not
/// at all changes every row after it.
pub(crate) struct HashModel {
    identity: ModelIdentity,
    /// Whether its sessions save and restore lanes.
    pub(crate) saves: bool,
    /// Sessions that have the lanes among them, where there are as many lanes.
    pub(crate) sessions: usize,
    /// A session, and which of its calls fails.
    pub(crate) failing: Option<(usize, usize)>,
    /// Which of the calls that open its sessions, one a frame, fails.
    pub(crate) fails_to_open: Option<usize>,
    opened: AtomicUsize,
}

impl HashModel {
    pub(crate) fn new(exactness: Exactness) -> Self {
        Self {
            identity: ModelIdentity {
                name: "hash".into(),
                fingerprint: Fingerprint([3; 32]),
                engine: Record::new("hash", 1),
                adapter: None,
                exactness,
            },
            saves: false,
            sessions: 1,
            failing: None,
            fails_to_open: None,
            opened: AtomicUsize::new(0),
        }
    }
}

impl HashModel {
    /// A model that says it has an adapter merged; logits are the same.
    pub(crate) fn adapted(adapter: Fingerprint) -> Self {
        let mut model = Self::new(Exactness::Everywhere);
        model.identity.adapter = Some(adapter);
        model
    }
}

impl LanguageModel for HashModel {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn vocab_size(&self) -> usize {
        VOCABULARY
    }

    fn start_token(&self) -> TokenId {
        256
    }

    fn max_window(&self) -> usize {
        1 << 20
    }

    fn can_roll(&self) -> bool {
        true
    }

    fn lane_bytes(&self, _window: Window) -> u64 {
        8
    }

    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        Ok(self.session(0, shape.lanes))
    }

    fn open_sessions<'a>(
        &'a self,
        shape: SessionShape,
        _feeds: FeedLength,
    ) -> Result<Vec<LaneGroup<'a>>> {
        if self.fails_to_open == Some(self.opened.fetch_add(1, Ordering::Relaxed)) {
            return Err(Error::engine("hash", "out of order for once"));
        }
        let sessions = self.sessions.clamp(1, shape.lanes.max(1));
        let start = |number: usize| shape.lanes * number / sessions;
        let group = |number: usize| {
            let lanes = start(number)..start(number + 1);
            LaneGroup { session: self.session(number, lanes.len()), lanes }
        };
        Ok((0..sessions).map(group).collect())
    }
}

impl HashModel {
    fn session(&self, number: usize, lanes: usize) -> Box<dyn Session + '_> {
        let failing = self.failing.filter(|&(session, _)| session == number);
        Box::new(HashSession {
            states: vec![0; lanes],
            saves: self.saves,
            calls_before_failure: failing.map(|(_, call)| call),
        })
    }
}

struct HashSession {
    states: Vec<u64>,
    saves: bool,
    calls_before_failure: Option<usize>,
}

impl Session for HashSession {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> Result<()> {
        if let Some(calls) = &mut self.calls_before_failure {
            *calls = calls
                .checked_sub(1)
                .ok_or_else(|| Error::engine("hash", "a session that fails"))?;
        }
        let rows = feeds.iter().map(|feed| feed.rows).sum();
        let mut rows = logits.resize(rows, VOCABULARY).chunks_mut(VOCABULARY);
        for feed in feeds {
            for (i, &token) in feed.tokens.iter().enumerate() {
                let state = &mut self.states[feed.lane];
                *state = (*state ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                *state ^= *state >> 29;
                if i + feed.rows < feed.tokens.len() {
                    continue;
                }
                for (id, logit) in rows.next().expect("a row").iter_mut().enumerate() {
                    let hash = (*state ^ id as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 40;
                    *logit = hash as f32 / (1 << 22) as f32 + if id < 128 { 4.0 } else { 0.0 };
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self, lane: usize) -> Result<()> {
        self.states[lane] = 0;
        Ok(())
    }

    fn save(&self, lane: usize) -> Result<Option<LaneState>> {
        Ok(self.saves.then(|| LaneState::new(self.states[lane])))
    }

    fn restore(&mut self, lane: usize, state: &LaneState) -> Result<()> {
        self.states[lane] = *state.get::<u64>().expect("a state of this engine");
        Ok(())
    }
}

/// Chunks of a few tokens over a few lanes, in waves; with an overlap, each restart is fed some
/// tokens again.
pub(crate) struct Chunks {
    pub(crate) chunk: usize,
    pub(crate) lanes: usize,
    pub(crate) overlap: usize,
}

impl Schedule for Chunks {
    fn record(&self) -> Record {
        Record::new("chunks", 1)
            .with("chunk", self.chunk as u64)
            .with("overlap", self.overlap as u64)
    }

    fn window(&self) -> Window {
        Window { tokens: self.chunk, sinks: 0, rolling: false }
    }

    fn lanes(&self, tokens: usize) -> usize {
        self.lanes.min(tokens.div_ceil(self.chunk))
    }

    fn max_lanes(&self) -> usize {
        self.lanes
    }

    fn plan(&self, tokens: usize, lanes: usize) -> Box<dyn Plan> {
        let chunk = self.chunk;
        let waves = tokens.div_ceil(chunk * lanes);
        let overlap = self.overlap;
        let steps = (0..waves).flat_map(move |wave| (0..chunk).map(move |step| (wave, step)));
        Box::new(Steps(Box::new(steps.map(move |(wave, step)| {
            (0..lanes)
                .map(|lane| (lane, (wave * lanes + lane) * chunk + step))
                .filter(|&(_, index)| index < tokens)
                .map(|(lane, index)| {
                    // Only what an earlier wave has coded may be fed again.
                    let from =
                        if wave > 0 && lane == 0 { index - overlap.min(index) } else { index };
                    let feed = if step == 0 { Feed::Restart { from } } else { Feed::Continue };
                    StepEntry { lane, index, feed }
                })
                .collect()
        }))))
    }
}

struct Steps(Box<dyn Iterator<Item = Vec<StepEntry>> + Send>);

impl Plan for Steps {
    fn next_step(&mut self, entries: &mut Vec<StepEntry>) -> bool {
        entries.clear();
        for step in self.0.by_ref() {
            if !step.is_empty() {
                entries.extend(step);
                return true;
            }
        }
        false
    }
}

pub(crate) fn language(exactness: Exactness, schedule: Chunks) -> Language {
    language_of(HashModel::new(exactness), schedule)
}

pub(crate) fn language_of(model: HashModel, schedule: Chunks) -> Language {
    Language {
        model: Arc::new(model),
        tokenizer: Arc::new(Words),
        schedule: Arc::new(schedule),
        coder: Arc::new(ReferenceCoder),
    }
}

/// ASCII that the model codes in fewer bytes than Zstandard or storing: short and without repeats.
pub(crate) const TEXT: &[u8] = b"Sphinx of black quartz, judge my vow.\n";
