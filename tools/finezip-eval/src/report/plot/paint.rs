//! Shapes given to the backends of `plotters`.

use std::path::Path;
use std::sync::Once;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Picture;
use super::layout::{Anchor, Colour, Layout, Shape};

const FONT: &str = "sans-serif";

/// How far a mark reaches from its middle.
const REACH: i32 = 5;

/// Makes the font known that is linked in, once.
fn font_is_ready() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The bytes are a font's, which the pictures of the tests show.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
}

/// The width of a text in pixels.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    font_is_ready();
    let width = (FONT, size).into_font().box_size(text).map(|size| f64::from(size.0));
    width.unwrap_or(size * 0.6 * text.chars().count() as f64)
}

/// A picture as SVG, without the XML declaration's line.
pub(crate) fn svg(picture: &Picture) -> Result<String> {
    let layout = Layout::new(picture);
    let mut text = String::new();
    paint(&SVGBackend::with_string(&mut text, layout.size).into_drawing_area(), &layout)?;
    Ok(text)
}

/// A picture as a PNG file.
pub(crate) fn png(picture: &Picture, path: &Path) -> Result<()> {
    let layout = Layout::new(picture);
    paint(&BitMapBackend::new(path, layout.size).into_drawing_area(), &layout)
}

fn paint<B: DrawingBackend>(area: &DrawingArea<B, Shift>, layout: &Layout) -> Result<()> {
    font_is_ready();
    area.fill(&WHITE).map_err(told)?;
    for shape in &layout.shapes {
        draw(area, shape).map_err(told)?;
    }
    area.present().map_err(told)
}

fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot cannot be drawn: {error}")
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, shape: &Shape) -> Drawn<B> {
    match shape {
        Shape::Line { points, width, colour, dashes } => {
            let style = paint_of(*colour).stroke_width(*width);
            for piece in dashed(points, dashes) {
                area.draw(&PathElement::new(piece, style))?;
            }
            Ok(())
        }
        Shape::Box { from, to, colour } => {
            area.draw(&Rectangle::new([pixel(*from), pixel(*to)], paint_of(*colour).filled()))
        }
        Shape::Mark { at, look, colour } => mark(area, pixel(*at), *look, *colour),
        Shape::Text { at, text, size, anchor, upwards } => {
            let horizontal = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let mut font = (FONT, *size).into_font();
            if *upwards {
                font = font.transform(FontTransform::Rotate270);
            }
            let style = font.color(&BLACK).pos(Pos::new(horizontal, VPos::Center));
            area.draw(&Text::new(text.as_str(), pixel(*at), style))
        }
    }
}

fn paint_of((red, green, blue): Colour) -> RGBColor {
    RGBColor(red, green, blue)
}

fn pixel(at: (f64, f64)) -> (i32, i32) {
    (at.0.round() as i32, at.1.round() as i32)
}

/// One of seven marks, each of another form.
fn mark<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    (x, y): (i32, i32),
    look: usize,
    colour: Colour,
) -> Drawn<B> {
    let (fill, stroke) = (paint_of(colour).filled(), paint_of(colour).stroke_width(2));
    let r = REACH;
    let polygon = |points: Vec<(i32, i32)>| Polygon::new(points, fill);
    match look % 7 {
        0 => area.draw(&Circle::new((x, y), r, fill)),
        1 => area.draw(&Rectangle::new([(x - r, y - r), (x + r, y + r)], fill)),
        2 => area.draw(&polygon(vec![(x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)])),
        3 => {
            let d = r + 1;
            area.draw(&polygon(vec![(x, y - d), (x + d, y), (x, y + d), (x - d, y)]))
        }
        4 => {
            area.draw(&PathElement::new(vec![(x - r, y - r), (x + r, y + r)], stroke))?;
            area.draw(&PathElement::new(vec![(x - r, y + r), (x + r, y - r)], stroke))
        }
        5 => {
            area.draw(&PathElement::new(vec![(x - r - 1, y), (x + r + 1, y)], stroke))?;
            area.draw(&PathElement::new(vec![(x, y - r - 1), (x, y + r + 1)], stroke))
        }
        _ => area.draw(&Circle::new((x, y), r, stroke)),
    }
}

/// The pieces of a line that dashes leave; the whole line without dashes.
fn dashed(points: &[(f64, f64)], dashes: &[f64]) -> Vec<Vec<(i32, i32)>> {
    if dashes.is_empty() {
        return vec![points.iter().copied().map(pixel).collect()];
    }
    let mut pieces = Vec::new();
    let mut pattern = dashes.iter().copied().cycle();
    let (mut left, mut on) = (pattern.next().unwrap_or(1.0), true);
    for pair in points.windows(2) {
        let &[from, to] = pair else { continue };
        let length = ((to.0 - from.0).powi(2) + (to.1 - from.1).powi(2)).sqrt();
        let at = |distance: f64| {
            let part = if length > 0.0 { distance / length } else { 0.0 };
            pixel((from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1)))
        };
        let mut gone = 0.0;
        while gone < length {
            let step = left.min(length - gone);
            if on {
                pieces.push(vec![at(gone), at(gone + step)]);
            }
            gone += step;
            left -= step;
            if left <= 1e-9 {
                left = pattern.next().unwrap_or(1.0).max(1e-3);
                on = !on;
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::{Bars, Chart};

    #[test]
    fn dashes_leave_their_part_of_a_line() {
        let line = [(0.0, 0.0), (60.0, 0.0), (60.0, 40.0)];
        assert_eq!(dashed(&line, &[]), [vec![(0, 0), (60, 0), (60, 40)]]);
        let pieces = dashed(&line, &[5.0, 5.0]);
        let drawn: i32 = pieces
            .iter()
            .map(|piece| (piece[1].0 - piece[0].0).abs() + (piece[1].1 - piece[0].1).abs())
            .sum();
        assert_eq!(drawn, 50);
    }

    #[test]
    fn pictures_come_as_svg_and_png() {
        let folder = tempfile::tempdir().unwrap();
        let bars = Bars { label: "bits".into(), bars: vec![("a <name>".into(), 1.5)] };
        let picture = Picture { name: "p".into(), title: "Title".into(), chart: Chart::Bars(bars) };
        picture.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("p.svg")).unwrap();
        assert!(text.contains("<svg") && text.contains("a &lt;name&gt;"), "{text}");
        let bytes = std::fs::read(folder.path().join("p.png")).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 1000);
    }
}
