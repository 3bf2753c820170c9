//! The model: weights, arithmetic and threads behind core's [`LanguageModel`].

use finezip_core::{
    Exactness, FeedLength, LaneGroup, LanguageModel, ModelIdentity, Record, Session, SessionShape,
    TokenId, Window,
};
use finezip_lora::Adapter;
use finezip_models::{Checkpoint, ModelConfig};

use crate::arithmetic::rope::Rope;
use crate::blocks::{BLOCK_ROWS, LANE_ROWS};
use crate::cache::{CacheFile, CacheKey, CacheUse};
use crate::error::Result;
use crate::fold::{self, rotation::Rotation};
use crate::kernels::kv_cache::MAX_SLOTS;
use crate::kernels::{Context, Isa, KvCache};
use crate::kv_store::KvStore;
use crate::options::{ExactOptions, Precision};
use crate::ring::Ring;
use crate::session::{self, ExactSession};
use crate::weights::Weights;

/// The engine's name in archives and errors.
pub(crate) const ENGINE: &str = "exact";

/// Version of the arithmetic: raised when any logit of any model changes in any bit.
pub const ARITHMETIC_VERSION: u32 = 1;

/// The most tokens a window can have: bounds the integers of attention.
const MAX_WINDOW: usize = (1 << 15) - 2 * BLOCK_ROWS;

/// Index of the rope of layers that see all.
const GLOBAL_ROPE: usize = 0;
/// Index of the rope of layers that slide.
const LOCAL_ROPE: usize = 1;

/// A language model whose logits are a function of weights and tokens alone.
#[derive(Debug)]
pub struct ExactModel {
    identity: ModelIdentity,
    config: ModelConfig,
    precision: Precision,
    weights: Weights,
    ropes: Vec<Rope>,
    online_rotation: Option<Rotation>,
    rotates_down: bool,
    rotates_queries: bool,
    context: Context,
    /// The same instructions on the calling thread alone.
    serial_context: Context,
    cache_use: CacheUse,
}

impl ExactModel {
    /// Opens a checkpoint: merges the adapter, if there is one, and folds the weights, or takes
    /// them from the cache.
    ///
    /// # Errors
    /// A checkpoint that cannot be read or that is written to meanwhile, weights that are not finite
    /// (with the adapter merged), an adapter of another model, or sizes that the kernels cannot work
    /// on.
    pub fn open(checkpoint: &Checkpoint, options: ExactOptions) -> Result<Self> {
        let config = checkpoint.config().clone();
        let precision = options.precision;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let context = Context::new(options.isa.unwrap_or_else(Isa::detect), threads)?;
        let serial_context = Context::new(context.isa(), 1)?;
        if precision != Precision::F32 {
            // Heads that attention cannot work on are found before anything is folded.
            KvCache::new(0, config.kv_heads, config.head_dim, 1)?;
        }
        let fingerprint = checkpoint.fingerprint()?;
        let adapter = options.adapter.as_deref();
        let adapter_fingerprint = adapter.map(Adapter::fingerprint);
        let key = CacheKey { fingerprint, adapter: adapter_fingerprint, precision };
        let cache = options
            .cache_dir
            .filter(|_| precision != Precision::F32)
            .map(|folder| CacheFile::new(&folder, &key));
        let cached = cache.as_ref().and_then(|cache| cache.read(&config, precision));
        let (weights, cache_use) = match (cached, cache) {
            (Some(weights), _) => (weights, CacheUse::Read),
            (None, cache) => {
                let mut weights = fold::fold(checkpoint, adapter, precision, &context)?;
                // What was written to the file meanwhile would go by the name of what was there
                // before: no other machine could read the archives, and the cache would keep it.
                checkpoint.check_unchanged()?;
                let cache_use = match cache.map(|cache| cache.write(&weights)) {
                    None => CacheUse::None,
                    Some(Ok(())) => CacheUse::Written,
                    Some(Err(error)) => CacheUse::NotWritten(error.to_string()),
                };
                weights.gather();
                (weights, cache_use)
            }
        };
        let identity = ModelIdentity {
            name: options.name.unwrap_or_else(|| checkpoint.name().to_owned()),
            fingerprint,
            engine: Record::new(ENGINE, ARITHMETIC_VERSION)
                .with("precision", precision.parameter()),
            adapter: adapter_fingerprint,
            exactness: Exactness::Everywhere,
        };
        let mut ropes =
            vec![Rope::new(config.head_dim, config.rope_theta, config.rope_scaling.as_ref())];
        if let Some(base) = config.rope_local_theta {
            ropes.push(Rope::new(config.head_dim, base, None));
        }
        let int8 = precision == Precision::Int8;
        let online_rotation =
            (int8 && fold::has_post_norms(&config)).then(|| Rotation::new(config.hidden_size));
        let rotates_down = int8 && fold::rotates_down(config.feed_forward);
        let rotates_queries = int8 && fold::rotates_queries(config.head_dim);
        Ok(Self {
            identity,
            config,
            precision,
            weights,
            ropes,
            online_rotation,
            rotates_down,
            rotates_queries,
            context,
            serial_context,
            cache_use,
        })
    }

    /// What became of the weights' cache when the model was opened.
    pub fn cache_use(&self) -> &CacheUse {
        &self.cache_use
    }

    /// The precision it was opened with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The threads it computes with.
    pub fn threads(&self) -> usize {
        self.context.threads()
    }

    /// The instruction set it computes with.
    pub fn isa(&self) -> Isa {
        self.context.isa()
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn serial_context(&self) -> &Context {
        &self.serial_context
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn ropes(&self) -> &[Rope] {
        &self.ropes
    }

    /// Index of a layer's rope.
    pub(crate) fn rope_of(&self, layer: usize) -> usize {
        if self.slides(layer) && self.ropes.len() > LOCAL_ROPE { LOCAL_ROPE } else { GLOBAL_ROPE }
    }

    /// The rotation applied to normed rows, where it could not be folded.
    pub(crate) fn online_rotation(&self) -> Option<&Rotation> {
        self.online_rotation.as_ref()
    }

    /// Whether the inputs of the feed-forward part's last matrix are rotated.
    pub(crate) fn rotates_down(&self) -> bool {
        self.rotates_down
    }

    /// Whether queries and keys are rotated after rotary embedding.
    pub(crate) fn rotates_queries(&self) -> bool {
        self.rotates_queries
    }

    fn slides(&self, layer: usize) -> bool {
        let sliding = self.config.sliding_window.as_ref().map(|window| &window.sliding_layers);
        sliding.and_then(|layers| layers.get(layer)).is_some_and(|&slides| slides)
    }

    /// The geometry of a layer's keys: that of the session's window, or of the model's own where
    /// the layer slides and its window is the smaller. Such a layer rolls in any session, without
    /// sinks, as it was trained.
    pub(crate) fn ring_of(&self, layer: usize, window: Window) -> Ring {
        let own = self.config.sliding_window.as_ref().filter(|_| self.slides(layer));
        match own {
            Some(own) if own.tokens <= window.tokens => Ring::new(own.tokens, 0, LANE_ROWS),
            _ if window.rolling => Ring::new(window.tokens, window.sinks, LANE_ROWS),
            _ => Ring::new(window.tokens, 0, 1),
        }
    }

    /// The most tokens of one lane that a block may hold.
    pub(crate) fn lane_rows(&self, window: Window) -> usize {
        if window.rolling || self.config.sliding_window.is_some() { LANE_ROWS } else { BLOCK_ROWS }
    }
}

impl LanguageModel for ExactModel {
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
        self.config.context_length.min(MAX_WINDOW)
    }

    fn can_roll(&self) -> bool {
        true
    }

    /// The sinks of a window take slots beside its tokens'.
    fn check_window(&self, window: Window) -> finezip_core::Result<()> {
        window.check(self)?;
        let slots = (0..self.config.layers).map(|layer| self.ring_of(layer, window).slots()).max();
        if self.precision != Precision::F32 && slots.is_some_and(|slots| slots > MAX_SLOTS) {
            return Err(finezip_core::Error::Settings(format!(
                "a window of {} tokens with {} sinks; engine {ENGINE} has room for {MAX_SLOTS} \
                 slots a lane",
                window.tokens, window.sinks
            )));
        }
        Ok(())
    }

    fn lane_bytes(&self, window: Window) -> u64 {
        let of_layer =
            |layer| KvStore::lane_bytes(self.precision, &self.config, self.ring_of(layer, window));
        (0..self.config.layers).map(of_layer).fold(0, u64::saturating_add)
    }

    /// The width of the residual stream: rows as the head is multiplied with them, before they
    /// are rounded.
    fn feature_width(&self) -> Option<usize> {
        Some(self.config.hidden_size)
    }

    fn open_session<'a>(
        &'a self,
        shape: SessionShape,
    ) -> finezip_core::Result<Box<dyn Session + 'a>> {
        Ok(Box::new(ExactSession::new(self, self.context(), shape)?))
    }

    fn open_sessions<'a>(
        &'a self,
        shape: SessionShape,
        feeds: FeedLength,
    ) -> finezip_core::Result<Vec<LaneGroup<'a>>> {
        session::side_by_side(self, shape, feeds)
    }
}
