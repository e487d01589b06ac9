//! Axes: a range of values, where it lies in the picture, and the ticks on it.

/// The most ticks on a logarithmic axis.
const MAX_LOG_TICKS: i32 = 10;

/// A linear or logarithmic axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// Values at the ends.
    pub(crate) values: (f64, f64),
    /// Their places in the picture.
    pub(crate) places: (f64, f64),
    /// Values of the ticks, ascending.
    pub(crate) ticks: Vec<f64>,
    /// Distance of neighbouring ticks.
    tick_step: f64,
    is_log: bool,
}

impl Axis {
    /// An axis over `values`, ending at ticks; about `n_ticks` of them, at least `least_step` apart.
    pub(crate) fn new(values: (f64, f64), places: (f64, f64), n_ticks: usize, least_step: f64) -> Self {
        let (mut low, mut high) = values;
        if high <= low {
            // A single value gets some room on both sides.
            let room = (low.abs() * 0.05).max(least_step).max(1e-9);
            (low, high) = (low - room, high + room);
        }
        let tick_step = nice_step((high - low) / n_ticks.max(1) as f64).max(least_step);
        let (first, last) = ((low / tick_step).floor(), (high / tick_step).ceil());
        let n_steps = (last - first).clamp(1.0, 100.0) as usize;
        let ticks: Vec<f64> = (0..=n_steps).map(|n| (first + n as f64) * tick_step).collect();
        let ends = (first * tick_step, (first + n_steps as f64) * tick_step);
        Self { values: ends, places, ticks, tick_step, is_log: false }
    }

    /// A logarithmic axis over `values`, which are above 0, ending at powers of ten.
    pub(crate) fn log(values: (f64, f64), places: (f64, f64)) -> Self {
        let exponent = |value: f64| value.clamp(1e-300, 1e300).log10();
        // Roundoff must not add a power at either end.
        let first = (exponent(values.0) + 1e-9).floor() as i32;
        let last = ((exponent(values.1) - 1e-9).ceil() as i32).max(first + 1);
        let step = ((last - first) / MAX_LOG_TICKS + 1) as usize;
        let ticks = (first..=last).step_by(step).map(|power| 10f64.powi(power)).collect();
        let ends = (10f64.powi(first), 10f64.powi(last));
        Self { values: ends, places, ticks, tick_step: 0.0, is_log: true }
    }

    /// A logarithmic axis with ticks at these values, which are above 0 and ascending, and some room on both sides.
    pub(crate) fn log_at(values: Vec<f64>, places: (f64, f64)) -> Self {
        let (low, high) = (values.first().copied().unwrap_or(1.0), values.last().copied().unwrap_or(1.0));
        let room = if high > low { (high / low).powf(0.1) } else { 2.0 };
        Self { values: (low / room, high * room), places, ticks: values, tick_step: 0.0, is_log: true }
    }

    /// The same ticks, without the room between the data and the ticks at the ends.
    pub(crate) fn cut_to(mut self, low: f64, high: f64) -> Self {
        if low < high {
            self.values = (low, high);
            // Roundoff must not lose a tick at an end.
            let slack = (high - low) * 1e-9;
            self.ticks.retain(|&tick| tick >= low - slack && tick <= high + slack);
        }
        self
    }

    /// The same, moved along the picture.
    pub(crate) fn shifted(mut self, by: f64) -> Self {
        self.places = (self.places.0 + by, self.places.1 + by);
        self
    }

    /// Where a value lies in the picture.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let (start, end) = self.places;
        if self.is_log {
            let (value, low, high) = (value.log10(), low.log10(), high.log10());
            return start + (value - low) / (high - low) * (end - start);
        }
        start + (value - low) / (high - low) * (end - start)
    }

    /// A tick's value as text, after multiplication by `factor`.
    pub(crate) fn label(&self, tick: f64, factor: f64) -> String {
        if self.is_log {
            return log_label(tick * factor);
        }
        let (value, step) = (tick * factor, self.tick_step * factor);
        if value.abs().max(step) >= 1e12 || (step > 0.0 && step < 1e-9) {
            return if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") };
        }
        let (scale, unit) = match value.abs().max(step) {
            _ if step >= 1e6 => (1e6, "M"),
            _ if step >= 1e3 => (1e3, "k"),
            _ => (1.0, ""),
        };
        let (value, step) = (value / scale, step / scale);
        let n_decimals = (0..12).find(|&n| is_whole(step * 10f64.powi(n))).unwrap_or(12);
        // Not -0.
        let value = if value.abs() < step / 1e3 { 0.0 } else { value };
        let unit = if value == 0.0 { "" } else { unit };
        format!("{value:.0$}{unit}", if value == 0.0 && scale > 1.0 { 0 } else { n_decimals as usize })
    }
}

/// Without zeros that say nothing: 0.001, 1, 256, 1e7.
fn log_label(value: f64) -> String {
    if (1e-4..1e6).contains(&value) {
        let text = format!("{value:.6}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value:.0e}")
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6 * value.abs().max(1.0) && value.round() != 0.0
}

/// The least of 1, 2, 5 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|&nice| nice >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: (f64, f64), least_step: f64) -> Vec<String> {
        let axis = Axis::new(values, (0.0, 100.0), 5, least_step);
        axis.ticks.iter().map(|&tick| axis.label(tick, 1.0)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels((0.0, 2.31), 0.0), ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels((0.031, 0.048), 0.0), ["0.030", "0.035", "0.040", "0.045", "0.050"]);
        assert_eq!(labels((0.0, 78_000.0), 1.0), ["0", "20k", "40k", "60k", "80k"]);
        assert_eq!(labels((1.0, 400.0), 1.0), ["0", "100", "200", "300", "400"]);
        assert_eq!(labels((0.0, 7_000_000.0), 1.0), ["0", "2M", "4M", "6M", "8M"]);
        assert_eq!(labels((1.0, 3.0), 1.0), ["1", "2", "3"]);
        assert_eq!(labels((0.0, 4e300), 0.0), ["0", "1.0e300", "2.0e300", "3.0e300", "4.0e300"]);
        assert_eq!(labels((0.0, 4e-300), 0.0), ["0", "1.0e-300", "2.0e-300", "3.0e-300", "4.0e-300"]);
        assert_eq!(labels((-0.2, 0.2), 0.0), ["-0.2", "-0.1", "0.0", "0.1", "0.2"]);
    }

    #[test]
    fn a_single_value_lies_in_the_middle() {
        for value in [0.0, 1.0, 2.3, 1e-12, 1e9] {
            let axis = Axis::new((value, value), (0.0, 100.0), 5, 0.0);
            assert!((10.0..=90.0).contains(&axis.place(value)), "{value}: {axis:?}");
            assert!(axis.ticks.len() >= 2);
        }
    }

    #[test]
    fn values_lie_where_they_should() {
        let axis = Axis::new((0.0, 10.0), (200.0, 100.0), 5, 0.0);
        assert_eq!((axis.place(0.0), axis.place(2.5), axis.place(10.0)), (200.0, 175.0, 100.0));
        let cut = Axis::new((1.0, 390.0), (0.0, 389.0), 5, 1.0).cut_to(1.0, 390.0);
        assert_eq!((cut.place(1.0), cut.place(390.0)), (0.0, 389.0));
        assert_eq!(cut.ticks, [100.0, 200.0, 300.0]);
    }

    #[test]
    fn logarithmic_axes_end_at_powers() {
        let axis = Axis::log((0.0007, 430.0), (0.0, 700.0));
        let labels: Vec<String> = axis.ticks.iter().map(|&tick| axis.label(tick, 1.0)).collect();
        assert_eq!(labels, ["0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1000"]);
        assert!((axis.place(0.1) - 300.0).abs() < 1e-9);
        assert_eq!(Axis::log((1.0, 1.0), (0.0, 1.0)).values, (1.0, 10.0));
        assert_eq!(Axis::log((1.0, 10.0), (0.0, 1.0)).values, (1.0, 10.0));
        for values in [(1e-300, 1e300), (f64::MIN_POSITIVE, f64::MAX), (5.0, 5.0)] {
            let axis = Axis::log(values, (0.0, 1.0));
            assert!((2..=MAX_LOG_TICKS as usize + 1).contains(&axis.ticks.len()), "{axis:?}");
            assert!(axis.place(values.0).is_finite());
        }
        let axis = Axis::log_at(vec![256.0, 1024.0, 2048.0], (0.0, 100.0));
        assert!(axis.place(256.0) > 0.0 && axis.place(2048.0) < 100.0);
        assert_eq!(axis.label(1024.0, 1.0), "1024");
        assert_eq!(["1e-5", "0.00015", "1e7"], [1e-5, 0.00015, 9.999999e6].map(|value| axis.label(value, 1.0)));
        assert!((Axis::log_at(vec![4.0], (0.0, 100.0)).place(4.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn huge_and_tiny_ranges_have_few_ticks() {
        for (low, high) in [(0.0, 1e300), (0.0, 1e-300), (-1e300, 1e300), (1e15, 1e15 + 1.0)] {
            let axis = Axis::new((low, high), (0.0, 1.0), 5, 0.0);
            assert!((2..=101).contains(&axis.ticks.len()), "{axis:?}");
        }
    }
}
