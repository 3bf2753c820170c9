//! What a caller can see of a long run.

use std::ops::AddAssign;
use std::time::Duration;

use crate::tokenizer::{TokenId, Tokenizer};

/// How far a run is. What is reported last is what the run's [`Summary`](crate::Summary) says.
///
/// No number falls from one report to the next, with one exception: while a frame is compressed,
/// `archive_bytes` and `tokens` are those of the model's candidate, and where another candidate is
/// smaller they are taken back at the frame's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of text coded so far, those of a frame at hand included.
    pub text_bytes: u64,
    /// Bytes of archive for them, as far as is known.
    pub archive_bytes: u64,
    /// Tokens coded so far.
    pub tokens: u64,
}

/// Sees progress; called between steps.
pub type Observer<'a> = dyn FnMut(Progress) + Send + 'a;

/// Where the time of a run went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Computing logits.
    pub engine: Duration,
    /// Coding under them.
    pub coder: Duration,
}

impl AddAssign for Timing {
    fn add_assign(&mut self, other: Self) {
        self.engine += other.engine;
        self.coder += other.coder;
    }
}

/// Progress within one frame.
pub(crate) struct FrameProgress<'a> {
    pub(crate) before: Progress,
    pub(crate) tokenizer: &'a dyn Tokenizer,
    pub(crate) observer: Option<&'a mut Observer<'static>>,
    pub(crate) text_bytes: u64,
    pub(crate) tokens: u64,
}

impl FrameProgress<'_> {
    /// These tokens have been coded.
    pub(crate) fn tokens(&mut self, tokens: &[TokenId], payload_bytes: usize) {
        let Some(observer) = &mut self.observer else { return };
        for &token in tokens {
            self.text_bytes += self.tokenizer.token_bytes(token).len() as u64;
        }
        self.tokens += tokens.len() as u64;
        observer(Progress {
            text_bytes: self.before.text_bytes + self.text_bytes,
            archive_bytes: self.before.archive_bytes + payload_bytes as u64,
            tokens: self.before.tokens + self.tokens,
        });
    }
}
