//! The contexts of the byte mixer: what of the past each of them looks at.

/// Number of hashed contexts.
pub(crate) const CONTEXTS: usize = 24;

/// What is kept of the text while it passes, to make contexts of.
#[derive(Debug)]
pub(crate) struct Past {
    /// The last eight bytes, the latest lowest.
    pub(crate) last: u64,
    word: u32,
    words: [u32; 3],
    /// Classes of the last ten bytes, three bits each.
    pub(crate) classes: u32,
    shape: u64,
    line_start: usize,
    line_above: usize,
    line_first: u32,
    after_one: Box<[u32; 256]>,
    after_two: Vec<u32>,
    open: Vec<u8>,
    since_open: u32,
    sentence: u32,
}

/// A class of bytes: 0 lower case, 1 upper case, 2 digit, 3 space, 4 line end, 5 sentence
/// punctuation, 6 other ASCII, 7 beyond ASCII.
#[inline(always)]
pub(crate) fn class(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        b' ' | b'\t' => 3,
        b'\n' | b'\r' => 4,
        b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'"' => 5,
        128..=255 => 7,
        _ => 6,
    }
}

#[inline(always)]
fn hash(which: u32, a: u32, b: u32) -> u32 {
    let mixed = (u64::from(a) << 32 | u64::from(b))
        .wrapping_add(u64::from(which) << 56)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed =
        (mixed ^ mixed >> 29).wrapping_add(u64::from(which)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 32) as u32
}

impl Default for Past {
    fn default() -> Self {
        Self {
            last: 0,
            word: 0,
            words: [0; 3],
            classes: 0,
            shape: 0,
            line_start: 0,
            line_above: 0,
            line_first: 0,
            after_one: Box::new([0; 256]),
            after_two: vec![0; 65_536],
            open: Vec::new(),
            since_open: 0,
            sentence: 0,
        }
    }
}

impl Past {
    /// Moves on by one byte, the last of `text`.
    pub(crate) fn advance(&mut self, byte: u8, text: &[u8]) {
        let one = (self.last & 0xff) as usize;
        let two = (self.last & 0xffff) as usize;
        self.after_one[one] = self.after_one[one] << 8 | u32::from(byte);
        self.after_two[two] = self.after_two[two] << 8 | u32::from(byte);
        self.last = self.last << 8 | u64::from(byte);
        let class = class(byte);
        self.classes = (self.classes << 3 | class) & 0x3fff_ffff;
        // Runs of one class count once in the shape, letters after letters vanish.
        if !(class == 0 && self.shape & 15 == 8) {
            self.shape = self.shape << 4 | u64::from(if class == 0 { 8 } else { class });
        }
        match class {
            0 | 1 | 7 => {
                let lower = u32::from(if class == 1 { byte + 32 } else { byte });
                self.word =
                    (self.word.wrapping_add(lower + 1)).wrapping_mul(0x3D4D_51CB).rotate_left(5);
            }
            _ => {
                if self.word != 0 {
                    self.words = [self.word, self.words[0], self.words[1]];
                    self.word = 0;
                }
            }
        }
        if class == 5 || class == 4 {
            self.sentence = u32::from(byte);
        }
        match byte {
            b'(' | b'[' | b'{' | b'<' => {
                if self.open.len() < 64 {
                    self.open.push(byte);
                }
                self.since_open = 0;
            }
            b')' | b']' | b'}' | b'>' => {
                self.open.pop();
                self.since_open = 0;
            }
            _ => self.since_open = self.since_open.saturating_add(1),
        }
        if byte == b'\n' {
            self.line_above = self.line_start;
            self.line_start = text.len();
            self.line_first = 0;
        } else if text.len() - self.line_start <= 2 {
            self.line_first = self.line_first << 8 | u32::from(byte);
        }
    }

    /// Distance from the start of the line.
    pub(crate) fn column(&self, text: &[u8]) -> usize {
        text.len() - self.line_start
    }

    /// The byte above, in the line before.
    pub(crate) fn above(&self, text: &[u8]) -> u8 {
        let column = self.column(text);
        let at = self.line_above + column;
        if at < self.line_start { text[at] } else { b'\n' }
    }

    /// Whether the next byte is inside a word.
    pub(crate) fn in_word(&self) -> bool {
        self.word != 0
    }

    /// The hashes of all contexts for the next byte; `expected` is what the match model expects.
    pub(crate) fn contexts(&self, text: &[u8], expected: u32, hashes: &mut [u32; CONTEXTS]) {
        let last = self.last;
        let low = |bytes: u32| (last & ((1 << (8 * bytes)) - 1)) as u32;
        let four = last as u32;
        let next_four = (last >> 32) as u32;
        let c1 = low(1);
        let above = u32::from(self.above(text));
        let column = self.column(text).min(255) as u32;
        let open = self.open.last().map_or(0, |&byte| u32::from(byte));
        let after_one = self.after_one[c1 as usize];
        let after_two = self.after_two[(last & 0xffff) as usize];
        let pairs: [(u32, u32); CONTEXTS] = [
            (0, 0),
            (c1, 0),
            (low(2), 0),
            (low(3), 0),
            (four, 0),
            (four, next_four & 0xff),
            (four, next_four & 0xffff),
            (four, next_four),
            (self.word, c1),
            (self.word, self.words[0]),
            (self.word, self.words[1].wrapping_mul(31).wrapping_add(c1)),
            (self.word.wrapping_add(self.words[0].wrapping_mul(0x2545_F491)), self.words[1]),
            (four & 0x00ff_ff00, 0),
            (four & 0xffff_0000, 0),
            (four & 0x00ff_00ff, 0),
            (above | c1 << 8, 0),
            (above | column << 8, self.line_first),
            (self.shape as u32 & 0x00ff_ffff, c1),
            (self.classes & 0x00ff_ffff, low(2)),
            (after_one & 0x00ff_ffff, c1),
            (after_two & 0xffff, low(2)),
            (open | self.since_open.min(15) << 8, self.word.wrapping_add(c1)),
            (expected, c1),
            (self.sentence | self.line_first << 8, self.word),
        ];
        for (which, (hashed, (a, b))) in hashes.iter_mut().zip(pairs).enumerate() {
            *hashed = hash(which as u32 + 1, a, b);
        }
    }
}
