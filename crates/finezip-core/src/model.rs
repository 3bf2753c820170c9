//! What computes logits: the language model (engine and weights together) and its sessions.
//!
//! A session holds one KV cache for several *lanes*, independent streams of tokens that are
//! computed as one batch. Prefill and single steps are the same call: a lane is fed any number of
//! tokens, and as many of the last of them as asked for give a row of logits.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::logits::Logits;
use crate::record::Record;
use crate::tokenizer::TokenId;

/// A BLAKE3 hash that names weights (or a tokenizer, or an adapter) exactly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The hash in 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.to_hex())
    }
}

/// On which machines an engine computes the same logits, bit for bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// Logits are a function of weights and tokens alone: any machine, any thread count, any
    /// batch. Such an engine may be fed several tokens a lane in one direction and one in the
    /// other.
    Everywhere,
    /// Logits repeat only on the same kind of machine and through the very same shapes; the
    /// string names the kind (instruction set, operating system).
    SameMachineKind(String),
}

/// What an archive says of the model it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// The catalog's name, or the file's.
    pub name: String,
    /// BLAKE3 of the weights as stored (for a GGUF file: of the file, tokenizer included).
    pub fingerprint: Fingerprint,
    /// The engine with the version of its arithmetic and every parameter that changes logits.
    pub engine: Record,
    /// BLAKE3 of the adapter (LoRA weights) merged into the weights, if any.
    pub adapter: Option<Fingerprint>,
    /// Where its logits repeat.
    pub exactness: Exactness,
}

/// What a token sees: itself and `tokens - 1` tokens before it in its lane, and in addition the
/// lane's first `sinks` tokens once those have left the window (attention sinks, Xiao et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Tokens a position can see, itself included.
    pub tokens: usize,
    /// First tokens of the lane that stay visible for ever.
    pub sinks: usize,
    /// True where lanes may run past `tokens` without a reset.
    pub rolling: bool,
}

impl Window {
    /// Whether a model can have this window, by what every model says of itself.
    ///
    /// # Errors
    /// [`Error::Settings`] for a window without a token, with as many sinks as tokens, longer than
    /// the model is made for, or one that is to roll in an engine that cannot.
    pub fn check<M: LanguageModel + ?Sized>(self, model: &M) -> Result<()> {
        let (name, engine) = (&model.identity().name, &model.identity().engine);
        let longest = model.max_window();
        let message = if self.tokens == 0 {
            format!("a window of 0 tokens; {name} needs 1 at least")
        } else if self.tokens > longest {
            format!("a window of {} tokens; {name} is made for {longest} at most", self.tokens)
        } else if self.sinks >= self.tokens {
            format!("a window of {} tokens with {} sinks", self.tokens, self.sinks)
        } else if self.rolling && !model.can_roll() {
            format!("engine {engine} cannot roll its window; use a schedule that resets")
        } else {
            return Ok(());
        };
        Err(Error::Settings(message))
    }
}

/// The size of a session: what its memory is set by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionShape {
    /// Number of lanes, numbered from 0.
    pub lanes: usize,
    /// What a token of any lane sees.
    pub window: Window,
}

/// Tokens for one lane in one call.
#[derive(Clone, Copy, Debug)]
pub struct LaneFeed<'a> {
    /// The lane, below [`SessionShape::lanes`].
    pub lane: usize,
    /// Tokens that follow what the lane has been fed since its last reset.
    pub tokens: &'a [TokenId],
    /// How many of the last of `tokens` give a row of logits (0 to `tokens.len()`).
    pub rows: usize,
}

/// Weights and arithmetic that turn tokens into logits.
pub trait LanguageModel: Send + Sync {
    /// What an archive must name to find this model again.
    fn identity(&self) -> &ModelIdentity;

    /// Number of logits in a row; token ids are below it.
    fn vocab_size(&self) -> usize;

    /// The token every lane begins with, so that its first real token has a distribution.
    fn start_token(&self) -> TokenId;

    /// The longest window the model is made for, in tokens.
    fn max_window(&self) -> usize;

    /// Whether lanes may run past the window without a reset.
    fn can_roll(&self) -> bool;

    /// Whether sessions can have this window: by default, what [`Window::check`] says. An engine with
    /// limits of its own says so here.
    ///
    /// # Errors
    /// [`Error::Settings`].
    fn check_window(&self, window: Window) -> Result<()> {
        window.check(self)
    }

    /// Bytes of memory one lane takes in a session with a window that it can have.
    fn lane_bytes(&self, window: Window) -> u64;

    /// Bytes of memory all of a session takes, or sessions of this shape that were opened together:
    /// what limits are held against. By default what its lanes take; an engine that computes more
    /// than the lanes it was asked for says so here.
    fn session_bytes(&self, shape: SessionShape) -> u64 {
        self.lane_bytes(shape.window).saturating_mul(shape.lanes as u64)
    }

    /// Values that a row of logits is a linear function of (what the model's last matrix is
    /// multiplied with), if the engine can leave them beside its rows, as
    /// [`Logits::wants_features`] asks. They are as exact as the logits. By default it cannot.
    fn feature_width(&self) -> Option<usize> {
        None
    }

    /// Text that every lane has been fed, after the model's own start, before its first token:
    /// empty but for a [`PrimedModel`](crate::PrimedModel).
    fn prime(&self) -> &[u8] {
        &[]
    }

    /// Opens a session with all lanes empty.
    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>>;

    /// Opens sessions that have the lanes among them, each a run of neighbours, in order. Each is
    /// fed from a thread of its own, and one may be fed while another's rows are coded: for
    /// engines that do better so than with all threads in one session, and whose logits do not
    /// depend on what is computed together. `feeds` is what most calls will be like. By default one
    /// session has all lanes.
    fn open_sessions<'a>(
        &'a self,
        shape: SessionShape,
        feeds: FeedLength,
    ) -> Result<Vec<LaneGroup<'a>>> {
        let _ = feeds;
        Ok(vec![LaneGroup { lanes: 0..shape.lanes, session: self.open_session(shape)? }])
    }
}

/// How many tokens a lane is fed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedLength {
    /// One: the next follows from its logits.
    One,
    /// Several: they are known beforehand.
    Several,
}

/// Neighbouring lanes and the session that computes them.
pub struct LaneGroup<'a> {
    /// The lanes; the session numbers them from 0.
    pub lanes: Range<usize>,
    /// Their session.
    pub session: Box<dyn Session + 'a>,
}

/// The state of several lanes: what has been fed to each since its last reset.
pub trait Session: Send {
    /// Feeds tokens to lanes (each lane at most once a call) and fills `logits` with one row a
    /// requested position, in the order of `feeds` and of the tokens within each. Where `logits`
    /// wants features and the model has them, they are filled too.
    ///
    /// After an error the session's state is unspecified and it must be dropped.
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> Result<()>;

    /// Empties a lane.
    fn reset(&mut self, lane: usize) -> Result<()>;

    /// The state of a lane, to be given to others with [`Session::restore`]; `None` where the
    /// engine cannot, so that its tokens must be fed again.
    fn save(&self, lane: usize) -> Result<Option<LaneState>> {
        let _ = lane;
        Ok(None)
    }

    /// Makes a lane what another was when it was saved, in a session of the same model. The
    /// windows of both sessions may differ as long as the lane saved had not outgrown either.
    fn restore(&mut self, lane: usize, state: &LaneState) -> Result<()> {
        let _ = state;
        Err(Error::engine("session", format!("lane {lane}: this engine restores no lanes")))
    }
}

/// What a lane was at some time; only the engine that made it knows what is in it.
#[derive(Clone)]
pub struct LaneState(Arc<dyn Any + Send + Sync>);

impl LaneState {
    /// Wraps an engine's state.
    pub fn new<T: Any + Send + Sync>(state: T) -> Self {
        Self(Arc::new(state))
    }

    /// The state, if it is of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for LaneState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneState")
    }
}
