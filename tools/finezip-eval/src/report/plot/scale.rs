//! From values to pixels, and where ticks stand.

/// A scale over the values it was made for.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Pixels of `low` and `high`.
    pixels: (f64, f64),
    /// Values with a tick.
    pub(crate) ticks: Vec<f64>,
}

impl Scale {
    /// A scale from pixel `pixels.0` to `pixels.1` over all `values` and a little beyond, with
    /// ticks at `given`, or at round values.
    pub(crate) fn new(
        values: &[f64],
        logarithmic: bool,
        pixels: (f64, f64),
        given: Option<Vec<f64>>,
    ) -> Self {
        let usable = values
            .iter()
            .copied()
            .filter(|&value| value.is_finite() && (!logarithmic || value > 0.0));
        let shown = |value: f64| if logarithmic { value.log10() } else { value };
        let (mut low, mut high) =
            usable.map(shown).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let beyond = if high > low { (high - low) * 0.06 } else { 0.5 };
        let mut scale =
            Self { low: low - beyond, high: high + beyond, logarithmic, pixels, ticks: Vec::new() };
        scale.ticks = given.unwrap_or_else(|| scale.round_values());
        scale
    }

    /// The pixel of a value.
    pub(crate) fn pixel(&self, value: f64) -> f64 {
        let shown = if self.logarithmic { value.log10() } else { value };
        let part = (shown - self.low) / (self.high - self.low);
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }

    fn round_values(&self) -> Vec<f64> {
        if self.logarithmic { self.round_ratios() } else { self.round_steps() }
    }

    fn round_steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|&step| step >= rough)
            .unwrap_or(10.0 * power);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|number| number as f64 * step).collect()
    }

    fn round_ratios(&self) -> Vec<f64> {
        let decades = self.high - self.low;
        let factors: &[f64] = match decades {
            _ if decades > 3.0 => &[1.0],
            _ if decades > 1.5 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        powers
            .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
            .filter(|value| (self.low..=self.high).contains(&value.log10()))
            .collect()
    }
}

/// A tick's value as text, without digits that say nothing.
pub(crate) fn tick_text(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size >= 1e6 => format!("{} M", value / 1e6),
        _ if size >= 10_000.0 => format!("{} k", value / 1e3),
        _ => format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    };
    if text.is_empty() || text == "-0" { "0".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_inside_and_ticks_are_round() {
        let scale = Scale::new(&[0.93, 2.4], false, (100.0, 500.0), None);
        assert_eq!(scale.ticks, [1.0, 1.5, 2.0]);
        assert!(scale.pixel(0.93) > 100.0 && scale.pixel(2.4) < 500.0);
        let upwards = Scale::new(&[1.0, 10_000.0], true, (500.0, 100.0), None);
        assert_eq!(upwards.ticks, [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((upwards.pixel(100.0) - 300.0).abs() < 1e-6);
        for values in [&[][..], &[3.0], &[f64::NAN]] {
            let scale = Scale::new(values, false, (0.0, 1.0), None);
            assert!(!scale.ticks.is_empty() && scale.pixel(3.0).is_finite());
        }
    }

    #[test]
    fn ticks_read_well() {
        let texts: Vec<_> = [0.0, 0.5, 1.0, 512.0, 20_000.0, 1e6].map(tick_text).into();
        assert_eq!(texts, ["0", "0.5", "1", "512", "20 k", "1 M"]);
    }
}
