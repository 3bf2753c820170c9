//! The plot of a run: bits per byte of training and held-out text over the steps, as SVG and PNG.
//!
//! The PNG is drawn with a font that is part of the program, so it looks the same everywhere.

use std::path::Path;
use std::sync::Once;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::metrics::Line;

/// Width and height in pixels.
const SIZE: (u32, u32) = (960, 540);
/// Names of the plot's files.
pub(crate) const SVG: &str = "plot.svg";
pub(crate) const PNG: &str = "plot.png";
/// Training bits per byte are averaged over this share of the run, for every step differs in text.
const SMOOTHING_SHARE: usize = 12;
/// Most numbers along the steps.
const MOST_LABELS: usize = 11;
const TRAINING_COLOUR: RGBColor = RGBColor(120, 150, 200);
const HELD_OUT_COLOUR: RGBColor = RGBColor(200, 70, 40);
const BASE_COLOUR: RGBColor = RGBColor(130, 130, 130);
const FONT: &str = "sans-serif";

/// A point: step and bits per byte.
type Point = (f64, f64);

/// Draws `plot.svg` and `plot.png` in a run's folder.
pub(crate) fn draw(folder: &Path, title: &str, lines: &[Line]) -> Result<()> {
    static FONT_KNOWN: Once = Once::new();
    FONT_KNOWN.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // It fails for data that is no font alone, which drawing text then tells.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, font);
    });
    let svg = folder.join(SVG);
    draw_on(SVGBackend::new(&svg, SIZE).into_drawing_area(), title, lines)
        .map_err(|error| anyhow!("{}: {error}", svg.display()))?;
    let png = folder.join(PNG);
    draw_on(BitMapBackend::new(&png, SIZE).into_drawing_area(), title, lines)
        .map_err(|error| anyhow!("{}: {error}", png.display()))
}

fn draw_on<B: DrawingBackend>(
    area: DrawingArea<B, Shift>,
    title: &str,
    lines: &[Line],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let (training, held_out) = points(lines);
    let all = || training.iter().chain(&held_out);
    let last = all().map(|(step, _)| *step).fold(1.0, f64::max);
    let least = all().map(|(_, bpb)| *bpb).fold(f64::INFINITY, f64::min).min(1e6);
    let most = all().map(|(_, bpb)| *bpb).fold(least, f64::max);
    let margin = ((most - least) * 0.08).max(1e-3);

    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .caption(title, (FONT, 20))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, least - margin..most + margin)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_labels((last as usize + 1).min(MOST_LABELS))
        .x_desc("optimizer steps")
        .y_desc("bits per byte")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|bpb| format!("{bpb:.3}"))
        .label_style((FONT, 15))
        .draw()?;
    let key = |colour: RGBColor| {
        move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
    };
    chart
        .draw_series(LineSeries::new(training, TRAINING_COLOUR.stroke_width(1)))?
        .label("training text (moving mean)")
        .legend(key(TRAINING_COLOUR));
    if let Some((_, base)) = held_out.first().copied().filter(|(step, _)| *step == 0.0) {
        chart
            .draw_series(LineSeries::new([(0.0, base), (last, base)], BASE_COLOUR))?
            .label("held-out text, without adapter")
            .legend(key(BASE_COLOUR));
    }
    chart
        .draw_series(LineSeries::new(held_out.clone(), HELD_OUT_COLOUR.stroke_width(2)))?
        .label("held-out text")
        .legend(key(HELD_OUT_COLOUR));
    chart.draw_series(
        held_out.into_iter().map(|point| Circle::new(point, 3, HELD_OUT_COLOUR.filled())),
    )?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 15))
        .draw()?;
    area.present()
}

/// Training points, each the mean of the steps up to it, and held-out points.
fn points(lines: &[Line]) -> (Vec<Point>, Vec<Point>) {
    let mut steps = Vec::new();
    let mut held_out = Vec::new();
    for line in lines {
        match *line {
            Line::Step { step, bits_per_byte, .. } => steps.push((step as f64, bits_per_byte)),
            Line::Evaluation { step, bits_per_byte } => {
                held_out.push((step as f64, bits_per_byte));
            }
        }
    }
    let window = steps.len().div_ceil(SMOOTHING_SHARE).max(1);
    let smoothed = steps.iter().enumerate().map(|(place, (step, _))| {
        let part = &steps[(place + 1).saturating_sub(window)..=place];
        let sum: f64 = part.iter().map(|(_, bpb)| bpb).sum();
        (*step, sum / part.len() as f64)
    });
    (smoothed.collect(), held_out)
}
