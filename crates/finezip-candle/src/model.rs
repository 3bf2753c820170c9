//! A model on candle: weights, settings, threads, and what an archive says of them.

use candle_core::Device;
use finezip_core::{LanguageModel, ModelIdentity, Result, Session, SessionShape, TokenId, Window};
use finezip_lora::Adapter;
use finezip_models::{Checkpoint, ModelConfig};

use crate::group::Shared;
use crate::network::{Blueprint, blueprint};
use crate::options::CandleOptions;
use crate::session::CandleSession;
use crate::workers::Workers;
use crate::{failure, kind};

/// A language model computed by candle's stock code.
///
/// Its logits repeat bit for bit on the same kind of machine, whatever the number of threads and
/// of lanes; [`ModelIdentity::exactness`] names the kind. Lanes are computed in groups of a fixed
/// size, and groups that are not full cost as much as full ones: sessions do best with a multiple
/// of [`CandleModel::group_lanes`] lanes that are fed together.
pub struct CandleModel {
    identity: ModelIdentity,
    config: ModelConfig,
    blueprint: Box<dyn Blueprint>,
    device: Device,
    group_lanes: usize,
    workers: Workers,
}

impl std::fmt::Debug for CandleModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CandleModel").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl CandleModel {
    /// Reads a checkpoint's weights, and computes a few tokens to name the machine's arithmetic.
    ///
    /// # Errors
    /// [`Engine`](finezip_core::Error::Engine) for unreadable weights, features of the model that
    /// candle's code lacks, and devices that are not there;
    /// [`Settings`](finezip_core::Error::Settings) for options that do not go together.
    pub fn open(checkpoint: &Checkpoint, options: CandleOptions) -> Result<Self> {
        Self::open_adapted(checkpoint, None, options)
    }

    /// The same with an adapter merged into the weights, which must be in `f32`, as
    /// [`Adapter::merge`] says.
    ///
    /// # Errors
    /// Those of [`CandleModel::open`], and an adapter of another model.
    pub fn open_adapted(
        checkpoint: &Checkpoint,
        adapter: Option<&Adapter>,
        options: CandleOptions,
    ) -> Result<Self> {
        let device = options.compute.device()?;
        let blueprint = blueprint(checkpoint, adapter, options.weights, &device)?;
        let group_lanes = options.checked_group_lanes(blueprint.usual_group_lanes())?;
        blueprint.check_group_lanes(group_lanes)?;
        let parallel = blueprint.parallel_groups() && device.is_cpu();
        let workers = Workers::new(if parallel { options.threads } else { 1 })?;
        let config = checkpoint.config().clone();
        let mut exactness = Vec::new();
        workers.run(vec![&mut exactness], |found| {
            let vocab_size = config.vocab_size;
            let blueprint = blueprint.as_ref();
            let compute = options.compute;
            found.push(kind::exactness(blueprint, group_lanes, vocab_size, compute, &device)?);
            Ok(())
        })?;
        let identity = ModelIdentity {
            name: options.name.clone().unwrap_or_else(|| checkpoint.name().to_owned()),
            fingerprint: checkpoint.fingerprint().map_err(failure)?,
            engine: options.record(group_lanes),
            adapter: adapter.map(Adapter::fingerprint),
            exactness: exactness.pop().ok_or_else(|| failure("the probe gave nothing"))?,
        };
        Ok(Self { identity, config, blueprint, device, group_lanes, workers })
    }

    /// Lanes that are computed as one batch.
    pub fn group_lanes(&self) -> usize {
        self.group_lanes
    }

    /// Working memory of one token: activations, and its scores in one layer.
    fn token_bytes(&self, window: Window) -> u64 {
        let f32_bytes = size_of::<f32>() as u64;
        let width = (self.config.hidden_size + self.config.feed_forward) as u64;
        let activations = width.saturating_mul(8 * f32_bytes);
        let positions = (window.tokens as u64).saturating_mul(2 * f32_bytes);
        activations.saturating_add((self.config.heads as u64).saturating_mul(positions))
    }
}

impl LanguageModel for CandleModel {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn start_token(&self) -> TokenId {
        self.config.start_token()
    }

    fn max_window(&self) -> usize {
        self.blueprint.max_window()
    }

    fn can_roll(&self) -> bool {
        false
    }

    /// Cache, logits and working memory of one lane that is fed token by token.
    fn lane_bytes(&self, window: Window) -> u64 {
        let logits = (self.config.vocab_size as u64).saturating_mul(2 * size_of::<f32>() as u64);
        let cache = self.blueprint.cache_bytes(window.tokens);
        cache.saturating_add(logits).saturating_add(self.token_bytes(window))
    }

    /// What every row of every group takes, for rows without a lane are computed as well, and the
    /// working memory of as many tokens a row as one call computes.
    fn session_bytes(&self, shape: SessionShape) -> u64 {
        let group_lanes = self.group_lanes as u64;
        let rows = (shape.lanes as u64).div_ceil(group_lanes).saturating_mul(group_lanes);
        let block = self.blueprint.block_rule().tokens.min(shape.window.tokens) as u64;
        let others = self.token_bytes(shape.window).saturating_mul(block.saturating_sub(1));
        rows.saturating_mul(self.lane_bytes(shape.window).saturating_add(others))
    }

    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        let window = shape.window;
        self.check_window(window)?;
        let shared = Shared {
            blueprint: self.blueprint.as_ref(),
            device: &self.device,
            group_lanes: self.group_lanes,
            vocab_size: self.config.vocab_size,
            window_tokens: window.tokens,
        };
        Ok(Box::new(CandleSession::new(shared, &self.workers, shape.lanes)))
    }
}
