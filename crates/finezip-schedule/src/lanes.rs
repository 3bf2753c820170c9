//! How many lanes a frame gets.
//!
//! Lanes computed together share each reading of the weights, so more of them code more tokens a
//! second, up to where arithmetic takes the time; each takes memory for its keys and values, and
//! each (but in [`ChunkReset`](crate::ChunkReset)) begins its region without context.

/// The most lanes a frame gets unless the user asks for more: beyond it, measured throughput no
/// longer grows.
pub const MOST_AUTOMATIC_LANES: usize = 64;

/// Bytes lanes may take together where nothing else is said: 2 GiB.
const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;

/// Who decides on the number of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanePolicy {
    /// The user: this many, or as many as a frame has work for.
    Fixed(usize),
    /// The schedule, by the size of the frame, within a limit of memory.
    Automatic {
        /// Bytes all lanes may take together; one lane is used even where it takes more.
        memory_bytes: u64,
        /// Bytes one lane takes, as the model says for the schedule's window
        /// ([`LanguageModel::lane_bytes`](finezip_core::LanguageModel::lane_bytes)).
        lane_bytes: u64,
    },
}

impl Default for LanePolicy {
    /// Automatic, for lanes of 32 MiB in 2 GiB.
    fn default() -> Self {
        Self::Automatic { memory_bytes: DEFAULT_MEMORY_BYTES, lane_bytes: 32 << 20 }
    }
}

impl LanePolicy {
    /// Automatic within 2 GiB, for a model whose lanes take `lane_bytes` each.
    pub fn automatic(lane_bytes: u64) -> Self {
        Self::Automatic { memory_bytes: DEFAULT_MEMORY_BYTES, lane_bytes }
    }

    /// The most lanes this policy ever gives, at least 1.
    pub fn most(self) -> usize {
        match self {
            Self::Fixed(lanes) => lanes.max(1),
            Self::Automatic { memory_bytes, lane_bytes } => {
                let fitting = memory_bytes / lane_bytes.max(1);
                usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, MOST_AUTOMATIC_LANES)
            }
        }
    }

    /// The fixed number, or `automatic` within the limits; never more than `useful`, never 0.
    pub(crate) fn choose(self, automatic: usize, useful: usize) -> usize {
        let lanes = match self {
            Self::Fixed(lanes) => lanes,
            Self::Automatic { .. } => automatic.min(self.most()),
        };
        lanes.min(useful).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold() {
        assert_eq!(LanePolicy::Fixed(100).choose(7, 1000), 100);
        assert_eq!(LanePolicy::Fixed(100).choose(7, 30), 30);
        assert_eq!(LanePolicy::Fixed(0).choose(7, 30), 1);
        assert_eq!(LanePolicy::Fixed(0).most(), 1);
        let policy = LanePolicy::Automatic { memory_bytes: 1000, lane_bytes: 90 };
        assert_eq!(policy.most(), 11);
        assert_eq!(policy.choose(7, 1000), 7);
        assert_eq!(policy.choose(70, 1000), 11);
        assert_eq!(policy.choose(7, 0), 1);
        for lane_bytes in [0, 1, u64::MAX] {
            let policy = LanePolicy::Automatic { memory_bytes: u64::MAX, lane_bytes };
            assert!((1..=MOST_AUTOMATIC_LANES).contains(&policy.most()));
        }
        assert_eq!(LanePolicy::default().most(), 64);
    }
}
