//! A call's tokens cut into blocks of rows that the layers run through together.
//!
//! Rows are independent but for attention, so a block may hold any lanes and any number of tokens
//! of each; its size bounds the memory between layers. Where lanes roll, a block holds at
//! most [`LANE_ROWS`] tokens of a lane, so that the ring of its keys needs no more than so many
//! places beyond the window.

use finezip_core::{LaneFeed, TokenId};

/// Most rows of a block: what lies between two products of so many rows of a small model is still
/// in a core's second cache, and weights are read often enough to be worth reading.
pub(crate) const BLOCK_ROWS: usize = 56;

/// Blocks that are not the last have a multiple of so many rows: the tiles of the kernels.
const TILE_ROWS: usize = 8;

/// Most tokens of one lane in a block where lanes roll.
pub(crate) const LANE_ROWS: usize = 16;

/// Neighbouring tokens of one lane in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The lane.
    pub(crate) lane: usize,
    /// Tokens the lane was fed before the first of the run.
    pub(crate) position: u64,
    /// The run's first row in the block.
    pub(crate) row: usize,
    /// Tokens of the run.
    pub(crate) count: usize,
}

/// The rows of one block.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Runs by ascending rows.
    pub(crate) runs: Vec<Run>,
    /// The token of each row.
    pub(crate) tokens: Vec<TokenId>,
    /// The position of each row in its lane.
    pub(crate) positions: Vec<u64>,
    /// Rows that give logits, ascending, and the row of logits each goes to.
    pub(crate) outputs: Vec<(usize, usize)>,
}

impl Block {
    /// Rows in all.
    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Each row with its lane and position.
    pub(crate) fn rows_with_lanes(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..run.count).map(move |i| (run.row + i, run.lane, run.position + i as u64))
        })
    }
}

/// Where the cutting of a call's feeds stands.
#[derive(Debug)]
pub(crate) struct Blocks<'a, 'b> {
    feeds: &'a [LaneFeed<'b>],
    /// Tokens of each feed that earlier blocks hold.
    taken: Vec<usize>,
    /// The row of logits of each feed's first requested token.
    first_output: Vec<usize>,
    next_feed: usize,
    lane_rows: usize,
    /// Rows of all blocks but the last.
    block_rows: usize,
}

impl<'a, 'b> Blocks<'a, 'b> {
    /// Cuts these feeds into blocks with at most `lane_rows` tokens of a lane in each, as many for
    /// each of `threads`; the first requested token of feed `i` gives row `first_output[i]` of
    /// logits.
    pub(crate) fn new(
        feeds: &'a [LaneFeed<'b>],
        first_output: Vec<usize>,
        lane_rows: usize,
        threads: usize,
    ) -> Self {
        let rows: usize = feeds.iter().map(|feed| feed.tokens.len()).sum();
        let rounds = rows.div_ceil(BLOCK_ROWS * threads).max(1);
        let even = rows.div_ceil(rounds * threads);
        let block_rows = even.next_multiple_of(TILE_ROWS).min(BLOCK_ROWS);
        let taken = vec![0; feeds.len()];
        Self { feeds, taken, first_output, next_feed: 0, lane_rows, block_rows }
    }

    /// Replaces `block` with the next one; false when all tokens have been taken. `fed` answers
    /// how many tokens a lane was fed before the call.
    pub(crate) fn next(&mut self, block: &mut Block, fed: impl Fn(usize) -> u64) -> bool {
        block.runs.clear();
        block.tokens.clear();
        block.positions.clear();
        block.outputs.clear();
        // A round over the feeds, beginning where the last block stopped.
        for offset in 0..self.feeds.len() {
            let index = (self.next_feed + offset) % self.feeds.len();
            let (feed, taken) = (&self.feeds[index], self.taken[index]);
            let row = block.rows();
            let count = (feed.tokens.len() - taken).min(self.lane_rows).min(self.block_rows - row);
            if count == 0 {
                continue;
            }
            let position = fed(feed.lane) + taken as u64;
            block.runs.push(Run { lane: feed.lane, position, row, count });
            block.tokens.extend_from_slice(&feed.tokens[taken..taken + count]);
            block.positions.extend(position..position + count as u64);
            let silent = feed.tokens.len() - feed.rows;
            for inner in 0..count {
                if let Some(output) = (taken + inner).checked_sub(silent) {
                    block.outputs.push((row + inner, self.first_output[index] + output));
                }
            }
            self.taken[index] += count;
            if block.rows() == self.block_rows {
                self.next_feed = index;
                break;
            }
        }
        block.rows() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_token_once_in_the_order_of_its_lane(
            sizes in prop::collection::vec((0usize..700, 0usize..700), 1..70),
            lane_rows in prop::sample::select(vec![1usize, 16, BLOCK_ROWS]),
            threads in 1usize..4,
        ) {
            let tokens: Vec<Vec<TokenId>> = sizes
                .iter()
                .enumerate()
                .map(|(lane, &(count, _))| (0..count).map(|i| (lane * 1000 + i) as u32).collect())
                .collect();
            let feeds: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(lane, &(count, rows))| LaneFeed {
                    lane,
                    tokens: &tokens[lane],
                    rows: rows.min(count),
                })
                .collect();
            let mut seen = vec![0usize; feeds.len()];
            let mut outputs = Vec::new();
            let mut block = Block::default();
            let first_output = feeds
                .iter()
                .scan(0, |next, feed| Some(std::mem::replace(next, *next + feed.rows)))
                .collect();
            let mut blocks = Blocks::new(&feeds, first_output, lane_rows, threads);
            while blocks.next(&mut block, |lane| lane as u64) {
                prop_assert!(block.rows() <= BLOCK_ROWS);
                let mut row = 0;
                for run in &block.runs {
                    prop_assert!(run.count <= lane_rows && run.row == row);
                    for _ in 0..run.count {
                        prop_assert_eq!(block.tokens[row], tokens[run.lane][seen[run.lane]]);
                        prop_assert_eq!(block.positions[row], (run.lane + seen[run.lane]) as u64);
                        seen[run.lane] += 1;
                        row += 1;
                    }
                }
                outputs.extend(block.outputs.iter().map(|&(row, output)| (output, block.tokens[row])));
            }
            outputs.sort_unstable();
            let expected: Vec<_> = feeds
                .iter()
                .flat_map(|feed| &feed.tokens[feed.tokens.len() - feed.rows..])
                .copied()
                .enumerate()
                .collect();
            prop_assert_eq!(outputs, expected);
        }
    }
}
