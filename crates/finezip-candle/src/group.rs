//! A group of lanes that are computed together, always at the group's full width.
//!
//! A stock model computes a batch whose rows are all at the same position, so the lanes of a
//! group share a [`Batch`] as long as they step together. Rows without a lane compute a dummy
//! token. A lane that is not fed when its batch moves on leaves the batch; should it be fed again
//! after all, a new batch computes what it was fed before anew. Because every call has the same
//! width, and a lane's calls are cut by the lane's own feeds alone, none of this shows: a lane's
//! logits are the same bits whatever the other lanes do.

use candle_core::{Device, Storage, Tensor};
use finezip_core::{Result, TokenId};

use crate::failure;
use crate::network::{BlockRule, Blueprint, Network};

/// The token that rows without a lane compute.
const DUMMY_TOKEN: TokenId = 0;

/// What all groups of a session have in common.
pub(crate) struct Shared<'a> {
    pub(crate) blueprint: &'a dyn Blueprint,
    pub(crate) device: &'a Device,
    pub(crate) group_lanes: usize,
    pub(crate) vocab_size: usize,
    pub(crate) window_tokens: usize,
}

/// Tokens for one lane of a group.
pub(crate) struct SlotFeed<'a> {
    /// The lane's place in the group.
    pub(crate) slot: usize,
    /// Tokens that follow those before.
    pub(crate) tokens: &'a [TokenId],
    /// How many of the last of them give logits.
    pub(crate) rows: usize,
    /// Where those go, `[rows, vocab]`.
    pub(crate) logits: &'a mut [f32],
}

/// What a lane has been fed since its reset.
#[derive(Clone, Debug, Default)]
struct History {
    tokens: Vec<TokenId>,
    /// How the tokens were cut into calls, in tokens; sums to their number.
    blocks: Vec<usize>,
}

/// Lanes of a group that are at the same position.
struct Batch {
    network: Box<dyn Network>,
    position: usize,
    /// Slots whose whole history this batch has computed.
    members: Vec<usize>,
}

/// A feed that is being computed.
struct Pending<'a> {
    feed: SlotFeed<'a>,
    done: usize,
}

impl Pending<'_> {
    /// Tokens of the next call: a function of this lane's own feeds.
    fn next_block(&self, rule: BlockRule, position: usize) -> usize {
        let remaining = self.feed.tokens.len() - self.done;
        match self.feed.rows {
            0 | 1 => rule.next(position, remaining),
            _ => remaining.min(1),
        }
    }
}

/// A group of lanes.
pub(crate) struct Group {
    lanes: Vec<History>,
    batches: Vec<Batch>,
}

impl Group {
    /// A group of so many empty lanes.
    pub(crate) fn new(group_lanes: usize) -> Self {
        Self { lanes: vec![History::default(); group_lanes], batches: Vec::new() }
    }

    /// Tokens a lane has been fed since its reset.
    pub(crate) fn position(&self, slot: usize) -> usize {
        self.lanes.get(slot).map_or(0, |lane| lane.tokens.len())
    }

    /// Empties a lane.
    pub(crate) fn reset(&mut self, slot: usize) {
        if let Some(lane) = self.lanes.get_mut(slot) {
            *lane = History::default();
        }
        for batch in &mut self.batches {
            batch.members.retain(|member| *member != slot);
        }
        self.batches.retain(|batch| !batch.members.is_empty());
    }

    /// Computes the feeds, at most one a slot.
    ///
    /// # Errors
    /// What candle gives.
    pub(crate) fn feed(&mut self, shared: &Shared<'_>, feeds: Vec<SlotFeed<'_>>) -> Result<()> {
        let rule = shared.blueprint.block_rule();
        let mut pending: Vec<Pending<'_>> =
            feeds.into_iter().map(|feed| Pending { feed, done: 0 }).collect();
        while let Some(first) = pending.iter().find(|one| one.done < one.feed.tokens.len()) {
            let slot = first.feed.slot;
            let count = first.next_block(rule, self.position(slot));
            // Lanes that take a call of this length next, wherever they are.
            let ready: Vec<usize> = pending
                .iter()
                .filter(|one| one.done < one.feed.tokens.len())
                .filter(|one| one.next_block(rule, self.position(one.feed.slot)) == count)
                .map(|one| one.feed.slot)
                .collect();
            let batch = match self.batches.iter().position(|one| one.members.contains(&slot)) {
                Some(batch) => batch,
                None => self.new_batch(shared, slot, &ready)?,
            };
            let batch = &mut self.batches[batch];
            batch.members.retain(|member| ready.contains(member));
            step(shared, batch, &mut self.lanes, &mut pending, count)?;
        }
        Ok(())
    }

    /// Makes a batch for a lane that has none, with all lanes that were fed in the same way and
    /// are ready to move on with it, and brings it to where they are.
    fn new_batch(&mut self, shared: &Shared<'_>, slot: usize, ready: &[usize]) -> Result<usize> {
        let Some(lane) = self.lanes.get(slot) else {
            return Err(failure(format!("slot {slot} in a group of {}", self.lanes.len())));
        };
        let blocks = lane.blocks.clone();
        let homeless = |slot: &usize| !self.batches.iter().any(|one| one.members.contains(slot));
        let alike = |slot: &usize| self.lanes.get(*slot).is_some_and(|lane| lane.blocks == blocks);
        let members: Vec<usize> =
            ready.iter().copied().filter(|slot| homeless(slot) && alike(slot)).collect();
        let mut network = shared.blueprint.network(shared.window_tokens)?;
        let mut position = 0;
        for count in blocks {
            let mut rows = Rows::new(shared.group_lanes, count);
            for member in &members {
                rows.set(*member, &self.lanes[*member].tokens[position..position + count]);
            }
            network.forward(&rows.tensor(shared.device)?, position).map_err(failure)?;
            position += count;
        }
        self.batches.push(Batch { network, position, members });
        Ok(self.batches.len() - 1)
    }
}

/// Moves a batch on by `count` tokens of each member.
fn step(
    shared: &Shared<'_>,
    batch: &mut Batch,
    lanes: &mut [History],
    pending: &mut [Pending<'_>],
    count: usize,
) -> Result<()> {
    let mut rows = Rows::new(shared.group_lanes, count);
    for one in pending.iter().filter(|one| batch.members.contains(&one.feed.slot)) {
        rows.set(one.feed.slot, &one.feed.tokens[one.done..one.done + count]);
    }
    let tokens = rows.tensor(shared.device)?;
    let logits = batch.network.forward(&tokens, batch.position).map_err(failure)?;
    batch.position += count;
    let logits = LastRows::new(logits, shared)?;
    for one in pending.iter_mut().filter(|one| batch.members.contains(&one.feed.slot)) {
        let slot = one.feed.slot;
        lanes[slot].tokens.extend_from_slice(&one.feed.tokens[one.done..one.done + count]);
        lanes[slot].blocks.push(count);
        one.done += count;
        let without_rows = one.feed.tokens.len() - one.feed.rows;
        if let Some(row) = one.done.checked_sub(without_rows + 1) {
            let from = row * shared.vocab_size;
            let to = from + shared.vocab_size;
            logits.copy(slot, &mut one.feed.logits[from..to])?;
        }
    }
    Ok(())
}

/// Token ids of one call, `[lanes, count]`, dummies where no lane is.
struct Rows {
    ids: Vec<TokenId>,
    lanes: usize,
    count: usize,
}

impl Rows {
    fn new(lanes: usize, count: usize) -> Self {
        Self { ids: vec![DUMMY_TOKEN; lanes * count], lanes, count }
    }

    fn set(&mut self, slot: usize, tokens: &[TokenId]) {
        self.ids[slot * self.count..(slot + 1) * self.count].copy_from_slice(tokens);
    }

    fn tensor(self, device: &Device) -> Result<Tensor> {
        Tensor::from_vec(self.ids, (self.lanes, self.count), device).map_err(failure)
    }
}

/// The logits of the last token of every row of a call, on the CPU.
struct LastRows {
    logits: Tensor,
    vocab_size: usize,
}

impl LastRows {
    fn new(logits: Tensor, shared: &Shared<'_>) -> Result<Self> {
        let shape = (shared.group_lanes, shared.vocab_size);
        let logits = logits
            .reshape(shape)
            .and_then(|logits| logits.to_device(&Device::Cpu))
            .and_then(|logits| logits.contiguous())
            .map_err(failure)?;
        Ok(Self { logits, vocab_size: shared.vocab_size })
    }

    fn copy(&self, slot: usize, target: &mut [f32]) -> Result<()> {
        let (storage, layout) = self.logits.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Err(failure("logits are not on the CPU"));
        };
        let values = storage.as_slice::<f32>().map_err(failure)?;
        let from = layout.start_offset() + slot * self.vocab_size;
        target.copy_from_slice(&values[from..from + self.vocab_size]);
        Ok(())
    }
}
