//! Texts of all kinds, and bytes that are none, from a seed.

use finezip_torture::random::Random;

/// What a text is made of.
const KINDS: [fn(&mut Random) -> Vec<u8>; 12] = [
    |random| format!("{} ", random.one_of(&WORDS)).into_bytes(),
    |random| format!("{} {}.\r\n", random.one_of(&WORDS), random.one_of(&WORDS)).into_bytes(),
    |random| {
        format!(
            "    let {}_{} = {};\n",
            random.one_of(&WORDS),
            random.below(50),
            random.below(1000)
        )
        .into_bytes()
    },
    |random| {
        format!("{},{},{}\n", random.below(99), random.below(100_000), random.one_of(&WORDS))
            .into_bytes()
    },
    |random| {
        format!("<p class=\"{}\">{}</p>\n", random.one_of(&WORDS), random.one_of(&WORDS))
            .into_bytes()
    },
    |random| random.one_of(&SCRIPTS).as_bytes().to_vec(),
    |random| random.one_of(&SPECIAL).to_vec(),
    |random| {
        let count = random.below(40);
        random.bytes(count)
    },
    |random| vec![random.number() as u8; random.magnitude(3000)],
    |random| char::from_u32(random.below(0x11_0000) as u32).unwrap_or(' ').to_string().into_bytes(),
    |random| vec![b' '; random.magnitude(100)],
    |_| vec![0],
];

const WORDS: [&str; 24] = [
    "the",
    "and",
    "of",
    "to",
    "whale",
    "in",
    "it",
    "was",
    "crocodile",
    "said",
    "Alice",
    "queen",
    "sea",
    "queue",
    "return",
    "index",
    "value",
    "night",
    "morning",
    "house",
    "under",
    "without",
    "nothing",
    "river",
];

const SCRIPTS: [&str; 8] = [
    "\u{4e2d}\u{6587}\u{6587}\u{672c}\u{3002}",
    "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} ",
    "\u{645}\u{631}\u{62d}\u{628}\u{627} ",
    "caf\u{e9} d\u{e9}j\u{e0} vu ",
    "\u{1f600}\u{1f680}",
    "e\u{301}",
    "\u{feff}",
    "\u{3053}\u{3093}\u{306b}\u{3061}\u{306f}",
];

/// Spelled special tokens, broken UTF-8, an archive's magic.
const SPECIAL: [&[u8]; 8] = [
    b"<|endoftext|>",
    b"<|im_start|>user\n",
    b"\xFF\xFE",
    b"\xC3(",
    b"\xED\xA0\x80",
    b"\x8FFZ\x1A\x01",
    b"\xE2\x96\x81",
    b"</s>",
];

/// So many bytes of a few kinds, of which one may be most of it.
pub(crate) fn text(random: &mut Random, bytes: usize) -> Vec<u8> {
    let most = *random.one_of(&KINDS);
    let share = random.below(20);
    let mut text = Vec::with_capacity(bytes + 4096);
    while text.len() < bytes {
        let kind = if random.below(20) < share { most } else { *random.one_of(&KINDS) };
        let piece = kind(random);
        // Text repeats itself.
        if random.one_in(30) && text.len() > 100 {
            let from = random.below(text.len());
            let to = (from + random.magnitude(2000)).min(text.len());
            text.extend_from_within(from..to);
        }
        text.extend_from_slice(&piece);
    }
    text.truncate(bytes);
    text
}
