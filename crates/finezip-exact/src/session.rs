//! A session: the keys and values of several lanes, and how far each has come.

use finezip_core::{Error, LaneFeed, Logits, Session, SessionShape};

use crate::blocks::{Block, Blocks};
use crate::forward::{self, Workspace};
use crate::kv_store::KvStore;
use crate::model::{ENGINE, ExactModel};

/// The state of all lanes.
#[derive(Debug)]
pub(crate) struct ExactSession<'a> {
    model: &'a ExactModel,
    shape: SessionShape,
    /// Tokens that each lane was fed since its last reset.
    fed: Vec<u64>,
    /// Keys and values, one store a layer.
    stores: Vec<KvStore>,
    workspace: Workspace,
    block: Block,
}

impl<'a> ExactSession<'a> {
    /// A session with all lanes empty. The memory of all lanes is set aside here.
    pub(crate) fn new(model: &'a ExactModel, shape: SessionShape) -> finezip_core::Result<Self> {
        model.check_window(shape.window)?;
        let stores = (0..model.config().layers)
            .map(|layer| {
                let ring = model.ring_of(layer, shape.window);
                KvStore::new(model.precision(), model.config(), shape.lanes, ring)
            })
            .collect::<Result<_, _>>()
            .map_err(engine_error)?;
        Ok(Self {
            model,
            shape,
            fed: vec![0; shape.lanes],
            stores,
            workspace: Workspace::default(),
            block: Block::default(),
        })
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
        let logits = logits.resize(rows, self.model.config().vocab_size);
        let Self { model, shape, fed, stores, workspace, block } = self;
        let mut blocks = Blocks::new(feeds, model.lane_rows(shape.window));
        model
            .context()
            .run(|| {
                while blocks.next(block, |lane| fed[lane]) {
                    forward::run(model, stores, workspace, block, logits)?;
                }
                Ok(())
            })
            .map_err(|error: crate::Error| engine_error(error))?;
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
}

fn engine_error(message: impl ToString) -> Error {
    Error::engine(ENGINE, message)
}
