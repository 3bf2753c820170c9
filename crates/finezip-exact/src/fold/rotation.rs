//! Orthogonal transforms that are folded into weights, or applied online, in one fixed order.
//!
//! A row of activations with a few outliers wastes most of the 8 bits of its scale. Multiplied by
//! an orthogonal matrix its energy is spread over all channels, and the same matrix folded into
//! the next weights takes the effect back: `W x = (W R)(R' x)`. (QuaRot, Ashkboos et al. 2024,
//! arXiv 2404.00456.) The transform here is `x R`, with `R` a Kronecker product of Hadamard
//! matrices over the square root of its width.

use super::hadamard::DenseHadamard;

/// Rows that are transformed together, one a SIMD lane; any number gives the same bits.
pub(crate) const ROWS: usize = 16;

/// One factor of the Kronecker product.
#[derive(Clone, Debug)]
enum Factor {
    /// Paley's matrix.
    Dense(DenseHadamard),
    /// Sylvester's matrix of this order, a power of two.
    Sylvester(usize),
}

impl Factor {
    fn order(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.order,
            Self::Sylvester(order) => *order,
        }
    }
}

/// A block-diagonal orthogonal matrix whose equal blocks are scaled Kronecker products.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    width: usize,
    block: usize,
    factors: Vec<Factor>,
    scale: f32,
}

impl Rotation {
    /// The rotation for this width: over the whole width where Hadamard factors are known, else
    /// in blocks of the largest power of two that divides it.
    pub(crate) fn new(width: usize) -> Self {
        match dense_orders(width >> width.trailing_zeros(), width.trailing_zeros()) {
            Some(orders) => Self::with_orders(width, width, &orders),
            None => Self::blocks(width, 1 << width.trailing_zeros()),
        }
    }

    /// Sylvester's matrix on each block of `block` values, a power of two that divides `width`.
    pub(crate) fn blocks(width: usize, block: usize) -> Self {
        Self::with_orders(width, block, &[])
    }

    /// This rotation once for each of `heads` neighbouring vectors of `head_width`.
    pub(crate) fn heads(heads: usize, head_width: usize) -> Self {
        let mut rotation = Self::new(head_width);
        rotation.width = heads * head_width;
        rotation
    }

    fn with_orders(width: usize, block: usize, orders: &[usize]) -> Self {
        let mut factors: Vec<_> = orders
            .iter()
            .filter_map(|&order| DenseHadamard::paley(order))
            .map(Factor::Dense)
            .collect();
        let rest = block / orders.iter().product::<usize>();
        if rest > 1 {
            factors.push(Factor::Sylvester(rest));
        }
        Self { width, block, factors, scale: (1.0 / (block as f64).sqrt()) as f32 }
    }

    /// Values a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Replaces each of `L` rows `x` by `x R`; `slab[i][l]` is value `i` of row `l`.
    pub(crate) fn apply_slab<const L: usize>(&self, slab: &mut [[f32; L]]) {
        let mut scratch = Vec::new();
        for block in slab.chunks_exact_mut(self.block) {
            let mut inner = self.block;
            for factor in &self.factors {
                let order = factor.order();
                inner /= order;
                for group in block.chunks_exact_mut(order * inner) {
                    match factor {
                        Factor::Dense(matrix) => {
                            apply_dense(matrix, group, inner, &mut scratch);
                        }
                        Factor::Sylvester(_) => apply_sylvester(group, inner),
                    }
                }
            }
            for value in block.as_flattened_mut() {
                *value *= self.scale;
            }
        }
    }

    /// Replaces a row `x` by `x R`.
    pub(crate) fn apply_row(&self, row: &mut [f32]) {
        self.apply_slab(row.as_chunks_mut::<1>().0);
    }

    /// Replaces each row `x` of `rows`, `[_, width]`, by `x R`.
    pub(crate) fn apply_rows(&self, rows: &mut [f32]) {
        let mut slab = vec![[0.0f32; ROWS]; self.width];
        let mut blocks = rows.chunks_exact_mut(ROWS * self.width);
        for block in &mut blocks {
            transpose_in(block, &mut slab);
            self.apply_slab(&mut slab);
            transpose_out(&slab, block);
        }
        for row in blocks.into_remainder().chunks_exact_mut(self.width) {
            self.apply_row(row);
        }
    }

    /// Replaces each column `x` of `matrix`, `[width, columns]`, by `x R`: the transform of a
    /// weight's outputs, `R' W`.
    pub(crate) fn apply_columns(&self, matrix: &mut [f32], columns: usize) {
        let mut slab = vec![[0.0f32; ROWS]; self.width];
        for start in (0..columns).step_by(ROWS) {
            let count = ROWS.min(columns - start);
            for (values, row) in slab.iter_mut().zip(matrix.chunks_exact(columns)) {
                values[..count].copy_from_slice(&row[start..start + count]);
                values[count..].fill(0.0);
            }
            self.apply_slab(&mut slab);
            for (values, row) in slab.iter().zip(matrix.chunks_exact_mut(columns)) {
                row[start..start + count].copy_from_slice(&values[..count]);
            }
        }
    }
}

/// `order` values at a distance of `inner`, for each of `inner` offsets: the sum over `i`
/// ascending, from 0, of `signs[i][j] x[i]`. Offsets and rows are taken sixteen at a time.
fn apply_dense<const L: usize>(
    matrix: &DenseHadamard,
    group: &mut [[f32; L]],
    inner: usize,
    scratch: &mut Vec<[f32; ROWS]>,
) {
    let order = matrix.order;
    let (values, distance) = (group.as_flattened_mut(), inner * L);
    for start in (0..distance).step_by(ROWS) {
        let count = ROWS.min(distance - start);
        scratch.clear();
        scratch.resize(order, [0.0; ROWS]);
        for (i, tile) in scratch.iter_mut().enumerate() {
            tile[..count].copy_from_slice(&values[i * distance + start..][..count]);
        }
        for j in 0..order {
            let mut sum = [0.0f32; ROWS];
            for (i, tile) in scratch.iter().enumerate() {
                let sign = f32::from(matrix.signs[i * order + j]);
                for (sum, value) in sum.iter_mut().zip(tile) {
                    *sum += sign * value;
                }
            }
            values[j * distance + start..][..count].copy_from_slice(&sum[..count]);
        }
    }
}

/// Butterflies over distances `inner`, `2 inner`, `4 inner` and so on.
fn apply_sylvester<const L: usize>(group: &mut [[f32; L]], inner: usize) {
    let mut distance = inner;
    while distance < group.len() {
        for pair in group.chunks_exact_mut(2 * distance) {
            let (low, high) = pair.split_at_mut(distance);
            for (low, high) in low.as_flattened_mut().iter_mut().zip(high.as_flattened_mut()) {
                let (a, b) = (*low, *high);
                *low = a + b;
                *high = a - b;
            }
        }
        distance *= 2;
    }
}

fn transpose_in(rows: &[f32], slab: &mut [[f32; ROWS]]) {
    let width = slab.len();
    for (lane, row) in rows.chunks_exact(width).enumerate() {
        for (values, &value) in slab.iter_mut().zip(row) {
            values[lane] = value;
        }
    }
}

fn transpose_out(slab: &[[f32; ROWS]], rows: &mut [f32]) {
    let width = slab.len();
    for (lane, row) in rows.chunks_exact_mut(width).enumerate() {
        for (values, value) in slab.iter().zip(row) {
            *value = values[lane];
        }
    }
}

/// Orders `4 d` of Paley's matrices whose odd parts `d` multiply to `odd`, smallest first, using
/// two of the width's factors of two each.
fn dense_orders(odd: usize, twos: u32) -> Option<Vec<usize>> {
    if odd == 1 {
        return Some(Vec::new());
    }
    if twos < 2 {
        return None;
    }
    (3..=odd).step_by(2).filter(|&d| odd.is_multiple_of(d)).find_map(|d| {
        DenseHadamard::paley(4 * d)?;
        let mut orders = vec![4 * d];
        orders.extend(dense_orders(odd / d, twos - 2)?);
        Some(orders)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_known_widths() {
        let orders =
            |width: usize| dense_orders(width >> width.trailing_zeros(), width.trailing_zeros());
        assert_eq!(orders(576), Some(vec![12, 12]));
        assert_eq!(orders(640), Some(vec![20]));
        assert_eq!(orders(896), Some(vec![28]));
        assert_eq!(orders(960), Some(vec![12, 20]));
        assert_eq!(orders(1152), Some(vec![12, 12]));
        assert_eq!(orders(2048), Some(vec![]));
        assert_eq!(orders(6), None);
    }

    /// `R R' = I`, and rows, columns and single rows agree bit for bit.
    #[test]
    fn orthogonal_and_the_same_by_rows_and_columns() {
        for rotation in [576, 640, 896, 64, 6, 36]
            .map(Rotation::new)
            .into_iter()
            .chain([Rotation::heads(3, 32)])
        {
            let width = rotation.width();
            let mut matrix = vec![0.0f32; width * width];
            for i in 0..width {
                matrix[i * width + i] = 1.0;
            }
            let mut by_columns = matrix.clone();
            rotation.apply_rows(&mut matrix);
            rotation.apply_columns(&mut by_columns, width);
            for a in 0..width {
                for b in 0..width {
                    assert_eq!(matrix[a * width + b], by_columns[b * width + a]);
                }
            }
            for a in (0..width).step_by(7) {
                for b in 0..width {
                    let dot: f32 =
                        (0..width).map(|k| matrix[a * width + k] * matrix[b * width + k]).sum();
                    let expected = if a == b { 1.0 } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-4, "width {width}: {dot}");
                }
            }
            let mut single = matrix[..width].to_vec();
            let mut many = matrix.clone();
            rotation.apply_rows(&mut single);
            rotation.apply_rows(&mut many);
            assert_eq!(single, many[..width]);
        }
    }
}
