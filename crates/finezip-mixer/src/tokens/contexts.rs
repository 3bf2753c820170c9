//! Contexts whose followers are remembered: what of a lane's past each looks at.

use super::lane::Lane;

/// How many there are.
pub(crate) const CONTEXTS: usize = 16;

/// The hash of a number and two words.
#[inline(always)]
pub(crate) fn hash(which: usize, a: u64, b: u64) -> u64 {
    let mut mixed = (a ^ (which as u64) << 58).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 32 ^ b).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ mixed >> 32
}

/// The hash of one of the contexts after a lane's past, where `top` is the place of the token that
/// the model finds most probable.
#[inline(always)]
pub(crate) fn hash_of(which: usize, lane: &Lane, top: u32) -> u64 {
    let [t1, t2, t3, t4, _] = lane.last_tokens.map(u64::from);
    let bytes = |count: u32| lane.bytes & ((1 << (8 * count)) - 1);
    let top = u64::from(top);
    let word = u64::from(lane.word);
    let (a, b) = match which {
        0 => (t1, 0),
        1 => (t1, t2),
        2 => (t1 | t2 << 32, t3),
        3 => (t1 | t2 << 32, t3 | t4 << 32),
        4 => (bytes(2), 0),
        5 => (bytes(4), 0),
        6 => (word, bytes(1)),
        7 => (top, 0),
        8 => (top, t1),
        9 => (t2, 0),
        10 => (lane.brackets & 0xff, word),
        11 => (word, u64::from(lane.words[0])),
        12 => (t2, t3),
        13 => (u64::from(lane.line), u64::from(lane.column.min(40)) | bytes(1) << 8),
        14 => (bytes(6), 0),
        _ => (word ^ bytes(1) << 32, u64::from(lane.words[1])),
    };
    hash(which, a, b)
}
