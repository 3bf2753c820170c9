//! What a context remembers of the bits seen in it, in one byte.
//!
//! A *count state* stands for (zeros seen, ones seen, last bit), the counts bounded so that all
//! states fit a byte: long runs of one bit are counted far, mixed histories only a little, because
//! what is learned about them ages. When a bit contradicts, the other bit's count is cut (the
//! idea of indirect, nonstationary models: Mahoney 2005; Bloom 1998, "Solving the problems of
//! context modeling"). A *recent history* holds the last seven bits exactly, below a leading one.

use std::sync::LazyLock;

/// The largest count of one bit, given the count of the rarer bit.
const LONGEST: [u8; 6] = [48, 16, 10, 7, 7, 6];

/// Transitions of the count states; state 0 has seen nothing.
#[derive(Debug)]
pub(crate) struct CountStates {
    next: Box<[[u8; 2]; 256]>,
    counts: Vec<[u8; 2]>,
}

/// The states, generated once.
pub(crate) static COUNT_STATES: LazyLock<CountStates> = LazyLock::new(CountStates::generate);

fn allowed(counts: [u8; 2]) -> bool {
    let rarer = counts[0].min(counts[1]);
    let commoner = counts[0].max(counts[1]);
    LONGEST.get(usize::from(rarer)).is_some_and(|&longest| commoner <= longest)
}

fn after(counts: [u8; 2], bit: usize) -> [u8; 2] {
    let mut counts = counts;
    let other = 1 - bit;
    if counts[other] > 2 {
        counts[other] = match counts[other] {
            3..=4 => counts[other] - 1,
            n @ 5..=25 => (n + 3) / 2,
            n => 14 + (n - 26) / 8,
        };
    }
    counts[bit] += 1;
    while !allowed(counts) {
        if counts[bit] > counts[other] { counts[bit] -= 1 } else { counts[other] -= 1 }
    }
    counts
}

impl CountStates {
    fn generate() -> Self {
        // States in the order in which they are first reached.
        let mut found = vec![([0u8, 0u8], 0usize)];
        let mut next = Box::new([[0u8; 2]; 256]);
        let mut at = 0;
        while at < found.len() {
            for bit in 0..2 {
                let counts = after(found[at].0, bit);
                // The last bit is told apart only where both have been seen.
                let last = if counts[0] > 0 && counts[1] > 0 { bit } else { 0 };
                let target = match found.iter().position(|&known| known == (counts, last)) {
                    Some(target) => target,
                    None => {
                        found.push((counts, last));
                        found.len() - 1
                    }
                };
                next[at][bit] = target as u8;
            }
            at += 1;
        }
        debug_assert!(found.len() <= 256);
        Self { next, counts: found.into_iter().map(|(counts, _)| counts).collect() }
    }

    /// The state after `bit`.
    #[inline(always)]
    pub(crate) fn next(&self, state: u8, bit: bool) -> u8 {
        self.next[usize::from(state)][usize::from(bit)]
    }

    /// Zeros and ones a state stands for; none for bytes that are no state.
    pub(crate) fn counts(&self, state: u8) -> [u8; 2] {
        self.counts.get(usize::from(state)).copied().unwrap_or([0, 0])
    }
}

/// The recent history after `bit`: at most seven bits below a leading one; 0 has seen nothing.
#[inline(always)]
pub(crate) fn recent_after(history: u8, bit: bool) -> u8 {
    let grown = u32::from(history.max(1)) << 1 | u32::from(bit);
    // From 128 on the leading one stays and the oldest bit goes.
    (if grown > 255 { grown & 0x7f | 0x80 } else { grown }) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_fit_a_byte_and_use_it() {
        let states = &*COUNT_STATES;
        assert!(states.counts.len() <= 256, "{}", states.counts.len());
        assert!(states.counts.len() > 180, "{}", states.counts.len());
        for (state, counts) in states.counts.iter().enumerate().skip(1) {
            assert!(allowed(*counts), "{state} {counts:?}");
            assert!(counts[0] + counts[1] > 0);
        }
    }

    #[test]
    fn runs_are_counted_and_broken() {
        let states = &*COUNT_STATES;
        let mut state = 0;
        for seen in 1..=40 {
            state = states.next(state, true);
            assert_eq!(states.counts(state), [0, seen]);
        }
        state = states.next(state, false);
        assert_eq!(states.counts(state), [1, 15]);
    }

    #[test]
    fn recent_history_keeps_seven_bits() {
        let mut history = 0;
        for bit in [true, false, true] {
            history = recent_after(history, bit);
        }
        assert_eq!(history, 0b1101);
        for _ in 0..9 {
            history = recent_after(history, false);
        }
        assert_eq!(history, 0x80);
        assert_eq!(recent_after(history, true), 0x81);
    }
}
