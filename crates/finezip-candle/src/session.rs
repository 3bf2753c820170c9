//! A session: checks what is fed, and spreads its groups of lanes over threads.

use finezip_core::{LaneFeed, Logits, Result, Session};

use crate::failure;
use crate::group::{Group, Shared, SlotFeed};
use crate::workers::Workers;

/// The lanes of one session of a [`CandleModel`](crate::CandleModel).
pub(crate) struct CandleSession<'a> {
    shared: Shared<'a>,
    workers: &'a Workers,
    lanes: usize,
    groups: Vec<Group>,
}

impl<'a> CandleSession<'a> {
    pub(crate) fn new(shared: Shared<'a>, workers: &'a Workers, lanes: usize) -> Self {
        let groups = lanes.div_ceil(shared.group_lanes);
        let groups = (0..groups).map(|_| Group::new(shared.group_lanes)).collect();
        Self { shared, workers, lanes, groups }
    }

    /// The group of a lane and its place in the group.
    fn place(&self, lane: usize) -> Result<(usize, usize)> {
        if lane >= self.lanes {
            return Err(failure(format!("lane: expected below {}, found {lane}", self.lanes)));
        }
        Ok((lane / self.shared.group_lanes, lane % self.shared.group_lanes))
    }

    fn check(&self, feeds: &[LaneFeed<'_>]) -> Result<()> {
        let mut fed = vec![false; self.lanes];
        for feed in feeds {
            let (group, slot) = self.place(feed.lane)?;
            if std::mem::replace(&mut fed[feed.lane], true) {
                return Err(failure(format!("lane {} is fed twice in one call", feed.lane)));
            }
            if feed.rows > feed.tokens.len() {
                let (rows, tokens) = (feed.rows, feed.tokens.len());
                let message = format!("rows: expected at most {tokens} (the tokens), found {rows}");
                return Err(failure(message));
            }
            let vocab_size = self.shared.vocab_size;
            if let Some(token) = feed.tokens.iter().find(|token| **token as usize >= vocab_size) {
                return Err(failure(format!("token: expected below {vocab_size}, found {token}")));
            }
            let position = self.groups[group].position(slot) + feed.tokens.len();
            if position > self.shared.window_tokens {
                return Err(failure(format!(
                    "lane {}: expected at most {} tokens (the window) since its reset, found \
                     {position}",
                    feed.lane, self.shared.window_tokens
                )));
            }
        }
        Ok(())
    }
}

impl Session for CandleSession<'_> {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> Result<()> {
        self.check(feeds)?;
        let vocab_size = self.shared.vocab_size;
        let rows = feeds.iter().map(|feed| feed.rows).sum();
        let mut values = logits.resize(rows, vocab_size);
        let mut by_group: Vec<Vec<SlotFeed<'_>>> = Vec::new();
        by_group.resize_with(self.groups.len(), Vec::new);
        for feed in feeds {
            let (group, slot) = self.place(feed.lane)?;
            let (own, rest) = values.split_at_mut(feed.rows * vocab_size);
            values = rest;
            let (tokens, rows) = (feed.tokens, feed.rows);
            by_group[group].push(SlotFeed { slot, tokens, rows, logits: own });
        }
        let jobs: Vec<_> = self
            .groups
            .iter_mut()
            .zip(by_group)
            .filter(|(_, feeds)| feeds.iter().any(|feed| !feed.tokens.is_empty()))
            .collect();
        let shared = &self.shared;
        self.workers.run(jobs, |(group, feeds)| group.feed(shared, feeds))
    }

    fn reset(&mut self, lane: usize) -> Result<()> {
        let (group, slot) = self.place(lane)?;
        self.groups[group].reset(slot);
        Ok(())
    }
}
