//! A model whose lanes begin with a text that both sides know: the *prime*.
//!
//! Short texts give a model nothing to go by until they are nearly over. A prime, some records of
//! the same kind, shows it the form beforehand, as a dictionary does for a byte compressor. It is
//! fed once: sessions of engines that can ([`Session::save`]) give its state to every lane that is
//! emptied, others feed it again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::MAX_PRIME_BYTES;
use crate::error::{Error, Result};
use crate::logits::Logits;
use crate::model::{
    FeedLength, LaneFeed, LaneGroup, LaneState, LanguageModel, ModelIdentity, Session,
    SessionShape, Window,
};
use crate::tokenizer::{TokenId, Tokenizer};

/// Windows whose primed states are kept. Texts of few lengths need few; each state takes as much
/// as a lane.
const MOST_STATES: usize = 16;

/// A language model whose lanes, when they are empty, have been fed a prime.
///
/// The prime stands before the window: what a lane can see and what it takes grow by it. Windows
/// that roll leave it behind in the end.
pub struct PrimedModel {
    model: Arc<dyn LanguageModel>,
    prime: Vec<u8>,
    /// The model's start token and the prime's tokens. A lane has been fed all but the last of
    /// them, which takes the place of the start token.
    tokens: Vec<TokenId>,
    last: TokenId,
    /// The state after them in sessions of each window that was asked for.
    states: Mutex<Vec<(Window, Option<LaneState>)>>,
}

impl PrimedModel {
    /// Lanes of `model` that begin with `prime`.
    ///
    /// # Errors
    /// [`Error::Settings`] for a prime that is empty, longer than [`MAX_PRIME_BYTES`], or leaves
    /// no window; what the tokenizer says of it otherwise.
    pub fn new(
        model: Arc<dyn LanguageModel>,
        tokenizer: &dyn Tokenizer,
        prime: Vec<u8>,
    ) -> Result<Self> {
        if prime.is_empty() || prime.len() > MAX_PRIME_BYTES {
            return Err(Error::Settings(format!(
                "a prime has 1 to {MAX_PRIME_BYTES} bytes, {} were given",
                prime.len()
            )));
        }
        let mut tokens = vec![model.start_token()];
        tokenizer.encode(&prime, &mut tokens)?;
        let last = match tokens.pop() {
            Some(last) if !tokens.is_empty() => last,
            _ => return Err(Error::Settings("the prime has no tokens".into())),
        };
        if tokens.len() >= model.max_window() {
            return Err(Error::Settings(format!(
                "a prime of {} tokens; {} is made for {} at most",
                tokens.len(),
                model.identity().name,
                model.max_window()
            )));
        }
        Ok(Self { model, prime, tokens, last, states: Mutex::default() })
    }

    /// The window of the model's own sessions.
    fn widened(&self, window: Window) -> Window {
        Window { tokens: window.tokens.saturating_add(self.tokens.len()), ..window }
    }

    /// The state of a primed lane in a session of this window, made when it is first asked for.
    fn state(&self, window: Window) -> Result<Option<LaneState>> {
        let mut held = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, state)) = held.iter().find(|(made_in, _)| *made_in == window) {
            return Ok(state.clone());
        }
        let mut session = self.model.open_session(SessionShape { lanes: 1, window })?;
        let feed = LaneFeed { lane: 0, tokens: &self.tokens, rows: 0 };
        session.feed(&[feed], &mut Logits::new())?;
        let state = session.save(0)?;
        if held.len() == MOST_STATES {
            held.remove(0);
        }
        held.push((window, state.clone()));
        Ok(state)
    }

    fn session<'a>(
        &'a self,
        session: Box<dyn Session + 'a>,
        lanes: usize,
        state: Option<LaneState>,
    ) -> Box<dyn Session + 'a> {
        Box::new(PrimedSession {
            session,
            state,
            prime: &self.tokens,
            is_empty: vec![true; lanes],
            tokens: Vec::new(),
        })
    }
}

impl LanguageModel for PrimedModel {
    fn identity(&self) -> &ModelIdentity {
        self.model.identity()
    }

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    /// The prime's last token.
    fn start_token(&self) -> TokenId {
        self.last
    }

    /// What the prime leaves of the model's.
    fn max_window(&self) -> usize {
        self.model.max_window() - self.tokens.len()
    }

    fn can_roll(&self) -> bool {
        self.model.can_roll()
    }

    fn check_window(&self, window: Window) -> Result<()> {
        window.check(self)?;
        self.model.check_window(self.widened(window))
    }

    fn lane_bytes(&self, window: Window) -> u64 {
        self.model.lane_bytes(self.widened(window))
    }

    fn session_bytes(&self, shape: SessionShape) -> u64 {
        self.model.session_bytes(SessionShape { window: self.widened(shape.window), ..shape })
    }

    fn feature_width(&self) -> Option<usize> {
        self.model.feature_width()
    }

    fn prime(&self) -> &[u8] {
        &self.prime
    }

    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        let window = self.widened(shape.window);
        let state = self.state(window)?;
        let session = self.model.open_session(SessionShape { window, ..shape })?;
        Ok(self.session(session, shape.lanes, state))
    }

    fn open_sessions<'a>(
        &'a self,
        shape: SessionShape,
        feeds: FeedLength,
    ) -> Result<Vec<LaneGroup<'a>>> {
        let window = self.widened(shape.window);
        let state = self.state(window)?;
        let groups = self.model.open_sessions(SessionShape { window, ..shape }, feeds)?;
        Ok(groups
            .into_iter()
            .map(|LaneGroup { lanes, session }| {
                let session = self.session(session, lanes.len(), state.clone());
                LaneGroup { lanes, session }
            })
            .collect())
    }
}

/// A session whose lanes are primed before they are first fed.
struct PrimedSession<'a> {
    session: Box<dyn Session + 'a>,
    state: Option<LaneState>,
    prime: &'a [TokenId],
    /// Lanes that have been emptied and not primed since.
    is_empty: Vec<bool>,
    /// The prime and what follows it, for lanes that must be fed both.
    tokens: Vec<Vec<TokenId>>,
}

impl Session for PrimedSession<'_> {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> Result<()> {
        self.tokens.clear();
        for feed in feeds {
            let fresh = self.is_empty.get(feed.lane).copied().unwrap_or(false);
            // A lane out of range is the engine's to refuse.
            let whole = match &self.state {
                Some(state) if fresh => {
                    self.session.restore(feed.lane, state)?;
                    Vec::new()
                }
                None if fresh => [self.prime, feed.tokens].concat(),
                _ => Vec::new(),
            };
            self.tokens.push(whole);
            if fresh {
                self.is_empty[feed.lane] = false;
            }
        }
        let primed: Vec<LaneFeed<'_>> = feeds
            .iter()
            .zip(&self.tokens)
            .map(|(feed, whole)| match whole.is_empty() {
                true => *feed,
                false => LaneFeed { tokens: whole, ..*feed },
            })
            .collect();
        self.session.feed(&primed, logits)
    }

    fn reset(&mut self, lane: usize) -> Result<()> {
        self.session.reset(lane)?;
        if let Some(empty) = self.is_empty.get_mut(lane) {
            *empty = true;
        }
        Ok(())
    }
}
