//! The reference: plain Rust for every CPU, in the shape the compiler vectorises.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::int8::{Int8Job, OFFSET, PANEL, order_key};

/// All rows of the job times the channels of these panels.
pub(super) fn gemm_int8(job: &Int8Job<'_>, panels: Range<usize>) {
    let (x, weights) = (job.x, job.weights);
    for panel in panels {
        for row in 0..x.rows() {
            let sums = dot_panel(&x.padded()[row * x.stride()..], weights.panel(panel));
            // SAFETY: each panel is given to one task, which takes one segment at a time.
            unsafe { finish(job, row, panel, sums) };
        }
    }
}

/// Stores a row's outputs of a panel from their sums.
///
/// # Safety
/// No other task may have this panel.
#[inline(always)]
pub(super) unsafe fn finish(job: &Int8Job<'_>, row: usize, panel: usize, sums: [i32; PANEL]) {
    let channels = job.weights.panel_channels(panel);
    let scales = &job.weights.scales()[channels.clone()];
    let (scale, surplus) = (job.x.scales()[row], OFFSET.wrapping_mul(job.x.sums()[row]));
    // SAFETY: the caller's promise; this is the only segment taken.
    let out = unsafe { job.out.segment(row, channels.start, channels.len()) };
    let mut maximum = i32::MIN;
    for ((out, sum), channel_scale) in out.iter_mut().zip(sums).zip(scales) {
        let product = (sum.wrapping_sub(surplus) as f32 * scale) * channel_scale;
        *out = if job.add { *out + product } else { product };
        maximum = maximum.max(order_key(*out));
    }
    if let Some(maxima) = job.maxima {
        maxima[row].fetch_max(maximum, Ordering::Relaxed);
    }
}

/// Sums of a row's bytes (signed) times the sixteen columns (unsigned) of a panel.
#[inline(always)]
fn dot_panel(x: &[u8], panel: &[u8]) -> [i32; PANEL] {
    let mut sums = [0i32; PANEL];
    for (x, weights) in x.chunks_exact(4).zip(panel.chunks_exact(4 * PANEL)) {
        let x = [x[0], x[1], x[2], x[3]].map(|byte| i32::from(byte as i8));
        for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(4)) {
            let dot = x[0] * i32::from(w[0])
                + x[1] * i32::from(w[1])
                + x[2] * i32::from(w[2])
                + x[3] * i32::from(w[3]);
            *sum = sum.wrapping_add(dot);
        }
    }
    sums
}

/// Query bytes times blocks of keys; see [`super::attention`].
pub(super) fn score_sums(queries: &[u8], keys: &[u8], shape: [usize; 3], dots: &mut [i32]) {
    let [_, width, stride] = shape;
    for (query, dots) in queries.chunks_exact(width).zip(dots.chunks_mut(stride)) {
        for (block, dots) in keys.chunks_exact(PANEL * width).zip(dots.chunks_exact_mut(PANEL)) {
            dots.copy_from_slice(&dot_panel(query, block));
        }
    }
}

/// Weight bytes times blocks of values; see [`super::attention`].
pub(super) fn value_sums(weights: &[u8], values: &[u8], shape: [usize; 3], sums: &mut [i32]) {
    let [_, width, stride] = shape;
    for (weights, sums) in weights.chunks(stride).zip(sums.chunks_exact_mut(width)) {
        for (weights, values) in weights.chunks_exact(4).zip(values.chunks_exact(4 * width)) {
            let weights = [weights[0], weights[1], weights[2], weights[3]];
            let weights = weights.map(|byte| i32::from(byte as i8));
            for (sum, values) in sums.iter_mut().zip(values.chunks_exact(4)) {
                let dot = weights[0] * i32::from(values[0])
                    + weights[1] * i32::from(values[1])
                    + weights[2] * i32::from(values[2])
                    + weights[3] * i32::from(values[3]);
                *sum = sum.wrapping_add(dot);
            }
        }
    }
}
