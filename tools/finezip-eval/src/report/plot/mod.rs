//! Plots, each as SVG and PNG.
//!
//! A plot is laid out as a list of shapes in pixels, which one small painter gives to either
//! backend of `plotters`. Series differ in colour, mark and dashes, so that they stay apart in
//! grey; the font is linked in, so that pictures are the same everywhere.

mod layout;
mod paint;
mod scale;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use paint::svg;

/// A plot with a name for its files.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The files' name without extension.
    pub(crate) name: String,
    /// What stands above it.
    pub(crate) title: String,
    /// What it shows.
    pub(crate) chart: Chart,
}

/// What a plot shows.
#[derive(Clone, Debug)]
pub(crate) enum Chart {
    /// Points over two axes.
    Points(Points),
    /// Bars from left to right.
    Bars(Bars),
}

/// Points over two axes.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// The series.
    pub(crate) series: Vec<Series>,
    /// Points of a line behind them, such as a Pareto front.
    pub(crate) front: Vec<(f64, f64)>,
    /// Whether each series carries its number in the legend beside its points.
    pub(crate) numbered: bool,
}

/// An axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it measures, with the unit.
    pub(crate) label: String,
    /// Whether equal ratios are equally far apart. All values are positive then.
    pub(crate) logarithmic: bool,
    /// Whether ticks stand at the values of the points.
    pub(crate) ticks_at_points: bool,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name in the legend.
    pub(crate) label: String,
    /// The points, in the order in which they are joined.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether a line joins them.
    pub(crate) joined: bool,
    /// Which look it has; series of one family may share it.
    pub(crate) look: usize,
}

/// Bars with a name and a value each.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    /// What lengths measure, with the unit.
    pub(crate) label: String,
    /// Names and values.
    pub(crate) bars: Vec<(String, f64)>,
}

impl Points {
    /// Without the points that have no place on the axes: what is not finite, and on a logarithmic
    /// axis what is not positive.
    fn drawable(&self) -> Self {
        let has_place =
            |axis: &Axis, value: f64| value.is_finite() && (!axis.logarithmic || value > 0.0);
        let is_drawable =
            |point: &(f64, f64)| has_place(&self.x, point.0) && has_place(&self.y, point.1);
        let mut points = self.clone();
        for series in &mut points.series {
            series.points.retain(is_drawable);
        }
        points.front.retain(is_drawable);
        points
    }
}

impl Picture {
    /// Writes `NAME.svg` and `NAME.png` to a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = |extension: &str| folder.join(format!("{}.{extension}", self.name));
        let at = path("svg");
        fs::write(&at, svg(self)?).with_context(|| at.display().to_string())?;
        let at = path("png");
        paint::png(self, &at).with_context(|| at.display().to_string())
    }
}

/// The points that no other one beats both ways: greatest `x`, least `y`; by ascending `x`.
pub(crate) fn front_of(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.total_cmp(&other.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for point in sorted {
        if front.last().is_none_or(|last| point.1 < last.1) {
            front.push(point);
        }
    }
    front.reverse();
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_without_a_place_are_not_drawn() {
        let axis = |logarithmic| Axis { label: "a".into(), logarithmic, ticks_at_points: false };
        let points = vec![(1.0, 0.0), (2.0, 3.0), (f64::INFINITY, 1.0), (0.0, 1.0), (4.0, -1.0)];
        let series =
            |look| Series { label: "s".into(), points: points.clone(), joined: true, look };
        let of = |logarithmic| Points {
            x: axis(true),
            y: axis(logarithmic),
            series: vec![series(0), series(1)],
            front: points.clone(),
            numbered: true,
        };
        assert_eq!(of(true).drawable().series[1].points, [(2.0, 3.0)]);
        assert_eq!(of(true).drawable().front, [(2.0, 3.0)]);
        assert_eq!(of(false).drawable().front, [(1.0, 0.0), (2.0, 3.0), (4.0, -1.0)]);
        // A dashed line to nowhere would never end.
        let picture =
            Picture { name: "n".into(), title: "t".into(), chart: Chart::Points(of(true)) };
        assert!(svg(&picture).unwrap().contains("</svg>"));
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [(1.0, 5.0), (2.0, 4.0), (2.0, 6.0), (3.0, 4.5), (4.0, 9.0), (0.5, 4.2)];
        assert_eq!(front_of(&points), [(2.0, 4.0), (3.0, 4.5), (4.0, 9.0)]);
        assert!(front_of(&[]).is_empty());
    }
}
