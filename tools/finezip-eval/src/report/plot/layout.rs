//! A chart as shapes: where everything stands, before anything is drawn.

use super::paint::text_width;
use super::scale::{Scale, tick_text};
use super::{Axis, Bars, Chart, Picture, Points, Series};

/// Red, green, blue.
pub(crate) type Colour = (u8, u8, u8);

const INK: Colour = (30, 30, 30);
const FAINT: Colour = (222, 222, 222);
const FRONT: Colour = (150, 150, 150);

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), without yellow,
/// which is too bright for thin lines.
const COLOURS: [Colour; 7] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (0, 0, 0),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
];

/// Pixels on and off, by look; none for a whole line.
const DASHES: [&[f64]; 4] = [&[], &[9.0, 5.0], &[2.0, 4.0], &[11.0, 4.0, 2.0, 4.0]];

const WIDTH: f64 = 980.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 70.0;
const PLOT_WIDTH: f64 = 560.0;
const LEAST_PLOT_HEIGHT: f64 = 400.0;
const LEGEND_STEP: f64 = 21.0;

/// Size of most text.
pub(crate) const TEXT: f64 = 14.0;
const TITLE: f64 = 18.0;
const NUMBER: f64 = 12.0;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A line through points.
    Line { points: Vec<(f64, f64)>, width: u32, colour: Colour, dashes: &'static [f64] },
    /// A filled rectangle from one corner to the opposite one.
    Box { from: (f64, f64), to: (f64, f64), colour: Colour },
    /// A mark at a point.
    Mark { at: (f64, f64), look: usize, colour: Colour },
    /// Text; `at` is the middle of its height, and of its width as `anchor` says.
    Text { at: (f64, f64), text: String, size: f64, anchor: Anchor, upwards: bool },
}

/// Which part of a text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// A picture laid out.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// From behind to the front.
    pub(crate) shapes: Vec<Shape>,
}

impl Layout {
    /// Lays out a picture.
    pub(crate) fn new(picture: &Picture) -> Self {
        let mut layout = match &picture.chart {
            Chart::Points(points) => of_points(points),
            Chart::Bars(bars) => of_bars(bars),
        };
        layout.text((LEFT, TOP / 2.0), &picture.title, TITLE, Anchor::Start);
        layout
    }

    fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor) {
        self.shapes.push(Shape::Text { at, text: text.into(), size, anchor, upwards: false });
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour) {
        self.shapes.push(Shape::Line { points: vec![from, to], width: 1, colour, dashes: &[] });
    }
}

fn colour_of(look: usize) -> Colour {
    COLOURS[look % COLOURS.len()]
}

fn of_points(chart: &Points) -> Layout {
    let chart = &chart.drawable();
    let rows = chart.series.len() as f64;
    let height = LEAST_PLOT_HEIGHT.max(rows * LEGEND_STEP);
    let all = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let scale = |axis: &Axis, values: Vec<f64>, pixels| {
        let given = axis.ticks_at_points.then(|| {
            let mut ticks = values.clone();
            ticks.sort_by(f64::total_cmp);
            ticks.dedup();
            ticks
        });
        Scale::new(&values, axis.logarithmic, pixels, given)
    };
    let x = scale(&chart.x, all().map(|point| point.0).collect(), (LEFT, LEFT + PLOT_WIDTH));
    let y = scale(&chart.y, all().map(|point| point.1).collect(), (TOP + height, TOP));
    let mut layout =
        Layout { size: (WIDTH as u32, (TOP + height + BOTTOM) as u32), shapes: Vec::new() };
    axes(&mut layout, chart, &x, &y, height);
    if chart.front.len() > 1 {
        let points = chart.front.iter().map(|point| (x.pixel(point.0), y.pixel(point.1)));
        layout.shapes.push(Shape::Line {
            points: points.collect(),
            width: 2,
            colour: FRONT,
            dashes: DASHES[1],
        });
    }
    let mut taken = Vec::new();
    for series in &chart.series {
        let points: Vec<(f64, f64)> =
            series.points.iter().map(|point| (x.pixel(point.0), y.pixel(point.1))).collect();
        taken.extend(points.iter().map(|&at| Area::around(at, 12.0, 12.0)));
        draw_series(&mut layout, series, points);
    }
    if chart.numbered {
        let bounds = (LEFT, TOP, LEFT + PLOT_WIDTH, TOP + height);
        numbers(&mut layout, chart, &x, &y, taken, bounds);
    }
    legend(&mut layout, chart);
    layout
}

fn axes(layout: &mut Layout, chart: &Points, x: &Scale, y: &Scale, height: f64) {
    let (bottom, right) = (TOP + height, LEFT + PLOT_WIDTH);
    let mut free_from = f64::NEG_INFINITY;
    for &tick in &x.ticks {
        let (at, text) = (x.pixel(tick), tick_text(tick));
        layout.line((at, TOP), (at, bottom), FAINT);
        // Ticks at points may stand closer than their texts are wide.
        let half = text_width(&text, TEXT) / 2.0;
        if at - half > free_from {
            layout.text((at, bottom + 16.0), &text, TEXT, Anchor::Middle);
            free_from = at + half + 4.0;
        }
    }
    for &tick in &y.ticks {
        let at = y.pixel(tick);
        layout.line((LEFT, at), (right, at), FAINT);
        layout.text((LEFT - 8.0, at), &tick_text(tick), TEXT, Anchor::End);
    }
    layout.line((LEFT, TOP), (LEFT, bottom), INK);
    layout.line((LEFT, bottom), (right, bottom), INK);
    let middle = LEFT + PLOT_WIDTH / 2.0;
    layout.text((middle, bottom + 46.0), &chart.x.label, TEXT, Anchor::Middle);
    layout.shapes.push(Shape::Text {
        at: (22.0, TOP + height / 2.0),
        text: chart.y.label.clone(),
        size: TEXT,
        anchor: Anchor::Middle,
        upwards: true,
    });
}

fn draw_series(layout: &mut Layout, series: &Series, points: Vec<(f64, f64)>) {
    let colour = colour_of(series.look);
    let marks: Vec<Shape> =
        points.iter().map(|&at| Shape::Mark { at, look: series.look, colour }).collect();
    if series.joined && points.len() > 1 {
        let dashes = DASHES[series.look % DASHES.len()];
        layout.shapes.push(Shape::Line { points, width: 2, colour, dashes });
    }
    layout.shapes.extend(marks);
}

/// A rectangle that something stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn around(at: (f64, f64), width: f64, height: f64) -> Self {
        Self {
            left: at.0 - width / 2.0,
            top: at.1 - height / 2.0,
            right: at.0 + width / 2.0,
            bottom: at.1 + height / 2.0,
        }
    }

    /// How much of both is common, in square pixels.
    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn is_within(&self, (left, top, right, bottom): (f64, f64, f64, f64)) -> bool {
        self.left >= left && self.top >= top && self.right <= right && self.bottom <= bottom
    }
}

/// Writes each series' number beside its first point, where least is in the way.
fn numbers(
    layout: &mut Layout,
    chart: &Points,
    x: &Scale,
    y: &Scale,
    mut taken: Vec<Area>,
    bounds: (f64, f64, f64, f64),
) {
    for (number, series) in chart.series.iter().enumerate() {
        let Some(&point) = series.points.first() else { continue };
        let (at, text) = ((x.pixel(point.0), y.pixel(point.1)), (number + 1).to_string());
        let (width, height) = (text_width(&text, NUMBER), NUMBER);
        let places = [14.0, 22.0, 32.0, 44.0].into_iter().flat_map(|distance| {
            (0..12).map(move |hour| {
                let angle = f64::from(hour) * std::f64::consts::TAU / 12.0;
                (at.0 + distance * angle.cos(), at.1 - distance * angle.sin())
            })
        });
        let crowd = |place: &(f64, f64)| {
            let area = Area::around(*place, width + 2.0, height);
            let outside = if area.is_within(bounds) { 0.0 } else { 1e6 };
            outside + taken.iter().map(|other| area.overlap(other)).sum::<f64>()
        };
        // The first of the least crowded, which is the nearest one.
        let mut best: Option<((f64, f64), f64)> = None;
        for place in places {
            let crowd = crowd(&place);
            if best.is_none_or(|(_, least)| crowd < least) {
                best = Some((place, crowd));
            }
        }
        if let Some((place, _)) = best {
            taken.push(Area::around(place, width + 2.0, height));
            let away = ((place.0 - at.0).powi(2) + (place.1 - at.1).powi(2)).sqrt();
            if away > 16.0 {
                layout.line(at, place, FRONT);
                let area = Area::around(place, width + 2.0, height);
                layout.shapes.push(Shape::Box {
                    from: (area.left, area.top),
                    to: (area.right, area.bottom),
                    colour: (255, 255, 255),
                });
            }
            layout.text(place, &text, NUMBER, Anchor::Middle);
        }
    }
}

fn legend(layout: &mut Layout, chart: &Points) {
    let left = LEFT + PLOT_WIDTH + 24.0;
    for (number, series) in chart.series.iter().enumerate() {
        let at = TOP + 8.0 + number as f64 * LEGEND_STEP;
        let colour = colour_of(series.look);
        let mut text_from = left + 16.0;
        if series.joined {
            let dashes = DASHES[series.look % DASHES.len()];
            let points = vec![(left - 8.0, at), (left + 30.0, at)];
            layout.shapes.push(Shape::Line { points, width: 2, colour, dashes });
            layout.shapes.push(Shape::Mark { at: (left + 11.0, at), look: series.look, colour });
            text_from = left + 38.0;
        } else {
            layout.shapes.push(Shape::Mark { at: (left, at), look: series.look, colour });
        }
        let label = if chart.numbered {
            format!("{} {}", number + 1, series.label)
        } else {
            series.label.clone()
        };
        let fitting = shortened(&label, TEXT, WIDTH - 8.0 - text_from);
        layout.text((text_from, at), &fitting, TEXT, Anchor::Start);
    }
}

/// A text that is not wider than `width`; what is too much goes from its middle.
fn shortened(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    for kept in (2..letters.len()).rev() {
        let (before, after) = (kept - kept / 2, kept / 2);
        let short: String = letters[..before]
            .iter()
            .chain(['…'].iter())
            .chain(&letters[letters.len() - after..])
            .collect();
        if text_width(&short, size) <= width {
            return short;
        }
    }
    "…".into()
}

fn of_bars(chart: &Bars) -> Layout {
    const STEP: f64 = 30.0;
    let height = chart.bars.len() as f64 * STEP;
    let widest =
        chart.bars.iter().map(|(name, _)| text_width(name, TEXT)).fold(60.0, f64::max).min(420.0);
    let from = 24.0 + widest + 12.0;
    let longest = chart.bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
    let room = WIDTH - from - 90.0;
    let mut layout =
        Layout { size: (WIDTH as u32, (TOP + height + 50.0) as u32), shapes: Vec::new() };
    for (number, (name, value)) in chart.bars.iter().enumerate() {
        let middle = TOP + (number as f64 + 0.5) * STEP;
        let to = from + if longest > 0.0 { value / longest * room } else { 0.0 };
        layout.shapes.push(Shape::Box {
            from: (from, middle - 9.0),
            to: (to, middle + 9.0),
            colour: colour_of(0),
        });
        let name = shortened(name, TEXT, widest);
        layout.text((from - 10.0, middle), &name, TEXT, Anchor::End);
        layout.text((to + 8.0, middle), &format!("{value:.3}"), TEXT, Anchor::Start);
    }
    layout.line((from, TOP), (from, TOP + height), INK);
    layout.text((from, TOP + height + 24.0), &chart.label, TEXT, Anchor::Start);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(label: &str) -> Axis {
        Axis { label: label.into(), logarithmic: true, ticks_at_points: false }
    }

    /// The places that texts take, by their width.
    fn areas(layout: &Layout) -> Vec<(String, Area)> {
        let area = |shape: &Shape| match shape {
            Shape::Text { at, text, size, anchor, upwards: false } => {
                let width = text_width(text, *size);
                let middle = match anchor {
                    Anchor::Start => at.0 + width / 2.0,
                    Anchor::Middle => at.0,
                    Anchor::End => at.0 - width / 2.0,
                };
                Some((text.clone(), Area::around((middle, at.1), width, *size * 0.8)))
            }
            _ => None,
        };
        layout.shapes.iter().filter_map(area).collect()
    }

    #[test]
    fn no_text_stands_on_another_or_outside_even_in_a_crowd() {
        let series = (0..24).map(|number| Series {
            label: format!("a method with a rather long description, number {number}"),
            // Four clusters of six points almost in one place.
            points: vec![(
                10_f64.powi(number / 6) * (1.0 + f64::from(number % 6) * 0.01),
                1.0 + f64::from(number / 6) * 0.4,
            )],
            joined: false,
            look: number as usize,
        });
        let chart = Points {
            x: axis("speed"),
            y: axis("size"),
            series: series.collect(),
            front: Vec::new(),
            numbered: true,
        };
        let picture =
            Picture { name: "crowd".into(), title: "A crowd".into(), chart: Chart::Points(chart) };
        let layout = Layout::new(&picture);
        let areas = areas(&layout);
        assert!(areas.len() > 48, "{}", areas.len());
        for (number, (text, area)) in areas.iter().enumerate() {
            let page = (0.0, 0.0, f64::from(layout.size.0), f64::from(layout.size.1));
            assert!(area.is_within(page), "{text}: {area:?}");
            for (other_text, other) in &areas[number + 1..] {
                assert!(area.overlap(other) < 1.0, "{text} on {other_text}");
            }
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars = vec![("one".to_owned(), 1.0), ("two".to_owned(), 2.0)];
        let layout = of_bars(&Bars { label: "bits".into(), bars });
        let lengths: Vec<f64> = layout
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Box { from, to, .. } => Some(to.0 - from.0),
                _ => None,
            })
            .collect();
        assert_eq!(lengths.len(), 2);
        assert!((lengths[1] / lengths[0] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(shortened("short", TEXT, 500.0), "short");
        let short = shortened(&"long ".repeat(50), TEXT, 100.0);
        assert!(short.contains('…') && text_width(&short, TEXT) <= 100.0, "{short}");
    }
}
