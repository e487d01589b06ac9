//! Rate by speed of compression: a labelled mark for each codec variant.

use super::codecs::{draw_key, series_of};
use super::panels::{LEGEND_LINE, Panel, WIDTH, counted, limit_panels, range, with_room};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group};
use crate::numbers::speed;
use crate::style::{LEADER, SMALL};
use crate::svg::{Anchor, Svg};
use crate::tables::mean_and_sd;
use crate::text_width::{fitted, text_width};

const NAME: &str = "rate-by-throughput";
const LEFT: f64 = 62.0;
const GAP: f64 = 62.0;
const TITLE: f64 = 32.0;
const AXIS: f64 = 52.0;
const FONT: f64 = 10.0;
const MAX_LABEL: f64 = 190.0;
const MARK: f64 = 4.0;
/// More labels than that in a panel would cover each other.
const MAX_MARKS: usize = 40;

pub(super) fn draw(view: &View<'_>) -> Result<Plot, Skipped> {
    let is_drawn = |group: &Group| group.rate.is_some() && group.compress_mb_per_s.is_some();
    let mut data = view.data(is_drawn);
    let panels_left_out = limit_panels(&mut data);
    let of_data = |data: &Data| -> Vec<&Group> {
        let mut groups: Vec<&Group> =
            view.groups.iter().filter(|group| group.data == *data && is_drawn(group)).collect();
        let rate = |group: &Group| group.rate.map_or(f64::INFINITY, |rate| rate.mean);
        groups.sort_by(|a, b| rate(a).total_cmp(&rate(b)).then_with(|| a.variant.cmp(&b.variant)));
        groups
    };
    let all = || view.groups.iter().filter(|group| is_drawn(group));
    let rates = range(all().filter_map(|group| group.rate).map(|rate| rate.mean));
    let speeds = range(all().filter_map(|group| group.compress_mb_per_s));
    let (Some(rates), Some(speeds)) = (rates, speeds) else {
        let reason = "no cell has both a rate and a speed of compression".to_owned();
        return Err(Skipped { name: NAME, reason });
    };

    let n_most = data.iter().map(|data| of_data(data).len()).max().unwrap_or(0).min(MAX_MARKS);
    // Many labels need a wide panel.
    let n_across = if data.len() > 1 && n_most <= 30 { 2 } else { 1 };
    let n_down = data.len().div_ceil(n_across);
    let width = (WIDTH - LEFT - 14.0 - GAP * (n_across as f64 - 1.0)) / n_across as f64;
    let height = (250.0 + 6.0 * n_most as f64).min(480.0);
    let block = TITLE + height + AXIS;
    let top = LEGEND_LINE;
    let mut svg = Svg::new(WIDTH, top + block * n_down as f64);
    draw_key(&mut svg, (LEFT, 16.0), all().map(|group| &group.variant));
    let mut n_left_out = 0;
    for (index, data) in data.iter().enumerate() {
        let panel = Panel {
            left: LEFT + (width + GAP) * (index % n_across) as f64,
            top: top + block * (index / n_across) as f64 + TITLE,
            width,
            height,
        };
        let x = Axis::log(speeds, (panel.left + 6.0, panel.right() - 6.0));
        let y = Axis::new(with_room(rates, 0.06), (panel.bottom(), panel.top), 6, 0.0);
        panel.title(&mut svg, &view.labels.data(data));
        panel.y_axis(&mut svg, &y, "rate, % (lower is better)");
        panel.x_axis(&mut svg, &x, "compression, MB/s (logarithmic; faster to the right)");
        panel.border(&mut svg);
        let mut groups = of_data(data);
        n_left_out += groups.len().saturating_sub(MAX_MARKS);
        groups.truncate(MAX_MARKS);
        let marks: Vec<Mark<'_>> = groups
            .iter()
            .filter_map(|group| {
                let at = (x.place(group.compress_mb_per_s?), y.place(group.rate?.mean));
                Some(Mark { group, at, label: view.labels.variant(&group.variant) })
            })
            .collect();
        draw_marks(&mut svg, &panel, &marks);
    }
    let mut caption =
        "Mean rate against mean speed of compression, in 10⁶ bytes of input a second. Best is at the bottom right. \
                       Speeds compare only within one run on one machine."
            .to_owned();
    if n_left_out > 0 {
        caption.push_str(&format!(" {} of the highest rates are in the tables only.", counted(n_left_out, "mark")));
    }
    caption.push_str(&panels_left_out);
    Ok(Plot { name: NAME, title: "Rate by throughput".to_owned(), caption, svg: svg.finish() })
}

struct Mark<'a> {
    group: &'a Group,
    at: (f64, f64),
    label: String,
}

fn draw_marks(svg: &mut Svg, panel: &Panel, marks: &[Mark<'_>]) {
    let texts: Vec<String> = marks.iter().map(|mark| fitted(&mark.label, FONT, MAX_LABEL)).collect();
    let mut taken: Vec<Area> = marks.iter().map(|mark| Area::around(mark.at, MARK + 1.0)).collect();
    let mut labels = Vec::new();
    for (mark, text) in marks.iter().zip(&texts) {
        let area = Area::for_label(mark.at, text_width(text, FONT), panel, &taken);
        taken.push(area);
        labels.push((mark, text, area));
    }
    // Leaders lie below all marks and labels.
    for (mark, _, area) in &labels {
        let to = area.nearest(mark.at);
        if (to.0 - mark.at.0).hypot(to.1 - mark.at.1) > MARK + 6.0 {
            svg.line(mark.at, to, LEADER);
        }
    }
    for (mark, text, area) in &labels {
        let (variant, rate) = (&mark.group.variant, mark.group.rate);
        let figures = rate.map(|rate| mean_and_sd(&rate)).unwrap_or_default();
        let speed = mark.group.compress_mb_per_s.map(speed).unwrap_or_default();
        let title = format!("{}: {figures} %, {speed} MB/s", mark.label);
        svg.mark(series_of(variant).shape(), mark.at, MARK, &series_of(variant).mark(variant.is_estimate()), &title);
        let style = SMALL.replace("\"11\"", "\"10\"");
        svg.text((area.left, area.bottom - 2.5), Anchor::Start, &style, text);
    }
}

/// A rectangle that a mark or a label takes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn around((x, y): (f64, f64), reach: f64) -> Self {
        Self { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }
    }

    /// The nearest free place for a label; where all are taken, the one with the least overlap.
    fn for_label(at: (f64, f64), width: f64, panel: &Panel, taken: &[Self]) -> Self {
        let height = FONT + 2.0;
        let candidates = (0..16).flat_map(|ring| {
            let away = f64::from(ring) * 9.0;
            let (near, far) = (MARK + 3.0 + away * 0.4, MARK + 1.0 + away);
            // By how far the label's left and its middle line are from the mark: right, left, below, above, corners.
            [
                (near, 0.0),
                (-near - width, 0.0),
                (-width / 2.0, far + height / 2.0),
                (-width / 2.0, -far - height / 2.0),
                (near, far),
                (near, -far),
                (-near - width, far),
                (-near - width, -far),
            ]
        });
        let mut best = None;
        for (dx, dy) in candidates {
            let (left, middle) = (at.0 + dx, at.1 + dy);
            let area = Self { left, top: middle - height / 2.0, right: left + width, bottom: middle + height / 2.0 };
            let is_inside = area.left >= panel.left + 1.0
                && area.right <= panel.right() + 12.0
                && area.top >= panel.top - 4.0
                && area.bottom <= panel.bottom() - 1.0;
            if !is_inside {
                continue;
            }
            let overlap: f64 = taken.iter().map(|other| area.overlap(other)).sum();
            if overlap <= 0.0 {
                return area;
            }
            if best.is_none_or(|(least, _)| overlap < least) {
                best = Some((overlap, area));
            }
        }
        best.map_or_else(
            || Self { left: at.0, top: at.1, right: at.0 + width, bottom: at.1 + height },
            |(_, area)| area,
        )
    }

    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    /// The point in it that is nearest.
    fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_cover_each_other() {
        let panel = Panel { left: 0.0, top: 0.0, width: 400.0, height: 300.0 };
        // Marks in a bunch at the left edge.
        let marks: Vec<(f64, f64)> = (0..12).map(|n| (8.0 + f64::from(n % 3), 100.0 + 4.0 * f64::from(n))).collect();
        let mut taken: Vec<Area> = marks.iter().map(|&at| Area::around(at, MARK)).collect();
        for &at in &marks {
            let area = Area::for_label(at, 120.0, &panel, &taken);
            assert!(taken.iter().all(|other| area.overlap(other) == 0.0), "{area:?}");
            assert!(area.left >= 0.0 && area.right <= 412.0 && area.bottom <= 300.0);
            taken.push(area);
        }
    }

    #[test]
    fn a_label_without_any_place_has_one() {
        let panel = Panel { left: 0.0, top: 0.0, width: 10.0, height: 10.0 };
        assert!(Area::for_label((5.0, 5.0), 500.0, &panel, &[]).left.is_finite());
    }
}
