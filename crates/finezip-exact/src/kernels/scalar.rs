//! The reference: plain Rust for every CPU, in the shape the compiler vectorises.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::int4::{BLOCK, Int4Job, RECORD, half_to_f32};
use super::int8::{Int8Job, OFFSET, PANEL};
use super::order::order_key;

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
    for ((out, sum), channel_scale) in out.iter_mut().zip(sums).zip(scales) {
        let product = (sum.wrapping_sub(surplus) as f32 * scale) * channel_scale;
        *out = if job.add { *out + product } else { product };
    }
    if let Some(maxima) = job.maxima {
        let maximum = out.iter().fold(i32::MIN, |maximum, &y| maximum.max(order_key(y)));
        // Few panels raise a row's maximum, and an attempt to raise it locks a line of the cache
        // that all threads share. What is read here may be old: that costs an attempt in vain.
        if maximum > maxima[row].load(Ordering::Relaxed) {
            maxima[row].fetch_max(maximum, Ordering::Relaxed);
        }
    }
}

/// Sums of a row's bytes (signed) times the sixteen columns (unsigned) of a panel.
#[inline(always)]
fn dot_panel(x: &[u8], panel: &[u8]) -> [i32; PANEL] {
    let mut sums = [0i32; PANEL];
    for (x, weights) in x.chunks_exact(4).zip(panel.chunks_exact(4 * PANEL)) {
        add_products(&mut sums, [x[0], x[1], x[2], x[3]], weights);
    }
    sums
}

/// Adds the products of four signed bytes with columns of four unsigned bytes.
///
/// Four bytes are taken as one word and cut by shifts: compilers make vectors of that.
#[inline(always)]
fn add_products(sums: &mut [i32], x: [u8; 4], columns: &[u8]) {
    let x = x.map(|byte| i32::from(byte as i8));
    let (columns, _) = columns.as_chunks::<4>();
    for (sum, column) in sums.iter_mut().zip(columns) {
        let word = u32::from_le_bytes(*column);
        let products = [
            (word & 0xff) as i32 * x[0],
            (word >> 8 & 0xff) as i32 * x[1],
            (word >> 16 & 0xff) as i32 * x[2],
            (word >> 24) as i32 * x[3],
        ];
        *sum = sum.wrapping_add((products[0] + products[1]) + (products[2] + products[3]));
    }
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
            add_products(sums, [weights[0], weights[1], weights[2], weights[3]], values);
        }
    }
}

/// All rows of the job times the channels of these panels.
pub(super) fn gemm_int4(job: &Int4Job<'_>, panels: Range<usize>) {
    for panel in panels {
        for row in 0..job.x.rows() {
            let mut products = [0.0; PANEL];
            let blocks = job.x.values(row).chunks_exact(BLOCK).zip(job.x.factors(row));
            for ((x, &[scale, sum]), record) in
                blocks.zip(job.weights.panel(panel).chunks_exact(RECORD))
            {
                let (factors, lines) = record.split_at(4 * PANEL);
                let half = |at: usize| {
                    half_to_f32(u16::from_le_bytes([factors[2 * at], factors[2 * at + 1]]))
                };
                let dots = dot_block(x, lines);
                for (column, (product, dot)) in products.iter_mut().zip(dots).enumerate() {
                    let (d, m) = (half(column), half(PANEL + column));
                    *product += (d * dot as f32 + m * sum) * scale;
                }
            }
            // SAFETY: each panel is given to one task.
            unsafe { job.store(row, panel, &products) };
        }
    }
}

/// Sums of a block of 32 signed bytes times the sixteen columns of four lines of 4-bit values.
fn dot_block(x: &[u8], lines: &[u8]) -> [i32; PANEL] {
    let mut dots = [0; PANEL];
    let (low, high) = x.split_at(BLOCK / 2);
    let groups = low.chunks_exact(4).zip(high.chunks_exact(4));
    for (line, (low, high)) in lines.chunks_exact(4 * PANEL).zip(groups) {
        for (dot, bytes) in dots.iter_mut().zip(line.chunks_exact(4)) {
            for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
                *dot += i32::from(byte & 15) * i32::from(*low as i8);
                *dot += i32::from(byte >> 4) * i32::from(*high as i8);
            }
        }
    }
    dots
}

/// The blocks of 64 of `x`, transformed; see [`super::hadamard_64`].
pub(super) fn hadamard_64(x: &mut [f32]) {
    for block in x.chunks_exact_mut(64) {
        for distance in [1, 2, 4, 8, 16, 32] {
            for pair in block.chunks_exact_mut(2 * distance) {
                let (low, high) = pair.split_at_mut(distance);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        for value in block {
            *value *= 0.125;
        }
    }
}
