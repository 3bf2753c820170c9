//! Rows of logits, as an engine leaves them and as a coder reads them, and beside them, where a
//! coder learns from them, the features they were made of.

/// A block of logits `[rows, vocab]` in memory that is kept between calls; with features
/// `[rows, width]` where they are wanted, and with each row's maximum where the engine knows it.
#[derive(Debug, Default)]
pub struct Logits {
    vocab: usize,
    values: Vec<f32>,
    wants_features: bool,
    width: usize,
    features: Vec<f32>,
    maxima: Vec<f32>,
}

/// The rows of a block, for writing. Their content is unspecified.
#[derive(Debug)]
pub struct WritableRows<'a> {
    /// `[rows, vocab]`.
    pub logits: &'a mut [f32],
    /// `[rows, width]`.
    pub features: &'a mut [f32],
    /// The largest logit of each row, `[rows]`: what a coder needs first, and an engine may know
    /// while the row is at hand. NaN, which is what stands there, says that it is not known.
    pub maxima: &'a mut [f32],
}

/// One row of a block, for writing.
#[derive(Debug)]
pub struct WritableRow<'a> {
    /// `[vocab]`.
    pub logits: &'a mut [f32],
    /// `[width]`.
    pub features: &'a mut [f32],
    /// As [`WritableRows::maxima`].
    pub maximum: &'a mut f32,
}

impl<'a> WritableRows<'a> {
    /// Row by row: for an engine that computes some here and some there.
    pub fn into_rows(self) -> impl Iterator<Item = WritableRow<'a>> {
        let rows = self.maxima.len();
        let [vocab, width] = [self.logits.len(), self.features.len()]
            .map(|values| values.checked_div(rows).unwrap_or(0));
        let (mut logits, mut features) = (self.logits, self.features);
        self.maxima.iter_mut().map(move |maximum| WritableRow {
            logits: take(&mut logits, vocab),
            features: take(&mut features, width),
            maximum,
        })
    }
}

/// Takes the first values off.
fn take<'a>(values: &mut &'a mut [f32], count: usize) -> &'a mut [f32] {
    let (first, rest) = std::mem::take(values).split_at_mut(count);
    *values = rest;
    first
}

impl Logits {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty block in which each row of logits has its features beside it: what
    /// [`LanguageModel::feature_width`](crate::LanguageModel::feature_width) describes.
    pub fn with_features() -> Self {
        Self { wants_features: true, ..Self::default() }
    }

    /// Whether an engine that has features is to leave them too.
    pub fn wants_features(&self) -> bool {
        self.wants_features
    }

    /// Makes room for `rows` rows of `vocab` logits and `width` features.
    pub fn resize_all(&mut self, rows: usize, vocab: usize, width: usize) -> WritableRows<'_> {
        self.width = width;
        self.features.resize(rows * width, 0.0);
        self.vocab = vocab;
        self.values.resize(rows * vocab, 0.0);
        self.maxima.clear();
        self.maxima.resize(rows, f32::NAN);
        WritableRows {
            logits: &mut self.values,
            features: &mut self.features,
            maxima: &mut self.maxima,
        }
    }

    /// Features of one row, `[width]`; empty where an engine left none.
    pub fn features(&self, row: usize) -> &[f32] {
        &self.features[row * self.width..(row + 1) * self.width]
    }

    /// Makes room for `rows` rows of `vocab` values and gives them for writing, `[rows, vocab]`.
    /// Their content is unspecified.
    pub fn resize(&mut self, rows: usize, vocab: usize) -> &mut [f32] {
        self.resize_all(rows, vocab, 0).logits
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

    /// The largest logit of entry `i` of the step, where the engine has left it.
    pub fn maximum(&self, i: usize) -> Option<f32> {
        let maximum = self.logits.maxima.get(self.order[i]);
        maximum.copied().filter(|maximum| maximum.is_finite())
    }

    /// Features of entry `i` of the step, `[width]`; empty where the engine left none.
    pub fn features(&self, i: usize) -> &'a [f32] {
        self.logits.features(self.order[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_stand_beside_their_rows_and_go_with_them() {
        let mut block = Logits::with_features();
        assert!(block.wants_features() && !Logits::new().wants_features());
        let written = block.resize_all(2, 3, 2);
        written.logits.copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        written.features.copy_from_slice(&[10.0, 11.0, 12.0, 13.0]);
        written.maxima[1] = 5.0;
        let rows = Rows::new(&block, &[1, 0]);
        assert_eq!([rows.maximum(0), rows.maximum(1)], [Some(5.0), None]);
        assert_eq!((rows.row(0), rows.features(0)), (&[3.0, 4.0, 5.0][..], &[12.0, 13.0][..]));
        assert_eq!((rows.row(1), rows.features(1)), (&[0.0, 1.0, 2.0][..], &[10.0, 11.0][..]));
        for (i, row) in block.resize_all(2, 3, 2).into_rows().enumerate() {
            assert_eq!(row.logits[2], [2.0, 5.0][i]);
            (row.features[0], *row.maximum) = (20.0 + i as f32, i as f32);
        }
        let rows = Rows::new(&block, &[1, 0]);
        assert_eq!([rows.maximum(0), rows.maximum(1)], [Some(1.0), Some(0.0)]);
        assert_eq!([rows.features(0), rows.features(1)], [[21.0, 13.0], [20.0, 11.0]]);
        assert!(block.resize_all(2, 3, 0).into_rows().all(|row| row.features.is_empty()));
        assert_eq!(block.resize_all(0, 3, 2).into_rows().count(), 0);
        block.resize(2, 3);
        assert_eq!(Rows::new(&block, &[1]).maximum(0), None);
        assert!(block.features(0).is_empty() && block.features(1).is_empty());
    }
}
