//! Rows of logits, as an engine leaves them and as a coder reads them.

/// A block of logits `[rows, vocab]` in memory that is kept between calls.
#[derive(Debug, Default)]
pub struct Logits {
    vocab: usize,
    values: Vec<f32>,
}

impl Logits {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for `rows` rows of `vocab` values and gives them for writing, `[rows, vocab]`.
    /// Their content is unspecified.
    pub fn resize(&mut self, rows: usize, vocab: usize) -> &mut [f32] {
        self.vocab = vocab;
        self.values.resize(rows * vocab, 0.0);
        &mut self.values
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.vocab).unwrap_or(0)
    }

    /// Values a row.
    pub fn vocab_size(&self) -> usize {
        self.vocab
    }

    /// All values, `[rows, vocab]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row, `[vocab]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.vocab..(row + 1) * self.vocab]
    }
}

/// The rows of one step, in the order in which its entries are coded.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    logits: &'a Logits,
    order: &'a [usize],
}

impl<'a> Rows<'a> {
    /// Row `i` of the step is row `order[i]` of the block.
    pub fn new(logits: &'a Logits, order: &'a [usize]) -> Self {
        Self { logits, order }
    }

    /// Number of rows in this step.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the step has no row.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row of entry `i` as a step of its own.
    pub fn only(&self, i: usize) -> Self {
        Self { logits: self.logits, order: &self.order[i..=i] }
    }

    /// Logits of entry `i` of the step, `[vocab]`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        self.logits.row(self.order[i])
    }
}
