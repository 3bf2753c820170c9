//! Several blocks of a call side by side, each on one thread.
//!
//! A block needs two things of the one before it: that the keys and values it may see are stored,
//! and that nobody has yet to read those it writes over. Both are so, layer by layer, when blocks
//! pass through each layer's attention in their order. A block then follows the one before it at
//! a distance of part of a layer, and threads meet there alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::kv_store::KvStore;
use crate::ring::Ring;

/// The keys and values of all layers, for blocks that take turns.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    layers: Vec<Layer<'a>>,
}

#[derive(Debug)]
struct Layer<'a> {
    ring: Ring,
    turn: Mutex<Turn<'a>>,
    passed: Condvar,
}

#[derive(Debug)]
struct Turn<'a> {
    /// The block whose turn it is.
    block: usize,
    store: &'a mut KvStore,
}

impl<'a> Turns<'a> {
    /// The first turn in each layer is that of block 0.
    pub(crate) fn new(stores: &'a mut [KvStore]) -> Self {
        let layer = |store: &'a mut KvStore| Layer {
            ring: store.ring(),
            turn: Mutex::new(Turn { block: 0, store }),
            passed: Condvar::new(),
        };
        Self { layers: stores.iter_mut().map(layer).collect() }
    }

    /// The way of a block through the layers; blocks are numbered in the order in which they are
    /// begun.
    pub(crate) fn of(&self, block: usize) -> Passage<'_, 'a> {
        Passage { turns: self, block, layer: 0 }
    }
}

/// One block on its way. Where it ends before the last layer, those that follow it go on.
#[derive(Debug)]
pub(crate) struct Passage<'t, 'a> {
    turns: &'t Turns<'a>,
    block: usize,
    /// The layer that is next.
    layer: usize,
}

impl Passage<'_, '_> {
    /// The geometry of lanes in each layer.
    pub(crate) fn rings(&self) -> impl Iterator<Item = Ring> {
        self.turns.layers.iter().map(|layer| layer.ring)
    }

    /// The geometry of lanes in the next layer.
    pub(crate) fn ring(&self) -> Ring {
        self.turns.layers[self.layer].ring
    }

    /// Waits for the block's turn in the next layer, and ends it with `work`.
    pub(crate) fn pass<R>(&mut self, work: impl FnOnce(&mut KvStore) -> R) -> R {
        let layer = &self.turns.layers[self.layer];
        let mut turn = layer.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Not `wait_while`: where a turn has ended by a panic, it returns at any wake.
        while turn.block != self.block {
            turn = layer.passed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        self.layer += 1;
        let mut ended = Ended { layer, turn };
        work(ended.turn.store)
    }
}

/// A turn that is over when this is dropped, by a panic as well.
struct Ended<'l, 'a> {
    layer: &'l Layer<'a>,
    turn: MutexGuard<'l, Turn<'a>>,
}

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        self.turn.block += 1;
        self.layer.passed.notify_all();
    }
}

impl Drop for Passage<'_, '_> {
    fn drop(&mut self) {
        while self.layer < self.turns.layers.len() {
            self.pass(|_| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use finezip_core::Window;
    use finezip_models::seeded::SeededModel;

    use super::*;
    use crate::options::{ExactOptions, Precision};

    #[test]
    fn blocks_pass_each_layer_in_their_order_and_none_waits_for_one_that_ended() {
        const BLOCKS: usize = 400;
        let checkpoint = SeededModel { layers: 5, ..SeededModel::default() }.checkpoint().unwrap();
        let options = ExactOptions { threads: 1, ..ExactOptions::default() };
        let model = crate::ExactModel::open(&checkpoint, options).unwrap();
        let window = Window { tokens: 8, sinks: 0, rolling: false };
        let store = |layer| {
            let ring = model.ring_of(layer, window);
            KvStore::new(Precision::F32, model.config(), 1, ring).unwrap()
        };
        let mut stores: Vec<_> = (0..5).map(store).collect();
        let turns = Turns::new(&mut stores);
        assert_eq!(turns.of(0).rings().count(), 5);
        let turns = Turns::new(&mut stores);
        let (next, passed) = (AtomicUsize::new(0), Mutex::new(vec![Vec::new(); 5]));
        let work = || {
            loop {
                let block = next.fetch_add(1, Ordering::Relaxed);
                if block >= BLOCKS {
                    return;
                }
                let mut passage = turns.of(block);
                // Some end early, and some in the middle of a turn.
                let layers = if block % 7 == 3 { 2 } else { 5 };
                for layer in 0..layers {
                    let panics = block % 11 == 5 && layer == 3;
                    let pass = AssertUnwindSafe(|| {
                        passage.pass(|_| {
                            passed.lock().unwrap()[layer].push(block);
                            if panics {
                                std::panic::resume_unwind(Box::new("a panic without a message"));
                            }
                        });
                    });
                    if catch_unwind(pass).is_err() {
                        break;
                    }
                }
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
        for (layer, found) in passed.into_inner().unwrap().into_iter().enumerate() {
            let passes = |block: &usize| match layer {
                0 | 1 => true,
                4 => block % 7 != 3 && block % 11 != 5,
                _ => block % 7 != 3,
            };
            assert_eq!(found, (0..BLOCKS).filter(passes).collect::<Vec<_>>(), "layer {layer}");
        }
    }
}
