//! A session: the keys and values of several lanes, and how far each has come.
//!
//! Lanes know nothing of one another. All threads share a session's calls, their blocks or, where
//! rows are few, each product ([`call`]); sessions side by side, opened where there are lanes enough
//! for every thread, each keep to one thread, which then meets the others once a step. The bits are
//! the same.

use std::ops::Range;

use finezip_core::{
    Error, FeedLength, LaneFeed, LaneGroup, LaneState, LanguageModel, Logits, ModelIdentity,
    Session, SessionShape,
};

use crate::call::{self, Desk, Feeds};
use crate::error::Result;
use crate::kernels::Context;
use crate::kv_store::{KvStore, StoredLane};
use crate::model::{ENGINE, ExactModel};

/// Lanes a thread from which on each has a session of its own where lanes are fed one token a call.
/// A thread then reads all weights for its lanes, which costs more than it saves when they are
/// fewer.
const LANES_A_THREAD: usize = 5;

/// The state of all lanes.
#[derive(Debug)]
pub(crate) struct ExactSession<'a> {
    model: &'a ExactModel,
    context: &'a Context,
    shape: SessionShape,
    /// Tokens that each lane was fed since its last reset.
    fed: Vec<u64>,
    /// Keys and values, one store a layer.
    stores: Vec<KvStore>,
    /// One for each thread that has computed blocks.
    desks: Vec<Desk>,
}

/// Whether each thread is to have lanes of its own. Where calls feed several tokens they read
/// weights seldom enough; then it is lanes that cannot be shared out evenly which cost more than
/// meeting does: one thread may have an eighth more than its share.
fn have_own_lanes(threads: usize, lanes: usize, feeds: FeedLength) -> bool {
    let most = lanes.div_ceil(threads) * threads;
    let even = feeds == FeedLength::Several && lanes >= threads && 8 * most <= 9 * lanes;
    threads > 1 && (even || lanes >= threads * LANES_A_THREAD)
}

/// Sessions for all lanes: one for each thread, or one for all threads together.
pub(crate) fn side_by_side(
    model: &ExactModel,
    shape: SessionShape,
    feeds: FeedLength,
) -> finezip_core::Result<Vec<LaneGroup<'_>>> {
    let threads = model.threads();
    let (sessions, context) = match have_own_lanes(threads, shape.lanes, feeds) {
        true => (threads, model.serial_context()),
        false => (1, model.context()),
    };
    let first_lane = |session: usize| session * shape.lanes / sessions;
    (0..sessions)
        .map(|session| {
            let lanes: Range<usize> = first_lane(session)..first_lane(session + 1);
            let shape = SessionShape { lanes: lanes.len(), ..shape };
            let session = Box::new(ExactSession::new(model, context, shape)?);
            Ok(LaneGroup { lanes, session })
        })
        .collect()
}

impl<'a> ExactSession<'a> {
    /// A session with all lanes empty. The memory of all lanes is set aside here.
    pub(crate) fn new(
        model: &'a ExactModel,
        context: &'a Context,
        shape: SessionShape,
    ) -> finezip_core::Result<Self> {
        model.check_window(shape.window)?;
        let stores = (0..model.config().layers)
            .map(|layer| {
                let ring = model.ring_of(layer, shape.window);
                KvStore::new(model.precision(), model.config(), shape.lanes, ring)
            })
            .collect::<Result<_>>()
            .map_err(engine_error)?;
        Ok(Self { model, context, shape, fed: vec![0; shape.lanes], stores, desks: Vec::new() })
    }

    /// Checks feeds before anything is computed.
    fn check(&self, feeds: &[LaneFeed<'_>]) -> finezip_core::Result<()> {
        let vocab = self.model.config().vocab_size;
        let window = self.shape.window;
        let mut seen = vec![false; self.shape.lanes];
        for feed in feeds {
            match seen.get_mut(feed.lane) {
                None => return Err(self.wrong_lane(feed.lane)),
                Some(true) => {
                    let message = format!("lane {}: expected once a call, found twice", feed.lane);
                    return Err(engine_error(message));
                }
                Some(seen) => *seen = true,
            }
            if feed.rows > feed.tokens.len() {
                return Err(engine_error(format!(
                    "rows of lane {}: expected at most {}, found {}",
                    feed.lane,
                    feed.tokens.len(),
                    feed.rows
                )));
            }
            if let Some(token) = feed.tokens.iter().find(|&&token| token as usize >= vocab) {
                return Err(engine_error(format!("token: expected below {vocab}, found {token}")));
            }
            let after = self.fed[feed.lane] + feed.tokens.len() as u64;
            if !window.rolling && after > window.tokens as u64 {
                return Err(engine_error(format!(
                    "lane {}: expected at most {} tokens before a reset, found {after}",
                    feed.lane, window.tokens
                )));
            }
        }
        Ok(())
    }

    fn wrong_lane(&self, lane: usize) -> Error {
        engine_error(format!("lane: expected below {}, found {lane}", self.shape.lanes))
    }
}

impl Session for ExactSession<'_> {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> finezip_core::Result<()> {
        self.check(feeds)?;
        let rows = feeds.iter().map(|feed| feed.rows).sum();
        let (vocab, hidden) = (self.model.config().vocab_size, self.model.config().hidden_size);
        let width = if logits.wants_features() { hidden } else { 0 };
        let outputs = logits.resize_all(rows, vocab, width);
        let fed = Feeds { feeds, fed: &self.fed, window: self.shape.window };
        call::run(self.model, self.context, fed, &mut self.stores, &mut self.desks, outputs)
            .map_err(engine_error)?;
        for feed in feeds {
            self.fed[feed.lane] += feed.tokens.len() as u64;
        }
        Ok(())
    }

    fn reset(&mut self, lane: usize) -> finezip_core::Result<()> {
        match self.fed.get_mut(lane) {
            Some(fed) => *fed = 0,
            None => return Err(self.wrong_lane(lane)),
        }
        Ok(())
    }

    fn save(&self, lane: usize) -> finezip_core::Result<Option<LaneState>> {
        let Some(&fed) = self.fed.get(lane) else { return Err(self.wrong_lane(lane)) };
        let stores = self.stores.iter().map(|store| store.copy_lane(lane, fed)).collect();
        let model = self.model.identity().clone();
        Ok(Some(LaneState::new(SavedLane { model, fed, stores })))
    }

    fn restore(&mut self, lane: usize, state: &LaneState) -> finezip_core::Result<()> {
        if lane >= self.fed.len() {
            return Err(self.wrong_lane(lane));
        }
        let refuse =
            |what: &str| Err(engine_error(format!("lane {lane} cannot be restored: {what}")));
        let Some(saved) = state.get::<SavedLane>() else {
            return refuse("its state is another engine's");
        };
        let ours = self.model.identity();
        // The same weights in another precision, or with an adapter, are another model.
        let same = saved.model.fingerprint == ours.fingerprint
            && saved.model.engine == ours.engine
            && saved.model.adapter == ours.adapter;
        if !same || saved.stores.len() != self.stores.len() {
            return refuse("its state is another model's");
        }
        // All layers are asked before any is written.
        let mut stores = self.stores.iter().zip(&saved.stores);
        if !stores.all(|(store, copy)| store.takes(copy, saved.fed)) {
            return refuse("its state is that of another window");
        }
        for (store, copy) in self.stores.iter_mut().zip(&saved.stores) {
            if !store.paste_lane(lane, copy) {
                return refuse("its state is another model's");
            }
        }
        self.fed[lane] = saved.fed;
        Ok(())
    }
}

/// What a lane was when it was saved.
struct SavedLane {
    model: ModelIdentity,
    fed: u64,
    stores: Vec<StoredLane>,
}

fn engine_error(message: impl ToString) -> Error {
    Error::engine(ENGINE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_lanes_of_their_own_where_they_are_enough_or_even() {
        use FeedLength::{One, Several};
        let parted = |threads, feeds| -> Vec<usize> {
            (0..=18).filter(|&lanes| have_own_lanes(threads, lanes, feeds)).collect()
        };
        let from = |first: usize| (first..=18).collect::<Vec<_>>();
        assert!(parted(1, One).is_empty());
        assert!(parted(1, Several).is_empty());
        assert_eq!(parted(2, One), from(10));
        assert_eq!(parted(2, Several), [vec![2, 4, 6, 8], from(9)].concat());
        assert_eq!(parted(3, One), from(15));
        assert_eq!(parted(3, Several), [vec![3, 6, 8, 9, 11, 12], from(14)].concat());
    }
}
