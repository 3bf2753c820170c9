//! What a session is fed for a batch, and which of its rows is whose.

use std::ops::Range;

use super::batch::Batch;
use crate::error::Result;
use crate::logits::Logits;
use crate::model::{LaneFeed, Session};
use crate::schedule::Feed;
use crate::tokenizer::TokenId;

/// The tokens of a batch, lane by lane.
#[derive(Default)]
pub(super) struct Feeding {
    tokens: Vec<TokenId>,
    spans: Vec<Span>,
    /// Row of the block for each entry of the batch.
    rows: Vec<usize>,
    /// The batch's entries by lane, then by step.
    order: Vec<usize>,
}

/// What one lane is fed.
struct Span {
    lane: usize,
    restarts: bool,
    tokens: Range<usize>,
    rows: usize,
}

impl Feeding {
    /// Takes from `tokens`, those of the frame, what the entries of `batch` are fed. The session's
    /// lane 0 is the plan's `first_lane`.
    pub(super) fn prepare(
        &mut self,
        batch: &Batch,
        first_lane: usize,
        tokens: &[TokenId],
        start_token: TokenId,
    ) {
        let entries = batch.entries();
        self.order.clear();
        self.order.extend(0..entries.len());
        self.order.sort_by_key(|&i| entries[i].lane);
        self.tokens.clear();
        self.spans.clear();
        self.rows.clear();
        self.rows.resize(entries.len(), 0);
        for (row, &i) in self.order.iter().enumerate() {
            let entry = entries[i];
            self.rows[i] = row;
            let start = self.tokens.len();
            let restarts = match entry.feed {
                Feed::Restart { from } => {
                    self.tokens.push(start_token);
                    self.tokens.extend_from_slice(&tokens[from..entry.index]);
                    true
                }
                Feed::Continue => {
                    self.tokens.push(tokens[entry.index - 1]);
                    false
                }
            };
            let end = self.tokens.len();
            match self.spans.last_mut() {
                Some(span) if span.lane == entry.lane - first_lane => {
                    span.tokens.end = end;
                    span.rows += 1;
                }
                _ => self.spans.push(Span {
                    lane: entry.lane - first_lane,
                    restarts,
                    tokens: start..end,
                    rows: 1,
                }),
            }
        }
    }

    /// The rows of one step, in the order of its entries.
    pub(super) fn rows_of(&self, batch: &Batch, step: usize) -> &[usize] {
        &self.rows[batch.range(step)]
    }

    /// Feeds the session.
    pub(super) fn feed(&self, session: &mut dyn Session, logits: &mut Logits) -> Result<()> {
        for span in self.spans.iter().filter(|span| span.restarts) {
            session.reset(span.lane)?;
        }
        if self.spans.is_empty() {
            return Ok(());
        }
        let feeds: Vec<LaneFeed<'_>> = self
            .spans
            .iter()
            .map(|span| LaneFeed {
                lane: span.lane,
                tokens: &self.tokens[span.tokens.clone()],
                rows: span.rows,
            })
            .collect();
        session.feed(&feeds, logits)
    }
}
