//! Training curves: loss over steps beside accuracy over epochs.

use std::collections::BTreeMap;

use crate::TrainingLog;
use crate::axis::Axis;
use crate::style::COLORS;
use crate::svg::{Anchor, Svg};

const WIDTH: f64 = 800.0;
const TITLE_Y: f64 = 24.0;
const PANEL_TOP: f64 = 58.0;
const PANEL_SIZE: (f64, f64) = (318.0, 220.0);
const PANEL_LEFTS: [f64; 2] = [62.0, 462.0];
/// Below the panels: tick labels and axis titles.
const LEGEND_TOP: f64 = PANEL_TOP + PANEL_SIZE.1 + 62.0;
const LEGEND_LINE: f64 = 20.0;
/// A legend's label gets half the width.
const MAX_LABEL_CHARS: usize = 48;

const N_TICKS: usize = 5;
const TEXT: &str = "fill=\"#222222\"";
const SMALL: &str = "fill=\"#555555\" font-size=\"11\"";
const GRID: &str = "stroke=\"#e4e4e4\"";
const FRAME: &str = "stroke=\"#888888\"";
const TRAIN: &str = "stroke-width=\"1.4\" stroke-dasharray=\"4 3\"";
const TEST: &str = "stroke-width=\"2\"";

/// The mean of this share of all steps, around each, is the smooth line.
const SMOOTHED_SHARE: usize = 40;
/// Columns of the picture in which a curve has one smoothed point, and a least and a greatest value.
const N_COLUMNS: usize = 300;
/// Raw losses beyond this share at either end do not stretch the axis.
const OUTLIER_SHARE: f64 = 0.005;

/// Draws training curves as SVG, 800 pixels wide: loss over steps, each and smoothed, and accuracy over epochs, on the
/// training and on the test images. Several runs get a colour each.
#[must_use]
pub fn training_curve(logs: &[TrainingLog]) -> String {
    let n_legend_lines = if logs.len() > 1 { logs.len().div_ceil(2) } else { 0 };
    let mut svg = Svg::new(WIDTH, LEGEND_TOP + n_legend_lines as f64 * LEGEND_LINE);
    let title = match logs {
        [] => "no training run".to_owned(),
        [log] => log.title(),
        [first, rest @ ..] => common_title(first, rest),
    };
    let title_style = format!("{TEXT} font-size=\"16\" font-weight=\"bold\"");
    svg.text((WIDTH / 2.0, TITLE_Y), Anchor::Middle, &title_style, &shortened(&title, 80));
    draw_losses(&mut svg, logs);
    draw_accuracies(&mut svg, logs);
    if logs.len() > 1 {
        draw_legend(&mut svg, logs);
    }
    svg.finish()
}

/// What all runs have in common.
fn common_title(first: &TrainingLog, rest: &[TrainingLog]) -> String {
    let common = |part: fn(&TrainingLog) -> &str| {
        let part_of_first = part(first);
        if rest.iter().all(|log| part(log) == part_of_first) { part_of_first.to_owned() } else { String::new() }
    };
    let log =
        TrainingLog { dataset: common(|log| &log.dataset), arch: common(|log| &log.arch), ..TrainingLog::default() };
    let n = rest.len() + 1;
    if log.dataset.is_empty() && log.arch.is_empty() {
        return format!("{n} training runs");
    }
    format!("{}: {n} runs", log.title())
}

fn color(index: usize) -> &'static str {
    COLORS[index % COLORS.len()]
}

fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

fn draw_losses(svg: &mut Svg, logs: &[TrainingLog]) {
    let left = PANEL_LEFTS[0];
    panel_title(svg, left, "training loss", "thin: each step, thick: mean");
    let curves: Vec<Smoothed> = logs.iter().map(|log| Smoothed::new(&log.losses)).collect();
    let steps = || logs.iter().flat_map(|log| log.losses.keys()).map(|&step| step as f64);
    let (Some(values), Some((first, last))) = (loss_range(logs, &curves), range(steps())) else {
        let is_begun = logs.iter().any(|log| !log.losses.is_empty());
        return empty_panel(svg, left, if is_begun { "no loss is a number" } else { "no steps yet" });
    };
    let x = x_axis(left, first, last);
    let y = y_axis(values);
    draw_frame(svg, (&x, &y), "step", 1.0);
    svg.clipped("losses", (left, PANEL_TOP), PANEL_SIZE, |svg| {
        let place = |&(step, loss): &(f64, f64)| (x.place(step), y.place(loss));
        for (index, curve) in curves.iter().enumerate() {
            let points: Vec<_> = curve.raw.iter().map(place).collect();
            svg.path(&points, color(index), "stroke-width=\"0.7\" stroke-opacity=\"0.35\"");
        }
        for (index, curve) in curves.iter().enumerate() {
            let points: Vec<_> = curve.smooth.iter().map(place).collect();
            svg.path(&points, color(index), "stroke-width=\"2\"");
        }
    });
    let n_missing = logs.iter().flat_map(|log| log.losses.values()).filter(|loss| !loss.is_finite()).count();
    if n_missing > 0 {
        let at = (left + PANEL_SIZE.0 - 6.0, PANEL_TOP + 14.0);
        let steps = if n_missing == 1 { "step" } else { "steps" };
        svg.text(at, Anchor::End, SMALL, &format!("not a number at {n_missing} {steps}"));
    }
}

fn draw_accuracies(svg: &mut Svg, logs: &[TrainingLog]) {
    let left = PANEL_LEFTS[1];
    panel_title(svg, left, "accuracy", "");
    // A key in the panel's title line.
    let end = left + PANEL_SIZE.0;
    for (at, style, text) in [(end - 108.0, TEST, "test"), (end - 48.0, TRAIN, "train")] {
        let y = PANEL_TOP - 14.0;
        svg.line((at - 4.0, y), (at + 16.0, y), &format!("stroke=\"#555555\" {style}"));
        svg.text((at + 21.0, y + 4.0), Anchor::Start, SMALL, text);
    }
    let accuracies =
        || logs.iter().flat_map(|log| log.epochs.values()).flat_map(|e| [e.train_accuracy, e.test_accuracy]);
    let epochs = || logs.iter().flat_map(|log| log.epochs.keys()).map(|&epoch| epoch as f64);
    let (Some(values), Some((first, last))) = (range(accuracies()), range(epochs())) else {
        return empty_panel(svg, left, "no epochs yet");
    };
    let x = x_axis(left, first, last);
    let y = y_axis(values);
    draw_frame(svg, (&x, &y), "epoch", 100.0);
    svg.clipped("accuracies", (left - 3.0, PANEL_TOP - 3.0), (PANEL_SIZE.0 + 6.0, PANEL_SIZE.1 + 6.0), |svg| {
        for (index, log) in logs.iter().enumerate() {
            let points = |accuracy: fn(&crate::Epoch) -> f64| -> Vec<(f64, f64)> {
                log.epochs.iter().map(|(&epoch, e)| (x.place(epoch as f64), y.place(accuracy(e)))).collect()
            };
            svg.path(&points(|epoch| epoch.train_accuracy), color(index), TRAIN);
            svg.path(&points(|epoch| epoch.test_accuracy), color(index), TEST);
        }
    });
}

/// The horizontal axis: whole numbers, from the first to the last.
fn x_axis(left: f64, first: f64, last: f64) -> Axis {
    Axis::new((first, last), (left, left + PANEL_SIZE.0), N_TICKS, 1.0).cut_to(first, last)
}

fn y_axis(values: (f64, f64)) -> Axis {
    Axis::new(values, (PANEL_TOP + PANEL_SIZE.1, PANEL_TOP), N_TICKS, 0.0)
}

fn panel_title(svg: &mut Svg, left: f64, title: &str, key: &str) {
    svg.text((left, PANEL_TOP - 10.0), Anchor::Start, &format!("{TEXT} font-size=\"13\""), title);
    svg.text((left + PANEL_SIZE.0, PANEL_TOP - 10.0), Anchor::End, SMALL, key);
}

fn empty_panel(svg: &mut Svg, left: f64, reason: &str) {
    let (width, height) = PANEL_SIZE;
    draw_border(svg, left);
    svg.text((left + width / 2.0, PANEL_TOP + height / 2.0), Anchor::Middle, SMALL, reason);
}

fn draw_border(svg: &mut Svg, left: f64) {
    let bottom = PANEL_TOP + PANEL_SIZE.1;
    svg.line((left, PANEL_TOP), (left, bottom), FRAME);
    svg.line((left, bottom), (left + PANEL_SIZE.0, bottom), FRAME);
}

/// Grid, tick labels and axes; vertical values are multiplied by `factor`, and 100 makes them percent.
fn draw_frame(svg: &mut Svg, (x, y): (&Axis, &Axis), x_title: &str, factor: f64) {
    let left = x.places.0;
    let bottom = y.places.0;
    let unit = if factor == 100.0 { " %" } else { "" };
    for &tick in &y.ticks {
        let at = y.place(tick);
        svg.line((left, at), (left + PANEL_SIZE.0, at), GRID);
        svg.text((left - 7.0, at + 4.0), Anchor::End, TEXT, &format!("{}{unit}", y.label(tick, factor)));
    }
    for &tick in &x.ticks {
        let at = x.place(tick);
        svg.line((at, bottom), (at, bottom + 4.0), FRAME);
        svg.text((at, bottom + 18.0), Anchor::Middle, TEXT, &x.label(tick, 1.0));
    }
    svg.text((left + PANEL_SIZE.0 / 2.0, bottom + 36.0), Anchor::Middle, TEXT, x_title);
    draw_border(svg, left);
}

/// Two runs a line.
fn draw_legend(svg: &mut Svg, logs: &[TrainingLog]) {
    for (index, log) in logs.iter().enumerate() {
        let left = PANEL_LEFTS[index % 2];
        let y = LEGEND_TOP + (index / 2) as f64 * LEGEND_LINE;
        svg.line((left, y), (left + 22.0, y), &format!("stroke=\"{}\" stroke-width=\"3\"", color(index)));
        svg.text((left + 30.0, y + 4.0), Anchor::Start, TEXT, &shortened(&log.title(), MAX_LABEL_CHARS));
    }
}

/// The least and the greatest finite value.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// The losses that the axis must show: all smoothed ones, and all raw ones but outliers.
fn loss_range(logs: &[TrainingLog], curves: &[Smoothed]) -> Option<(f64, f64)> {
    let mut raw: Vec<f64> =
        logs.iter().flat_map(|log| log.losses.values()).copied().filter(|v| v.is_finite()).collect();
    raw.sort_by(f64::total_cmp);
    let n_outliers = (raw.len() as f64 * OUTLIER_SHARE) as usize;
    let kept = raw.get(n_outliers..raw.len() - n_outliers).unwrap_or_default();
    let smooth = curves.iter().flat_map(|curve| &curve.smooth).map(|&(_, loss)| loss);
    range(smooth.chain(kept.iter().copied()))
}

/// A curve of a few hundred points, however many steps there are.
struct Smoothed {
    /// Step and loss; of each column of the picture the least and the greatest.
    raw: Vec<(f64, f64)>,
    /// Step and mean loss around it.
    smooth: Vec<(f64, f64)>,
}

impl Smoothed {
    fn new(losses: &BTreeMap<u64, f64>) -> Self {
        let points: Vec<(f64, f64)> = losses.iter().map(|(&step, &loss)| (step as f64, loss)).collect();
        let column = points.len().div_ceil(N_COLUMNS).max(1);
        let raw = points.chunks(column).flat_map(extremes).collect();
        // Sums and counts of the finite losses before each point.
        let mut sums = vec![(0.0, 0u64)];
        for &(_, loss) in &points {
            let (sum, n) = sums[sums.len() - 1];
            sums.push(if loss.is_finite() { (sum + loss, n + 1) } else { (sum, n) });
        }
        let reach = points.len() / SMOOTHED_SHARE / 2;
        let smooth = (0..points.len())
            .step_by(column)
            .chain(points.len().checked_sub(1).filter(|last| last % column != 0))
            .map(|at| {
                // The same reach on both sides, so that the ends are not pulled inwards.
                let reach = reach.min(at).min(points.len() - 1 - at);
                let ((sum, n), (sum_before, n_before)) = (sums[at + reach + 1], sums[at - reach]);
                let (step, loss) = points[at];
                let mean = if n > n_before { (sum - sum_before) / (n - n_before) as f64 } else { f64::NAN };
                (step, if reach == 0 { loss } else { mean })
            })
            .collect();
        Self { raw, smooth }
    }
}

/// The least and the greatest of some points, in the order of their steps; one that is not a number, to break the line,
/// if there is one.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite = || points.iter().filter(|(_, loss)| loss.is_finite());
    let least = finite().min_by(|a, b| a.1.total_cmp(&b.1));
    let greatest = finite().max_by(|a, b| a.1.total_cmp(&b.1));
    let missing = points.iter().find(|(_, loss)| !loss.is_finite());
    let mut kept: Vec<(f64, f64)> = [least, greatest, missing].into_iter().flatten().copied().collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    kept.dedup_by_key(|point| point.0);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    fn log(losses: impl IntoIterator<Item = f64>, accuracies: &[(f64, f64)]) -> TrainingLog {
        let epoch = |&(train_accuracy, test_accuracy): &(f64, f64)| Epoch { train_accuracy, test_accuracy };
        TrainingLog {
            dataset: "digits".into(),
            arch: "convnet".into(),
            tag: "7".into(),
            losses: (1..).zip(losses).collect(),
            epochs: (1..).zip(accuracies.iter().map(epoch)).collect(),
        }
    }

    /// Every number in a picture is one, and every element is closed.
    #[track_caller]
    fn check(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert_eq!(svg.matches("<text ").count(), svg.matches("</text>").count());
    }

    #[test]
    fn values_lie_at_their_places() {
        let svg = training_curve(&[log([3.0, 2.0, 1.0], &[(0.0, 0.5), (1.0, 0.75)])]);
        check(&svg);
        assert!(svg.contains(">digits, convnet, tag 7<"));
        // Left, middle and right; top, middle and bottom, since 1 and 3 are ticks.
        assert!(svg.contains("d=\"M62.0 58.0L221.0 168.0L380.0 278.0\""), "{svg}");
        assert!(svg.contains("d=\"M462.0 278.0L780.0 58.0\""), "{svg}");
        assert!(svg.contains("d=\"M462.0 168.0L780.0 113.0\""), "{svg}");
        assert!(svg.contains(">100 %<") && svg.contains(">3.0<"));
    }

    #[test]
    fn logs_without_data_say_so() {
        let svg = training_curve(&[log([], &[])]);
        check(&svg);
        assert!(svg.contains(">no steps yet<") && svg.contains(">no epochs yet<"));
        check(&training_curve(&[]));
        let svg = training_curve(&[log([f64::NAN], &[(f64::NAN, f64::NAN)])]);
        check(&svg);
        assert!(svg.contains(">no loss is a number<"));
    }

    #[test]
    fn a_single_step_is_a_dot() {
        let svg = training_curve(&[log([2.3], &[(0.5, 0.25)])]);
        check(&svg);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains(">1<"));
    }

    #[test]
    fn a_loss_that_is_no_number_breaks_the_line() {
        let svg = training_curve(&[log([3.0, 2.0, f64::NAN, 1.5, 1.0], &[])]);
        check(&svg);
        assert!(svg.contains(">not a number at 1 step<"));
        let path = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        let svg = training_curve(&[log([3.0, f64::INFINITY, f64::NAN], &[])]);
        check(&svg);
        assert!(svg.contains(">not a number at 2 steps<"));
    }

    #[test]
    fn long_runs_give_small_pictures() {
        let losses: Vec<f64> = (0..200_000).map(|n| 2.0 + f64::from(n % 7) / 7.0).collect();
        let curve = Smoothed::new(&(1..).zip(losses.iter().copied()).collect());
        assert!(curve.raw.len() <= 2 * N_COLUMNS && curve.smooth.len() <= N_COLUMNS + 1);
        assert_eq!((curve.smooth[0].0, curve.smooth.last().unwrap().0), (1.0, 200_000.0));
        let middle = &curve.smooth[50..250];
        assert!(middle.iter().all(|(_, mean)| (mean - 17.0 / 7.0).abs() < 1e-3));
        let svg = training_curve(&[log(losses, &[])]);
        check(&svg);
        assert!(svg.len() < 40_000, "{}", svg.len());
    }

    #[test]
    fn a_spike_does_not_flatten_the_rest() {
        let mut losses: Vec<f64> = (0..1000).map(|n| 2.0 - f64::from(n) / 1000.0).collect();
        losses[500] = 1e6;
        let range = loss_range(&[log(losses.clone(), &[])], &[]).unwrap();
        assert!(range.1 <= 2.0, "{range:?}");
        // Of a few values each counts.
        assert_eq!(loss_range(&[log([1.0, 50.0, 2.0], &[])], &[]), Some((1.0, 50.0)));
    }

    #[test]
    fn several_runs_have_colors_and_a_legend() {
        let logs: Vec<TrainingLog> = (0..3)
            .map(|n| TrainingLog { tag: format!("<{n}>"), ..log([2.0, 1.0], &[(0.1, 0.2), (0.3, 0.4)]) })
            .collect();
        let svg = training_curve(&logs);
        check(&svg);
        assert!(svg.contains(">digits, convnet: 3 runs<"));
        for (n, color) in COLORS.iter().take(3).enumerate() {
            assert!(svg.contains(&format!("tag &lt;{n}&gt;")));
            // Raw and smoothed, train and test, and the legend.
            assert_eq!(svg.matches(color).count(), 5);
        }
        let other = TrainingLog { dataset: "x".into(), arch: "y".into(), ..logs[0].clone() };
        assert!(training_curve(&[logs[0].clone(), other]).contains(">2 training runs<"));
    }
}
