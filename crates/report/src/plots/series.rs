//! Rate by a setting with several values: a line for each codec variant that differs in it alone.

use std::collections::{BTreeMap, BTreeSet};

use super::panels::{LEGEND_LINE, Panel, WIDTH, counted, limit_panels, range, tight_axis};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group, Setting, Variant};
use crate::style::{SMALL, Series};
use crate::svg::{Anchor, Svg};
use crate::tables::mean_and_sd;
use crate::text_width::{fitted, text_width};

/// More would not be told apart.
const MAX_LINES: usize = 12;
const ASIDE: f64 = 6.0;
const LEFT: f64 = 62.0;
const GAP: f64 = 66.0;
const HEIGHT: f64 = 230.0;
const TITLE: f64 = 32.0;
const AXIS: f64 = 52.0;
const MAX_ACROSS: usize = 2;

/// By data and value of the setting.
type Line<'a> = BTreeMap<&'a Data, Vec<(f64, &'a Group)>>;

pub(super) fn draw(view: &View<'_>, setting: Setting) -> Result<Plot, Skipped> {
    let words = Words::of(setting);
    let skipped = |reason: String| Err(Skipped { name: words.name, reason });
    let with_setting: Vec<(f64, &Group)> = view
        .groups
        .iter()
        .filter(|group| group.rate.is_some())
        .filter_map(|group| {
            let value: f64 = group.variant.get(setting)?.parse().ok()?;
            (value > 0.0 && value.is_finite()).then_some((value, group))
        })
        .collect();
    let mut lines = lines(&with_setting, setting);
    if lines.is_empty() {
        let values: BTreeSet<String> = with_setting.iter().map(|(value, _)| value.to_string()).collect();
        let values: Vec<String> = values.into_iter().collect();
        return skipped(match values.as_slice() {
            [] => format!("no cell with a rate has {}", words.setting),
            [only] => format!("all cells have the same {}, {only}", words.setting),
            _ => format!("no codec was measured with several {} on the same data", words.plural),
        });
    }
    let n_left_out = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    let groups = || lines.iter().flat_map(|(_, line)| line.values()).flatten();
    let mut values: Vec<f64> = groups().map(|(value, _)| *value).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let drawn: BTreeSet<&Data> = lines.iter().flat_map(|(_, line)| line.keys().copied()).collect();
    let mut drawn: Vec<&Data> = drawn.into_iter().collect();
    let panels_left_out = limit_panels(&mut drawn);

    let n_across = drawn.len().clamp(1, MAX_ACROSS);
    let n_down = drawn.len().div_ceil(n_across);
    let width = (WIDTH - LEFT - 14.0 - GAP * (n_across as f64 - 1.0)) / n_across as f64;
    let block = TITLE + HEIGHT + AXIS;
    let names: Vec<String> = lines.iter().map(|(rest, _)| view.labels.variant_without(rest, setting)).collect();
    let legend = Legend::new(&names);
    let mut svg = Svg::new(WIDTH, block * n_down as f64 + 12.0 + legend.height());
    for (index, data) in drawn.iter().enumerate() {
        let (across, down) = (index % n_across, index / n_across);
        let panel = Panel {
            left: LEFT + (width + GAP) * across as f64,
            top: block * down as f64 + TITLE,
            width,
            height: HEIGHT,
        };
        let x = Axis::log_at(values.clone(), (panel.left, panel.right()));
        let of_data = lines.iter().filter_map(|(_, line)| line.get(data)).flatten();
        let rates = of_data.filter_map(|(_, group)| group.rate).flat_map(|rate| {
            let sd = rate.sd.unwrap_or(0.0);
            [rate.mean - sd, rate.mean + sd]
        });
        let Some(rates) = range(rates) else { continue };
        let y = tight_axis(rates, (panel.bottom() - 4.0, panel.top + 4.0), 5);
        panel.title(&mut svg, &view.labels.data(data));
        panel.y_axis(&mut svg, &y, "rate, % (lower is better)");
        panel.x_axis(&mut svg, &thinned(&x), words.axis);
        panel.border(&mut svg);
        for (index, (_, line)) in lines.iter().enumerate() {
            let points = line.get(data).map(Vec::as_slice).unwrap_or_default();
            // Beside each other, so that their bars can be told apart.
            let aside = (index as f64 - (lines.len() as f64 - 1.0) / 2.0) * ASIDE.min(30.0 / lines.len() as f64);
            let x = x.clone().shifted(aside);
            draw_line(&mut svg, Series(index), points, (&x, &y), names.get(index).map_or("", String::as_str));
        }
    }
    legend.draw(&mut svg, block * n_down as f64 + 16.0, lines.iter().map(|(rest, _)| rest.is_estimate()));
    let mut caption = format!(
        "Mean rate by {}, other settings alike along a line; lines stand a little aside of each other. Bars: ± one sample standard deviation over draws and training \
         runs. The horizontal axis is logarithmic; each panel has a vertical axis of its own, which does not begin at 0.",
        words.setting
    );
    if lines.iter().any(|(rest, _)| rest.is_estimate()) {
        caption.push_str(" Hollow marks are estimates, for which nothing was written.");
    }
    if n_left_out > 0 {
        caption.push_str(&format!(" {} more in the tables only.", counted(n_left_out, "line")));
    }
    caption.push_str(view.steps_caption(drawn.iter().copied()));
    caption.push_str(&panels_left_out);
    Ok(Plot { name: words.name, title: format!("Rate by {}", words.setting), caption, svg: svg.finish() })
}

struct Words {
    name: &'static str,
    setting: &'static str,
    plural: &'static str,
    axis: &'static str,
}

impl Words {
    fn of(setting: Setting) -> Self {
        if setting == Setting::BytesPerGroup {
            let (setting, plural) = ("bytes per group", "numbers of bytes per group");
            return Self { name: "rate-by-bytes-per-group", setting, plural, axis: "bytes per group" };
        }
        Self { name: "rate-by-window", setting: "window", plural: "windows", axis: "window, tokens" }
    }
}

/// Lines with at least two values somewhere, in the order of their variants.
fn lines<'a>(groups: &[(f64, &'a Group)], setting: Setting) -> Vec<(Variant, Line<'a>)> {
    let mut lines: BTreeMap<Variant, Line<'a>> = BTreeMap::new();
    for (value, group) in groups {
        let line = lines.entry(group.variant.without(setting)).or_default();
        line.entry(&group.data).or_default().push((*value, group));
    }
    for line in lines.values_mut() {
        line.retain(|_, points| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points.first().map(|point| point.0) != points.last().map(|point| point.0)
        });
    }
    lines.into_iter().filter(|(_, line)| !line.is_empty()).collect()
}

/// Without the ticks whose labels would run into the one before.
fn thinned(axis: &Axis) -> Axis {
    let mut thinned = axis.clone();
    let mut end = f64::NEG_INFINITY;
    thinned.ticks.retain(|&tick| {
        let (place, half) = (axis.place(tick), text_width(&axis.label(tick, 1.0), 11.0) / 2.0);
        let is_free = place - half > end + 4.0;
        if is_free {
            end = place + half;
        }
        is_free
    });
    thinned
}

fn draw_line(svg: &mut Svg, series: Series, points: &[(f64, &Group)], (x, y): (&Axis, &Axis), name: &str) {
    let places: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|(value, group)| group.rate.map(|rate| (x.place(*value), y.place(rate.mean))))
        .collect();
    svg.polyline(&places, &series.line(1.6));
    for (value, group) in points {
        let Some(rate) = group.rate else { continue };
        let at = (x.place(*value), y.place(rate.mean));
        let reach = rate.sd.map_or(0.0, |sd| (y.place(rate.mean - sd) - at.1).abs());
        if reach > 0.0 {
            svg.line((at.0, at.1 - reach), (at.0, at.1 + reach), &format!("{} stroke-width=\"1\"", series.stroke()));
        }
        let is_estimate = group.variant.is_estimate();
        let mark = if is_estimate { "≈" } else { "" };
        let title = format!("{name}, {value}: {mark}{} %, n = {}", mean_and_sd(&rate), rate.n);
        svg.mark(series.shape(), at, 3.8, &series.mark(is_estimate), &title);
    }
}

/// Names of the lines, in columns below the panels.
struct Legend {
    names: Vec<String>,
    n_columns: usize,
    column: f64,
}

impl Legend {
    fn new(names: &[String]) -> Self {
        let names: Vec<String> = names.iter().map(|name| fitted(name, 11.0, 360.0)).collect();
        let widest = names.iter().map(|name| text_width(name, 11.0)).fold(0.0, f64::max) + 62.0;
        let n_columns = ((WIDTH - LEFT) / widest).floor().clamp(1.0, 4.0) as usize;
        Self { names, n_columns, column: (WIDTH - LEFT) / n_columns as f64 }
    }

    fn n_lines(&self) -> usize {
        self.names.len().div_ceil(self.n_columns)
    }

    fn height(&self) -> f64 {
        self.n_lines() as f64 * LEGEND_LINE
    }

    /// Down the columns, one after the other.
    fn draw(&self, svg: &mut Svg, top: f64, are_estimates: impl Iterator<Item = bool>) {
        let n_lines = self.n_lines().max(1);
        for (index, (name, is_estimate)) in self.names.iter().zip(are_estimates).enumerate() {
            let left = LEFT + self.column * (index / n_lines) as f64;
            let y = top + LEGEND_LINE * (index % n_lines) as f64;
            let series = Series(index);
            svg.line((left, y), (left + 34.0, y), &series.line(1.6));
            svg.mark(series.shape(), (left + 17.0, y), 3.8, &series.mark(is_estimate), "");
            svg.text((left + 42.0, y + 4.0), Anchor::Start, SMALL, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::groups;
    use crate::labels::Labels;
    use crate::results::Results;

    fn draw_lines(lines: &[String]) -> Result<Plot, Skipped> {
        let groups = groups(&Results::parse("x", lines.join("\n").as_bytes()).unwrap());
        draw(&View { groups: &groups, labels: &Labels::new(&groups) }, Setting::Window)
    }

    fn line(format: &str, window: u32, rate: u32) -> String {
        format!(
            r#"{{"codec":"lm","rate_percent":{rate},"settings":{{"dataset":"d","format":"{format}","window":{window}}}}}"#
        )
    }

    #[test]
    fn a_line_needs_two_values() {
        let plot = draw_lines(&[line("a", 256, 90), line("a", 2048, 80), line("b", 256, 70)]).unwrap();
        assert!(plot.svg.contains(">lm a<") && !plot.svg.contains(">lm b<"), "{}", plot.svg);
        assert!(plot.svg.contains(">256<") && plot.svg.contains(">2048<"));
        assert!(!plot.svg.contains("NaN"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let reason = |lines: &[String]| draw_lines(lines).unwrap_err().reason;
        assert_eq!(reason(&[]), "no cell with a rate has window");
        assert_eq!(reason(&[line("a", 256, 1), line("b", 256, 2)]), "all cells have the same window, 256");
        assert!(reason(&[line("a", 256, 1), line("b", 512, 2)]).contains("several windows on the same data"));
        assert!(reason(&[line("a", 0, 1)]).contains("no cell"));
    }
}
