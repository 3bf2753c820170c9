//! Rotations and gains over whole matrices, spread over threads.

use rayon::prelude::*;

use super::rotation::{ROWS, Rotation};
use crate::kernels::Context;

/// Multiplies column `i` of `matrix`, `[_][gain.len()]`, by `gain[i]`.
pub(crate) fn scale_columns(context: &Context, matrix: &mut [f32], gain: &[f32]) {
    context.for_each_row(matrix, gain.len(), |_, row| {
        for (value, gain) in row.iter_mut().zip(gain) {
            *value *= gain;
        }
    });
}

/// Replaces each row `w` of `matrix` by `w R`: the inputs' side of a weight, `W R`.
pub(crate) fn rotate_inputs(context: &Context, matrix: &mut [f32], rotation: &Rotation) {
    let width = rotation.width();
    if context.threads() == 1 {
        return rotation.apply_rows(matrix);
    }
    context.run(|| matrix.par_chunks_mut(ROWS * width).for_each(|rows| rotation.apply_rows(rows)));
}

/// Replaces `matrix`, `[width][columns]`, by `R' W`: the outputs' side of a weight.
pub(crate) fn rotate_outputs(
    context: &Context,
    matrix: &mut [f32],
    columns: usize,
    rotation: &Rotation,
) {
    if context.threads() == 1 {
        return rotation.apply_columns(matrix, columns);
    }
    let strip = |index: usize| {
        let start = index * ROWS;
        let count = ROWS.min(columns - start);
        let mut slab = vec![[0.0f32; ROWS]; rotation.width()];
        for (values, row) in slab.iter_mut().zip(matrix.chunks_exact(columns)) {
            values[..count].copy_from_slice(&row[start..start + count]);
        }
        rotation.apply_slab(&mut slab);
        slab
    };
    let strips: Vec<_> =
        context.run(|| (0..columns.div_ceil(ROWS)).into_par_iter().map(strip).collect());
    context.for_each_row(matrix, columns, |index, row| {
        for (values, slab) in row.chunks_mut(ROWS).zip(&strips) {
            values.copy_from_slice(&slab[index][..values.len()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn threads_change_nothing() {
        let rotation = Rotation::new(576);
        let columns = 100;
        let matrix: Vec<f32> =
            (0..576 * columns).map(|i| (i * 7919 % 1009) as f32 / 100.0 - 5.0).collect();
        let results = [1, 3].map(|threads| {
            let context = Context::new(Isa::scalar(), threads).unwrap();
            let (mut outputs, mut inputs) = (matrix.clone(), matrix.clone());
            rotate_outputs(&context, &mut outputs, columns, &rotation);
            rotate_inputs(&context, &mut inputs, &rotation);
            (outputs, inputs)
        });
        assert_eq!(results[0], results[1]);
    }
}
